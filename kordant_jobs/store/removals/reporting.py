"""Removal requests for reports."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.store.removals import due
from kordant_jobs.store.removals.replies import UNREAD

_LINES = f"""
SELECT r.subscription_id, b.name AS broker, r.state, r.sent_on,
       CASE r.state WHEN 'extended' THEN r.extended_by_on ELSE r.answer_by_on END AS deadline_on,
       r.channel, r.law <> 'voluntary' AS can_complain,
       {due.CAN_CHECK},
       r.broker_says IN ('done', 'drp_fulfilled') AS says_done, r.check_says, r.reminders,
       {UNREAD} AS is_unread,
       cast(r.checked_at AT TIME ZONE s.time_zone AS date) AS checked_on
FROM kordant.removal_requests r
JOIN kordant.brokers b ON b.id = r.broker_id
JOIN kordant.subscriptions s ON s.id = r.subscription_id
WHERE r.subscription_id = ANY(cast(:ids AS uuid[])) AND r.state <> 'cancelled'
ORDER BY b.name, r.id
"""  # noqa: S608 - from constants


def lines(connection: Connection, subscription_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The requests of each subscription that has any, in their current state."""
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in connection.execute(sa.text(_LINES), {"ids": [str(one) for one in subscription_ids]}):
        facts = dict(row._mapping)
        facts["says_done"] = bool(facts["says_done"])
        found.setdefault(facts.pop("subscription_id"), []).append(facts)
    return found
