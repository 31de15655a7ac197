"""What a run owes the queue, however it came: a request, a lease, fenced writes, and its end told at once.

`database_of_run` is the one way by which a run's ops get our database. A run that the queue ordered adopts its lease;
for any other one (UI, sensor, schedule, backfill, `dagster job execute`; warm launcher or Dagster's own) a request is
made. From then on every transaction on that engine proves that the lease is still held, so that a run which was
declared lost can write nothing, and the run's last event is its request's end.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import psycopg2
import sqlalchemy as sa
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun
from sqlalchemy import Connection, Engine

from kordant_jobs.catalog import JobRow
from kordant_jobs.domain.requests import Cause, Outcome
from kordant_jobs.engine.job_rows import job_rows
from kordant_jobs.engine.launcher.failure import Failure, failure_of, failure_of_run
from kordant_jobs.engine.op_body import ITEMS_FAILED
from kordant_jobs.engine.queue import outcomes, work
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.recorded import AsStarted, payload_of_run
from kordant_jobs.engine.runs import RunEnd
from kordant_jobs.settings import load_settings
from kordant_jobs.store import database, leases, requests
from kordant_jobs.store.database import saying_what_failed
from kordant_jobs.store.leases import Lease, LeaseLost

log = logging.getLogger(__name__)

INTERRUPTIONS_ARE_TOLD: ContextVar[bool] = ContextVar("INTERRUPTIONS_ARE_TOLD", default=False)
"""In a warm child, which has one run: who interrupts it knows why and tells the queue. Elsewhere the run does."""

LAST_EVENT_WITHIN_S = 60.0
"""Between a run's last op and its last event: seconds at worst, when the database was away."""

_OVER: set[str] = set()
"""Runs that ended in this process: `dagster job execute` makes their resources once more, to show the results."""

_UNFENCED = "kordant_unfenced"
_NAMED = "kordant_named"
_STARTED_BY = (
    ("dagster/schedule_name", "schedule"),
    ("dagster/sensor_name", "sensor"),
    ("dagster/backfill", "backfill"),
    ("dagster/parent_run_id", "repeats"),
)
"""Tags by which Dagster says who started a run."""


@contextmanager
def database_of_run(url: str, run: DagsterRun | None, instance: DagsterInstance | None) -> Iterator[Engine]:
    """An engine on our database for what is not a run of a job of the catalogue, too: a sensor, say, gets a plain one.

    Raises:
        LeaseLost: the run's work was given to another one; it must end without doing anything.
        DatabaseUnavailable: Postgres is away.
    """
    alone = run is None or INTERRUPTIONS_ARE_TOLD.get()
    db = database.shared_engine(url) if alone else database.create_engine(url)
    side: RunSide | None = None
    try:
        row = None if run is None or run.run_id in _OVER else job_of(run.job_name)
        if run is not None and instance is not None and row is not None:
            side = RunSide(db, run, instance, row)
            side.begin()
        yield db
    finally:
        if side is not None:
            side.ops_are_over()
        if not alone:
            db.dispose()


def job_of(dagster_job: str) -> JobRow | None:
    """The catalogue's row that a job in Dagster belongs to."""
    return next((row for row in job_rows().values() if dagster_job in row.dagster_jobs), None)


