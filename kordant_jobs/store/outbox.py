"""The outbox of notifications: which are due, who holds them, and what became of them.

A claim is a lease, and counts as an attempt; the number of the attempt is the fence: whoever lost the lease to
another attempt can no longer write. What a mail says is `jobs/notifications_send`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.alerts import Channel, OutboxStatus


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A notification that is ours to send until the lease ends. `attempt` counts from 1.

    `interrupted`: an earlier attempt was cut off between sending and marking, so this one may be a second copy.
    """

    id: UUID
    attempt: int
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class LetterRow:
    """Everything that a notification's text is made from. Personal data is still sealed."""

    id: UUID
    subscriber_id: UUID
    subscription_status: str
    locale: str
    time_zone: str
    forgotten_at: datetime | None
    name_encrypted: bytes | None
    contact_encrypted: bytes | None
    item_id: UUID
    item_kind: str
    identifier_encrypted: bytes
    item_removed_at: datetime | None
    dismissed_at: datetime | None
    secret: str
    severity: str
    why: list[dict[str, Any]]
    alerted_at: datetime
    breach_name: str
    breach_source: str
    breach_title: str
    breach_domain: str
    breached_on: date | None
    data_classes: list[str]
    is_sensitive: bool


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What becomes of a claimed notification. `due_in` says when it is tried again, `refund` that this attempt
    does not count."""

    id: UUID
    attempt: int
    status: OutboxStatus
    reason: str | None = None
    due_in: timedelta | None = None
    refund: bool = False


_CLAIM = """
WITH due AS (
    SELECT id, status FROM kordant.notification_outbox
    WHERE channel = :channel AND due_at <= clock_timestamp()
      AND (status IN ('queued', 'deferred') OR (status = 'sending' AND lease_until < clock_timestamp()))
    ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE kordant.notification_outbox o
SET status = 'sending', attempts = o.attempts + 1, lease_until = clock_timestamp() + cast(:lease AS interval)
FROM due WHERE o.id = due.id
RETURNING o.id, o.attempts, due.status = 'sending' AS interrupted
"""

_LETTERS = """
SELECT o.id, s.subscriber_id, s.status AS subscription_status, s.locale, s.time_zone,
       p.forgotten_at, p.name_encrypted, p.contact_encrypted,
       i.id AS item_id, i.kind AS item_kind, i.identifier_encrypted, i.removed_at AS item_removed_at,
       e.dismissed_at, e.secret, a.severity, a.why, a.created_at AS alerted_at,
       b.name AS breach_name, b.source AS breach_source, b.title AS breach_title, b.domain AS breach_domain,
       b.breached_on, b.data_classes, b.is_sensitive
FROM kordant.notification_outbox o
JOIN kordant.alerts a ON a.id = o.alert_id
JOIN kordant.exposures e ON e.id = a.exposure_id
JOIN kordant.watchlist_items i ON i.id = e.item_id
JOIN kordant.breaches b ON b.name = e.breach_name
JOIN kordant.subscriptions s ON s.id = o.subscription_id
JOIN kordant.subscribers p ON p.id = s.subscriber_id
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""

_MARK = """
UPDATE kordant.notification_outbox o
SET status = m.status, reason = m.reason, lease_until = NULL,
    attempts = o.attempts - CASE WHEN m.refund THEN 1 ELSE 0 END,
    due_at = CASE WHEN m.due_in_s IS NULL THEN o.due_at ELSE clock_timestamp() + make_interval(secs => m.due_in_s) END,
    sent_at = CASE WHEN m.status = 'sent' THEN clock_timestamp() ELSE o.sent_at END
FROM unnest(cast(:ids AS uuid[]), cast(:attempts AS int[]), cast(:statuses AS text[]), cast(:reasons AS text[]),
            cast(:due_in AS float8[]), cast(:refunds AS boolean[]))
     AS m (id, attempt, status, reason, due_in_s, refund)
WHERE o.id = m.id AND o.attempts = m.attempt AND o.status = 'sending'
"""


def due(connection: Connection, channel: Channel) -> int:
    """How many notifications are due now, those included whose sender was cut off."""
    query = (
        "SELECT count(*) FROM kordant.notification_outbox WHERE channel = :channel AND due_at <= clock_timestamp() "
        "AND (status IN ('queued', 'deferred') OR (status = 'sending' AND lease_until < clock_timestamp()))"
    )
    return int(connection.execute(sa.text(query), {"channel": channel}).scalar_one())


def claim(connection: Connection, *, channel: Channel, limit: int, lease: timedelta) -> list[Claim]:
    """Take up to `limit` due notifications for `lease`. What another sender holds is passed over, not waited for."""
    values = {"channel": channel, "limit": limit, "lease": f"{lease.total_seconds()} seconds"}
    rows = connection.execute(sa.text(_CLAIM), values)
    return [Claim(id=row.id, attempt=row.attempts, interrupted=row.interrupted) for row in rows]


def letters(connection: Connection, ids: Sequence[UUID]) -> list[LetterRow]:
    """What the notifications `ids` are made from, the longest due first."""
    rows = connection.execute(sa.text(_LETTERS), {"ids": [str(one) for one in ids]})
    return [LetterRow(**row._mapping) for row in rows]


def mark(connection: Connection, marks: Sequence[Mark]) -> int:
    """Write what became of claimed notifications. Returns how many were still ours to write."""
    if not marks:
        return 0
    done = connection.execute(
        sa.text(_MARK),
        {
            "ids": [str(one.id) for one in marks],
            "attempts": [one.attempt for one in marks],
            "statuses": [one.status.value for one in marks],
            "reasons": [one.reason for one in marks],
            "due_in": [one.due_in.total_seconds() if one.due_in else None for one in marks],
            "refunds": [one.refund for one in marks],
        },
    )
    return int(done.rowcount)
