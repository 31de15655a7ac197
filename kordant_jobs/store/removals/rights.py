"""Businesses of the Data Rights Protocol, our tokens there, and requests that they gave an id."""

from __future__ import annotations

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
    """Take businesses of a directory; one that is known keeps its token. Returns how many there are."""
    rows = [{"id": one["id"], "document": dict(one), "updated_at": now} for one in documents]
    if rows:
        statement = insert(drp_businesses)
        fresh = {name: statement.excluded[name] for name in ("document", "updated_at")}
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=fresh), rows)
    return len(rows)


def business(connection: Connection, business_id: str) -> dict[str, Any] | None:
    """The document of one business."""
    query = sa.select(drp_businesses.c.document).where(drp_businesses.c.id == business_id)
    found: dict[str, Any] | None = connection.execute(query).scalar()
    return found


def with_token(
    db: Engine, keyring: Keyring, agent: RightsAgent, document: Mapping[str, Any], call: Callable[[RightsAgent, str], T]
) -> T:
    """Call with our token at a business; a token that is missing or not accepted any more is asked for, once. Tokens
    are shared by all processes, since a new one ends the one before.

    Raises:
        RightsError, SourceUnavailable: as the call does.
    """
    token = _token(db, keyring, document["id"])
    if token is not None:
        try:
            return call(agent, token)
        except RightsError as error:
            if not error.forbidden:
                raise
    fresh = _fresh_token(db, keyring, agent, document, instead_of=token)
    return call(agent, fresh)


def _token(db: Engine, keyring: Keyring, business_id: str) -> str | None:
    query = sa.select(drp_businesses.c.token_sealed).where(drp_businesses.c.id == business_id)
    with db.connect() as connection:
        sealed = connection.execute(query).scalar()
    return keyring.open_secret(PURPOSE, bytes(sealed)) if sealed else None


def _fresh_token(
    db: Engine, keyring: Keyring, agent: RightsAgent, document: Mapping[str, Any], *, instead_of: str | None
) -> str:
    """A token that another process got meanwhile, else a new one."""
    now = _token(db, keyring, document["id"])
    if now is not None and now != instead_of:
        return now
    token = agent.register(document)
    sealed = keyring.seal_secret(PURPOSE, token)
    with db.begin() as connection:
        update = sa.update(drp_businesses).where(drp_businesses.c.id == document["id"])
        connection.execute(update.values(token_sealed=sealed, token_since=sa.func.now()))
    return token


def remember(connection: Connection, request_id: UUID, outside_id: str) -> None:
    """Keep what a business calls a request, before anything else is written: a killed sender does not lose it."""
    update = sa.update(removal_requests).where(removal_requests.c.id == request_id)
    connection.execute(update.values(outside_id=outside_id))


def revocable(connection: Connection, broker_ids: Sequence[UUID], now: datetime) -> list[Any]:
    """Cancelled requests that the business was not notified of yet."""
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
    """Record that the business was notified, or when it is to be notified again."""
    update = sa.update(removal_requests).where(removal_requests.c.id == request_id)
    values = {"next_at": again_at} if again_at else {"next_at": None, "outside_id": None}
    connection.execute(update.values(**values))


def polled(connection: Connection, broker_ids: Sequence[UUID], now: datetime) -> list[Any]:
    """Requests at these brokers whose status is to be asked for: due, and not at their end."""
    table = removal_requests.c
    query = sa.select(removal_requests).where(
        table.broker_id.in_(broker_ids),
        table.channel == "drp",
        table.outside_id.is_not(None),
        table.next_at <= now,
        table.state.in_(("sent", "acknowledged", "in_progress", "extended", "needs_identity", "overdue", "escalated")),
    )
    return list(connection.execute(query))
