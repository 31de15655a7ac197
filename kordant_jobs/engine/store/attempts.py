"""The statements that start attempts of requests, and those that end them.

`engine.queue` decides which requests to start (`waiting` lists them) and the next state after an end; here it is
written, in sets.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.engine.store.leases import Lease
from kordant_jobs.engine.store.tables import job_attempts, job_leases, job_requests

_AWARE = sa.DateTime(timezone=True)


def _arrays(names: str, kinds: str) -> str:
    pairs = zip(names.split(), kinds.split(), strict=True)
    return "unnest(" + ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in pairs) + ")"


_START = sa.text(f"""
    WITH chosen AS (
        SELECT c.* FROM {_arrays("ids leases fences", "uuid uuid bigint")} AS c(id, lease_id, fence)
        JOIN kordant.job_requests r ON r.id = c.id AND r.status = 'pending' FOR UPDATE OF r SKIP LOCKED
    ), started AS (
        UPDATE kordant.job_requests r SET status = 'running', lease_id = c.lease_id, fence = c.fence,
            attempt = r.attempt + 1, started_at = :now, cancel_requested_at = NULL, cause = NULL,
            progress_done = 0, progress_total = 0, progress_message = ''
        FROM chosen c WHERE r.id = c.id
        RETURNING r.id, r.attempt, r.lease_id
    )
    INSERT INTO kordant.job_attempts (request_id, attempt, lease_id, run_id, worker, started_at)
    SELECT s.id, s.attempt, s.lease_id, l.run_id, :worker, :now
    FROM started s LEFT JOIN kordant.job_leases l ON l.id = s.lease_id RETURNING request_id
""").bindparams(sa.bindparam("now", type_=_AWARE))  # noqa: S608 - constants


def start(connection: Connection, chosen: Sequence[tuple[UUID, Lease]], *, worker: str, now: datetime) -> set[UUID]:
    """Set waiting requests to running, each under its lease, with a row for the attempt. Returns the requests that were
    started: one that another transaction cancels or changes at this moment is left out."""
    started = connection.execute(
        _START,
        {
            "ids": [str(one) for one, _ in chosen],
            "leases": [str(lease.id) for _, lease in chosen],
            "fences": [lease.fence for _, lease in chosen],
            "worker": worker,
            "now": now,
        },
    )
    return set(started.scalars())


_ADOPT = sa.text("""
    WITH lease AS (
        UPDATE kordant.job_leases SET adopted = true, expires_at = :expires_at
        WHERE run_id = :run_id AND name LIKE 'job:%' RETURNING id, name, fence
    ), begun AS (
        UPDATE kordant.job_requests r
        SET run_id = :run_id, root_run_id = coalesce(r.root_run_id, :run_id), waiting_run_id = NULL
        FROM lease WHERE r.lease_id = lease.id AND r.status = 'running'
    ), left_out AS (
        UPDATE kordant.job_requests r SET waiting_run_id = NULL
        WHERE r.waiting_run_id = :run_id AND r.status = 'pending' AND EXISTS (SELECT 1 FROM lease)
    )
    SELECT id, name, fence FROM lease
""").bindparams(sa.bindparam("run_id", type_=sa.Text()), sa.bindparam("expires_at", type_=_AWARE))


def adopt(connection: Connection, run_id: str, *, now: datetime, ttl_s: float) -> Lease | None:
    """Adopt the lease that this run works under and renews itself from now on: a run's first act. Until then the
    process that claimed it renews it. None when there is none: the run was never claimed, or comes too late."""
    expires_at = now + timedelta(seconds=ttl_s)
    row = connection.execute(_ADOPT, {"run_id": run_id, "expires_at": expires_at}).one_or_none()
    return None if row is None else Lease(id=row.id, name=row.name, fence=row.fence)


def was_claimed(connection: Connection, run_id: str) -> bool:
    """True when this run was claimed for an attempt."""
    return connection.execute(_CLAIMED, {"run_id": run_id}).scalar_one()


_CLAIMED = sa.select(sa.exists().where(job_attempts.c.run_id == sa.bindparam("run_id", type_=sa.Text())))


def left_over(connection: Connection, run_id: str, *, now: datetime) -> list[UUID]:
    """The requests whose last attempt was this run and that wait for another one, or are dead; locked. They become due
    now: a dead one is replayed."""
    column = job_requests.c
    mine = sa.select(job_attempts.c.request_id).where(job_attempts.c.run_id == run_id)
    last = mine.where(job_attempts.c.attempt == column.attempt).correlate(job_requests)
    found = connection.execute(
        sa.select(column.id)
        .where(
            column.id.in_(mine),
            column.id.in_(last),
            column.waiting_run_id.is_(None),
            column.status.in_([RequestStatus.PENDING.value, RequestStatus.DEAD.value]),
        )
        .order_by(column.id)
        .with_for_update()
    )
    ids = list(found.scalars())
    dead = column.status == RequestStatus.DEAD
    connection.execute(
        sa.update(job_requests)
        .where(column.id.in_(ids))
        .values(
            status=RequestStatus.PENDING,
            forgiven=sa.case((dead, column.attempt), else_=column.forgiven),
            run_at=now,
            turn_at=now,
            ended_at=None,
            cancel_requested_at=None,
        )
    )
    return ids


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running request, with the facts that decide about its end. `counted` leaves out attempts that do not count."""

    id: UUID
    job: str
    lease_id: UUID
    attempt: int
    counted: int
    payload: Mapping[str, Any]
    cancel_requested_at: datetime | None


