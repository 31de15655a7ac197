"""Writes the verdicts of a scan. A verdict that repeats one of the same month is no new row: the check is noted in that
row, so that a subscription whose answers do not change has a row a source and month, not one a scan.

`verdict_counts` has their numbers by day.
"""

from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.postgres.bulk import write_frame

COLUMNS = ("subscription_id", "verdict", "reason", "exposures", "new_exposures")

_TABLES = """
CREATE TEMP TABLE verdicts (subscription_id uuid, verdict text, reason text, exposures int, new_exposures int)
    ON COMMIT DROP;
CREATE TEMP TABLE held (subscription_id uuid, checked_on date, is_single boolean, repeats boolean, day_at timestamptz,
                        is_last boolean, covered_until timestamptz) ON COMMIT DROP
"""

_HELD = """
INSERT INTO held
SELECT v.subscription_id, v.checked_on, v.again_at = '{}',
       n.new_exposures = 0
           AND (v.verdict, v.reason, v.exposures) IS NOT DISTINCT FROM (n.verdict, n.reason, n.exposures),
       of_day.at, of_day.at = coalesce(v.again_at[cardinality(v.again_at)], v.checked_at), v.covered_until
FROM verdicts n
JOIN kordant.source_verdicts v ON v.subscription_id = n.subscription_id AND v.source = :source
    AND v.checked_on BETWEEN :month AND :day
LEFT JOIN LATERAL (
    SELECT v.checked_at AS at WHERE v.checked_on = :day
    UNION ALL SELECT t FROM unnest(v.again_at) t WHERE t >= :starts AND t < :ends
) of_day ON true
ORDER BY v.subscription_id, v.checked_on FOR UPDATE OF v
"""
"""The month's rows of these subscriptions up to the day, locked in a fixed order, so that concurrent scans cannot
deadlock. `day_at` is the time of the day's own check, where the row holds it, and `is_last` says that it is the row's
last one, to which `covered_until` belongs; an earlier check covered what was known when it was made."""

_STANDS = """
DELETE FROM verdicts n USING held h
WHERE h.subscription_id = n.subscription_id AND h.day_at IS NOT NULL
  AND NOT (:until > CASE WHEN h.is_last THEN h.covered_until ELSE h.day_at + interval '1 microsecond' END OR :in_part)
"""
"""Of two scans on one day the one that covers more is kept."""

_REPEATED = """
CREATE TEMP TABLE repeated ON COMMIT DROP AS
SELECT DISTINCT ON (subscription_id) subscription_id, checked_on FROM held JOIN verdicts USING (subscription_id)
WHERE repeats ORDER BY subscription_id, day_at IS NULL, checked_on DESC
"""
"""The row to which each check that repeats a verdict is added."""

_MOVED = """
DELETE FROM kordant.source_verdicts v USING held h, repeated r
WHERE h.day_at IS NOT NULL AND NOT h.repeats AND h.is_single AND r.subscription_id = h.subscription_id
  AND v.subscription_id = h.subscription_id AND v.source = :source AND v.checked_on = h.checked_on
"""
_REPLACED = """
UPDATE kordant.source_verdicts v SET
    checked_on = CASE WHEN v.checked_on = :day THEN (v.again_at[1] AT TIME ZONE 'UTC')::date ELSE v.checked_on END,
    checked_at = CASE WHEN v.checked_on = :day THEN v.again_at[1] ELSE v.checked_at END,
    new_exposures = CASE WHEN v.checked_on = :day THEN 0 ELSE v.new_exposures END,
    again_at = CASE WHEN v.checked_on = :day THEN v.again_at[2:] ELSE array_remove(v.again_at, h.day_at) END,
    covered_until = CASE WHEN h.is_last THEN least(v.covered_until, :starts) ELSE v.covered_until END
FROM held h JOIN verdicts n USING (subscription_id)
WHERE h.day_at IS NOT NULL AND NOT h.repeats AND NOT h.is_single
  AND v.subscription_id = h.subscription_id AND v.source = :source AND v.checked_on = h.checked_on
"""
"""The day leaves the row of a verdict that is not its own any more. A row without another day is overwritten."""

_NOTED = """
UPDATE kordant.source_verdicts v SET
    checked_at = CASE WHEN v.checked_on = :day THEN :at ELSE v.checked_at END,
    again_at = CASE WHEN v.checked_on = :day THEN v.again_at
                    WHEN :starts > ALL (v.again_at) THEN v.again_at || cast(:at AS timestamptz)
                    ELSE ARRAY(SELECT t FROM unnest(v.again_at) t WHERE t < :starts OR t >= :ends
                               UNION ALL SELECT cast(:at AS timestamptz) ORDER BY 1) END,
    covered_until = greatest(v.covered_until, :until)
FROM repeated r
WHERE v.subscription_id = r.subscription_id AND v.source = :source AND v.checked_on = r.checked_on
"""

_NEW = """
INSERT INTO kordant.source_verdicts AS v
    (subscription_id, source, checked_on, verdict, reason, exposures, new_exposures, covered_until, checked_at)
SELECT subscription_id, :source, :day, verdict, reason, exposures, new_exposures, :until, :at
FROM verdicts WHERE subscription_id NOT IN (SELECT subscription_id FROM repeated) ORDER BY subscription_id
ON CONFLICT (subscription_id, source, checked_on) DO UPDATE SET
    verdict = excluded.verdict, reason = excluded.reason, exposures = excluded.exposures,
    new_exposures = v.new_exposures + excluded.new_exposures,
    covered_until = greatest(v.covered_until, excluded.covered_until), checked_at = excluded.checked_at
WHERE v.again_at = '{}' AND (excluded.covered_until > v.covered_until OR :in_part)
"""


def save(
    connection: Connection,
    verdicts: pl.DataFrame,
    *,
    source: str,
    checked_on: date,
    until: datetime,
    in_part: bool = False,
    now: datetime | None = None,
) -> None:
    """Write a verdict for each subscription: subscription_id, verdict, reason, exposures, new_exposures. There is one
    verdict a day; of two scans on one day the one that covers more is kept. `in_part`: there is more data than this
    scan read, so it also replaces an earlier verdict. `now` is the time of the check, by default the transaction's; a
    check of a past day counts as made at that day's end."""
    starts = datetime.combine(checked_on, time(), UTC)
    ends = starts + timedelta(days=1)
    checked_at = now or connection.execute(sa.select(sa.func.now())).scalar_one()
    values = {
        "source": source,
        "day": checked_on,
        "month": checked_on.replace(day=1),
        "starts": starts,
        "ends": ends,
        "at": min(max(checked_at, starts), ends - timedelta(microseconds=1)),
        "until": until,
        "in_part": in_part,
    }
    connection.execute(sa.text(_TABLES))
    write_frame(connection, verdicts, "verdicts", COLUMNS)
    connection.execute(sa.text("ANALYZE verdicts"))
    for statement in (_HELD, _STANDS, _REPEATED, _MOVED, _REPLACED, _NOTED, _NEW):
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        connection.execute(sa.text(statement), used)
    connection.execute(sa.text("DROP TABLE verdicts, held, repeated"))  # there may be those of another source
