"""Keeps Dagster's queued runs and our requests consistent, where a process was killed in between or our queue was
bypassed.

Three cases: a run that is queued in Dagster and has no request; a request that ended before its run began (cancelled by
its id, dead for its payload); a run that ended in Dagster while its request waits (a backfill that was cancelled).
"""

from __future__ import annotations

import logging

from dagster import DagsterInstance, DagsterRunStatus
from sqlalchemy import Engine

from kordant_jobs.engine.launcher.coordinator import RequestCoordinator
from kordant_jobs.engine.queue.clock import Clock
from kordant_jobs.engine.store import given_runs
from kordant_jobs.engine.store.given_runs import Stranded
from kordant_jobs.errors import PermanentError

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
