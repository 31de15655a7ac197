"""Joins watched parcels and owners with counties' records, and writes the results.

Every function works in the caller's transaction; those that use `scope`, after `darkwatch.scans.choose`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.domain.property.findings import Finding, UnknownReason, Verdict
from kordant_jobs.store.notifications import outbox

OVERLAP = timedelta(hours=1)
"""The time before the last scan that a scan covers again: a document's timestamp is earlier than the commit of its
transaction."""


_DUE = """
WITH mine AS (
    SELECT scope.subscription_id,
           coalesce(cast(:since AS timestamptz), m.known_until - cast(:overlap AS interval)) AS since
    FROM scope LEFT JOIN kordant.scan_watermarks m
         ON m.subscription_id = scope.subscription_id AND m.job = 'hometitle_scan'
), fresh AS MATERIALIZED (
    SELECT id, changed_at FROM kordant.property_instruments
    WHERE county = :county AND changed_at >= (SELECT min(since) FROM mine)
      AND changed_at < coalesce(cast(:until AS timestamptz), 'infinity')
)
SELECT id FROM (
SELECT w.id, w.parcel_index
FROM fresh JOIN kordant.property_lots l ON l.instrument_id = fresh.id
JOIN kordant.watched_properties w ON w.parcel_index = l.parcel_index AND w.removed_at IS NULL AND w.county = :county
JOIN mine ON mine.subscription_id = w.subscription_id AND fresh.changed_at >= mine.since
UNION
SELECT w.id, w.parcel_index
FROM fresh JOIN kordant.property_name_keys n ON n.instrument_id = fresh.id
JOIN kordant.watched_name_keys k ON k.key_index = n.key_index
JOIN kordant.watched_properties w ON w.id = k.watch_id AND w.removed_at IS NULL AND w.county = :county
JOIN mine ON mine.subscription_id = w.subscription_id AND fresh.changed_at >= mine.since
UNION
SELECT w.id, w.parcel_index
FROM mine JOIN kordant.watched_properties w USING (subscription_id)
WHERE mine.since IS NULL AND w.removed_at IS NULL AND w.county = :county
UNION
SELECT w.id, w.parcel_index
FROM kordant.watched_properties w JOIN mine USING (subscription_id)
WHERE w.removed_at IS NULL AND w.county = :county AND w.created_at >= (SELECT min(since) FROM mine)
  AND w.created_at >= mine.since AND w.created_at < coalesce(cast(:until AS timestamptz), 'infinity')
) found ORDER BY parcel_index NULLS LAST, id
"""
"""It goes from new records to the watches, never the other way round: a day has few documents, but there are many
watches."""


def counties_watched(connection: Connection) -> dict[str, int]:
    """The counties in which the chosen subscriptions watch something, with the number of watches."""
    rows = connection.execute(
        sa.text("""
        SELECT w.county, count(*) AS watches FROM scope JOIN kordant.watched_properties w USING (subscription_id)
        WHERE w.removed_at IS NULL GROUP BY 1 ORDER BY 1
        """)
    )
    return {row.county: row.watches for row in rows}


def due(
    connection: Connection, county: str, *, since: datetime | None = None, until: datetime | None = None
) -> list[UUID]:
    """The chosen subscriptions' watches in a county with something new or changed, or that are new themselves: one
    join, in the order of their parcels' blind indexes. `since` replaces each subscription's watermark; what became
    known from `until` on is left out."""
    connection.execute(sa.text("SET LOCAL work_mem = '64MB'"))  # hashes of all subscriptions fit into it
    values = {"county": county, "overlap": f"{OVERLAP.total_seconds()} seconds", "since": since, "until": until}
    rows = connection.execute(sa.text(_DUE), values)
    return [row.id for row in rows]


_INSTRUMENT = """i.id, i.key, i.number, i.code, i.event, i.form, i.recorded_on, i.executed_on, i.amount, i.percent,
       i.refers_to, i.parties_encrypted, i.known_at, i.is_first_load"""


def histories(connection: Connection, watch_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    """All instruments on the parcels of these watches, by watch."""
    rows = connection.execute(
        sa.text(f"""
        SELECT w.id AS watch_id, {_INSTRUMENT}
        FROM kordant.watched_properties w JOIN kordant.property_lots l USING (parcel_index)
        JOIN kordant.property_instruments i ON i.id = l.instrument_id AND i.county = w.county
        WHERE w.id = ANY(cast(:ids AS uuid[]))
        """),  # noqa: S608 - put together from constants
        {"ids": list(map(str, watch_ids))},
    )
    return _by_watch(rows)


def named(connection: Connection, watch_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    """Instruments that may name the owners of these watches, by watch. Parcels that the subscription watches itself,
    and those marked 'not me', are left out."""
    rows = connection.execute(
        sa.text(f"""
        SELECT DISTINCT w.id AS watch_id, {_INSTRUMENT}
        FROM kordant.watched_properties w JOIN kordant.watched_name_keys k ON k.watch_id = w.id
        JOIN kordant.property_name_keys n USING (key_index)
        JOIN kordant.property_instruments i ON i.id = n.instrument_id AND i.county = w.county
        WHERE w.id = ANY(cast(:ids AS uuid[])) AND NOT EXISTS (
            SELECT 1 FROM kordant.property_lots l JOIN kordant.watched_properties o USING (parcel_index)
            WHERE l.instrument_id = i.id AND o.subscription_id = w.subscription_id AND o.removed_at IS NULL)
        AND NOT EXISTS (
            SELECT 1 FROM kordant.property_lots l JOIN kordant.property_lots d USING (parcel_index)
            JOIN kordant.property_findings f ON f.instrument_id = d.instrument_id
            WHERE l.instrument_id = i.id AND f.watch_id = w.id AND f.dismissed_at IS NOT NULL)
        """),  # noqa: S608 - put together from constants
        {"ids": list(map(str, watch_ids))},
    )
    return _by_watch(rows)


def _by_watch(rows: Any) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for row in rows:
        found.setdefault(row.watch_id, []).append(row)
    return found


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finding to save: its watch and instrument, and whether it became known after the watch began."""

    watch_id: UUID
    instrument_id: UUID
    finding: Finding
    is_news: bool


