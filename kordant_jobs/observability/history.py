"""Attempts by job and week: for `jobs history` and the console's performance page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from kordant_jobs.engine import attempt_counts


@dataclass(frozen=True, kw_only=True)
class JobWeek:
    """One job in one week, which begins on a Monday (UTC). Percentiles are None without attempts, or above an hour."""

    week_of: date
    job: str
    attempts: int
    ended_well: int
    p50_ms: float | None
    p95_ms: float | None
    mean_ms: float
    cpu_s: float


def mondays(now: datetime, weeks: int) -> list[datetime]:
    """The beginnings of so many weeks (UTC), this one's first."""
    monday = (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    return [monday - timedelta(weeks=back) for back in range(weeks)]


def weekly(connection: Connection, *, weeks: int, now: datetime, job: str | None = None) -> Sequence[JobWeek]:
    """So many weeks, this one included, the newest first; of one job, or of all that had attempts."""
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
