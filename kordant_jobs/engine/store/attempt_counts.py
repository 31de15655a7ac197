"""Counts of attempts by job, outcome, cause and duration: in total, by hour, and for the last hours.

A trigger counts attempts as they end, however they end; `fold` keeps the number of rows small. So counters outlive the
rows that they counted, and every process reads the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, groupby

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine.requests import Outcome

DURATIONS_MS = (10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000)
"""Upper bounds of the duration buckets; the last bucket has none. The trigger's array is the same."""
LAGS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Upper bounds of the buckets of the time between due and started; the last bucket has none."""
EXACT_HOURS = 6
"""Spans that begin in the last six hours are counted exactly; older ones by whole hours."""
KEEP_HOURS_DAYS = 400
GOOD = frozenset({Outcome.SUCCESS, Outcome.PARTIAL})
COUNTED = GOOD | {Outcome.FAILURE, Outcome.LOST}
"""The outcomes that count in the share of good ones. A cancelled or returned attempt says nothing about its job."""

_FOLD = sa.text("""
WITH gone AS MATERIALIZED (
    DELETE FROM kordant.attempt_deltas WHERE at < date_trunc('hour', now()) - make_interval(hours => :exact) RETURNING *
), hours AS (
    INSERT INTO kordant.attempt_hours
    SELECT date_trunc('hour', at), job, outcome, cause, bucket, sum(attempts), sum(sum_ms), sum(cpu_s) FROM gone
    GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (hour, job, outcome, cause, bucket) DO UPDATE SET
        attempts = attempt_hours.attempts + excluded.attempts, sum_ms = attempt_hours.sum_ms + excluded.sum_ms,
        cpu_s = attempt_hours.cpu_s + excluded.cpu_s
), totals AS (
    INSERT INTO kordant.attempt_totals
    SELECT job, outcome, cause, bucket, sum(attempts), sum(sum_ms), sum(cpu_s) FROM gone GROUP BY 1, 2, 3, 4
    ON CONFLICT (job, outcome, cause, bucket) DO UPDATE SET
        attempts = attempt_totals.attempts + excluded.attempts, sum_ms = attempt_totals.sum_ms + excluded.sum_ms,
        cpu_s = attempt_totals.cpu_s + excluded.cpu_s
), old AS (
    DELETE FROM kordant.attempt_hours WHERE hour < now() - make_interval(days => :days)
) SELECT count(*) FROM gone
""")

_TOTALS = sa.text("""
SELECT job, outcome, cause, bucket, sum(attempts)::bigint AS attempts, sum(sum_ms) AS sum_ms, sum(cpu_s) AS cpu_s
FROM (SELECT job, outcome, cause, bucket, attempts, sum_ms, cpu_s FROM kordant.attempt_totals
      UNION ALL SELECT job, outcome, cause, bucket, attempts, sum_ms, cpu_s FROM kordant.attempt_deltas) counted
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
""")

_SINCE = sa.text("""
SELECT job, outcome, cause, bucket, sum(attempts)::bigint AS attempts, sum(sum_ms) AS sum_ms, sum(cpu_s) AS cpu_s
FROM (SELECT job, outcome, cause, bucket, attempts, sum_ms, cpu_s FROM kordant.attempt_hours
      WHERE hour >= date_trunc('hour', cast(:since AS timestamptz)) AND hour < :until
      UNION ALL SELECT job, outcome, cause, bucket, attempts, sum_ms, cpu_s FROM kordant.attempt_deltas
      WHERE at >= :since AND at < :until) counted
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
""")


def good_share(counts: Sequence[AttemptCount]) -> tuple[float, int]:
    """The share of successful attempts among those with an outcome in `COUNTED`, and the number of those.

    >>> one = AttemptCount(job="a", outcome="success", cause="", bucket=0, attempts=3, sum_ms=0, cpu_s=0)
    >>> good_share([one, AttemptCount(job="a", outcome="lost", cause="", bucket=0, attempts=1, sum_ms=0, cpu_s=0)])
    (0.75, 4)
    """
    total = sum(one.attempts for one in counts if one.outcome in COUNTED)
    good = sum(one.attempts for one in counts if one.outcome in GOOD)
    return (good / total if total else 1.0, total)


def by_job(counts: Sequence[AttemptCount]) -> Mapping[str, Sequence[AttemptCount]]:
    """Counts by job; they must be sorted by job."""
    return {job: list(some) for job, some in groupby(counts, lambda one: one.job)}


@dataclass(frozen=True, kw_only=True)
class AttemptCount:
    """The number of attempts of one job with the same outcome, cause and duration bucket. `cpu_s` is their share of the
    runs' CPU time."""

    job: str
    outcome: str
    cause: str
    bucket: int
    attempts: int
    sum_ms: float
    cpu_s: float


def fold(connection: Connection) -> int:
    """Fold attempts that ended more than `EXACT_HOURS` before this hour into hourly counts. Returns the number of rows
    removed."""
    count: int = connection.execute(_FOLD, {"days": KEEP_HOURS_DAYS, "exact": EXACT_HOURS}).scalar_one()
    return count


def totals(connection: Connection) -> Sequence[AttemptCount]:
    """The counts since the beginning; none of them ever falls."""
    return [AttemptCount(**row) for row in connection.execute(_TOTALS).mappings()]


def between(connection: Connection, since: datetime, until: datetime) -> Sequence[AttemptCount]:
    """The counts of a span. One that begins more than `EXACT_HOURS` ago begins with its full hour."""
    return [AttemptCount(**row) for row in connection.execute(_SINCE, {"since": since, "until": until}).mappings()]


@dataclass(frozen=True, kw_only=True)
class StartLag:
    """The number of attempts of one job by the time between due and started, in a bucket of `LAGS_S`."""

    job: str
    bucket: int
    starts: int
    sum_s: float


def start_lags(connection: Connection) -> Sequence[StartLag]:
    """The lags since the beginning, ordered by job and bucket."""
    query = sa.text("SELECT job, bucket, starts, sum_s FROM kordant.start_lags ORDER BY 1, 2")
    return [StartLag(**row) for row in connection.execute(query).mappings()]


def sla_breaches(connection: Connection) -> Mapping[str, int]:
    """The number of requests, by job, that were completed later than the job's SLA, since the beginning."""
    query = sa.text("SELECT job, breaches FROM kordant.sla_breaches ORDER BY 1")
    return dict(connection.execute(query).tuples().all())


def percentile_ms(counts: Sequence[AttemptCount], share: float) -> float | None:
    """The duration that `share` of these attempts did not exceed, by linear interpolation in its bucket. None: there
    are no attempts, or it lies above the highest bound.

    >>> one = AttemptCount(job="a", outcome="success", cause="", bucket=2, attempts=10, sum_ms=0, cpu_s=0)
    >>> percentile_ms([one], 0.5)
    75.0
    """
    by_bucket = [0] * (len(DURATIONS_MS) + 1)
    for one in counts:
        by_bucket[one.bucket] += one.attempts
    running = list(accumulate(by_bucket))
    wanted = share * running[-1]
    if not running[-1] or wanted > running[-2]:
        return None
    bucket = next(place for place, count in enumerate(running) if count >= wanted)
    below, low = (running[bucket - 1], DURATIONS_MS[bucket - 1]) if bucket else (0, 0)
    return low + (DURATIONS_MS[bucket] - low) * (wanted - below) / max(by_bucket[bucket], 1)
