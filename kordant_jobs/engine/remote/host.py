"""A host's worker: takes runs of its own code version from the broker, and hands each to the warm process beside it.

It is one process with Celery's worker in the main thread. Three more threads send heartbeats, listen for orders and
report outcomes. SIGTERM ends it: runs get the grace time of the warm process, then their work returns to the queue. A
host that is drained waits for its runs, however long they take.
"""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import DBAPIError

from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.launcher.code import code_version
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.launcher.run import CAUSE_TAG
from kordant_jobs.engine.launcher.starter import WarmWatcher
from kordant_jobs.engine.listen import Listener
from kordant_jobs.engine.queue import outcomes
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.remote import broker
from kordant_jobs.engine.runs import LOST, RETURNING, RunEnd
from kordant_jobs.engine.store import host_rows, requests
from kordant_jobs.engine.system import System
from kordant_jobs.errors import DatabaseUnavailable, SettingsError, TransientError
from kordant_jobs.postgres.database import create_engine

log = logging.getLogger(__name__)

TRIED_FOR_S = 30.0
"""Seconds for which an accepted run is offered to a warm process that does not answer; a restart takes ten seconds."""
FORGOTTEN_AFTER_S = 5.0
"""Seconds between two requests to the warm process for a run whose end it did not report."""


class Host:
    """The worker of one host."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._settings = settings = system.settings()
        if settings.database_url is None:
            raise SettingsError("KORDANT_DATABASE_URL is unset: a host works on the Postgres of all hosts.")
        self.name = settings.host_name or socket.gethostname()
        self._place = f"{socket.gethostname()}:{settings.state_dir}"
        self._version = code_version(system.definitions, settings.code_version)
        self._app = broker.celery_app(settings.broker_url)
        self._db = create_engine(settings.database_url, pool_size=4)
        self._clock = DatabaseClock(self._db)
        self._warm = socket_path(settings.state_dir)
        self._listener = Listener(self._db.url, [host_rows.ORDERS])
        self._instance = dagster_private.open_instance(dagster_private.dagster_home())
        self._runs: dict[str, threading.Event] = {}
        self._left: set[str] = set()
        """Runs in the warm process that a worker before this one, which was killed, handed over. Each fills a place."""
        self._worker: Any = None
        self._ending = threading.Event()
        self._over = threading.Event()
        self._draining = False
        self._slots = 0
        """Runs that it takes at once: 0 until its worker is ready."""
        self._beat_now = threading.Event()
        self._woken = threading.Event()

    def run(self) -> int:
        """Serve until SIGTERM, or until the host is drained. Returns 0."""
        self._enter()
        watcher = WarmWatcher(self._warm, self._woken)
        bodies = (self._live, self._obey, lambda: self._report(watcher))
        threads = [threading.Thread(target=body, name="kordant-host", daemon=True) for body in bodies]
        self._app.task(self._execute, name=broker.RUN_TASK)
        self._worker = worker = self._app.Worker(
            hostname=f"kordant@{self.name}",
            queues=[broker.queue_of(self._version)],
            pool="threads",
            concurrency=self._settings.host_runs,
            loglevel="WARNING",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        self._count_left()
        for thread in threads:
            thread.start()
        ending = threading.Thread(target=self._end_runs, name="kordant-host-end", daemon=True)
        ending.start()
        self._say(f"host {self.name} takes {self._settings.host_runs} runs at a time of code {self._version}")
        try:
            from celery.signals import worker_ready, worker_shutting_down

            worker_ready.connect(lambda **_: self._offer_slots(), weak=False)
            worker_shutting_down.connect(lambda **_: self._ending.set(), weak=False)
            worker.start()  # back once it has stopped, and the runs that it took have ended
        finally:
            self._ending.set()
            self._over.set()
            self._beat_now.set()
            self._woken.set()
            self._listener.wake()
            with suppress(DBAPIError), self._db.begin() as connection:
                host_rows.leave(connection, self.name, place=self._place)
            watcher.close()
        self._say("drained" if self._draining else "ended")
        return 0

    # A run

    def _execute(self, run_id: str, limits: dict[str, float]) -> None:
        """The task: take the run, hand it over, wait for its end. A run that arrives twice or too late is ignored."""
        ended = self._runs.setdefault(run_id, threading.Event())
        try:
            if self._take(run_id) and self._hand_over(run_id, limits):
                while not ended.wait(FORGOTTEN_AFTER_S) and self._is_known(run_id):
                    pass
        finally:
            self._runs.pop(run_id, None)

    def _take(self, run_id: str) -> bool:
        """Take the run. While the database is away this is tried for as long as the run's lease may last: its message
        has left the broker, so that no other host takes it sooner."""
        deadline = time.monotonic() + self._settings.lease_s
        while True:
            try:
                with self._db.begin() as connection:
                    return host_rows.take(
                        connection, run_id, self.name, now=self._clock.now(), ttl_s=self._settings.lease_s
                    )
            except DBAPIError as error:
                if time.monotonic() > deadline or self._ending.wait(0.5):
                    log.warning("run %s was not taken: the database is away (%s)", run_id, type(error).__name__)
                    return False

    def _hand_over(self, run_id: str, limits: dict[str, float]) -> bool:
        deadline = time.monotonic() + TRIED_FOR_S
        while True:
            try:
                ask(self._warm, {"op": "start", "run_id": run_id, "limits": limits})
            except TransientError as error:
                if time.monotonic() < deadline and not self._ending.wait(0.5):
                    continue
                self._give_back(run_id, str(error))
                return False
            return True

    def _give_back(self, run_id: str, why: str) -> None:
        """Return the work of a run that could not begin here to the queue: another host may do it."""
        dagster_private.fail(
            self._instance, run_id, f"It was not started on {self.name}: {why}", {CAUSE_TAG: RETURNING}
        )
        self._settle(
            RunEnd(
                run_id=run_id,
                outcome=LOST,
                cause=RETURNING,
                cpu_s=0.0,
                peak_memory_mb=0.0,
                error=None,
                retry_after_s=None,
                permanent=False,
            )
        )

    def _is_known(self, run_id: str) -> bool:
        try:
            return bool(ask(self._warm, {"op": "status", "run_id": run_id})["state"] == "running")
        except TransientError:
            return True  # it is restarting; the next one ends what the last one left

    # Threads

    def _live(self) -> None:
        """Send a heartbeat of this host, three times in the time of a lease, and at once when its worker is ready."""
        pause_s = 0.0
        while True:
            self._beat_now.wait(pause_s)
            self._beat_now.clear()
            if self._over.is_set():
                return
            pause_s = self._settings.lease_s / 3
            self._count_left()
            try:
                with self._db.begin() as connection:
                    drains = host_rows.beat(
                        connection,
                        self.name,
                        place=self._place,
                        slots=self._slots,
                        run_ids=list(self._runs),
                        now=self._clock.now(),
                        ttl_s=self._settings.lease_s,
                    )
            except DBAPIError:
                pause_s = 1.0
                continue
            if drains is None:
                with suppress(SettingsError, DBAPIError):
                    self._enter()
            elif drains:
                self._drain()

    def _obey(self) -> None:
        """Follow orders: stop a run, drain this host."""
        while not self._over.is_set():
            try:
                for one in self._listener.wait(60.0):
                    words: dict[str, Any] = json.loads(one.payload)
                    if words.get("drain") == self.name:
                        self._drain()
                    elif "stop" in words:
                        request = {"op": "stop", "run_id": words["stop"], "cause": words["cause"]}
                        ask(self._warm, {**request, "grace_s": words["grace_s"]})
            except (DBAPIError, TransientError, ValueError, KeyError) as error:
                log.warning("an order was not carried out (%s)", type(error).__name__)
                self._over.wait(1.0)

    def _report(self, watcher: WarmWatcher) -> None:
        """Write the outcomes that the warm process knows and runs cannot report themselves: limits, kills, stops."""
        while not self._over.is_set():
            self._woken.wait()
            self._woken.clear()
            for end in watcher.ended():
                self._settle(end)
                if known := self._runs.get(end.run_id):
                    known.set()
                self._left.discard(end.run_id)
                self._limit()

    def _settle(self, end: RunEnd) -> None:
        pause_s = 0.2
        while not self._over.is_set():
            with suppress(DBAPIError, DatabaseUnavailable):
                with self._db.begin() as connection:
                    if outcomes.run_ended(connection, end, self._system.rows, now=self._clock.now()):
                        requests.notify(connection, "ended")
                return
            self._over.wait(pause_s)  # should it never come back: the dispatcher reads the end in Dagster's storage
            pause_s = min(2 * pause_s, 2.0)

    def _end_runs(self) -> None:
        """Once the worker is stopped: give running runs the grace time, then return their work to the queue."""
        self._ending.wait()
        if self._draining or self._over.wait(self._settings.warm_grace_s):
            return
        for run_id in list(self._runs):
            with suppress(TransientError):
                ask(self._warm, {"op": "stop", "run_id": run_id, "cause": RETURNING, "grace_s": 3.0})

    def _drain(self) -> None:
        if not self._draining:
            self._draining = True
            self._say("draining: no more runs are accepted")
            os.kill(os.getpid(), signal.SIGTERM)  # Celery takes no more, and ends once its tasks have

    def _count_left(self) -> None:
        """Find the runs that an earlier worker left in the warm process. While that does not answer, those known stay.
        The slots in the database need no change: there every run counts by its lease."""
        own = set(self._runs)
        with suppress(TransientError):
            running = ask(self._warm, {"op": "ping"})["running"]
            self._left = set(running) - own - set(self._runs)
        self._limit()

    def _limit(self) -> None:
        """Have the worker fetch no more runs than there are places. It reads `max_concurrency` before each fetch, where
        0 means unset."""
        self._worker.max_concurrency = max(0, self._settings.host_runs - len(self._left)) or -1

    def _offer_slots(self) -> None:
        self._slots = self._settings.host_runs
        self._beat_now.set()  # not written here: the database may be away at this moment, and this is called once

    def _enter(self) -> None:
        with self._db.begin() as connection:
            entered = host_rows.register(
                connection,
                self.name,
                place=self._place,
                code_version=self._version,
                slots=self._slots,
                now=self._clock.now(),
                ttl_s=self._settings.lease_s,
            )
        if not entered:
            raise SettingsError(
                f"another host called {self.name} is alive: give this one a name of its own (KORDANT_HOST_NAME)."
            )

    def _say(self, words: str) -> None:
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()