def running(connection: Connection, lease_ids: Sequence[UUID], *, lock: bool) -> list[Running]:
    """The requests that still run under these leases, ordered by id."""
    column = job_requests.c
    query = (
        sa.select(
            column.id,
            column.job,
            column.lease_id,
            column.attempt,
            (column.attempt - column.forgiven).label("counted"),
            column.payload,
            column.cancel_requested_at,
        )
        .where(column.lease_id.in_(lease_ids), column.status == RequestStatus.RUNNING)
        .order_by(column.id)
    )
    rows = connection.execute(query.with_for_update() if lock else query).mappings()
    return [Running(**row) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Move:
    """The next state of a running request, and the note on its attempt."""

    request_id: UUID
    status: RequestStatus
    outcome: Outcome
    run_at: datetime | None = None
    cause: Cause | None = None
    error: str | None = None
    items_failed: int = 0
    summary: Mapping[str, Any] | None = None
    cpu_s: float | None = None
    peak_memory_mb: float | None = None
    run_id: str | None = None
    """The run that made the attempt, once it has ended."""


_MOVE = sa.text(f"""
    WITH moves AS (
        SELECT * FROM {
    _arrays(
        "ids statuses outcomes run_ats causes errors failed summaries cpus memories run_ids",
        "uuid text text timestamptz text text bigint jsonb float8 float8 text",
    )
} AS m(id, status, outcome, run_at, cause, error, items_failed, summary, cpu_s, peak_memory_mb, run_id)
    ), noted AS (
        UPDATE kordant.job_attempts a SET ended_at = :now, outcome = m.outcome, cause = m.cause, error = m.error,
            cpu_s = m.cpu_s, peak_memory_mb = m.peak_memory_mb
        FROM moves m JOIN kordant.job_requests r ON r.id = m.id AND r.status = 'running'
        WHERE a.request_id = m.id AND a.attempt = r.attempt
    )
    UPDATE kordant.job_requests r SET
        status = m.status,
        run_at = coalesce(m.run_at, r.run_at),
        turn_at = coalesce(m.run_at, r.turn_at),
        ended_at = CASE WHEN m.status <> 'pending' THEN CAST(:now AS timestamptz) END,
        forgiven = r.forgiven + CASE WHEN m.outcome = 'returned' THEN 1 ELSE 0 END,
        lease_id = NULL, fence = NULL, merge_key = CASE WHEN m.status <> 'pending' THEN r.merge_key END,
        cause = m.cause,
        error = CASE WHEN m.outcome = 'returned' THEN r.error WHEN m.status <> 'completed' THEN m.error END,
        items_failed = m.items_failed,
        summary = coalesce(m.summary, r.summary),
        run_id = coalesce(m.run_id, r.run_id), root_run_id = coalesce(r.root_run_id, m.run_id),
        waiting_run_id = CASE WHEN m.run_id IS NULL THEN r.waiting_run_id END
    FROM moves m WHERE r.id = m.id AND r.status = 'running'
""").bindparams(sa.bindparam("now", type_=_AWARE))  # noqa: S608 - constants


def move(connection: Connection, moves: Sequence[Move], *, now: datetime) -> None:
    """End the attempts of running requests. The caller holds their lease, or has removed it."""
    if not moves:
        return
    connection.execute(
        _MOVE,
        {
            "ids": [str(one.request_id) for one in moves],
            "statuses": [one.status.value for one in moves],
            "outcomes": [one.outcome.value for one in moves],
            "run_ats": [one.run_at for one in moves],
            "causes": [one.cause and one.cause.value for one in moves],
            "errors": [one.error for one in moves],
            "failed": [one.items_failed for one in moves],
            "summaries": [None if one.summary is None else json.dumps(one.summary) for one in moves],
            "cpus": [one.cpu_s for one in moves],
            "memories": [one.peak_memory_mb for one in moves],
            "run_ids": [one.run_id for one in moves],
            "now": now,
        },
    )


_COMPLETE_RUN = sa.text("""
    WITH lease AS (
        DELETE FROM kordant.job_leases WHERE run_id = :run_id AND name LIKE 'job:%' RETURNING id
    ), ended AS (
        UPDATE kordant.job_requests SET status = 'completed', ended_at = :now, lease_id = NULL, fence = NULL,
            cause = NULL, error = NULL, items_failed = :items_failed,
            summary = coalesce(CAST(:summary AS jsonb), summary),
            run_id = :run_id, root_run_id = coalesce(root_run_id, :run_id), waiting_run_id = NULL
        WHERE lease_id IN (SELECT id FROM lease) AND status = 'running' RETURNING id, attempt
    ), noted AS (
        UPDATE kordant.job_attempts SET cpu_s = :cpu_s, peak_memory_mb = :peak_memory_mb
        WHERE lease_id IN (SELECT id FROM lease) AND ended_at IS NOT NULL
    ), attempted AS (
        UPDATE kordant.job_attempts a
        SET ended_at = :now, outcome = :outcome, cpu_s = :cpu_s, peak_memory_mb = :peak_memory_mb
        FROM ended e WHERE a.request_id = e.id AND a.attempt = e.attempt
    )
    SELECT count(*) FROM lease
""").bindparams(sa.bindparam("now", type_=_AWARE), sa.bindparam("run_id", type_=sa.Text()))


def complete_run(
    connection: Connection,
    run_id: str,
    *,
    cpu_s: float,
    peak_memory_mb: float,
    now: datetime,
    summary: Mapping[str, Any] | None = None,
    items_failed: int = 0,
) -> bool:
    """Complete all requests that still run in a successful run, and free its slot. False when it held no lease."""
    held = connection.execute(
        _COMPLETE_RUN,
        {
            "run_id": run_id,
            "cpu_s": cpu_s,
            "peak_memory_mb": peak_memory_mb,
            "now": now,
            "outcome": Outcome.PARTIAL.value if items_failed else Outcome.SUCCESS.value,
            "summary": None if summary is None else json.dumps(summary),
            "items_failed": items_failed,
        },
    ).scalar_one()
    return bool(held)


def note_use(connection: Connection, lease_id: UUID, *, cpu_s: float, peak_memory_mb: float) -> None:
    """Record the resources that the run of a lease used, on the attempts that the run itself ended before."""
    connection.execute(
        sa.update(job_attempts)
        .where(job_attempts.c.lease_id == lease_id, job_attempts.c.cpu_s.is_(None))
        .values(cpu_s=cpu_s, peak_memory_mb=peak_memory_mb)
    )


def lease_of_run(connection: Connection, run_id: str) -> Lease | None:
    """The lease that a run works under, locked, so that its end is handled once."""
    row = connection.execute(
        sa.select(job_leases.c.id, job_leases.c.name, job_leases.c.fence)
        .where(job_leases.c.run_id == run_id, job_leases.c.name.startswith("job:"))
        .with_for_update()
    ).one_or_none()
    return None if row is None else Lease(id=row.id, name=row.name, fence=row.fence)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt, as lists show it."""

    attempt: int
    run_id: str | None
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    cause: Cause | None
    cpu_s: float | None
    peak_memory_mb: float | None
    error: str | None


def attempts_of(connection: Connection, request_id: UUID) -> list[Attempt]:
    """Every attempt of a request, the first one first."""
    column = job_attempts.c
    rows = connection.execute(
        sa.select(*(column[name] for name in Attempt.__dataclass_fields__))
        .where(column.request_id == request_id)
        .order_by(column.attempt)
    ).mappings()
    return [
        Attempt(
            **{
                **row,
                "outcome": Outcome(row["outcome"]) if row["outcome"] else None,
                "cause": Cause(row["cause"]) if row["cause"] else None,
            }
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True)
class Cancelling:
    """A run of which all requests are to be cancelled. `asked_at` is the time of the latest cancellation."""

    lease_id: UUID
    run_id: str
    asked_at: datetime


def cancelling(connection: Connection) -> list[Cancelling]:
    """The runs to stop. A run that also serves another request is not among them: only its own code can skip an
    item."""
    column = job_requests.c
    asked = sa.select(column.lease_id).where(
        column.status == RequestStatus.RUNNING, column.cancel_requested_at.is_not(None)
    )
    rows = connection.execute(
        sa.select(column.lease_id, job_leases.c.run_id, sa.func.max(column.cancel_requested_at))
        .join(job_leases, job_leases.c.id == column.lease_id)
        .where(column.lease_id.in_(asked), column.status == RequestStatus.RUNNING, job_leases.c.run_id.is_not(None))
        .group_by(column.lease_id, job_leases.c.run_id)
        .having(sa.func.bool_and(column.cancel_requested_at.is_not(None)))
    )
    return [Cancelling(lease_id=lease_id, run_id=run_id, asked_at=at) for lease_id, run_id, at in rows]