class RunSide:
    """One run in the process that executes it."""

    def __init__(self, db: Engine, run: DagsterRun, instance: DagsterInstance, row: JobRow) -> None:
        self._db = db
        self._unfenced = db.execution_options(**{_UNFENCED: True})
        self._run = run
        self._instance = instance
        self._row = row
        self._clock = DatabaseClock(self._unfenced)
        self._ttl_s = load_settings().lease_s
        self._failure: Failure | None = None
        self._figures: dict[str, Any] = {}

    def begin(self) -> None:
        """Adopt the run's lease, or make its request; from here on the engine is fenced and the lease kept alive.

        Raises:
            LeaseLost: the run came too late.
            DatabaseUnavailable: Postgres is away.
        """
        _name_connections(self._db, leases.session_name(self._run.run_id))
        with saying_what_failed():
            self._lease = self._own_lease() or self._recorded()
        _fence(self._db, self._lease)
        self._heartbeat = work.Heartbeat(self._unfenced, self._lease, clock=self._clock, ttl_s=self._ttl_s)
        self._heartbeat.start()
        self._instance.add_event_listener(self._run.run_id, self._heard)

    def ops_are_over(self) -> None:
        """The run's last event is still to come; should it not, the lease runs out soon."""
        if hasattr(self, "_heartbeat"):
            self._heartbeat.stop_in(LAST_EVENT_WITHIN_S)

    def _own_lease(self) -> Lease | None:
        """The lease that this very run was ordered under, adopted; None when nobody ordered it."""
        if self._run.tags.get(work.RUN_TAG) != self._run.run_id:
            return None
        lease = work.lease_from_tags(self._row.name, self._run.tags)
        if lease is not None:
            with self._unfenced.begin() as connection:
                work.adopt(connection, lease, run_id=self._run.run_id, now=self._clock.now(), ttl_s=self._ttl_s)
        return lease

    def _recorded(self) -> Lease:
        tags = self._run.tags
        started = AsStarted(
            job=self._run.job_name,
            config=dict(self._run.run_config),
            partition_key=tags.get("dagster/partition"),
        )
        repeats = tags.get(work.LEASE_TAG)
        with self._unfenced.begin() as connection:
            lease, ids = work.record_run(
                connection,
                self._row,
                payload_of_run(self._row, started),
                run_id=self._run.run_id,
                requested_by=_started_by(self._run),
                worker=f"{socket.gethostname()}:{os.getpid()}",
                follows=UUID(repeats) if repeats else None,
                clock=self._clock,
                ttl_s=self._ttl_s,
            )
        own = {work.RUN_TAG: self._run.run_id, work.REQUESTS_TAG: str(len(ids)), work.REQUEST_TAG: str(ids[0])}
        self._instance.add_run_tags(self._run.run_id, {**work.lease_tags(lease), **own})
        return lease

    def _heard(self, entry: Any) -> None:
        """Dagster's hook, called after each event of this run was stored. It must not raise."""
        event: DagsterEvent | None = entry.dagster_event
        if event is None:
            return
        match event.event_type:
            case DagsterEventType.STEP_OUTPUT:
                self._figures = {
                    name: one.value
                    for name, one in event.step_output_data.metadata.items()
                    if isinstance(one.value, int | float | str | bool)
                }
            case DagsterEventType.STEP_FAILURE:
                self._failure = failure_of(event)
            case DagsterEventType.RUN_SUCCESS:
                self._ended(self._end(Outcome.SUCCESS))
            case DagsterEventType.RUN_CANCELED:
                self._ended(self._end(Outcome.CANCELED))
            case DagsterEventType.RUN_FAILURE:
                failure = failure_of_run(event, self._failure)
                if failure.interrupted and INTERRUPTIONS_ARE_TOLD.get():
                    self._heartbeat.stop()
                    return
                self._ended(self._end(Outcome.FAILURE, failure))

    def _end(self, outcome: Outcome, failure: Failure | None = None) -> RunEnd:
        own, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        cause = None if failure is None else Cause.KILLED if failure.interrupted else Cause.EXCEPTION
        return RunEnd(
            run_id=self._run.run_id,
            outcome=outcome.value,
            cause=cause and cause.value,
            cpu_s=round(own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime, 3),
            peak_memory_mb=round(max(own.ru_maxrss, below.ru_maxrss) / 1024, 1),
            error=None if failure is None else failure.error,
            retry_after_s=None if failure is None else failure.retry_after_s,
            permanent=failure is not None and failure.permanent,
        )

    def _ended(self, end: RunEnd) -> None:
        """Move its requests on. Should that fail, whoever looks after the lease does it: nothing is lost."""
        _OVER.add(end.run_id)
        self._heartbeat.stop()
        failed = self._figures.pop(ITEMS_FAILED, 0)
        try:
            with self._unfenced.begin() as connection:
                rows = {self._row.name: self._row}
                now = self._clock.now()
                outcomes.run_ended(connection, end, rows, now=now, summary=self._figures or None, items_failed=failed)
                requests.notify(connection, "ended")
        except sa.exc.SQLAlchemyError as error:
            log.warning("the end of run %s is left to the daemon (%s)", end.run_id, type(error).__name__)
        finally:
            self._db.dispose()


def _started_by(run: DagsterRun) -> str:
    return next((f"{word}:{run.tags[tag]}" for tag, word in _STARTED_BY if tag in run.tags), "dagster")


def _name_connections(db: Engine, name: str) -> None:
    """Give the run's connections a name by which they can be cut, should it be lost in the middle of a transaction."""

    @sa.event.listens_for(db, "checkout")
    def named(connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(_NAMED) == name:
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', %s, false)", (name,))
        connection.commit()
        record.info[_NAMED] = name


def _fence(db: Engine, lease: Lease) -> None:
    """Prove in every transaction of the engine, until it ends, that the lease is held (as `leases.fenced` does)."""
    held = "SELECT 1 FROM kordant.job_leases WHERE id = %s AND fence = %s FOR KEY SHARE"

    @sa.event.listens_for(db, "begin")
    def fenced(connection: Connection) -> None:
        if connection.get_execution_options().get(_UNFENCED):
            return
        raw: Any = connection.connection
        try:
            with raw.cursor() as cursor:  # not through SQLAlchemy: it would begin a transaction, and call us again
                cursor.execute(held, (str(lease.id), lease.fence))
                found = cursor.fetchone()
        except psycopg2.Error as error:
            raise sa.exc.OperationalError(held, None, error, connection_invalidated=bool(raw.closed)) from error
        if found is None:
            raise LeaseLost(leases.lost_text(lease))
