"""Progress and cancellation of running requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.engine.store.leases import Lease, fenced
from kordant_jobs.engine.store.tables import job_leases, job_requests


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


def report_progress(
    connection: Connection, lease: Lease, request_ids: Sequence[UUID] | None, *, done: int, total: int, message: str
) -> set[UUID]:
    """Write the progress of the lease's requests (all, or these). Returns those that are to be cancelled.

    Raises:
        LeaseLost: another attempt has them now.
    """
    fenced(connection, lease)
    column = job_requests.c
    mine = [column.lease_id == lease.id, column.status == RequestStatus.RUNNING]
    if request_ids is not None:
        mine.append(column.id.in_(request_ids))
    rows = connection.execute(
        sa.update(job_requests)
        .where(*mine)
        .values(progress_done=done, progress_total=total, progress_message=message)
        .returning(column.id, column.cancel_requested_at)
    )
    return {row.id for row in rows if row.cancel_requested_at is not None}
