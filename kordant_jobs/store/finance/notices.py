"""Notices to owners of bank data: each is created once. It goes to the outbox when a subscription is linked to the
entity."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.states import NoticeKind
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.choices import LEAST_SEVERITY, Category
from kordant_jobs.domain.notifications.pending import NoticeRow
from kordant_jobs.store.notifications import outbox

_TELL = sa.text("""
INSERT INTO kordant.finance_notices (id, entity_id, connection_id, kind, dedup_key, severity, facts)
VALUES (:id, :entity, :connection, :kind, :key, :severity, cast(:facts AS jsonb))
ON CONFLICT (entity_id, dedup_key) DO NOTHING RETURNING id
""")
_QUEUE = sa.text("""
INSERT INTO kordant.notification_outbox (id, finance_notice_id, subscription_id, category, channel, address_id)
SELECT gen_random_uuid(), n.id, e.subscription_id, :category, w.channel, w.address_id
FROM kordant.finance_notices n
JOIN kordant.entities e ON e.id = n.entity_id
JOIN kordant.subscriptions s ON s.id = e.subscription_id AND s.status = 'active'
CROSS JOIN LATERAL (
    SELECT 'email' AS channel, cast(NULL AS uuid) AS address_id
    UNION ALL
    SELECT c.channel, c.id FROM kordant.contact_addresses c
    LEFT JOIN kordant.notification_preferences p
           ON p.subscriber_id = s.subscriber_id AND p.category = :category AND p.channel = c.channel
    WHERE c.subscriber_id = s.subscriber_id AND c.removed_at IS NULL AND p.mode IS DISTINCT FROM 'off'
      AND c.channel || ' ' || n.severity <> ALL(cast(:too_quiet AS text[]))) w
WHERE n.id = :id
ON CONFLICT DO NOTHING
""")


def queue(
    connection: Connection,
    *,
    entity_id: UUID,
    connection_id: UUID | None,
    kind: NoticeKind,
    key: str,
    severity: Severity,
    facts: Mapping[str, Any],
) -> bool:
    """Create a notice to an entity's owner, once for each `key`, in the caller's transaction. False: it exists
    already."""
    given = {
        "id": uuid7(), "entity": entity_id, "connection": connection_id, "kind": kind.value, "key": key,
        "severity": severity.value, "facts": json.dumps(facts, default=str),
    }  # fmt: skip
    made = connection.execute(_TELL, given).scalar()
    if made is None:
        return False
    levels = list(Severity)
    quiet = [
        f"{channel} {below}" for channel, least in LEAST_SEVERITY.items() for below in levels[: levels.index(least)]
    ]
    connection.execute(_QUEUE, {"id": made, "category": Category.FINANCE.value, "too_quiet": quiet})
    return True


@dataclass(frozen=True, kw_only=True)
class FinanceNoticeRow(NoticeRow):
    """A notification about an entity's bank data: its kind and facts (codes, days, ids)."""

    notice_id: UUID
    kind: str
    facts: Mapping[str, Any]


_ROWS = f"""
SELECT {outbox.NOTICE_COLUMNS}, n.severity, n.id AS notice_id, n.kind, n.facts
FROM kordant.notification_outbox o
JOIN kordant.finance_notices n ON n.id = o.finance_notice_id
{outbox.NOTICE_JOINS}
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""  # noqa: S608 - put together from constants


def finance_notices(connection: Connection, ids: Sequence[UUID]) -> list[FinanceNoticeRow]:
    """The content of the notifications among `ids` that are about bank data."""
    rows = connection.execute(sa.text(_ROWS), {"ids": [str(one) for one in ids]})
    return [FinanceNoticeRow(**row._mapping) for row in rows]
