"""Requests for runs that Dagster made: `waiting_run_id` names the run until it begins.

Dagster's own table of runs is read here, never written: which runs are queued there without a request, and which
waiting requests have a run that has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.engine.store.requests import notify
from kordant_jobs.engine.store.tables import job_attempts, job_requests
from kordant_jobs.postgres.schema import DAGSTER_SCHEMA

SETTLED_S = 2.0
"""Seconds in which the process that queued a run may still create its request."""


def is_known(connection: Connection, run_id: str) -> bool:
    """True when a request waits with this run, or was claimed for it."""
    waits = sa.exists().where(job_requests.c.waiting_run_id == run_id)
    claimed = sa.exists().where(job_attempts.c.run_id == run_id)
    return bool(connection.execute(sa.select(sa.or_(waits, claimed))).scalar_one())


def attach(connection: Connection, request_ids: Sequence[UUID], run_id: str) -> None:
    """Let these waiting requests start with this run."""
    connection.execute(sa.update(job_requests).where(job_requests.c.id.in_(request_ids)).values(waiting_run_id=run_id))
    notify(connection, "given")


def waiting_for(connection: Connection, run_id: str) -> list[UUID]:
    """The requests that wait with this run; locked."""
    column = job_requests.c
    found = connection.execute(
        sa.select(column.id)
        .where(column.waiting_run_id == run_id, column.status == RequestStatus.PENDING)
        .order_by(column.id)
        .with_for_update()
    )
    return list(found.scalars())


def cancel(connection: Connection, run_id: str, *, now: datetime) -> bool:
    """Cancel the requests of a run that has not begun. True when any of them waited. Requests that were claimed just
    now are asked to stop."""
    column = job_requests.c
    waited = connection.execute(
        sa.update(job_requests)
        .where(column.waiting_run_id == run_id, column.status == RequestStatus.PENDING)
        .values(status=RequestStatus.CANCELLED, ended_at=now, cancel_requested_at=now, waiting_run_id=None)
    ).rowcount
    connection.execute(
        sa.update(job_requests)
        .where(column.waiting_run_id == run_id, column.status == RequestStatus.RUNNING)
        .values(cancel_requested_at=sa.func.coalesce(column.cancel_requested_at, now))
    )
    return waited > 0


@dataclass(frozen=True, kw_only=True)
class Stranded:
    """A run that must be ended in Dagster, since its request has ended: cancelled, or dead with an error."""

    run_id: str
    cancelled: bool
    error: str | None


def stranded(connection: Connection) -> list[Stranded]:
    """The runs whose requests ended before the run began."""
    column = job_requests.c
    rows = connection.execute(
        sa.select(column.waiting_run_id, column.status, column.error).where(
            column.waiting_run_id.is_not(None),
            column.status.not_in([RequestStatus.PENDING.value, RequestStatus.RUNNING.value]),
        )
    )
    return [
        Stranded(run_id=run_id, cancelled=status == RequestStatus.CANCELLED, error=error)
        for run_id, status, error in rows
    ]


def release(connection: Connection, run_ids: Sequence[str]) -> None:
    """Remove the link from ended requests to these runs, which have ended in Dagster too."""
    ended = job_requests.c.status.not_in([RequestStatus.PENDING.value, RequestStatus.RUNNING.value])
    connection.execute(
        sa.update(job_requests).where(job_requests.c.waiting_run_id.in_(run_ids), ended).values(waiting_run_id=None)
    )


_QUEUED_WITHOUT = sa.text(f"""
    SELECT d.run_id FROM {DAGSTER_SCHEMA}.runs d
    WHERE d.status = 'QUEUED' AND d.update_timestamp < (now() AT TIME ZONE 'utc') - make_interval(secs => :settled_s)
      AND NOT EXISTS (SELECT 1 FROM kordant.job_requests r WHERE r.waiting_run_id = d.run_id)
      AND NOT EXISTS (SELECT 1 FROM kordant.job_attempts a WHERE a.run_id = d.run_id)
    ORDER BY d.id LIMIT 1000
""")  # noqa: S608 - constants
_ENDED_MEANWHILE = sa.text(f"""
    SELECT DISTINCT r.waiting_run_id FROM kordant.job_requests r
    LEFT JOIN {DAGSTER_SCHEMA}.runs d ON d.run_id = r.waiting_run_id
    WHERE r.waiting_run_id IS NOT NULL AND r.status = 'pending'
      AND (d.run_id IS NULL OR d.status IN ('CANCELED', 'FAILURE', 'SUCCESS'))
""")  # noqa: S608 - constants


def queued_without_request(connection: Connection, *, settled_s: float = SETTLED_S) -> list[str]:
    """Runs that are queued in Dagster without a request of ours: the process that queued them was killed in between, or
    Dagster's own coordinator queued them."""
    return list(connection.execute(_QUEUED_WITHOUT, {"settled_s": settled_s}).scalars())


def ended_meanwhile(connection: Connection) -> list[str]:
    """Runs with waiting requests that ended or were deleted in Dagster (a cancelled backfill, for example)."""
    return list(connection.execute(_ENDED_MEANWHILE).scalars())
