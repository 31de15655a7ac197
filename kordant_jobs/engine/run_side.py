"""The duties of a run to the queue, however it was started: a request, a lease, fenced writes, and its end reported at
once.

Ops of a run get our database only through `database_of_run`. A run that was claimed from the queue adopts its lease; a
run that bypassed our queue (`dagster job execute`, or Dagster's own coordinator) gets a new request. From then on every
transaction on that engine proves that the lease is still held, so that a run that was declared lost cannot write, and
the run's last event ends its request.
"""

import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg2
import sqlalchemy as sa
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    InitResourceContext,
    ResourceDefinition,
)
from sqlalchemy import Connection, Engine

from kordant_jobs import tracing
from kordant_jobs.engine import tree
from kordant_jobs.engine.failure import Failure, failure_of, failure_of_run
from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.ops import ITEMS_FAILED
from kordant_jobs.engine.queue import outcomes, work
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.given import EXECUTED, PARENT_TAG, PARTITION_TAG, way_in
from kordant_jobs.engine.queue.recorded import AsStarted, payload_of_run
from kordant_jobs.engine.queue.work import REQUEST_TAG, REQUESTS_TAG
from kordant_jobs.engine.requests import Cause, Outcome
from kordant_jobs.engine.runs import FENCED, RunEnd
from kordant_jobs.engine.store import attempts, leases, requests, traces
from kordant_jobs.engine.store.leases import Lease, LeaseLost
from kordant_jobs.engine.system import System
from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres import database
from kordant_jobs.postgres.database import saying_what_failed
from kordant_jobs.redaction import storable

log = logging.getLogger(__name__)

SHOW_INTERRUPTIONS: ContextVar[bool] = ContextVar("SHOW_INTERRUPTIONS", default=False)
"""True in a warm child: the process that interrupts the run knows the reason and reports it to the queue. Elsewhere the
run itself reports it."""

LAST_EVENT_WITHIN_S = 60.0
"""The longest time between a run's last op and its last event: seconds at worst, when the database was unavailable."""

_OVER: set[str] = set()
"""Ids of runs that ended in this process: `dagster job execute` creates their resources again to show the results."""

_UNFENCED = "kordant_unfenced"

PARTIAL_TAG = "kordant/partial"
"""The tag of runs that succeeded with some failed items; Dagster shows them as successful."""


def database_resource(system: System) -> ResourceDefinition:
    """The resource that gives a job's ops our Postgres: the process's own engine, fenced during a run. A sensor's next
    tick and a run in a warm process find it connected."""

    def resource(context: InitResourceContext) -> Iterator[Engine]:
        url = system.settings().database_url
        if url is None:
            raise SettingsError(
                "KORDANT_DATABASE_URL is unset. Start through `python3 -m kordant_jobs up`, or run a Dagster command "
                "as `python3 -m kordant_jobs dagster …`, which sets it."
            )
        with database_of_run(system, database.shared_engine(url), context.run, context.instance) as engine:
            yield engine

    return ResourceDefinition(resource, description="Our Postgres (KORDANT_DATABASE_URL).")


@contextmanager
def database_of_run(
    system: System, db: Engine, run: DagsterRun | None, instance: DagsterInstance | None
) -> Iterator[Engine]:
    """`db` as the ops of a run may use it. Where there is no run of a job in the catalogue (a sensor, for example),
    `db` unchanged.

    Raises:
        LeaseLost: the run's work was given to another one; it must end without doing anything.
        DatabaseUnavailable: Postgres is away.
    """
    row = None if run is None or run.run_id in _OVER else system.job_of(run.job_name)
    if run is None or instance is None or row is None:
        yield db
        return
    side = RunSide(db, run, instance, row, ttl_s=system.settings().lease_s)
    try:
        side.begin()
        yield db
    finally:
        side.ops_are_over()


