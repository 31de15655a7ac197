"""Messages to brokers: claimed under each broker's daily cap, over all processes, and marked.

A broker's row is locked while its messages are claimed, and its cap counts the messages begun on that day (UTC), so
that processes never exceed it together. A message whose sender was interrupted is claimed again after its lease; it is
not counted again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.removals.replies import MessageStatus
from kordant_jobs.engine.control import leases
from kordant_jobs.store.removals.due import LEASE, day_start
from kordant_jobs.store.removals.tables import removal_disclosures, removal_messages

HOLDER = "removebrokers_process"

_LOCK = "SELECT id FROM kordant.brokers WHERE id = ANY(cast(:brokers AS uuid[])) ORDER BY id FOR UPDATE"

_BOXES = """
SELECT DISTINCT contact FROM kordant.removal_messages
WHERE broker_id = ANY(cast(:brokers AS uuid[])) AND status = 'queued' AND kind = 'request' AND due_at <= :now
"""
_LOCK_BOXES = f"""
SELECT pg_advisory_xact_lock(hashtextextended(contact, 0)) FROM ({_BOXES} ORDER BY contact) AS boxes
"""  # noqa: S608 - put together from constants

_PUT_OFF = f"""
WITH related AS (
    SELECT m.id, m.request_id, m.broker_id, m.status, m.due_at,
           lag(m.request_id) OVER same AS request_before, lag(coalesce(m.begun_at, :now)) OVER same AS before
    FROM ({_BOXES}) AS boxes JOIN kordant.removal_messages m USING (contact)
    JOIN kordant.removal_requests r ON r.id = m.request_id
    WHERE m.kind = 'request' AND m.status IN ('queued', 'sending', 'sent', 'uncertain')
    WINDOW same AS (PARTITION BY r.subscriber_id, m.contact, r.ask ORDER BY m.begun_at NULLS LAST, m.created_at, m.id)
)
UPDATE kordant.removal_messages m SET due_at = d.before + make_interval(days => b.cool_down_days)
FROM related d JOIN kordant.brokers b ON b.id = d.broker_id
WHERE m.id = d.id AND d.status = 'queued' AND d.due_at <= :now AND d.request_before <> d.request_id
  AND d.before + make_interval(days => b.cool_down_days) > :now
"""  # noqa: S608 - put together from constants
"""No address is asked twice about one person within the cool-down, whichever brokers share it, and though the first
request was cancelled."""

_WITHDRAW = """
UPDATE kordant.removal_messages m SET status = 'withdrawn', ended_at = :now
FROM kordant.removal_requests r
WHERE m.broker_id = ANY(cast(:brokers AS uuid[])) AND m.status = 'queued' AND r.id = m.request_id
  AND ((m.kind = 'request' AND r.state <> 'queued')
    OR (m.kind = 'reminder'
        AND r.state NOT IN ('sent', 'acknowledged', 'in_progress', 'extended', 'overdue', 'escalated'))
    OR (m.channel = 'email' AND EXISTS (SELECT 1 FROM kordant.broker_contact_faults f
                                         WHERE f.broker_id = m.broker_id AND f.contact = m.contact)))
RETURNING m.request_id, m.kind, r.state
"""

_CLAIM = f"""
WITH used AS (
    SELECT broker_id, count(*) AS n FROM kordant.removal_messages
    WHERE broker_id = ANY(cast(:brokers AS uuid[])) AND begun_at >= :day GROUP BY 1
), ranked AS (
    SELECT m.id, m.status, row_number() OVER (PARTITION BY m.broker_id, m.status ORDER BY m.due_at, m.id) AS place,
           b.daily_cap - coalesce(u.n, 0) AS left_today
    FROM kordant.removal_messages m
    JOIN kordant.brokers b ON b.id = m.broker_id
    LEFT JOIN used u ON u.broker_id = m.broker_id
    WHERE m.broker_id = ANY(cast(:brokers AS uuid[])) AND m.due_at <= :now
      AND (m.status = 'queued' OR (m.status = 'sending' AND NOT {leases.held_sql("m.lease_id", ":now")}))
      AND (b.paused_until IS NULL OR b.paused_until <= :now)
), taken AS (
    SELECT id FROM ranked WHERE status = 'sending' OR place <= left_today ORDER BY place, id LIMIT :limit
)
UPDATE kordant.removal_messages m
SET status = 'sending', tries = m.tries + 1, begun_at = coalesce(m.begun_at, :now), lease_id = :lease
FROM taken, kordant.removal_requests r
WHERE m.id = taken.id AND r.id = m.request_id
RETURNING m.id, m.request_id, r.subscriber_id, m.broker_id, m.kind, m.channel, m.contact, m.tries, m.created_at,
          r.state, r.law, r.ask, r.language, r.address_token, r.sent_on, r.outside_id, r.subscription_id,
          (SELECT f.id FROM kordant.removal_messages f WHERE f.request_id = m.request_id AND f.kind = 'request'
              AND f.channel = 'email' AND f.status = 'sent' ORDER BY f.created_at DESC LIMIT 1) AS thread_id
