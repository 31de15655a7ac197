"""The one file that touches Dagster's private classes. Dagster is pinned exactly; `check_dagster` fails loudly when
an upgrade, or another version on this machine, does not have what is used here.

Here: an instance without a connection, one run in this process, runs made from cached snapshots, and the daemons.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter, in_process_executor
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.errors import (
    DagsterCodeLocationLoadError,
    DagsterExecutionInterruptedError,
    DagsterLaunchFailedError,
    DagsterUserCodeProcessError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    DagsterEvent,
    DagsterEventType,
    EngineEventData,
    RunFailureReason,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.remote_representation.code_location import CodeLocation
from dagster._core.snowflake_partner import set_snowflake_partner_env_var
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.tags import (
    PARENT_RUN_ID_TAG,
    PARTITION_NAME_TAG,
    ROOT_RUN_ID_TAG,
    RUN_FAILURE_REASON_TAG,
    WILL_RETRY_TAG,
)
from dagster._core.utils import make_new_run_id
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import create_daemons_from_instance, daemon_controller_from_instance
from dagster._daemon.daemon import BackfillDaemon, DaemonIterator, SensorDaemon
from dagster._daemon.daemon import DagsterDaemon as _DagsterDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._grpc.impl import core_execute_run
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.hosted_user_process import recon_job_from_origin
from dagster._utils.interrupts import capture_interrupts
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import pg_url_from_config

from kordant_jobs.engine.launcher.warm_up import WARM_UP_TAG, warm_up
from kordant_jobs.engine.queue.work import RUN_TAG
from kordant_jobs.engine.runs import RunOrder
from kordant_jobs.errors import PermanentError, SetupError, TransientError

__all__ = [
    "DAGSTER_VERSION",
    "BackfillDaemon",
    "CapturedLogContext",
    "CheckRunHealthResult",
    "ComputeIOType",
    "ConfigurableClass",
    "ConfigurableClassData",
    "DaemonIterator",
    "DagsterDaemon",
    "DagsterExecutionInterruptedError",
    "DagsterLaunchFailedError",
    "DefaultRunLauncher",
    "LaunchRunContext",
    "LocalComputeLogManager",
    "PooledStorage",
    "QueuedRunCoordinatorDaemon",
    "RunFactory",
    "RunLauncher",
    "SensorDaemon",
    "WorkerStatus",
    "WorkspaceProcessContext",
    "cancel",
    "capture_interrupts",
    "check_dagster",
    "create_daemons_from_instance",
    "dagster_home",
    "end_if_unfinished",
    "execute",
    "fail",
    "flush",
    "load_definitions",
    "make_tables",
    "open_instance",
    "open_instance_with_tables",
    "open_workspace",
    "pool_of",
    "run_daemons",
    "run_files",
    "storage_url",
    "warm_up_run",
]

DAGSTER_VERSION = "1.13.27"
POSTGRES_STORAGE = "DagsterPostgresStorage"

DagsterDaemon: TypeAlias = _DagsterDaemon[WorkspaceProcessContext]


def check_dagster(wanted: str = DAGSTER_VERSION) -> None:
    """Refuse to work on a Dagster that this file was not written for.

    Raises:
        SetupError: another version is installed, or a class here has changed.
    """
    found = importlib.metadata.version("dagster")
    if found != wanted:
        raise SetupError(
            f"dagster {found} is installed, but the engine needs {wanted}: install the locked version, "
            "or set KORDANT_LAUNCHER=stock"
        )
    used = {
        InstanceRef: ("from_dir", "storage_data", "_replace"),
        DagsterInstance: ("from_ref", "run_storage", "event_log_storage", "schedule_storage", "add_event_listener"),
        ReconstructableJob: ("get_definition", "get_repository_definition"),
        DagsterRun: ("job_code_origin", "_replace"),
        LocalComputeLogManager: ("get_captured_local_path", "complete_artifact_path"),
    }
    for owner, names in used.items():
        for name in names:
            if not hasattr(owner, name):
                raise SetupError(
                    f"dagster {found} has no {owner.__name__}.{name}: the engine was written for another build; "
                    "install the locked one, or set KORDANT_LAUNCHER=stock"
                )


def dagster_home() -> Path:
    """The folder of DAGSTER_HOME.

    Raises:
        SetupError: it is unset.
    """
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home)
    raise SetupError("DAGSTER_HOME is unset: start through `kordant-jobs up`, or as `kordant-jobs dagster …`")


def run_files(home: Path) -> Path:
    """Where Dagster keeps, in a folder a run, captured output and what steps hand each other: both by its defaults."""
    return home / "storage"


def open_instance(home: Path) -> DagsterInstance:
    """The instance of a DAGSTER_HOME, without opening a connection: its tables must be there.

    Raises:
        SetupError: its storage is not Postgres.
    """
    ref = InstanceRef.from_dir(str(home))
    storage = ref.storage_data
    if storage is None or storage.class_name != POSTGRES_STORAGE:
        raise SetupError("the warm launcher needs Dagster's storage in Postgres; set KORDANT_LAUNCHER=stock otherwise")
    data = ConfigurableClassData(__name__, PooledStorage.__name__, storage.config_yaml)
    return DagsterInstance.from_ref(ref._replace(storage_data=data))


def open_instance_with_tables(home: Path) -> DagsterInstance:
    """As `open_instance`, after making sure that the tables are there."""
    make_tables(home)
    return open_instance(home)


def storage_url(instance: DagsterInstance) -> str:
    """The URL of the instance's storage. It may hold a password."""
    return pool_of(instance).url.render_as_string(hide_password=False)


