"""Operators' actions on the queue: inspect, cancel, replay, pause, prune. With `dry_run` they only return what they
would change."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.retention import RetentionDays, prune
from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.engine.store import attempts, requests
from kordant_jobs.engine.store.attempts import Attempt
from kordant_jobs.engine.store.requests import (
    DeadGroup,
    Filter,
    Request,
    dead_groups,
    estimate,
    find,
    sync_catalogue,
    under_way,
)
from kordant_jobs.engine.store.status_reads import StatusReads
from kordant_jobs.engine.store.tables import job_attempts, job_requests
from kordant_jobs.engine.store.waiting import JobPause, pause, paused, resume
from kordant_jobs.errors import PermanentError

REQUEST_ID = job_requests.c.id
"""The column with the ids of requests."""
DEAD = (RequestStatus.DEAD,)
OPEN = (RequestStatus.PENDING, RequestStatus.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A request with all its attempts."""

    request: Request
    attempts: tuple[Attempt, ...]


def inspect(connection: Connection, request_id: UUID) -> Inspection:
    """A request and its attempts.

    Raises:
        PermanentError: there is none with this id.
    """
    found = requests.get(connection, request_id)
    if found is None:
        raise PermanentError(f"there is no request {request_id}; `kordant-jobs requests list` shows what there is.")
    return Inspection(request=found, attempts=tuple(attempts.attempts_of(connection, request_id)))


def jobs_of_runs(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """The jobs whose requests these runs serve, or will serve."""
    worked = sa.select(job_attempts.c.request_id).where(job_attempts.c.run_id.in_(run_ids))
    column = job_requests.c
    query = sa.select(column.job).where(sa.or_(column.id.in_(worked), column.waiting_run_id.in_(run_ids)))
    return set(connection.execute(query.distinct()).scalars())


def _chosen(
    connection: Connection,
    where: Filter,
    statuses: tuple[RequestStatus, ...],
    act: Callable[[Filter], list[UUID]],
    *,
    dry_run: bool,
) -> list[UUID]:
    narrowed = replace(where, statuses=statuses)
    return requests.ids(connection, narrowed) if dry_run else act(narrowed)


def replay(connection: Connection, where: Filter, *, now: datetime, dry_run: bool = False) -> list[UUID]:
    """Queue dead requests again, with all their retries. Returns the ids of the requests selected."""
    return _chosen(connection, where, DEAD, lambda dead: requests.replay(connection, dead, now=now), dry_run=dry_run)


def acknowledge(connection: Connection, where: Filter, *, by: str, now: datetime, dry_run: bool = False) -> list[UUID]:
    """Mark dead requests as seen by an operator, so that no alarm counts them. Returns the ids of the requests
    selected."""
    return _chosen(
        connection, where, DEAD, lambda dead: requests.acknowledge(connection, dead, by=by, now=now), dry_run=dry_run
    )


def expire(connection: Connection, where: Filter, *, dry_run: bool = False) -> list[UUID]:
    """Give up dead requests for good. Returns the ids of the requests selected."""
    return _chosen(connection, where, DEAD, lambda dead: requests.expire(connection, dead), dry_run=dry_run)


def cancel(connection: Connection, where: Filter, *, now: datetime, dry_run: bool = False) -> list[UUID]:
    """Cancel waiting requests, and ask running ones to stop; these are stopped after the grace time. Returns the ids of
    the requests selected."""

    def act(open_ones: Filter) -> list[UUID]:
        waiting = requests.cancel_waiting(connection, open_ones, now=now)
        return waiting + requests.ask_to_cancel(connection, open_ones, now=now)

    return _chosen(connection, where, OPEN, act, dry_run=dry_run)


def reprioritise(
    connection: Connection,
    where: Filter,
    *,
    priority: Priority | None = None,
    run_at: datetime | None = None,
    dry_run: bool = False,
) -> list[UUID]:
    """Give waiting requests another priority or time. Returns the ids of the requests selected."""
    return _chosen(
        connection,
        where,
        (RequestStatus.PENDING,),
        lambda waiting: requests.change_waiting(connection, waiting, priority=priority, run_at=run_at),
        dry_run=dry_run,
    )


__all__ = [
    "REQUEST_ID",
    "DatabaseClock",
    "DeadGroup",
    "Inspection",
    "JobPause",
    "RetentionDays",
    "StatusReads",
    "acknowledge",
    "cancel",
    "dead_groups",
    "estimate",
    "expire",
    "find",
    "inspect",
    "pause",
    "paused",
    "prune",
    "replay",
    "reprioritise",
    "resume",
    "sync_catalogue",
    "under_way",
]
