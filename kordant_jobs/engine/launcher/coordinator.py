"""Dagster's run coordinator in front of our queue: the single entry point of every run that Dagster submits.

A tick, a sensor, the UI, a re-execution, a backfill, `dagster job launch`: Dagster makes the run and submits it here.
It is shown as queued, and a request stands for it; the dispatcher claims that like any other and starts the run which
is there. Between the two steps a process may be killed: `Intake`, which the dispatcher calls, repairs what it left.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, QueuedRunCoordinator
from sqlalchemy import Engine

from kordant_jobs.engine.dagster_private import ConfigurableClassData, SubmitRunContext
from kordant_jobs.engine.queue.clock import Clock
from kordant_jobs.engine.queue.given import LAUNCHED, PARENT_TAG, UI, GivenRun, queue_run
from kordant_jobs.engine.store import given_runs
from kordant_jobs.engine.store.given_runs import Stranded
from kordant_jobs.engine.system import System
from kordant_jobs.errors import PermanentError, SettingsError
from kordant_jobs.postgres import database

NOT_BEGUN = (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED)


def _now(connection: sa.Connection) -> datetime:
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def tags_of(run: DagsterRun) -> dict[str, str]:
    """The run's tags, including the run that it repeats: some of Dagster's clients do not set that tag."""
    return {**run.tags, **({PARENT_TAG: run.parent_run_id} if run.parent_run_id else {})}


class RequestCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """Queues runs as requests. It is a QueuedRunCoordinator only because Dagster's UI shows queued runs only with one;
    the status is all that is used of that class."""

    system: ClassVar[System]
    """The system that the coordinator belongs to: a subclass sets it, and dagster.yaml names the subclass."""

    _engine: sa.Engine | None = None

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No config: limits are the catalogue's."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # Dagster's own is typed more widely
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> QueuedRunCoordinator[DagsterInstance]:
        """Dagster's hook: this coordinator, or Dagster's own with KORDANT_LAUNCHER=stock."""
        if cls.system.settings().launcher == "stock":
            return QueuedRunCoordinator(
                max_concurrent_runs=10,
                dequeue_interval_seconds=1,
                dequeue_use_threads=True,
                dequeue_num_workers=4,
                inst_data=inst_data,
            )
        return cls(inst_data=inst_data)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Dagster's hook: queue the run. Safe to repeat.

        Raises:
            PermanentError: its job has no row in the catalogue. Dagster then fails the run with this text.
            DatabaseUnavailable: Postgres is away; Dagster then fails the run.
        """
        self.system.row_of(context.dagster_run.job_name)
        run = super().submit_run(context)
        by = UI if getattr(context.workspace, "source", None) is not None else LAUNCHED
        if run.status in NOT_BEGUN:
            self.queue(run, by=by)
        return run

    def queue(self, run: DagsterRun, *, by: str = LAUNCHED) -> None:
        """Create the run's request, unless it has one.

        Raises:
            PermanentError: its job has no row in the catalogue.
        """
        given = GivenRun(
            run_id=run.run_id,
            job=run.job_name,
            config=run.run_config,
            tags=tags_of(run),
            by=by,
        )
        with database.saying_what_failed(), self._db().begin() as connection:
            queue_run(connection, self.system.row_of(run.job_name), given, now=_now(connection))

    def cancel_run(self, run_id: str) -> bool:
        """Dagster's hook: cancel a waiting run with its request, or stop a running one. False: there is nothing to
        cancel."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        with database.saying_what_failed(), self._db().begin() as connection:
            waited = given_runs.cancel(connection, run_id, now=_now(connection))
            claimed = not waited and given_runs.is_known(connection, run_id)
        if not waited and run.status not in NOT_BEGUN:
            return self._instance.run_launcher.terminate(run_id)
        self._instance.report_run_canceling(run, message="Canceling run from the queue.")
        if not claimed:  # else it is being started just now, and is stopped there
            self._instance.report_run_canceled(run)
        return True

    def dispose(self) -> None:
        """Dagster's hook: close the connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _db(self) -> sa.Engine:
        if self._engine is None:
            url = self.system.settings().database_url
            if url is None:
                raise SettingsError(
                    "KORDANT_DATABASE_URL is unset, so no run can be queued: start through `kordant-jobs up` or "
                    "`kordant-jobs dagster …`."
                )
            self._engine = database.create_engine(url, pool_size=1)
        return self._engine


log = logging.getLogger(__name__)


class Intake:
    """Repairs inconsistencies on each call. Only the process that dispatches may use it."""

    def __init__(
        self,
        db: Engine,
        instance: DagsterInstance,
        coordinator: RequestCoordinator,
        clock: Clock,
        *,
        settled_s: float = given_runs.SETTLED_S,
    ) -> None:
        self._db = db
        self._instance = instance
        self._coordinator = coordinator
        self._clock = clock
        self._settled_s = settled_s

    def check(self) -> int:
        """Repair all inconsistencies. Returns the number of runs repaired."""
        with self._db.connect() as connection:
            queued = given_runs.queued_without_request(connection, settled_s=self._settled_s)
            stranded = given_runs.stranded(connection)
            ended = given_runs.ended_meanwhile(connection)
        for run_id in queued:
            self._queue(run_id)
        for one in stranded:
            self._end(one)
        if stranded or ended:
            with self._db.begin() as connection:
                given_runs.release(connection, [one.run_id for one in stranded])
                for run_id in ended:
                    given_runs.cancel(connection, run_id, now=self._clock.now())
        return len(queued) + len(stranded) + len(ended)

    def _queue(self, run_id: str) -> None:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.status is not DagsterRunStatus.QUEUED:
            return
        try:
            self._coordinator.queue(run)
        except PermanentError as error:
            self._instance.report_run_failed(run, str(error))
        else:
            log.info("run %s was queued in Dagster alone, and waits for its turn now", run_id)

    def _end(self, one: Stranded) -> None:
        run = self._instance.get_run_by_id(one.run_id)
        if run is None or run.is_finished:
            return
        if one.cancelled:
            self._instance.report_run_canceling(run, message="Its request was cancelled.")
            self._instance.report_run_canceled(run)
        else:
            self._instance.report_run_failed(run, one.error or "Its request ended before the run began.")
