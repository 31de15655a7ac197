"""Notifications about removal requests: queued with their event, read when they are sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.pending import NoticeRow
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.people.keyring import SubscriberKeys
from kordant_jobs.store.removals import due, links, profiles
from kordant_jobs.store.removals.replies import UNREAD


@dataclass(frozen=True, kw_only=True)
class RemovalNoticeRow(NoticeRow):
    """A notification that the subscriber must act on a request, or that a broker has finished it."""

    request_id: UUID
    broker_name: str
    state: str
    """The state that the event led to; the request may have moved on since."""
    state_now: str
    reason: str
    verification_encrypted: bytes | None = field(repr=False)
    facts: Mapping[str, Any]
    """The broker's `opt_out_url`, and its `recipe` with `prefill`."""
    profile_id: UUID | None
    details_encrypted: bytes | None = field(repr=False)
    answer_by_on: date | None
    is_unread: bool
    """The broker wrote again, and a person has not read it yet."""
    asked_by: str | None
    """The channel over which the broker was asked."""
    can_check: bool
    """True when the broker's site can be searched for the subscriber."""

    def page(self, keys: SubscriberKeys, name: str, contact: str) -> str:
        """The page for the subscriber, decrypted (see `links.page_for`)."""
        details = {"name": name, "email": contact}
        if self.profile_id is not None and self.details_encrypted is not None:
            details |= profiles.details_of(keys, self.subscriber_id, self.profile_id, self.details_encrypted)
        return links.page_for(
            keys,
            request_id=self.request_id,
            subscriber_id=self.subscriber_id,
            state=self.state_now,
            sealed=self.verification_encrypted,
            facts=self.facts,
            details=details,
        )


_ROWS = f"""
SELECT {outbox.NOTICE_COLUMNS},
       CASE WHEN e.to_state IN ('needs_user_action', 'needs_identity', 'escalated') THEN 'medium' ELSE 'low' END
           AS severity,
       r.id AS request_id, b.name AS broker_name, e.to_state AS state, r.state AS state_now, e.reason,
       r.verification_encrypted, r.answer_by_on, {UNREAD} AS is_unread, r.channel AS asked_by,
       {due.CAN_CHECK},
       jsonb_build_object('opt_out_url', coalesce(b.facts ->> 'opt_out_url', ''),
                          'recipe', jsonb_build_object('prefill', b.facts -> 'recipe' ->> 'prefill')) AS facts,
       f.id AS profile_id, CASE WHEN b.facts -> 'recipe' ? 'prefill' THEN f.details_encrypted END AS details_encrypted
FROM kordant.notification_outbox o
JOIN kordant.removal_events e ON e.id = o.removal_event_id
JOIN kordant.removal_requests r ON r.id = e.request_id
JOIN kordant.brokers b ON b.id = r.broker_id
LEFT JOIN kordant.removal_profiles f ON f.subscriber_id = r.subscriber_id
{outbox.NOTICE_JOINS}
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""  # noqa: S608 - put together from constants


def removal_notices(connection: Connection, ids: Sequence[UUID]) -> list[RemovalNoticeRow]:
    """The content of the notifications among `ids` that are about removal requests."""
    rows = connection.execute(sa.text(_ROWS), {"ids": [str(one) for one in ids]})
    return [RemovalNoticeRow(**row._mapping) for row in rows]
