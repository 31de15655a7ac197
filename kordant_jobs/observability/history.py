"""Attempts by job and week, with trend and cost, for `jobs history | trends | cost` and the console."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.catalog import CATALOG
from kordant_jobs.engine.control import attempt_counts
from kordant_jobs.store.operators import costs as store
from kordant_jobs.store.operators.costs import WeekCost


@dataclass(frozen=True, kw_only=True)
class JobWeek:
    """One job in one week, which begins on Monday (UTC). A percentile is None if it is above an hour."""

    week_of: date
    job: str
    attempts: int
    ended_well: int
    p50_ms: float | None
    p95_ms: float | None
    mean_ms: float
    cpu_s: float


def mondays(now: datetime, weeks: int) -> list[datetime]:
    """The starts of the last `weeks` weeks (UTC), the current week first."""
    monday = (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    return [monday - timedelta(weeks=back) for back in range(weeks)]


def weekly(connection: Connection, *, weeks: int, now: datetime, job: str | None = None) -> Sequence[JobWeek]:
    """The last `weeks` weeks including the current one, the newest first, of one job or of all jobs with attempts."""
    found = []
    for since in mondays(now, weeks):
        counts = attempt_counts.between(connection, since, since + timedelta(weeks=1))
        for name, some in attempt_counts.by_job(counts).items():
            attempts = sum(one.attempts for one in some)
            if job in (None, name):
                found.append(
                    JobWeek(
                        week_of=since.date(),
                        job=name,
                        attempts=attempts,
                        ended_well=sum(one.attempts for one in some if one.outcome in attempt_counts.GOOD),
                        p50_ms=attempt_counts.percentile_ms(some, 0.5),
                        p95_ms=attempt_counts.percentile_ms(some, 0.95),
                        mean_ms=round(sum(one.sum_ms for one in some) / attempts, 1),
                        cpu_s=round(sum(one.cpu_s for one in some), 2),
                    )
                )
    return found


@dataclass(frozen=True, kw_only=True)
class JobTrend:
    """A job in one week and in the week before it. Shares are of all attempts. None: there were no attempts, or the
    percentile is above an hour."""

    job: str
    attempts: int
    p95_ms: float | None
    p95_before_ms: float | None
    failed_share: float
    failed_before: float | None
    cpu_s: float
    cpu_before_s: float


def trends(found: Sequence[JobWeek], *, week_of: date) -> Sequence[JobTrend]:
    """Each job that had attempts in the week, the slowest first.

    >>> week = dict(job="a", attempts=4, ended_well=3, p50_ms=1.0, mean_ms=1.0, cpu_s=2.0)
    >>> new = JobWeek(week_of=date(2026, 11, 9), p95_ms=90.0, **week)
    >>> old = JobWeek(week_of=date(2026, 11, 2), p95_ms=30.0, **week)
    >>> [(one.p95_ms, one.p95_before_ms, one.failed_share) for one in trends([new, old], week_of=date(2026, 11, 9))]
    [(90.0, 30.0, 0.25)]
    """
    before = {one.job: one for one in found if one.week_of == week_of - timedelta(weeks=1)}
    made = []
    for one in found:
        if one.week_of == week_of:
            last = before.get(one.job)
            made.append(
                JobTrend(
                    job=one.job,
                    attempts=one.attempts,
                    p95_ms=one.p95_ms,
                    p95_before_ms=last.p95_ms if last else None,
                    failed_share=_failed(one),
                    failed_before=_failed(last) if last else None,
                    cpu_s=one.cpu_s,
                    cpu_before_s=last.cpu_s if last else 0.0,
                )
            )
    return sorted(made, key=lambda one: (-(one.p95_ms if one.p95_ms is not None else float("inf")), one.job))


def _failed(week: JobWeek) -> float:
    return 1 - week.ended_well / week.attempts


SERVED = frozenset(
    {row.name for row in CATALOG if {"tiers", "subscription_ids"} & row.payload.model_fields.keys()}
    | {"notifications_send", "removebrokers_process"}
)
"""Jobs that work for subscriptions. The costs of other jobs have no tier."""


def costs(connection: Connection, *, weeks: int, now: datetime) -> Sequence[WeekCost]:
    """The cost of each job by tier in the last `weeks` weeks including the current one; updated once an hour."""
    return store.weeks(connection, since=mondays(now, weeks)[-1].date())


def keep_costs(db: Engine) -> None:
    """Add the costs of attempts to the weekly totals, at most once an hour. The totals outlive the attempts."""
    with db.begin() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = '60s'"))
        store.roll_up(connection, served=SERVED)