class RunSide:
    """The queue's side of one run, in the process that executes it."""

    def __init__(self, db: Engine, run: DagsterRun, instance: DagsterInstance, row: JobRow, *, ttl_s: float) -> None:
        self._db = db
        self._unfenced = db.execution_options(**{_UNFENCED: True})
        self._run = run
        self._instance = instance
        self._row = row
        self._clock = DatabaseClock(self._unfenced)
        self._ttl_s = ttl_s
        self._listening: list[tuple[str, Callable[..., None]]] = []
        self._heartbeat: work.Heartbeat | None = None
        self._failure: Failure | None = None
        self._figures: dict[str, Any] = {}

    def begin(self) -> None:
        """Adopt the run's lease, or create its request. From here on the engine is fenced and the lease is renewed.

        Raises:
            LeaseLost: the run came too late.
            DatabaseUnavailable: Postgres is away.
        """
        _end_at_sigterm()
        with saying_what_failed():
            lease = self._own_lease() or self._recorded()
            if tracing.is_on():
                with self._unfenced.begin() as connection:
                    traces.began(connection, self._run.run_id)
        self._listen("begin", _fenced(lease, self._run.run_id))
        fence = ProcessFence(self._run.run_id)
        self._heartbeat = work.Heartbeat(self._unfenced, lease, clock=self._clock, ttl_s=self._ttl_s, fence=fence)
        self._heartbeat.start()
        self._instance.add_event_listener(self._run.run_id, self._heard)

    def _listen(self, event: str, hook: Callable[..., None]) -> None:
        sa.event.listen(self._db, event, hook)
        self._listening.append((event, hook))

    def ops_are_over(self) -> None:
        """Stop fencing after the last op. The run's last event is still to come; without it the lease expires soon."""
        for event, hook in self._listening:
            sa.event.remove(self._db, event, hook)
        if self._heartbeat is not None:
            self._heartbeat.stop_in(LAST_EVENT_WITHIN_S)

    def _own_lease(self) -> Lease | None:
        """The lease that this run was claimed under, adopted; None when it passed no queue of ours.

        Raises:
            LeaseLost: it was claimed, and its work was given back since.
        """
        now = self._clock.now()  # before the transaction: it would take a second connection
        with self._unfenced.begin() as connection:
            lease = attempts.adopt(connection, self._run.run_id, now=now, ttl_s=self._ttl_s)
            if lease is None and attempts.was_claimed(connection, self._run.run_id):
                raise LeaseLost(
                    f"run {self._run.run_id} came too late: its work was given back to the queue. "
                    "End without doing anything."
                )
        return lease

    def _recorded(self) -> Lease:
        started = AsStarted(
            job=self._run.job_name,
            config=dict(self._run.run_config),
            partition_key=self._run.tags.get(PARTITION_TAG),
        )
        with self._unfenced.begin() as connection:
            lease, ids = work.record_run(
                connection,
                self._row,
                payload_of_run(self._row, started),
                run_id=self._run.run_id,
                requested_by=way_in(self._run.tags) or EXECUTED,
                worker=f"{socket.gethostname()}:{os.getpid()}",
                follows=self._run.parent_run_id or self._run.tags.get(PARENT_TAG),
                clock=self._clock,
                ttl_s=self._ttl_s,
            )
        self._instance.add_run_tags(self._run.run_id, {REQUESTS_TAG: str(len(ids)), REQUEST_TAG: str(ids[0])})
        return lease

    def _heard(self, entry: Any) -> None:
        """Dagster's hook, called after each event of this run is stored. It must not raise."""
        event: DagsterEvent | None = entry.dagster_event
        if event is None:
            return
        match event.event_type:
            case DagsterEventType.STEP_OUTPUT:
                self._figures = {
                    name: storable(one.value) if isinstance(one.value, str) else one.value
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
                self._ended(self._end(Outcome.FAILURE, failure), left=failure.interrupted)

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

    def _ended(self, end: RunEnd, *, left: bool = False) -> None:
        """Move its requests on. If that fails, the dispatcher does it when it reaps the lease. `left`: the process that
        interrupted the run reports to the queue."""
        _OVER.add(end.run_id)
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if left and SHOW_INTERRUPTIONS.get():
            return
        failed = self._figures.pop(ITEMS_FAILED, 0)
        try:
            now = self._clock.now()
            with self._unfenced.begin() as connection:
                rows = {self._row.name: self._row}
                if outcomes.run_ended(
                    connection, end, rows, now=now, summary=self._figures or None, items_failed=failed
                ):
                    traces.ended(connection, [end.run_id], settled_at=now)
                then = requests.after_run(connection, end.run_id) if end.outcome == Outcome.FAILURE else None
                requests.notify(connection, "ended")
                if (way_in(self._run.tags) or "").startswith("sensor:"):
                    requests.wake_sensors(connection)  # what came meanwhile waits for this end
            if then:
                self._instance.report_engine_event(then, self._run)
            if failed:
                self._instance.add_run_tags(end.run_id, {PARTIAL_TAG: f"{failed} failed"})
        except sa.exc.SQLAlchemyError as error:
            log.warning("the end of run %s is left to the daemon (%s)", end.run_id, type(error).__name__)
        finally:
            self._db.dispose()


class ProcessFence:
    """Ends this process when its run lost its lease or cannot renew it."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def interrupt(self) -> None:
        """Interrupt like Ctrl-C, which also ends a wait of the main thread."""
        log.warning("run %s cannot renew its lease: it is interrupted, and its process ends with it", self._run_id)
        os.kill(os.getpid(), signal.SIGINT)

    def end(self) -> None:
        """End all processes that the run started, then this one, at any point of its work. The exit code gives the
        reason."""
        tree.kill_below(os.getpid())
        os._exit(FENCED)


def _end_at_sigterm() -> None:
    """Make SIGTERM end a run as Ctrl-C does, so that its request is informed, where no other handler is set: in
    `dagster job execute`."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))


def _fenced(lease: Lease, run_id: str) -> Callable[..., None]:
    """Returns a hook that proves in a transaction, until it ends, that the lease is held (as `leases.fenced` does). It
    names the session for that time, so that the session can be cut if the run is lost in the middle of it; a pooler
    passes the session on without the name. Leases that the transaction makes end with the run's. Writes belong to the
    run's trace, if there is one."""
    name = leases.session_name(run_id)
    held = (
        "SELECT set_config('application_name', %s, true), set_config('kordant.lease', id::text, true) "
        "FROM kordant.job_leases WHERE id = %s AND fence = %s FOR KEY SHARE"
    )

    def prove(connection: Connection) -> None:
        if connection.get_execution_options().get(_UNFENCED):
            return
        raw: Any = connection.connection
        try:
            with raw.cursor() as cursor:  # not through SQLAlchemy: it would begin a transaction, and call us again
                cursor.execute(held, (name, str(lease.id), lease.fence))
                found = cursor.fetchone()
                if trace := tracing.current() or traces.OF_RUNS.get(run_id):
                    cursor.execute(traces.CARRY, (trace,))
        except psycopg2.Error as error:
            lost = raw.dbapi_connection is None or bool(raw.dbapi_connection.closed)
            raise sa.exc.OperationalError(held, None, error, connection_invalidated=lost) from error
        if found is None:
            raise LeaseLost(leases.lost_text(lease))

    return prove
