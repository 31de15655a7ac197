"""Removal requests: create, find and show. `moves` moves them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.removals.clocks import Ask, law_of
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.removals import due, moves
from kordant_jobs.store.removals.replies import UNREAD
from kordant_jobs.store.removals.tables import (
    brokers,
    removal_checks,
    removal_disclosures,
    removal_events,
    removal_messages,
    removal_profiles,
    removal_replies,
    removal_requests,
)

TOKEN_BYTES = 10
"""Random bytes in the address of a request: 80 bits, so that reply addresses cannot be guessed."""


@dataclass(frozen=True, kw_only=True)
class Created:
    """The ids of the requests that were created. `covered` is the number of brokers that have a request already, or are
    handled by a broker that has one; `elsewhere` is the number of brokers that do not serve the place of the person."""

    made: tuple[UUID, ...]
    covered: int
    elsewhere: int


def create(
    connection: Connection,
    subscription_id: UUID,
    broker_ids: Sequence[UUID],
    *,
    now: datetime,
    ask: Ask = Ask.DELETION,
) -> Created:
    """Create a request to each of these brokers, as a draft for the next run. Brokers that another one handles get one
    request to that one; a person has one request for each broker, however often they ask. A deletion covers an opt-out,
    but not the other way round.

    Raises:
        PermanentError: there is no such subscription, or its subscriber has no profile yet.
    """
    query = (
        sa.select(subscriptions, removal_profiles.c.country, removal_profiles.c.state)
        .outerjoin(removal_profiles, removal_profiles.c.subscriber_id == subscriptions.c.subscriber_id)
        .where(subscriptions.c.id == subscription_id)
    )
    person = connection.execute(query).one_or_none()
    if person is None:
        raise PermanentError(f"there is no subscription {subscription_id}.")
    if person.country is None:
        raise PermanentError(
            f"subscription {subscription_id} has no removal profile: `kordant-jobs removals permit` writes one."
        )
    owner = sa.func.coalesce(brokers.c.handled_by, brokers.c.id)
    owned = dict(connection.execute(sa.select(brokers.c.id, owner).where(brokers.c.id.in_(broker_ids))).tuples().all())
    query = sa.select(brokers.c.id, brokers.c.facts).where(brokers.c.id.in_(set(owned.values())))
    found = connection.execute(query).all()
    lives_in = f"{person.country}-{person.state}" if person.state else person.country
    facts = {row.id: row.facts for row in found if row.facts["recipe"].get("only") in {None, person.country, lives_in}}
    table = removal_requests.c
    deleting = sa.select(table.broker_id).where(
        table.subscriber_id == person.subscriber_id,
        table.ask == Ask.DELETION.value,
        table.state != RemovalState.CANCELLED.value,
    )
    covered = set(connection.execute(deleting).scalars()) if ask is Ask.OPT_OUT else set()
    rows = [
        {
            "id": uuid4(),
            "subscriber_id": person.subscriber_id,
            "subscription_id": subscription_id,
            "broker_id": broker_id,
            "law": law_of(person.country, person.state).value,
            "ask": ask.value,
            "language": facts[broker_id]["recipe"].get("language") or ("pt-BR" if person.country == "BR" else "en"),
            "address_token": secrets.token_hex(TOKEN_BYTES),
            "next_at": now,
            "created_at": now,
            "state_since": now,
        }
        for broker_id in facts.keys() - covered
    ]
    made: list[UUID] = []
    if rows:
        statement = insert(removal_requests).on_conflict_do_nothing().returning(removal_requests.c.id)
        made = list(connection.execute(statement, rows).scalars())
    elsewhere = sum(by not in facts for by in owned.values())
    return Created(made=tuple(made), covered=len(owned) - len(made) - elsewhere, elsewhere=elsewhere)


def get(connection: Connection, request_id: UUID) -> Any:
    """One request.

    Raises:
        PermanentError: there is none.
    """
    row = connection.execute(sa.select(removal_requests).where(removal_requests.c.id == request_id)).one_or_none()
    if row is None:
        raise PermanentError(f"there is no removal request {request_id}.")
    return row


def locked(connection: Connection, request_ids: Sequence[UUID]) -> list[Any]:
    """Requests, locked until the transaction ends."""
    table = removal_requests.c
    query = sa.select(removal_requests).where(table.id.in_(request_ids)).order_by(table.id).with_for_update()
    return list(connection.execute(query))


def move(
    connection: Connection,
    request_id: UUID,
    to: RemovalState,
    *,
    reason: str,
    actor: str,
    now: datetime,
    **more: Any,
) -> bool:
    """Move one request. False when another process moved it."""
    row = get(connection, request_id)
    one = {"id": str(request_id), "from_state": row.state, "to_state": to.value, "reason": reason, **more}
    return moves.apply(connection, moves.frame_of([one]), now=now, actor=actor) == 1


_LIST = f"""
SELECT r.id, b.name AS broker, r.state, r.reason, r.channel, r.law, r.sent_on, r.answer_by_on, r.extended_by_on,
       r.next_at, r.broker_says, r.check_says, r.checked_at, r.attempts, r.subscription_id,
       {due.CAN_CHECK},
       {UNREAD} AS is_unread