_SAVE = """
INSERT INTO kordant.property_findings AS f (id, watch_id, instrument_id, event, severity, is_told, is_news, reasons,
                                            case_key, before_key, probability)
SELECT gen_random_uuid(), m.watch_id, m.instrument_id, m.event, m.severity, m.is_told, m.is_news,
       string_to_array(m.reasons, ' '), m.case_key, m.before_key, m.probability
FROM unnest(cast(:watches AS uuid[]), cast(:instruments AS uuid[]), cast(:events AS text[]),
            cast(:severities AS text[]), cast(:told AS boolean[]), cast(:news AS boolean[]), cast(:reasons AS text[]),
            cast(:cases AS text[]), cast(:befores AS text[]), cast(:probabilities AS float8[]))
     AS m (watch_id, instrument_id, event, severity, is_told, is_news, reasons, case_key, before_key, probability)
ORDER BY 2, 3
ON CONFLICT (watch_id, instrument_id) DO UPDATE SET event = excluded.event, severity = excluded.severity,
    is_told = excluded.is_told, reasons = excluded.reasons, case_key = excluded.case_key,
    before_key = excluded.before_key, probability = excluded.probability,
    is_news = f.is_news OR (excluded.severity = 'critical' AND f.severity <> 'critical' AND EXISTS (
        SELECT 1 FROM kordant.property_instruments i
        WHERE i.id = f.instrument_id AND i.changed_at > i.known_at AND i.changed_at > f.first_seen_at))
WHERE (f.event, f.severity, f.is_told, f.reasons, f.case_key, f.before_key)
      IS DISTINCT FROM (excluded.event, excluded.severity, excluded.is_told, excluded.reasons, excluded.case_key,
                        excluded.before_key)
RETURNING xmax = 0 AS is_new
"""


def save_findings(connection: Connection, rows: Sequence[Row]) -> int:
    """Write findings; an existing one is updated. A document that was corrected into something critical is news,
    however old it is. Returns the number of new findings."""
    if not rows:
        return 0
    values = {
        "watches": [str(one.watch_id) for one in rows],
        "instruments": [str(one.instrument_id) for one in rows],
        "events": [one.finding.event.value for one in rows],
        "severities": [one.finding.severity.value for one in rows],
        "told": [one.finding.raises_alert for one in rows],
        "news": [one.is_news for one in rows],
        "reasons": [" ".join(one.finding.reasons) for one in rows],
        "cases": [one.finding.case for one in rows],
        "befores": [one.finding.before for one in rows],
        "probabilities": [one.finding.probability for one in rows],
    }
    return sum(row.is_new for row in connection.execute(sa.text(_SAVE), values))


def save_alerts(connection: Connection) -> int:
    """Write an alert, with its notifications, for each finding of the chosen subscriptions that raises one, is news and
    has none, or has become critical since its alert. Returns the number of alerts."""
    made = connection.execute(
        sa.text("""
        INSERT INTO kordant.alerts (id, subscription_id, finding_id, severity, why)
        SELECT gen_random_uuid(), w.subscription_id, f.id, f.severity,
               (SELECT coalesce(jsonb_agg(jsonb_build_object('code', one)), '[]'::jsonb) FROM unnest(f.reasons) one
                WHERE one <> '')
        FROM scope JOIN kordant.watched_properties w USING (subscription_id)
        JOIN kordant.property_findings f ON f.watch_id = w.id
        WHERE f.is_told AND f.is_news AND f.dismissed_at IS NULL AND w.removed_at IS NULL
          AND NOT EXISTS (
              SELECT 1 FROM kordant.alerts a
              WHERE a.finding_id = f.id AND (a.severity = 'critical' OR f.severity <> 'critical'))
        ORDER BY f.id
        ON CONFLICT (finding_id, severity) DO NOTHING RETURNING id
        """)
    ).scalars()
    ids = list(made)
    outbox.queue(connection, ids, Category.HOME_TITLE)
    return len(ids)


