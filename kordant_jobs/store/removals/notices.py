"""Notifications about removal requests: queued with the event that they tell of, read when they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.pending import NoticeRow
from kordant_jobs.store.notifications import outbox


@dataclass(frozen=True, kw_only=True)
class RemovalNoticeRow(NoticeRow):
    """A notification that a request needs the subscriber, or that a broker is done with it."""

    request_id: UUID
    broker_name: str
    state: str
    """Where the event led; the request may have moved on since."""
    state_now: str
    reason: str
    page: str
    answer_by_on: date | None


_ROWS = f"""
SELECT {outbox.NOTICE_COLUMNS},
       CASE WHEN e.to_state IN ('needs_user_action', 'needs_identity', 'escalated') THEN 'medium' ELSE 'low' END
           AS severity,
       r.id AS request_id, b.name AS broker_name, e.to_state AS state, r.state AS state_now, e.reason,
       coalesce(b.facts ->> 'opt_out_url', '') AS page, r.answer_by_on
FROM kordant.notification_outbox o
JOIN kordant.removal_events e ON e.id = o.removal_event_id
JOIN kordant.removal_requests r ON r.id = e.request_id
JOIN kordant.brokers b ON b.id = r.broker_id
{outbox.NOTICE_JOINS}
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""  # noqa: S608 - put together from constants


def removal_notices(connection: Connection, ids: Sequence[UUID]) -> list[RemovalNoticeRow]:
    """What those of the notifications `ids` that are about removal requests are made from."""
    rows = connection.execute(sa.text(_ROWS), {"ids": [str(one) for one in ids]})
    return [RemovalNoticeRow(**row._mapping) for row in rows]