FROM kordant.removal_requests r JOIN kordant.brokers b ON b.id = r.broker_id
WHERE (cast(:subscription AS uuid) IS NULL OR r.subscription_id = :subscription)
  AND (cast(:states AS text[]) IS NULL OR r.state = ANY(:states))
ORDER BY r.next_at NULLS LAST, b.name LIMIT :limit
"""  # noqa: S608 - from constants


def listed(
    connection: Connection,
    *,
    subscription_id: UUID | None = None,
    states: Sequence[RemovalState] | None = None,
    limit: int | None = None,
) -> list[Any]:
    """Requests with their broker's name, those due first; `limit` None: all."""
    values = {
        "subscription": subscription_id, "limit": limit,
        "states": [one.value for one in states] if states is not None else None,
    }  # fmt: skip
    return list(connection.execute(sa.text(_LIST), values))


@dataclass(frozen=True, kw_only=True)
class Story:
    """One request with its history, the oldest event first."""

    request: Any
    broker: Any
    events: list[Any]
    messages: list[Any]
    replies: list[Any]
    checks: list[Any]
    can_check: bool
    """True when a site of the broker can be searched."""


def story(connection: Connection, request_id: UUID) -> Story:
    """Everything about one request.

    Raises:
        PermanentError: there is none.
    """
    request = get(connection, request_id)

    def of(table: sa.Table, by: str) -> list[Any]:
        return list(connection.execute(sa.select(table).where(table.c.request_id == request_id).order_by(table.c[by])))

    return Story(
        request=request,
        broker=connection.execute(sa.select(brokers).where(brokers.c.id == request.broker_id)).one(),
        events=of(removal_events, "at"),
        messages=of(removal_messages, "created_at"),
        replies=of(removal_replies, "received_at"),
        checks=of(removal_checks, "checked_at"),
        can_check=request.broker_id in due.searchable(connection, [request.broker_id]),
    )


def disclosures(connection: Connection, subscription_id: UUID) -> list[Any]:
    """The disclosures: what was disclosed, to whom, when and on which ground, the newest first."""
    table = removal_disclosures
    query = (
        sa.select(table, brokers.c.name.label("broker"))
        .join(brokers, brokers.c.id == table.c.broker_id)
        .join(removal_requests, removal_requests.c.id == table.c.request_id)
        .where(removal_requests.c.subscription_id == subscription_id)
        .order_by(table.c.disclosed_at.desc())
    )
    return list(connection.execute(query))


def write_checks(connection: Connection, rows: Sequence[dict[str, Any]], *, now: datetime) -> None:
    """Write the results of our own checks: `request_id`, `verdict`, `reason`, `source`; at most one for each
    request."""
    if not rows:
        return
    connection.execute(sa.insert(removal_checks), [{"id": uuid7(), "checked_at": now, **row} for row in rows])
    values = {
        "ids": [str(row["request_id"]) for row in rows], "verdicts": [row["verdict"] for row in rows], "now": now,
    }  # fmt: skip
    connection.execute(sa.text(_CHECKED), values)


_CHECKED = """
UPDATE kordant.removal_requests r SET check_says = c.verdict, checked_at = :now
FROM unnest(cast(:ids AS uuid[]), cast(:verdicts AS text[])) AS c (id, verdict) WHERE r.id = c.id
"""