def save_verdicts(
    connection: Connection,
    verdicts: Mapping[str, tuple[UnknownReason | None, date | None]],
    *,
    until: datetime,
    with_roll: Collection[str] = (),
    compare_again: Sequence[str] = (),
) -> dict[Verdict, int]:
    """Write a verdict for each chosen subscription and county, and the watermarks. Returns the number of each verdict.

    `verdicts`: by county the reason why it is unknown (None: it is not), and the newest record. `with_roll`: counties
    whose owner roll must list each watched parcel, or its watchers' verdict is unknown. `compare_again`: counties whose
    watches were not all compared, so that their watchers keep their watermark.
    """
    count = dict.fromkeys(Verdict, 0)
    for county, (reason, as_of) in verdicts.items():
        rows = connection.execute(
            sa.text("""
            INSERT INTO kordant.property_verdicts AS v (subscription_id, county, checked_on, verdict, reason,
                                                        data_as_of, watched, findings)
            SELECT subscription_id, :county, cast(:until AS timestamptz)::date,
                   CASE WHEN why IS NOT NULL THEN 'unknown' WHEN findings > 0 THEN 'found' ELSE 'clean' END,
                   why, :as_of, watched, findings
            FROM (
            SELECT scope.subscription_id, count(DISTINCT w.id) AS watched, count(f.id) AS findings,
                   coalesce(cast(:reason AS text), CASE WHEN :has_roll AND bool_or(
                       w.parcel_index IS NOT NULL AND r.is_listed IS NOT TRUE) THEN 'roll_not_read' END) AS why
            FROM scope JOIN kordant.watched_properties w USING (subscription_id)
            LEFT JOIN kordant.property_rolls r ON r.id = w.id
            LEFT JOIN kordant.property_findings f ON f.watch_id = w.id AND f.is_told AND f.is_news
                  AND f.dismissed_at IS NULL AND f.first_seen_at >= cast(:until AS timestamptz)::date
            WHERE w.county = :county AND w.removed_at IS NULL
            GROUP BY 1) AS found
            ON CONFLICT (subscription_id, county, checked_on) DO UPDATE SET verdict = excluded.verdict,
                reason = excluded.reason, data_as_of = excluded.data_as_of, watched = excluded.watched,
                findings = excluded.findings, checked_at = now()
            RETURNING v.verdict
            """),
            {
                "county": county,
                "until": until,
                "reason": reason and reason.value,
                "as_of": as_of,
                "has_roll": county in with_roll,
            },
        )
        for row in rows:
            count[Verdict(row.verdict)] += 1
    connection.execute(
        sa.text("""
        INSERT INTO kordant.scan_watermarks (subscription_id, job, known_until)
        SELECT subscription_id, 'hometitle_scan', :until FROM scope WHERE NOT EXISTS (
            SELECT 1 FROM kordant.watched_properties w
            WHERE w.subscription_id = scope.subscription_id AND w.county = ANY(:again) AND w.removed_at IS NULL)
        ON CONFLICT (subscription_id, job) DO UPDATE
            SET known_until = greatest(kordant.scan_watermarks.known_until, excluded.known_until)
        """),
        {"until": until, "again": list(compare_again)},
    )
    return count


def not_me(connection: Connection, finding_id: UUID, *, said_by: str) -> bool:
    """Record that a finding is not about the subscriber: it raises no more alerts, and an owner watch never raises any
    on that parcel again. False when there is no such finding."""
    query = """
        UPDATE kordant.property_findings SET dismissed_at = coalesce(dismissed_at, now()), dismissed_by = :by
        WHERE id = :id
    """
    return bool(connection.execute(sa.text(query), {"id": finding_id, "by": said_by}).rowcount)


def realtime_counties(connection: Connection, tiers: Sequence[str]) -> dict[str, str | None]:
    """The counties in which active subscriptions of the real-time `tiers` watch something, with the state that each
    last reported (None: it was not read yet)."""
    rows = connection.execute(
        sa.text("""
        SELECT DISTINCT w.county, c.freshness FROM kordant.watched_properties w
        JOIN kordant.subscriptions s ON s.id = w.subscription_id AND s.status = 'active' AND s.tier = ANY(:tiers)
        LEFT JOIN kordant.county_states c ON c.county = w.county
        WHERE w.removed_at IS NULL ORDER BY 1
        """),
        {"tiers": list(tiers)},
    )
    return {row.county: row.freshness for row in rows}


def unscanned(connection: Connection, tiers: Sequence[str]) -> list[UUID]:
    """Active subscriptions with a parcel or name that no scan has covered: for the real-time `tiers` any new one, for
    others only before their first scan."""
    rows = connection.execute(
        sa.text("""
        SELECT DISTINCT s.id FROM kordant.subscriptions s JOIN kordant.watched_properties w ON w.subscription_id = s.id
        LEFT JOIN kordant.scan_watermarks m ON m.subscription_id = s.id AND m.job = 'hometitle_scan'
        WHERE s.status = 'active' AND w.removed_at IS NULL
          AND (m.known_until IS NULL OR (s.tier = ANY(:tiers) AND w.created_at > m.known_until)) LIMIT 1000
        """),
        {"tiers": list(tiers)},
    )
    return [row.id for row in rows]
