"""Businesses of the Data Rights Protocol, our tokens there, and the ids that they give to requests."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.ports import RightsAgent, RightsError
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals.tables import drp_businesses, removal_requests

PURPOSE = "drp-token"
T = TypeVar("T")


def write_businesses(connection: Connection, documents: Sequence[Mapping[str, Any]], *, now: datetime) -> int:
    """Store the businesses of a directory; a known one keeps its token. Returns their number."""
    rows = [{"id": one["id"], "document": dict(one), "updated_at": now} for one in documents]
    if rows:
        statement = insert(drp_businesses)
        fresh = {name: statement.excluded[name] for name in ("document", "updated_at")}
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=fresh), rows)
    return len(rows)


def businesses(connection: Connection, business_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The documents of these businesses, by id."""
    query = sa.select(drp_businesses.c.id, drp_businesses.c.document).where(drp_businesses.c.id.in_(business_ids))
    return {row.id: row.document for row in connection.execute(query)}


class Tokens:
    """Our tokens at businesses, each read once. All processes share them, since a new token invalidates the one
    before."""

    def __init__(self, db: Engine, keyring: Keyring, agent: RightsAgent) -> None:
        self._db, self._keyring, self._agent = db, keyring, agent
        self._known: dict[str, str] = {}

    def call(self, document: Mapping[str, Any], call: Callable[[RightsAgent, str], T]) -> T:
        """Call with our token at a business. A missing or rejected token is requested once.

        Raises:
            RightsError, SourceUnavailable: as the call does.
        """
        token = self._known.get(document["id"]) or self._stored(document["id"])
        if token is not None:
            try:
                return call(self._agent, token)
            except RightsError as error:
                if not error.forbidden:
                    raise
        return call(self._agent, self._fresh(document, instead_of=token))

    def _stored(self, business_id: str) -> str | None:
        query = sa.select(drp_businesses.c.token_sealed).where(drp_businesses.c.id == business_id)
        with self._db.connect() as connection:
            sealed = connection.execute(query).scalar()
        if sealed is None:
            return None
        return self._known.setdefault(business_id, self._keyring.open_secret(PURPOSE, bytes(sealed)))

    def _fresh(self, document: Mapping[str, Any], *, instead_of: str | None) -> str:
        """A token that another process has got, else a new one."""
        self._known.pop(document["id"], None)
        stored = self._stored(document["id"])
        if stored is not None and stored != instead_of:
            return stored
        token = self._known[document["id"]] = self._agent.register(document)
        sealed = self._keyring.seal_secret(PURPOSE, token)
        with self._db.begin() as connection:
            update = sa.update(drp_businesses).where(drp_businesses.c.id == document["id"])
            connection.execute(update.values(token_sealed=sealed, token_since=sa.func.now()))
        return token


def remember(connection: Connection, request_id: UUID, outside_id: str) -> None:
    """Store a business's id of a request before anything else is written, so that a killed sender does not lose it."""
    update = sa.update(removal_requests).where(removal_requests.c.id == request_id)
    connection.execute(update.values(outside_id=outside_id))


def revocable(connection: Connection, broker_ids: Sequence[UUID], now: datetime) -> list[Any]:
    """Cancelled requests of which the business was not notified yet."""
    table = removal_requests.c
    query = sa.select(removal_requests).where(
        table.broker_id.in_(broker_ids),
        table.channel == "drp",
        table.outside_id.is_not(None),
        table.next_at <= now,
        table.state == "cancelled",
    )
    return list(connection.execute(query))


def revoked(connection: Connection, request_id: UUID, *, again_at: datetime | None) -> None:
    """Record that the business was notified, or when to notify it again."""
    update = sa.update(removal_requests).where(removal_requests.c.id == request_id)
    values = {"next_at": again_at} if again_at else {"next_at": None, "outside_id": None}
    connection.execute(update.values(**values))


def polled(connection: Connection, broker_ids: Sequence[UUID], now: datetime) -> list[Any]:
    """Requests at these brokers whose status must be fetched: due, and not in a final state."""
    table = removal_requests.c
    query = sa.select(removal_requests).where(
        table.broker_id.in_(broker_ids),
        table.channel == "drp",
        table.outside_id.is_not(None),
        table.next_at <= now,
        table.state.in_(("sent", "acknowledged", "in_progress", "extended", "needs_identity", "overdue", "escalated")),
    )
    return list(connection.execute(query))
