"""Jobs that an operator paused: their requests wait, however they were made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.engine.store.requests import notify
from kordant_jobs.engine.store.tables import job_pauses


@dataclass(frozen=True, kw_only=True)
class JobPause:
    """The reason, author and time of a job's pause."""

    job: str
    reason: str
    paused_by: str
    paused_at: datetime


def pause(connection: Connection, job: str, *, reason: str, by: str, now: datetime) -> bool:
    """Start no run of this job from now on; running ones continue. False when it was paused already."""
    row = insert(job_pauses).values(job=job, reason=reason, paused_by=by, paused_at=now)
    return connection.execute(row.on_conflict_do_nothing()).rowcount > 0


def resume(connection: Connection, job: str) -> bool:
    """Start the job's waiting requests again. False when it was not paused."""
    gone = connection.execute(sa.delete(job_pauses).where(job_pauses.c.job == job)).rowcount > 0
    notify(connection, "resumed")
    return gone


def paused(connection: Connection) -> list[JobPause]:
    """Every job that is paused, by name."""
    rows = connection.execute(sa.select(job_pauses).order_by(job_pauses.c.job)).mappings()
    return [JobPause(**row) for row in rows]
