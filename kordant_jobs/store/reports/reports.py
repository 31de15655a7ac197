"""Reads the facts of reports, as sets for many subscriptions at once, and lists the reports that exist.

Days are UTC days, as in `source_verdicts`: a period covers `start` ≤ day < `end`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.people.subscriptions import SubscriptionStatus
from kordant_jobs.store.people.tables import subscribers, subscriptions
from kordant_jobs.store.reports.tables import reports

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """A finished report. `figures` has only counts and ids."""

    subscription_id: UUID
    kind: str
    period_start_on: date
    period_end_on: date
    figures: Mapping[str, Any]
    figures_sha256: bytes
    content_sha256: bytes
    storage_key: str
    pages: int


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """Frames with a row for each fact, all with `subscription_id` (UUID).

    `people`: subscriber_id, locale, time_zone, started_at, name_encrypted, and the numbers of their items added and
    removed in the period (items_added, items_removed). `items`: id, kind, identifier_encrypted. `verdicts`: those of
    the period and of the one before, the newest last: source, checked_at, checked_on, verdict, reason. `exposures`:
    those alerted and still open that were known before the period's end, with the content of the breach. `closed`:
    alerted ones that were closed in the period, with the reason (`CloseReason`). `seen`: first_seen_at of every
    exposure that was alerted, open or closed since.
    """

    people: pd.DataFrame
    items: pd.DataFrame
    verdicts: pd.DataFrame
    exposures: pd.DataFrame
    closed: pd.DataFrame
    seen: pd.DataFrame


_ALERTED = """
FROM kordant.exposures e
JOIN kordant.watchlist_items i ON i.id = e.item_id
WHERE e.judgement = 'alert' AND e.dismissed_at IS NULL AND i.removed_at IS NULL
  AND e.first_seen_at < cast(:end AS date)::timestamp AT TIME ZONE 'UTC'
"""


def chosen(
    connection: Connection,
    *,
    tiers: Sequence[str],
    subscription_ids: Sequence[UUID] | None,
    only_affected: bool,
    end: date,
) -> list[UUID]:
    """The selected active subscriptions, in a fixed order; with `only_affected` those with an open exposure."""
    table = subscriptions.c
    query = sa.select(table.id).where(table.status == SubscriptionStatus.ACTIVE)
    if tiers:
        query = query.where(table.tier.in_(tiers))
    if subscription_ids is not None:
        query = query.where(table.id.in_(subscription_ids))
    if only_affected:
        affected = sa.text(f"subscriptions.id IN (SELECT i.subscription_id {_ALERTED})").bindparams(end=end)
        query = query.where(affected)
    return list(connection.execute(query.order_by(table.id)).scalars())


_PEOPLE = """
SELECT s.id AS subscription_id, s.subscriber_id, s.locale, s.time_zone, s.started_at, p.name_encrypted,
       coalesce(w.added, 0) AS items_added, coalesce(w.removed, 0) AS items_removed
FROM kordant.subscriptions s
JOIN kordant.subscribers p ON p.id = s.subscriber_id
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE i.removed_at IS NULL AND i.created_at >= t.starts_at AND i.created_at < t.ends_at)
               AS added,
           count(*) FILTER (WHERE i.removed_at >= t.starts_at AND i.removed_at < t.ends_at) AS removed
    FROM kordant.watchlist_items i,
         (SELECT cast(:start AS date)::timestamp AT TIME ZONE 'UTC' AS starts_at,
                 cast(:end AS date)::timestamp AT TIME ZONE 'UTC' AS ends_at) t
    WHERE i.subscription_id = s.id
) w ON true
WHERE s.id = ANY(cast(:ids AS uuid[]))
"""

_ITEMS = """
SELECT subscription_id, id, kind, identifier_encrypted FROM kordant.watchlist_items
WHERE subscription_id = ANY(cast(:ids AS uuid[])) AND removed_at IS NULL
  AND created_at < cast(:end AS date)::timestamp AT TIME ZONE 'UTC'
ORDER BY kind, created_at, id
"""

_VERDICTS = """
SELECT v.subscription_id, v.source, day.checked_at, day.checked_on, v.verdict, v.reason
FROM kordant.source_verdicts v, LATERAL (
    SELECT v.checked_at, v.checked_on
    UNION ALL SELECT t, (t AT TIME ZONE 'UTC')::date FROM unnest(v.again_at) t
) day
WHERE v.subscription_id = ANY(cast(:ids AS uuid[]))
  AND v.checked_on >= cast(date_trunc('month', cast(:before AS timestamp)) AS date)
  AND day.checked_on >= :before AND day.checked_on < :end
ORDER BY day.checked_on, day.checked_at
"""

_EXPOSURES = f"""
SELECT i.subscription_id, x.id AS exposure_id, x.item_id, x.secret, x.first_seen_at,
       coalesce(a.severity, 'medium') AS severity, b.name AS breach_name, b.source AS breach_source,
       b.title AS breach_title, b.domain AS breach_domain, b.breached_on, b.data_classes
FROM (SELECT e.* {_ALERTED} AND i.subscription_id = ANY(cast(:ids AS uuid[]))) x
JOIN kordant.watchlist_items i ON i.id = x.item_id
JOIN kordant.breaches b ON b.name = x.breach_name
LEFT JOIN kordant.alerts a ON a.exposure_id = x.id
ORDER BY x.first_seen_at, x.id
"""  # noqa: S608 - put together from constants

_CLOSED = """
SELECT i.subscription_id, e.id AS exposure_id, b.name AS breach_name, b.source AS breach_source,
       b.title AS breach_title,
       CASE WHEN e.judgement = 'not_me' THEN 'not_me' WHEN e.judgement <> 'alert' THEN 'withdrawn'
            WHEN e.dismissed_at IS NOT NULL THEN 'closed' ELSE 'not_watched' END AS reason
