"""The dispatcher's connection to the hosts (a RunStarter): runs are created here, and sent through the broker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from dagster import DagsterInstance
from sqlalchemy import Engine

from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.launcher.code import code_version
from kordant_jobs.engine.launcher.run import CAUSE_TAG, limits_of
from kordant_jobs.engine.queue.clock import Clock, DatabaseClock
from kordant_jobs.engine.remote import broker
from kordant_jobs.engine.runs import CANCELED, LOST, RunEnd, RunIsOver, RunOrder
from kordant_jobs.engine.store import host_rows
from kordant_jobs.engine.system import System
from kordant_jobs.errors import SettingsError, TransientError
from kordant_jobs.postgres.database import create_engine

log = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
"""The shortest time in seconds between two checks of hosts and broker."""
MISSED_AFTER_S = 3.0
"""Seconds after which a run that no host took and that is not in the broker's queue counts as lost on the way. Taking a
run needs two statements: tens of milliseconds."""
LOST_HOST = "Its host was lost: no worker kept its lease alive."


class HostStarter:
    """Sends runs to the hosts with this process's code version. Only the thread that dispatches may use it."""

    def __init__(
        self,
        db: Engine,
        instance: DagsterInstance,
        factory: dagster_private.RunFactory,
        clock: Clock,
        *,
        app: Any,
        code_version: str,
        lease_s: float,
        grace_s: float,
        missed_after_s: float = MISSED_AFTER_S,
        check_every_s: float = CHECK_EVERY_S,
    ) -> None:
        self._db = db
        self._instance = instance
        self._factory = factory
        self._clock = clock
        self._app = app
        self._queue = broker.queue_of(code_version)
        self._code_version = code_version
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._missed_after_s = missed_after_s
        self._check_every_s = check_every_s
        self._sent: dict[str, tuple[float, dict[str, float]]] = {}
        self._checked_at = float("-inf")
        self._answers = False
        self._slots = 0

    @classmethod
    def of(cls, system: System, instance: DagsterInstance, factory: dagster_private.RunFactory) -> HostStarter:
        """The starter for a system's settings.

        Raises:
            SettingsError: the database or the broker is not set, or Celery not installed.
        """
        settings = system.settings()
        if settings.database_url is None:
            raise SettingsError("KORDANT_DATABASE_URL is unset in the daemon: start it through `kordant-jobs up`.")
        db = create_engine(settings.database_url, pool_size=1)
        return cls(
            db,
            instance,
            factory,
            DatabaseClock(db),
            app=broker.celery_app(settings.broker_url),
            code_version=code_version(system.definitions, settings.code_version),
            lease_s=settings.lease_s,
            grace_s=settings.stop_grace_s,
        )

    def slots(self) -> int:
        """The number of runs that the live hosts of this code version may run at once."""
        self._check()
        return self._slots

    def ready(self) -> bool:
        """True when a host of this code version is alive, the broker answers and runs can be created. Otherwise
        requests wait."""
        self._check()
        return self._answers and self._slots > 0 and self._factory.ready()

    def start(self, order: RunOrder) -> None:
        """Send a run, creating it first unless it exists.

        Raises:
            TransientError: the code server or the broker does not answer; a run that was made for this is failed,
                one that was there is queued as before.
            PermanentError: no such job, or not its config.
            RunIsOver: it was there, and has ended.
        """
        if order.is_there:
            run = dagster_private.start_given(self._instance, order.run_id, order.tags)
        else:
            run = self._factory.create(order)
        if run is None:
            raise RunIsOver
        limits = limits_of({**order.tags, **run.tags})
        try:
            self._send(run.run_id, limits)
        except TransientError as error:
            if order.is_there:
                dagster_private.queued_again(self._instance, run)
            else:
                dagster_private.fail(self._instance, run.run_id, f"It was not started: {error}", {})
            raise

    def stop(self, run_id: str, *, cause: str) -> None:
        """Ask a run to end; its host kills it after the grace time. A lost run is failed here, since its host may be
        gone."""
        if cause == CANCELED:
            dagster_private.cancel(self._instance, run_id)
        self._sent.pop(run_id, None)
        with self._db.begin() as connection:
            host_rows.stop_run(connection, run_id, cause=cause, grace_s=self._grace_s)
        if cause == LOST:
            dagster_private.fail(self._instance, run_id, LOST_HOST, {CAUSE_TAG: LOST})

    def _send(self, run_id: str, limits: dict[str, float]) -> None:
        try:
            broker.send(self._app, self._queue, run_id, limits)
        except Exception as error:  # noqa: BLE001 - kombu, redis and the socket have errors of their own
            self._answers, self._checked_at = False, time.monotonic()
            raise TransientError(
                f"the broker does not answer ({type(error).__name__}): see KORDANT_BROKER_URL"
            ) from None
        self._sent[run_id] = (time.monotonic(), limits)

    def _check(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < self._check_every_s:
            return
        with self._db.connect() as connection:
            self._slots = host_rows.live_slots(
                connection, code_version=self._code_version, now=self._clock.now(), ttl_s=self._lease_s
            )
            waiting = host_rows.not_taken(connection, list(self._sent))
        self._sent = {run_id: facts for run_id, facts in self._sent.items() if run_id in waiting}
        try:
            there = broker.waiting(self._app, self._queue)
        except Exception as error:  # noqa: BLE001 - as above
            if self._answers:
                log.warning("the broker does not answer (%s): runs wait, those under way go on", type(error).__name__)
            self._answers = False
        else:
            self._answers = True
            self._send_again(there, now)
        self._checked_at = time.monotonic()

    def _send_again(self, there: int, now: float) -> None:
        """Send again runs that neither wait in the broker nor were taken: the broker was emptied, or a host died with
        them."""
        overdue = [run_id for run_id, (sent_at, _) in self._sent.items() if now - sent_at > self._missed_after_s]
        if there >= len(self._sent) or not overdue:
            return
        log.warning("%d runs were lost on their way to a host; sending them again", len(overdue))
        for run_id in overdue:
            self._send(run_id, self._sent[run_id][1])


class NoWatcher:
    """A watcher without ends: hosts and runs report outcomes to Postgres themselves (a RunWatcher)."""

    def ended(self) -> Iterator[RunEnd]:
        """No ends."""
        return iter(())

    def close(self) -> None:
        """Do nothing."""