def pool_of(instance: DagsterInstance) -> sa.Engine:
    """The pool of an instance that `open_instance` made."""
    storage = instance.run_storage
    if not isinstance(storage, PooledRunStorage):
        raise TypeError("this instance was not made by open_instance")
    return storage._engine


def make_tables(home: Path) -> None:
    """Create Dagster's tables if they are not there."""
    with DagsterInstance.from_ref(InstanceRef.from_dir(str(home))):
        pass


class PooledRunStorage(PostgresRunStorage):
    """Dagster's run storage, asking only once what does not change, and moving a run on in one statement."""

    def has_run_stats_index_cols(self) -> bool:
        """Whether runs have the columns of start and end."""
        return _once(self, "stats", super().has_run_stats_index_cols)

    def has_backfill_id_column(self) -> bool:
        """Whether runs have the column of their backfill."""
        return _once(self, "backfill", super().has_backfill_id_column)

    def has_built_index(self, migration_name: str) -> bool:
        """Whether one of Dagster's migrations of data is done."""
        return _once(
            self, f"index {migration_name}", lambda: super(PooledRunStorage, self).has_built_index(migration_name)
        )

    def has_job_snapshot(self, job_snapshot_id: str) -> bool:
        """Whether a snapshot is stored. Nobody deletes one."""
        return _once(
            self, f"snapshot {job_snapshot_id}", lambda: super(PooledRunStorage, self).has_job_snapshot(job_snapshot_id)
        )

    def handle_run_event(self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Note that a run has started or succeeded. What also writes tags goes Dagster's way: it reads the run,
        and writes the whole of it back."""
        move = _PLAIN_MOVES.get(event.event_type)
        if move is None:
            super().handle_run_event(run_id, event, update_timestamp)
            return
        status, column = move
        moment = update_timestamp or datetime.now(UTC)
        values = {
            "run_id": run_id,
            "status": status.value,
            "body": f'"DagsterRunStatus.{status.name}"',
            "moment": moment,
            "seconds": moment.timestamp(),
        }
        try:
            with self.connect() as connection:
                connection.execute(_MOVE_RUN[column], values)
        except sa.exc.DataError:  # a config with a character that Postgres' JSON does not take
            super().handle_run_event(run_id, event, update_timestamp)


_INSERT_RUN, _INSERT_TAG = RunsTable.insert(), RunTagsTable.insert()
"""One statement each for all runs: building one a run takes longer than running it."""

_PLAIN_MOVES = {
    DagsterEventType.RUN_START: (DagsterRunStatus.STARTED, "start_time"),
    DagsterEventType.RUN_SUCCESS: (DagsterRunStatus.SUCCESS, "end_time"),
}
_MOVE_RUN = {
    column: sa.text(
        f"UPDATE runs SET status = :status, update_timestamp = :moment, {column} = :seconds, run_body = "  # noqa: S608 - constants
        "jsonb_set(CAST(run_body AS jsonb), '{status,__enum__}', CAST(:body AS jsonb))::text WHERE run_id = :run_id"
    )
    for column in ("start_time", "end_time")
}


class PooledScheduleStorage(PostgresScheduleStorage):
    """Dagster's schedule storage, asking only once which tables and migrations there are: it asks at every tick."""

    def _has_instigators_table(self, conn: sa.Connection) -> bool:
        return _once(self, "instigators", lambda: super(PooledScheduleStorage, self)._has_instigators_table(conn))

    def has_built_index(self, migration_name: str) -> bool:
        """Whether one of Dagster's migrations of data is done."""
        return _once(
            self, f"index {migration_name}", lambda: super(PooledScheduleStorage, self).has_built_index(migration_name)
        )


def _once(storage: object, name: str, look: Callable[[], bool]) -> bool:
    """What `look` says; a yes is remembered with the storage, a no is asked again."""
    known: dict[str, bool] = storage.__dict__.setdefault("_kordant_known", {})
    known[name] = known.get(name) or bool(look())
    return known[name]


_INSERT_EVENT = SqlEventLogStorageTable.insert()


class PooledEventLogStorage(PostgresEventLogStorage):
    """Dagster's event log, without the NOTIFY behind every event that no Dagster of this version listens to.

    While `held_back` is entered, events that others follow within milliseconds wait for them, and are written in
    one statement: before a step's own code begins, when a step or the run ends badly, when the run ends, before
    anything is read, and at the latest with the next event a tenth of a second later.
    """

    _waiting: list[dict[str, Any]] | None = None
    _waiting_since = 0.0
    _lock = threading.RLock()
    """An op may write to its log from several threads."""

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Hold back what may wait."""
        self._waiting = []
        try:
            yield
        finally:
            self._write()
            self._waiting = None

    @property
    def handles_run_events_in_store_event(self) -> bool:
        """Yes: left to it, Dagster reads the run again after each event that moves it on."""
        return True

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event, or hold it back, and move its run on; those about assets go the long way."""
        kind = event.dagster_event.event_type if event.dagster_event else None
        if kind in ASSET_EVENTS or kind in ASSET_CHECK_EVENTS:
            super().store_event(event)
            return
        self.note(event)
        if event.dagster_event and event.dagster_event.is_job_event:
            self._move_run(event.run_id, event.dagster_event, event.timestamp)

    def _move_run(self, run_id: str, event: DagsterEvent, timestamp: float) -> None:
        """What Dagster does after an event about the whole run."""
        instance = self._instance
        instance.run_storage.handle_run_event(run_id, event, datetime.fromtimestamp(timestamp, UTC))
        if event.is_run_failure and instance.run_retries_enabled and (run := instance.get_run_by_id(run_id)):
            told = run.tags.get(RUN_FAILURE_REASON_TAG)
            again = auto_reexecution_should_retry_run(instance, run, RunFailureReason(told) if told else None)
            instance.add_run_tags(run_id, {WILL_RETRY_TAG: str(again).lower()})

    def note(self, event: EventLogEntry) -> None:
        """Store one event, or hold it back; its run stays as it is."""
        kind = event.dagster_event.event_type if event.dagster_event else None
        row = self._event_to_row(event)
        with self._lock:
            if self._waiting is not None:
                now = time.monotonic()
                if not self._waiting:
                    self._waiting_since = now
                self._waiting.append(row)
                if kind not in _MAY_WAIT or now - self._waiting_since > LONGEST_WAIT_S:
                    self._write()
                return
        with self._connect() as connection:
            connection.execute(_INSERT_EVENT, [row])  # a list, so that it is compiled once for one and for many

    def _write(self) -> None:
        with self._lock:
            if self._waiting:
                with super()._connect() as connection:
                    connection.execute(_INSERT_EVENT, self._waiting)
                self._waiting.clear()  # not before: what could not be written is tried again

    def _connect(self) -> AbstractContextManager[sa.Connection]:
        self._write()
        return super()._connect()


LONGEST_WAIT_S = 0.1
_MAY_WAIT = frozenset(
    {
        DagsterEventType.ENGINE_EVENT,
        DagsterEventType.RUN_START,
        DagsterEventType.RESOURCE_INIT_STARTED,
        DagsterEventType.RESOURCE_INIT_SUCCESS,
        DagsterEventType.LOGS_CAPTURED,
        DagsterEventType.LOADED_INPUT,
        DagsterEventType.STEP_INPUT,
        DagsterEventType.STEP_OUTPUT,
        DagsterEventType.HANDLED_OUTPUT,
        DagsterEventType.STEP_SUCCESS,
    }
)


class PooledStorage(DagsterPostgresStorage):
    """Dagster's Postgres storage on one pool, in place of a connection a statement; without a statement time-out.

    No connection is opened by making one, so that it can be made before a fork. A connection that the server has
    closed is replaced when it is taken, not used. The engine's compiled statements outlive `dispose()`: children
    forked after a warm-up compile nothing. Commits are not waited for one by one (`flush` waits for all of them).
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self.engine = _pooled_engine(postgres_url)
        self._run_storage = PooledRunStorage(postgres_url, should_autocreate_tables=False)
        self._event_log_storage = PooledEventLogStorage(postgres_url, should_autocreate_tables=False)
        self._schedule_storage = PooledScheduleStorage(postgres_url, should_autocreate_tables=False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = self.engine

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> PooledStorage:
        """Dagster's hook: make one from an instance reference."""
        return cls(pg_url_from_config(config_value), inst_data)


def flush(engine: sa.Engine) -> None:
    """Wait until everything that was committed through this pool's server before is on disk."""
    with engine.connect() as connection:  # one round trip; the commit flushes all that went before
        connection.exec_driver_sql("BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_current_xact_id(); COMMIT")


def _pooled_engine(url: str) -> sa.Engine:
    engine = sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=20,
        pool_recycle=3600,
        pool_use_lifo=True,
        connect_args={"application_name": "kordant_jobs dagster"},
    )

    @sa.event.listens_for(engine, "connect")
    def commit_without_waiting(connection: Any, record: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")

    @sa.event.listens_for(engine, "checkout")
    def replace_when_closed(connection: Any, record: Any, proxy: Any) -> None:
        # An idle connection has nothing to say; one that is readable was closed by the server (a ping costs more).
        if select.select([connection.fileno()], [], [], 0)[0]:
            raise sa.exc.DisconnectionError("the server closed this connection")

    return engine


class WarmJob(ReconstructableJob):
    """A job whose definition this process already has; in another process it is loaded as ever."""

    _loaded: dict[str, Any] = {}  # noqa: RUF012 - one table a process, on purpose

    def get_repository_definition(self) -> Any:  # type: ignore[override]
        """The repository."""
        return self._loaded.get("") or super().get_repository_definition()

    def get_definition(self) -> Any:  # type: ignore[override]
        """The job. A selection of its ops is made anew."""
        if not (self.op_selection or self.asset_selection or self.asset_check_selection):
            found = self._loaded.get(self.job_name)
            if found is not None:
                return found
        return super().get_definition()


def load_definitions(module: str) -> list[str]:
    """Import the definitions and build every job, once for all children; the names of the jobs."""
    repository = ReconstructableRepository.for_module(module, "defs").get_definition()
    repository.load_all_definitions()
    jobs = {job.name: job for job in repository.get_all_jobs()}
    for job in jobs.values():
        assert job.run_config_schema  # noqa: S101 - made when first asked for, which takes 10 ms
    WarmJob._loaded.update({"": repository, **jobs})
    return sorted(jobs)


def _warm(job: ReconstructableJob) -> ReconstructableJob:
    return WarmJob(*job)


@contextmanager
def _deleted_afterwards(instance: DagsterInstance) -> Iterator[None]:
    try:
        yield
    finally:
        for run_id in instance.get_run_ids(RunsFilter(tags={WARM_UP_TAG: "yes"})):
            with suppress(Exception):
                instance.delete_run(run_id)


def warm_up_run(instance: DagsterInstance) -> None:
    """Run a job that does nothing through everything that a run goes through, and delete it from the history."""
    repository = ReconstructableRepository.for_module(warm_up.__module__, "defs")
    with _deleted_afterwards(instance):
        run = instance.create_run_for_job(warm_up, tags={WARM_UP_TAG: "yes"}, status=DagsterRunStatus.NOT_STARTED)
        job = ReconstructableJob(repository, "warm_up")
        with _holding_back(instance):
            for _ in core_execute_run(job, run, instance, inject_env_vars=False):
                pass


def execute(instance: DagsterInstance, run_id: str) -> Iterator[DagsterEvent]:
    """Run one run in this process, as Dagster's own worker does; yields its events as they are stored."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.job_code_origin is None:
        raise SetupError(f"run {run_id} is not in Dagster's storage, or does not say where its code is")
    pid = os.getpid()
    job = _warm(recon_job_from_origin(run.job_code_origin))
    with _held_back(instance, job):
        instance.report_engine_event(f"Started in a warm process (pid {pid}).", run, EngineEventData.in_process(pid))
        if run.parent_run_id or run.has_repository_load_data or job.job_name not in WarmJob._loaded:
            yield from core_execute_run(job, run, instance, inject_env_vars=True)
        else:
            yield from _execute_first(job, run, instance)


def _execute_first(job: ReconstructableJob, run: DagsterRun, instance: DagsterInstance) -> Iterator[DagsterEvent]:
    """As Dagster's `core_execute_run`, without its second look at a run that was read a millisecond ago, and without
    the plan that a re-execution goes on from: this run follows no other."""
    set_snowflake_partner_env_var()
    instance.inject_env_vars(run.remote_job_origin.location_name if run.remote_job_origin else None)
    try:
        yield from execute_run_iterator(job, run._replace(execution_plan_snapshot_id=None), instance)
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        end_if_unfinished(instance, run.run_id, "It was interrupted before the job's own code ended.")
        instance.report_engine_event("Run execution terminated by interrupt", run)
        raise
    except Exception as error:
        words = f"{type(error).__name__} that is likely Dagster's own error, rather than one of the job's code."
        cause = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
        instance.report_engine_event(words, run, cause)
        raise


def _held_back(instance: DagsterInstance, job: ReconstructableJob) -> AbstractContextManager[None]:
    """Fewer, larger writes of events, for a run that no other process writes events of."""
    if job.job_name in WarmJob._loaded and job.get_definition().executor_def.name == in_process_executor.name:
        return _holding_back(instance)
    return nullcontext()


def _holding_back(instance: DagsterInstance) -> AbstractContextManager[None]:
    storage: object = instance.event_log_storage
    return storage.held_back() if isinstance(storage, PooledEventLogStorage) else nullcontext()


def end_if_unfinished(instance: DagsterInstance, run_id: str, message: str) -> None:
    """Fail (or cancel) a run that its own worker leaves without an end, because Dagster itself raised."""
    fail(instance, run_id, message, {})


def fail(instance: DagsterInstance, run_id: str, message: str, tags: Mapping[str, str]) -> str:
    """End a run whose worker is gone: canceled when that was asked for, else failed. One that has ended stays so.

    The status that the run has then; 'UNKNOWN' when there is no such run.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return "UNKNOWN"
    if run.is_finished:
        return run.status.value
    if tags:
        instance.add_run_tags(run_id, tags)
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
        return DagsterRunStatus.CANCELED.value
    instance.report_run_failed(run, message)
    return DagsterRunStatus.FAILURE.value


@dataclass(frozen=True, kw_only=True)
class _Template:
    """A run as Dagster made it once; others of the same job and shape of config differ in id, config and tags."""

    run: DagsterRun
    location: object
    """The code location that it was made from: another object once the code was reloaded."""


class RunFactory:
    """Makes runs as Dagster's own daemons do, with the snapshots, origins and tags that its UI shows them by.

    The first run of a job asks the code server for its snapshots, which checks the config as well; later ones of the
    same shape (the same keys, whatever the values) are a row and its tags. Safe in one thread at a time.
    """

    def __init__(self, instance: DagsterInstance, workspace: Callable[[], BaseWorkspaceRequestContext]) -> None:
        self._instance = instance
        self._workspace = workspace
        self._templates: dict[tuple[str, str], _Template] = {}

    def create(self, order: RunOrder) -> DagsterRun:
        """A new run in the state STARTING, not handed to anybody yet.

        Raises:
            PermanentError: no such job, or a config that it does not take.
            TransientError: the code server does not answer.
        """
        context = self._workspace()
        location = self._location(context, order.job)
        key = (order.job, _shape(order.run_config))
        template = self._templates.get(key)
        run_id = make_new_run_id()
        tags = self._tags(order, run_id)
        if template is not None and template.location is location:
            origin_tags = template.run.tags
            run = template.run._replace(
                run_id=run_id,
                run_config=order.run_config,
                tags={**origin_tags, **tags},
                parent_run_id=order.parent_run_id,
                root_run_id=order.root_run_id or order.parent_run_id,
            )
            self._announce(self._instance.run_storage.add_run(run))
            return run
        run = self._create_slowly(order, location, run_id, tags)
        self._announce(run)
        own = {name: value for name, value in run.tags.items() if name not in tags}
        self._templates[key] = _Template(run=run._replace(tags=own), location=location)
        return run

    def _announce(self, run: DagsterRun) -> None:
        """Write the event that says when it was launched; its row says so already."""
        event = DagsterEvent(event_type_value=DagsterEventType.PIPELINE_STARTING.value, job_name=run.job_name)
        entry = EventLogEntry(  # type: ignore[no-untyped-call]
            user_message="",
            level=logging.INFO,
            job_name=run.job_name,
            run_id=run.run_id,
            error_info=None,
            timestamp=time.time(),
            dagster_event=event,
        )
        log: object = self._instance.event_log_storage
        if isinstance(log, PooledEventLogStorage):
            log.note(entry)

    def _tags(self, order: RunOrder, run_id: str) -> dict[str, str]:
        tags = {**order.tags, RUN_TAG: run_id}
        if order.parent_run_id:
            tags[PARENT_RUN_ID_TAG] = order.parent_run_id
            tags[ROOT_RUN_ID_TAG] = order.root_run_id or order.parent_run_id
        if order.partition_key:
            tags[PARTITION_NAME_TAG] = order.partition_key
        return tags

    def _location(self, context: BaseWorkspaceRequestContext, job: str) -> CodeLocation:
        try:
            for location in context.code_locations:
                for repository in location.get_repositories().values():
                    if repository.has_job(job):
                        return location
        except (DagsterUserCodeUnreachableError, DagsterCodeLocationLoadError):
            pass
        entries = context.get_code_location_entries().values()
        if not entries or any(entry.load_error for entry in entries):
            raise TransientError("the code server does not answer, or cannot load the code: see code-server.log")
        raise PermanentError(f"there is no job {job[:80]!r}: see `kordant-jobs dagster job list`")

    def _create_slowly(self, order: RunOrder, location: CodeLocation, run_id: str, tags: dict[str, str]) -> DagsterRun:
        repository = next(r for r in location.get_repositories().values() if r.has_job(order.job))
        job = repository.get_full_job(order.job)
        try:
            plan = location.get_execution_plan(
                job, order.run_config, step_keys_to_execute=None, known_state=None, instance=self._instance
            )
        except DagsterUserCodeUnreachableError:
            raise TransientError("the code server does not answer: see code-server.log and try again") from None
        except DagsterUserCodeProcessError:
            raise PermanentError(f"the config is not what {order.job} takes: look at the job's launchpad") from None
        return self._instance.create_run(
            job_name=order.job,
            run_id=run_id,
            run_config=order.run_config,
            status=DagsterRunStatus.STARTING,
            tags={**(job.run_tags or {}), **tags},
            root_run_id=order.root_run_id or order.parent_run_id,
            parent_run_id=order.parent_run_id,
            step_keys_to_execute=None,
            execution_plan_snapshot=plan.execution_plan_snapshot,
            job_snapshot=job.job_snapshot,
            parent_job_snapshot=job.parent_job_snapshot,
            asset_selection=None,
            asset_check_selection=None,
            resolved_op_selection=job.resolved_op_selection,
            op_selection=None,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            asset_graph=repository.asset_graph,
        )


def _shape(config: object) -> str:
    """The keys of a config without its values: what decides which plan a job gets from it."""
    if isinstance(config, Mapping):
        return "{" + ",".join(f"{key}:{_shape(config[key])}" for key in sorted(config)) + "}"
    return "*"


def cancel(instance: DagsterInstance, run_id: str) -> None:
    """Note that a run is to be canceled, so that its interruption is no failure."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished and run.status != DagsterRunStatus.CANCELING:
        instance.report_run_canceling(run)


def open_workspace(instance: DagsterInstance, workspace: str) -> WorkspaceProcessContext:
    """The code locations of a workspace.yaml, for a `RunFactory`; a context manager."""
    return WorkspaceProcessContext(instance, WorkspaceFileTarget([workspace]))


def run_daemons(
    instance: DagsterInstance,
    workspace: str,
    daemons: Callable[[DagsterInstance], Iterable[DagsterDaemon]],
    stop: threading.Event,
    wake_all: Callable[[], None],
) -> None:
    """Run daemons, a thread each, until `stop`; their rounds end first. `wake_all` ends their waits.

    Dagster's own loop also reads all definitions anew every minute, half a second of CPU in which nothing else runs
    in the process. They change only when the code server says so, and a thread of the workspace asks it every second.

    Raises:
        TransientError: a daemon's thread has ended.
    """
    target = WorkspaceFileTarget([workspace])
    with daemon_controller_from_instance(
        instance, workspace_load_target=target, gen_daemons=daemons, log_level="warning"
    ) as controller:
        while not stop.wait(2.0):
            try:
                controller.check_daemon_threads()
            except Exception:  # noqa: BLE001 - a bare Exception is what Dagster raises
                raise TransientError("a daemon's thread has ended: see daemon.log; starting anew") from None
        controller._daemon_shutdown_event.set()
        wake_all()
