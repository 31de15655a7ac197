"""Waiting requests and live runs: the due requests at the head of each line, the number of runs, and paused jobs, whose
requests wait however they were made. `attempts.start` takes the chosen requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.engine.store.requests import notify
from kordant_jobs.engine.store.tables import job_leases, job_pauses, job_requests

_AWARE = sa.DateTime(timezone=True)


@dataclass(frozen=True, kw_only=True)
class Want:
    """The number of waiting requests of a job to read for each priority, and of runs at once for one entity."""

    job: str
    rows: int
    key_concurrency: int | None


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A due request. `key_running` is the number of its entity's running requests."""

    id: UUID
    job: str
    priority: Priority
    run_at: datetime
    turn_at: datetime
    entity_key: str | None
    attempt: int
    run_id: str | None
    root_run_id: str | None
    key_running: int
    waiting_run_id: str | None = None


_KEYED = """
        CROSS JOIN LATERAL (
            SELECT count(*) AS key_running FROM kordant.job_requests k
            WHERE k.job = r.job AND k.entity_key = r.entity_key AND k.status = 'running'
        ) running
        WHERE running.key_running < want.keys AND"""
_UNKEYED = "CROSS JOIN (SELECT 0 AS key_running) running WHERE"


def _waiting(limit_by_key: str) -> sa.TextClause:
    """The head of each line of each job, limited to the first `rows` of the job."""
    return sa.text(f"""
        SELECT id, job, priority, run_at, turn_at, entity_key, attempt, run_id, root_run_id, key_running,
            waiting_run_id FROM (
            SELECT c.*, want.rows,
                row_number() OVER (PARTITION BY c.job ORDER BY c.priority > 0, c.turn_at + level.handicap) AS place,
                row_number() OVER (PARTITION BY c.job, c.priority ORDER BY c.turn_at) AS place_in_line
            FROM unnest(CAST(:jobs AS text[]), CAST(:rows AS int[]), CAST(:keys AS int[])) AS want(job, rows, keys)
            CROSS JOIN unnest(CAST(:handicaps AS interval[])) WITH ORDINALITY AS level(handicap, number)
            CROSS JOIN LATERAL (
                SELECT r.id, r.job, r.priority, r.run_at, r.turn_at, r.entity_key, r.attempt, r.run_id,
                    r.root_run_id, r.waiting_run_id, running.key_running
                FROM kordant.job_requests r {limit_by_key}
                    r.job = want.job AND r.priority = level.number - 1 AND r.status = 'pending' AND r.run_at <= :now
                ORDER BY r.turn_at LIMIT want.rows
            ) c
        ) first WHERE place <= rows OR place_in_line = 1
    """).bindparams(sa.bindparam("now", type_=_AWARE))  # noqa: S608 - constants


_WAITING = {True: _waiting(_KEYED), False: _waiting(_UNKEYED)}


def waiting(
    connection: Connection, wants: Sequence[Want], handicaps: Sequence[timedelta], *, now: datetime
) -> list[Waiting]:
    """The due requests at the head of each job's lines. `handicaps` has one entry for each priority, in order. They are
    not locked: `start` takes those that still wait."""
    rows: list[Waiting] = []
    for keyed, query in _WAITING.items():
        chosen = [want for want in wants if (want.key_concurrency is not None) is keyed]
        if chosen:
            arguments = {
                "jobs": [want.job for want in chosen],
                "rows": [want.rows for want in chosen],
                "keys": [want.key_concurrency for want in chosen],
                "handicaps": list(handicaps),
                "now": now,
            }
            rows += [
                Waiting(**{**row, "priority": Priority(row["priority"])})
                for row in connection.execute(query, arguments).mappings()
            ]
    return rows


def slots_taken(connection: Connection) -> dict[str, int]:
    """The number of live runs by job."""
    rows = connection.execute(
        sa.select(job_leases.c.name, sa.func.count())
        .where(job_leases.c.name.startswith("job:"))
        .group_by(job_leases.c.name)
    )
    return {name.removeprefix("job:"): count for name, count in rows}


def next_due(connection: Connection, *, now: datetime) -> datetime | None:
    """The time at which the next request becomes due that is not due yet."""
    column = job_requests.c
    first: datetime | None = connection.execute(
        sa.select(sa.func.min(column.run_at)).where(column.status == RequestStatus.PENDING, column.run_at > now)
    ).scalar_one()
    return first


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
