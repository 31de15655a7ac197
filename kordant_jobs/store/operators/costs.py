"""Costs of jobs, by week and tier: computed from attempts while these exist, and kept after their deletion."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.store.operators.tables import cost_weeks

EVERY = timedelta(hours=1)

_ROLL_UP = sa.text("""
WITH used AS MATERIALIZED (
    SELECT row_number() OVER () AS place, week_of, job, ids, tiers, sum(cpu_s) AS cpu_s FROM (
        SELECT date_trunc('week', r.ended_at AT TIME ZONE 'UTC')::date AS week_of, r.job,
               p.payload -> 'subscription_ids' AS ids, p.payload -> 'tiers' AS tiers,
               a.cpu_s / count(*) OVER (PARTITION BY a.lease_id) AS cpu_s
        FROM kordant.job_requests r JOIN kordant.job_attempts a ON a.request_id = r.id
        CROSS JOIN LATERAL (SELECT CASE WHEN r.payload ? 'partition' THEN r.payload -> 'payload' ELSE r.payload END)
             p (payload)
        WHERE r.ended_at >= :since AND a.cpu_s > 0
    ) attempts GROUP BY week_of, job, ids, tiers
), active AS (
    SELECT tier, count(*)::float8 AS number FROM kordant.subscriptions WHERE status = 'active' GROUP BY 1
), weights AS (
    SELECT u.place, s.tier, count(*)::float8 AS weight
    FROM used u CROSS JOIN LATERAL jsonb_array_elements_text(
        CASE jsonb_typeof(u.ids) WHEN 'array' THEN u.ids ELSE '[]' END) one (id)
    JOIN kordant.subscriptions s ON s.id = CAST(one.id AS uuid) GROUP BY 1, 2
    UNION ALL
    SELECT u.place, a.tier, a.number FROM used u JOIN active a
           ON coalesce(jsonb_array_length(u.tiers), 0) = 0 OR u.tiers ? a.tier
    WHERE coalesce(jsonb_typeof(u.ids), 'null') <> 'array' AND u.job = ANY(:served)
), shares AS (
    SELECT place, tier, weight / sum(weight) OVER (PARTITION BY place) AS share FROM weights
)
INSERT INTO kordant.cost_weeks AS c (week_of, job, tier, cpu_s, subscriptions)
SELECT u.week_of, u.job, coalesce(s.tier, ''), sum(u.cpu_s * coalesce(s.share, 1)),
       coalesce(max(a.number), 0)
FROM used u LEFT JOIN shares s USING (place) LEFT JOIN active a ON a.tier = s.tier GROUP BY 1, 2, 3
ON CONFLICT (week_of, job, tier) DO UPDATE SET
    cpu_s = greatest(c.cpu_s, excluded.cpu_s), subscriptions = excluded.subscriptions, rolled_at = now()
""")
"""A request with subscriptions is divided among them, one with tiers among their active subscriptions, any other among
all active ones; work for no subscription has no tier. A week's cost never falls, though attempts may be deleted before
their week is over."""


@dataclass(frozen=True, kw_only=True)
class WeekCost:
    """CPU time of one job for one tier in the week that begins on `week_of` (UTC). `tier` is empty for work without
    subscriptions."""

    week_of: date
    job: str
    tier: str
    cpu_s: float
    subscriptions: int

    @property
    def per_subscription_s(self) -> float | None:
        """CPU seconds for each subscription of the tier; None where there is none."""
        return self.cpu_s / self.subscriptions if self.subscriptions else None


def roll_up(connection: Connection, *, served: Collection[str]) -> bool:
    """Update the weeks since the last roll-up, including that one. `served` are the jobs that work for subscriptions.
    False: that was done within the hour."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kordant:costs', 0))"))
    query = "SELECT max(week_of), max(rolled_at) > now() - CAST(:every AS interval), now() FROM kordant.cost_weeks"
    week, is_new, now = connection.execute(sa.text(query), {"every": EVERY}).one()
    if is_new:
        return False
    yesterday = now - timedelta(days=1)
    monday = (yesterday - timedelta(days=yesterday.weekday())).date()
    connection.execute(_ROLL_UP, {"since": min(week or monday, monday), "served": list(served)})
    return True


def weeks(connection: Connection, *, since: date) -> Sequence[WeekCost]:
    """The costs from that week on: the newest week first, and the most expensive job first in each week."""
    column = cost_weeks.c
    names = ("week_of", "job", "tier", "cpu_s", "subscriptions")
    query = (
        sa.select(*(column[name] for name in names))
        .where(column.week_of >= since)
        .order_by(column.week_of.desc(), column.cpu_s.desc(), column.job, column.tier)
    )
    return [WeekCost(**row) for row in connection.execute(query).mappings()]
