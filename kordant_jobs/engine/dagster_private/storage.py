"""Dagster's Postgres storage on one pool. Creating an instance on it opens no connection."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.events import (
    DagsterEvent,
    DagsterEventType,
)
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import pg_url_from_config

from kordant_jobs.engine.dagster_private.event_log import PooledEventLogStorage
from kordant_jobs.errors import SetupError
from kordant_jobs.postgres.database import ALIVE, CONNECT_TIMEOUT_S

URL_VARIABLE = "KORDANT_DAGSTER_URL"
"""The environment variable with the URL of the schema of Dagster's tables; the URL may hold a password."""


def open_instance(home: Path) -> DagsterInstance:
    """The instance of a DAGSTER_HOME, without opening a connection. Its tables must exist.

    Raises:
        SetupError: its storage is not Postgres.
    """
    ref = InstanceRef.from_dir(str(home))
    storage = ref.storage_data
    kind = None if storage is None else getattr(import_module(storage.module_name), storage.class_name)
    if kind is None or not issubclass(kind, DagsterPostgresStorage) or not os.environ.get(URL_VARIABLE):
        raise SetupError("the warm launcher needs Dagster's storage in Postgres; set KORDANT_LAUNCHER=stock otherwise")
    data = ConfigurableClassData(__name__, PooledStorage.__name__, f"postgres_url: {{env: {URL_VARIABLE}}}\n")
    return DagsterInstance.from_ref(ref._replace(storage_data=data))


def open_instance_with_tables(home: Path) -> DagsterInstance:
    """The instance of a DAGSTER_HOME, after creating missing tables."""
    make_tables(home)
    return open_instance(home)


def storage_url(instance: DagsterInstance) -> str:
    """The URL of the instance's storage. It may hold a password."""
    return pool_of(instance).url.render_as_string(hide_password=False)


def pool_of(instance: DagsterInstance) -> sa.Engine:
    """The pool of an instance from `open_instance`."""
    storage = instance.run_storage
    if not isinstance(storage, PooledRunStorage):
        raise TypeError("this instance was not made by open_instance")
    return storage._engine


def make_tables(home: Path) -> None:
    """Create Dagster's tables if they are missing."""
    with DagsterInstance.from_ref(InstanceRef.from_dir(str(home))):
        pass


class ServerStorage(DagsterPostgresStorage):
    """Dagster's own Postgres storage at the address in the environment, or else at the one that `find_server` returns.
    It is for Dagster's own commands; processes of a system use the same tables through one pool (`open_instance`)."""

    @classmethod
    def find_server(cls) -> str:
        """The URL of Dagster's schema where the environment has none. A subclass may start a server."""
        raise SetupError(f"{URL_VARIABLE} is unset in this process")

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No config."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> ServerStorage:
        """Dagster's hook."""
        url = os.environ.get(URL_VARIABLE) or cls.find_server()
        return cls(url, should_autocreate_tables=True, inst_data=inst_data)


class PooledRunStorage(PostgresRunStorage):
    """Dagster's run storage. It asks for unchanging facts only once, and updates a run in one statement."""

    def has_run_stats_index_cols(self) -> bool:
        """True when the table of runs has the columns of start and end."""
        return _once(self, "stats", super().has_run_stats_index_cols)

    def has_backfill_id_column(self) -> bool:
        """True when the table of runs has the column of the backfill."""
        return _once(self, "backfill", super().has_backfill_id_column)

    def has_built_index(self, migration_name: str) -> bool:
        """True when one of Dagster's migrations of data is done."""
        return _once(
            self, f"index {migration_name}", lambda: super(PooledRunStorage, self).has_built_index(migration_name)
        )

    def has_job_snapshot(self, job_snapshot_id: str) -> bool:
        """True when a snapshot is stored. No process deletes snapshots."""
        return _once(
            self, f"snapshot {job_snapshot_id}", lambda: super(PooledRunStorage, self).has_job_snapshot(job_snapshot_id)
        )

    def handle_run_event(self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Update a run that has started or succeeded. Events that also write tags use Dagster's own code, which reads
        the run and writes all of it back."""
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
"""One statement each for all runs: building a statement takes longer than running it."""

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
    """Dagster's schedule storage. It asks for existing tables and migrations only once; Dagster asks at every tick."""

    def _has_instigators_table(self, conn: sa.Connection) -> bool:
        return _once(self, "instigators", lambda: super(PooledScheduleStorage, self)._has_instigators_table(conn))

    def has_built_index(self, migration_name: str) -> bool:
        """True when one of Dagster's migrations of data is done."""
        return _once(
            self, f"index {migration_name}", lambda: super(PooledScheduleStorage, self).has_built_index(migration_name)
        )


def _once(storage: object, name: str, ask: Callable[[], bool]) -> bool:
    """The result of `ask`: True is remembered with the storage, False is asked again."""
    known: dict[str, bool] = storage.__dict__.setdefault("_kordant_known", {})
    known[name] = known.get(name) or bool(ask())
    return known[name]


class PooledStorage(DagsterPostgresStorage):
    """Dagster's Postgres storage on one pool, in place of one connection for each statement; without a statement
    time-out.

    Creating it opens no connection, so it can be created before a fork. A connection that the server has closed is
    replaced on checkout. The engine's compiled statements survive `dispose()`: children forked after a warm-up compile
    nothing. Commits do not wait for the disk one by one (`flush` waits for all of them).
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
        """Dagster's hook: create one from an instance reference."""
        return cls(pg_url_from_config(config_value), inst_data)


def flush(engine: sa.Engine) -> None:
    """Wait until everything committed before through this pool's server is on disk."""
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
        connect_args={"application_name": "kordant_jobs dagster", "connect_timeout": CONNECT_TIMEOUT_S, **ALIVE},
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


def switched_off(instance: DagsterInstance) -> set[str]:
    """Names of the schedules that were switched off in Dagster's UI or with its command line."""
    off = instance.all_instigator_state(
        instigator_type=InstigatorType.SCHEDULE, instigator_statuses={InstigatorStatus.STOPPED}
    )
    return {one.instigator_name for one in off}
