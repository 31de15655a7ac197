"""Notifications that a report is ready: queued with the report's row, read when they are sent. The outbox claims and
marks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.choices import LEAST_SEVERITY, Category
from kordant_jobs.domain.notifications.pending import AlertRow, NoticeRow, PropertyRow, VoiceRow
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.store.finance.notices import FinanceNoticeRow, finance_notices
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.property import notices as property_notices
from kordant_jobs.store.removals.notices import RemovalNoticeRow, removal_notices
from kordant_jobs.store.voice import notices as voice_notices

SEVERITY = Severity.LOW
"""A report is not urgent: it waits for the end of quiet hours, and uses no channel that interrupts."""


@dataclass(frozen=True, kw_only=True)
class ReportNoticeRow(NoticeRow):
    """A notification that a report is ready, with the counts in its text."""

    report_id: UUID
    kind: str
    period_start_on: date
    period_end_on: date
    new: int
    open: int
    documents: int
    voice_alerts: int
    overall: str
    sources: dict[str, str]


_QUEUE = """
INSERT INTO kordant.notification_outbox (id, report_id, subscription_id, category, channel, address_id)
SELECT gen_random_uuid(), r.id, r.subscription_id, :category, 'email', cast(NULL AS uuid)
FROM kordant.reports r JOIN kordant.subscriptions s ON s.id = r.subscription_id
WHERE r.id = ANY(cast(:ids AS uuid[])) AND s.tier = ANY(:tiers)
UNION ALL
SELECT gen_random_uuid(), r.id, r.subscription_id, :category, c.channel, c.id
FROM kordant.reports r
JOIN kordant.subscriptions s ON s.id = r.subscription_id
JOIN kordant.contact_addresses c ON c.subscriber_id = s.subscriber_id AND c.removed_at IS NULL
LEFT JOIN kordant.notification_preferences w
       ON w.subscriber_id = s.subscriber_id AND w.category = :category AND w.channel = c.channel
WHERE r.id = ANY(cast(:ids AS uuid[])) AND s.tier = ANY(:tiers) AND w.mode IS DISTINCT FROM 'off'
  AND c.channel <> ALL(cast(:too_loud AS text[]))
ON CONFLICT DO NOTHING
"""

_ROWS = f"""
SELECT {outbox.NOTICE_COLUMNS}, cast(:severity AS text) AS severity, r.id AS report_id, r.kind, r.period_start_on,
       r.period_end_on, cast(r.figures ->> 'new' AS int) AS new, cast(r.figures ->> 'open' AS int) AS open,
       coalesce(cast(r.figures ->> 'documents' AS int), 0) AS documents,
       coalesce(cast(r.figures ->> 'voice_alerts' AS int), 0) AS voice_alerts,
       r.figures ->> 'overall' AS overall, r.figures -> 'sources' AS sources
FROM kordant.notification_outbox o
JOIN kordant.reports r ON r.id = o.report_id
{outbox.NOTICE_JOINS}
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""  # noqa: S608 - put together from constants


def queue(connection: Connection, report_ids: Sequence[UUID], *, tiers: Sequence[Tier]) -> int:
    """Queue the notifications of these reports in the caller's transaction, one for each address of subscribers with
    one of `tiers`. Returns the number of new ones: a report that is made again queues no second notification."""
    if not report_ids:
        return 0
    order = list(Severity)
    too_loud = [channel for channel, least in LEAST_SEVERITY.items() if order.index(least) > order.index(SEVERITY)]
    values = {
        "ids": [str(one) for one in report_ids],
        "category": Category.REPORT,
        "too_loud": too_loud,
        "tiers": [tier.value for tier in tiers],
    }
    return int(connection.execute(sa.text(_QUEUE), values).rowcount)


Notice = AlertRow | PropertyRow | VoiceRow | ReportNoticeRow | RemovalNoticeRow | FinanceNoticeRow
"""A notification of any kind, with the facts for its text."""


def notices(connection: Connection, ids: Sequence[UUID]) -> list[Notice]:
    """The content of the notifications `ids`: alerts, reports, news of removal requests and of bank accounts, in each
    group the longest due first."""
    found: list[Notice] = [*outbox.alert_rows(connection, ids)]
    if len(found) < len(set(ids)):
        found += property_notices.notices(connection, ids)
    if len(found) < len(set(ids)):
        values = {"ids": [str(one) for one in ids], "severity": SEVERITY}
        found += [ReportNoticeRow(**row._mapping) for row in connection.execute(sa.text(_ROWS), values)]
    if len(found) < len(set(ids)):
        found += removal_notices(connection, ids)
    if len(found) < len(set(ids)):
        found += voice_notices.notices(connection, ids)
    if len(found) < len(set(ids)):
        found += finance_notices(connection, ids)
    return found