FROM kordant.exposures e
JOIN kordant.watchlist_items i ON i.id = e.item_id
JOIN kordant.breaches b ON b.name = e.breach_name
JOIN kordant.alerts a ON a.exposure_id = e.id,
     (SELECT cast(:start AS date)::timestamp AT TIME ZONE 'UTC' AS starts_at,
             cast(:end AS date)::timestamp AT TIME ZONE 'UTC' AS ends_at) t
WHERE i.subscription_id = ANY(cast(:ids AS uuid[])) AND e.first_seen_at < t.ends_at
  AND CASE WHEN e.dismissed_at IS NOT NULL THEN e.dismissed_at >= t.starts_at AND e.dismissed_at < t.ends_at
           WHEN e.judgement <> 'alert' THEN EXISTS (
               SELECT 1 FROM (
                   SELECT r.figures FROM kordant.reports r
                   WHERE r.subscription_id = i.subscription_id AND r.kind = :kind AND r.period_start_on < :start
                   ORDER BY r.period_start_on DESC LIMIT 1
               ) last WHERE last.figures -> 'exposure_ids' ? cast(e.id AS text))
           ELSE i.removed_at >= t.starts_at AND i.removed_at < t.ends_at END
ORDER BY b.title, e.id
"""
"""A changed judgement has no time of its own: such an exposure counts as withdrawn in this period when the last report
still listed it."""

_SEEN = """
SELECT i.subscription_id, e.first_seen_at
FROM kordant.exposures e
JOIN kordant.watchlist_items i ON i.id = e.item_id
WHERE i.subscription_id = ANY(cast(:ids AS uuid[])) AND e.judgement = 'alert' AND i.removed_at IS NULL
  AND e.first_seen_at < cast(:end AS date)::timestamp AT TIME ZONE 'UTC'
"""
"""Closed exposures count, so that closing one makes no earlier period look better; those marked as not theirs do
not."""


def facts(
    connection: Connection, ids: Sequence[UUID], *, kind: str, before: date, start: date, end: date
) -> ReportFacts:
    """Read the facts of the reports of these subscriptions: six queries, whatever their number. `before` is the first
    day of the period before."""
    values = {"ids": [str(one) for one in ids], "kind": kind, "before": before, "start": start, "end": end}

    import pandas as pd  # half a second that only a run which makes reports should pay

    def frame(query: str) -> pd.DataFrame:
        found = connection.execute(sa.text(query), {key: values[key] for key in values if f":{key}" in query})
        return pd.DataFrame(found.all(), columns=list(found.keys()), dtype=object)

    return ReportFacts(
        people=frame(_PEOPLE),
        items=frame(_ITEMS),
        verdicts=frame(_VERDICTS),
        exposures=frame(_EXPOSURES),
        closed=frame(_CLOSED),
        seen=frame(_SEEN),
    )


@dataclass(frozen=True, kw_only=True)
class ReportPlace:
    """The place of a report's file, and the ids of its subscription and subscriber."""

    storage_key: str
    locale: str
    period_start_on: date


def place_of(connection: Connection, report_id: UUID) -> ReportPlace | None:
    """The place of a report's file, None when there is no such report any more, or its subscriber was forgotten."""
    query = (
        sa.select(reports.c.storage_key, subscriptions.c.locale, reports.c.period_start_on)
        .join(subscriptions, subscriptions.c.id == reports.c.subscription_id)
        .join(subscribers, subscribers.c.id == subscriptions.c.subscriber_id)
        .where(reports.c.id == report_id, subscribers.c.forgotten_at.is_(None))
    )
    row = connection.execute(query).first()
    return ReportPlace(**row._mapping) if row else None


def known_figures(
    connection: Connection, ids: Sequence[UUID], *, kind: str, start: date, end: date
) -> dict[UUID, bytes]:
    """The hash of the figures of each subscription's existing report for this period."""
    table = reports.c
    query = sa.select(table.subscription_id, table.figures_sha256).where(
        table.subscription_id.in_(ids),
        table.kind == kind,
        table.period_start_on == start,
        table.period_end_on == end,
    )
    return {row.subscription_id: bytes(row.figures_sha256) for row in connection.execute(query)}


def save(connection: Connection, rows: Sequence[ReportRow]) -> list[UUID]:
    """Write reports; an existing one for the period is replaced and keeps its id. Returns the ids."""
    if not rows:
        return []
    values = [
        {
            "id": sa.func.gen_random_uuid(),
            "subscription_id": row.subscription_id,
            "kind": row.kind,
            "period_start_on": row.period_start_on,
            "period_end_on": row.period_end_on,
            "figures": json.loads(json.dumps(row.figures)),
            "figures_sha256": row.figures_sha256,
            "content_sha256": row.content_sha256,
            "storage_key": row.storage_key,
            "pages": row.pages,
        }
        for row in rows
    ]
    statement = insert(reports).values(values)
    kept = {"id", "subscription_id", "kind", "period_start_on", "created_at"}
    changed = {column.name: statement.excluded[column.name] for column in reports.columns if column.name not in kept}
    saved = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["subscription_id", "kind", "period_start_on"],
            set_={**changed, "created_at": sa.func.now()},
        ).returning(reports.c.id)
    )
    return list(saved.scalars())
