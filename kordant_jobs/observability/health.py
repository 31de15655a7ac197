"""The state of each job in one row, for the console's first page."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.catalog import CATALOG
from kordant_jobs.domain.operators.alert_rules import AlertState
from kordant_jobs.domain.schedules.cadence import next_tick
from kordant_jobs.engine.control import attempt_counts
from kordant_jobs.observability import standing
from kordant_jobs.observability.alerting import MAY_FAIL
from kordant_jobs.store.operators import alerts
from kordant_jobs.store.schedules import config as scheduler_config

BUDGET_DAYS = 30
"""The span in days within which the share `MAY_FAIL` of the attempts may fail."""

_LAST_GOOD = sa.text("""
SELECT job, (SELECT ended_at FROM kordant.job_requests r WHERE r.job = j.job AND r.status = 'completed'
             ORDER BY id DESC LIMIT 1)
FROM unnest(CAST(:jobs AS text[])) j(job)
""")
"""The end of the newest completed request of each job; uses the index (job, status, id)."""


@dataclass(frozen=True, kw_only=True)
class JobHealth:
    """The state of one job. `good_share` and `attempts` cover the last 24 hours. `budget_left` is the unused share of
    the failures that the objective allows in 30 days, below 0 if there were more. None: there were no attempts."""

    job: str
    alias: str
    state: str
    good_share: float | None
    attempts: int
    budget_left: float | None
    due: int
    later: int
    oldest_s: float | None
    running: int
    dead: int
    last_good_at: datetime | None
    next_tick_at: datetime | None


def month(connection: Connection, *, now: datetime) -> Mapping[str, tuple[float, int]]:
    """The share of attempts that succeeded in `BUDGET_DAYS` days, and the number of attempts, by job."""
    counts = attempt_counts.between(connection, now - timedelta(days=BUDGET_DAYS), now)
    return {job: attempt_counts.good_share(some) for job, some in attempt_counts.by_job(counts).items()}


def jobs(
    connection: Connection, *, now: datetime, month_shares: Mapping[str, tuple[float, int]]
) -> Sequence[JobHealth]:
    """The current state of every job of the catalogue; `month_shares` is the result of `month`."""
    due: dict[str, int] = defaultdict(int)
    later: dict[str, int] = defaultdict(int)
    oldest: dict[str, float] = defaultdict(float)
    for job, _, is_due, is_later, oldest_s in connection.execute(sa.text(standing.QUEUE)):
        due[job] += is_due
        later[job] += is_later
        oldest[job] = max(oldest[job], float(oldest_s))
    running, dead, paused = (
        {job: int(count) for job, count in connection.execute(sa.text(query))}
        for query in (standing.RUNNING, standing.DEAD, standing.PAUSED_JOBS)
    )
    names = [row.name for row in CATALOG]
    last_good = dict(connection.execute(_LAST_GOOD, {"jobs": names}).tuples().all())
    day = attempt_counts.by_job(attempt_counts.between(connection, now - timedelta(days=1), now))
    ticks = _next_ticks(connection, now)
    firing = {
        one.subject for one in alerts.listed(connection, all_of_them=False, limit=500) if one.state == AlertState.FIRING
    }
    found = []
    for row in CATALOG:
        good, attempts = attempt_counts.good_share(day.get(row.name, ()))
        good_of_month, attempts_of_month = month_shares.get(row.name, (1.0, 0))
        states = {"paused": row.name in paused, "alert": row.name in firing, "running": row.name in running}
        found.append(
            JobHealth(
                job=row.name,
                alias=row.alias,
                state=next((state for state, holds in states.items() if holds), "ready"),
                good_share=good if attempts else None,
                attempts=attempts,
                budget_left=1 - (1 - good_of_month) / MAY_FAIL if attempts_of_month else None,
                due=due[row.name],
                later=later[row.name],
                oldest_s=oldest[row.name] if due[row.name] else None,
                running=running.get(row.name, 0),
                dead=dead.get(row.name, 0),
                last_good_at=last_good[row.name],
                next_tick_at=ticks.get(row.name),
            )
        )
    return found


def _next_ticks(connection: Connection, now: datetime) -> dict[str, datetime]:
    """The next tick of each job's active rows, by job."""
    first: dict[str, datetime] = {}
    for one in scheduler_config.load(connection).rows:
        at = None if one.inactive_reason(now) else next_tick(one.row, now)
        if at is not None:
            first[one.row.job] = min(at, first.get(one.row.job, at))
    return first