"""  # noqa: S608 - put together from constants


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A message that is ours to send until its lease ends, with the facts that its text needs. Ids and codes only."""

    id: UUID
    request_id: UUID
    subscriber_id: UUID
    subscription_id: UUID
    broker_id: UUID
    kind: str
    channel: str
    contact: str
    tries: int
    created_at: datetime
    state: str
    law: str
    ask: str
    language: str
    address_token: str
    sent_on: Any
    outside_id: str | None
    thread_id: UUID | None
    """The request that a reminder follows."""

    @property
    def may_be_a_copy(self) -> bool:
        """True when an earlier attempt was interrupted and may have sent it."""
        return self.tries > 1


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """A message that must not be sent any more; `state` is that of its request."""

    request_id: UUID
    kind: str
    state: str


def withdraw(connection: Connection, broker_ids: Sequence[UUID], *, now: datetime) -> list[Withdrawn]:
    """Withdraw queued messages whose request moved on, or whose contact does not work."""
    rows = connection.execute(sa.text(_WITHDRAW), {"brokers": [str(one) for one in broker_ids], "now": now})
    return [Withdrawn(request_id=row.request_id, kind=row.kind, state=row.state) for row in rows]


def claim(connection: Connection, broker_ids: Sequence[UUID], *, limit: int, now: datetime) -> list[Outgoing]:
    """Claim up to `limit` messages to these brokers, within each broker's daily cap. A request to an address that was
    asked about the same person is deferred until its cool-down ends."""
    named = {"brokers": [str(one) for one in broker_ids]}
    connection.execute(sa.text(_LOCK), named)
    for statement in (_LOCK_BOXES, _PUT_OFF):
        connection.execute(sa.text(statement), {**named, "now": now})
    [lease] = leases.insert(connection, ["removal messages"], holder=HOLDER, now=now, ttl_s=LEASE.total_seconds())
    values = {**named, "now": now, "day": day_start(now), "lease": lease.id, "limit": limit}
    claimed = [Outgoing(**row._mapping) for row in connection.execute(sa.text(_CLAIM), values)]
    if not claimed:
        leases.release(connection, [lease.id])
    return claimed


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The outcome of one message; `due_at` is the time of the next attempt of a queued one."""

    id: UUID
    status: MessageStatus
    code: str | None = None
    due_at: datetime | None = None


_MARK = """
UPDATE kordant.removal_messages m
SET status = e.status, code = e.code, due_at = coalesce(e.due_at, m.due_at), lease_id = NULL,
    ended_at = CASE WHEN e.status = 'queued' THEN NULL ELSE :now END,
    begun_at = CASE WHEN e.status = 'queued' THEN NULL ELSE m.begun_at END,
    tries = CASE WHEN e.status = 'queued' THEN 0 ELSE m.tries END
FROM unnest(cast(:ids AS uuid[]), cast(:statuses AS text[]), cast(:codes AS text[]), cast(:due AS timestamptz[]))
     AS e (id, status, code, due_at)
WHERE m.id = e.id AND m.status = 'sending'
RETURNING m.id
"""


def mark(connection: Connection, ended: Sequence[Ended], *, now: datetime) -> set[UUID]:
    """Write the outcomes of claimed messages. Returns the ids of those that we still held."""
    if not ended:
        return set()
    values = {
        "ids": [str(one.id) for one in ended], "statuses": [one.status.value for one in ended],
        "codes": [one.code for one in ended], "due": [one.due_at for one in ended], "now": now,
    }  # fmt: skip
    return set(connection.execute(sa.text(_MARK), values).scalars())


def disclose(
    connection: Connection, disclosed: Mapping[UUID, tuple[Outgoing, Sequence[str], str]], *, now: datetime
) -> None:
    """Record, before messages are sent, which fields they disclose to whom and on which ground; once for each
    message."""
    rows = [
        {
            "message_id": message_id, "request_id": one.request_id,
            "broker_id": one.broker_id, "fields": list(fields), "legal_ground": ground, "channel": one.channel,
            "disclosed_at": now,
        }
        for message_id, (one, fields, ground) in disclosed.items()
    ]  # fmt: skip
    if rows:
        statement = insert(removal_disclosures).on_conflict_do_nothing()
        connection.execute(statement.returning(removal_disclosures.c.message_id), rows)  # then it is one statement


def written_to(connection: Connection, request_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    """The messages of each request that went out, the newest first: `id`, `kind`, `channel`, `contact`."""
    table = removal_messages.c
    query = sa.select(table.id, table.request_id, table.kind, table.channel, table.contact)
    query = query.where(table.request_id.in_(request_ids), table.begun_at.is_not(None)).order_by(table.begun_at.desc())
    found: dict[UUID, list[Any]] = {}
    for row in connection.execute(query):
        found.setdefault(row.request_id, []).append(row)
    return found


def undisclose(connection: Connection, message_ids: Sequence[UUID], *, at: datetime) -> None:
    """Delete the disclosures recorded `at` this attempt for messages that were not sent. What an earlier attempt
    may have disclosed stays."""
    table = removal_disclosures.c
    connection.execute(
        sa.delete(removal_disclosures).where(table.message_id.in_(message_ids), table.disclosed_at == at)
    )
