"""The dispatcher: claims due requests, starts their runs, and follows each run to its end.

One process dispatches (the daemon's leader lock ensures that), but two would do no harm: claims wait for each other, an
end is handled once, and a lease has one run.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.engine.jobs import JobRow, PartyRate
from kordant_jobs.engine.listen import Listener
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue import outcomes
from kordant_jobs.engine.queue.claim import Claim, claim
from kordant_jobs.engine.queue.clock import Clock
from kordant_jobs.engine.queue.recorded import order_for, sort_out
from kordant_jobs.engine.queue.retry_rules import Ended
from kordant_jobs.engine.requests import Cause, Outcome
from kordant_jobs.engine.runs import (
    CANCELED,
    LOST,
    RETURNING,
    RunEnd,
    RunHistory,
    RunIsOver,
    RunStarter,
    RunWatcher,
)
from kordant_jobs.engine.store import attempts, leases, requests, traces, waiting
from kordant_jobs.engine.store.attempts import Move, Running
from kordant_jobs.errors import DatabaseUnavailable, PermanentError, TransientError
from kordant_jobs.redaction import redact_foreign


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """The number of runs at once, and the dispatcher's times in seconds."""

    runs: int = 8
    critical_extra: int = 2
    """Runs beyond `runs` for critical requests only, so that they wait behind no backlog."""
    lease_s: float = 15.0
    """Seconds that a run may be silent (paused, cut off) before its work is given to another run."""
    drain_poll_s: float = 0.05
    """Seconds between two checks for ends while the dispatcher drains."""
    tick_s: float = 1.0
    """Seconds between two passes that reap leases and check cancellations while anything runs. Ends wake the loop
    themselves."""
    idle_s: float = 15.0
    """The longest sleep; it only covers a notification lost with a broken connection."""
    intake_s: float = 10.0
    """Seconds between two comparisons of Dagster's queued runs with our requests, which find runs that a killed process
    left without a request."""
    cancel_grace_s: float = 10.0
    """Seconds that a run has to notice the cancellation of its requests before it is stopped."""
    drain_s: float = 20.0
    """Seconds that running work has to end when the dispatcher is stopped; after that it returns to the queue."""
    not_ready_s: float = 0.2
    """Seconds until the next check whether runs can be started, while they cannot."""
    start_again_s: float = 1.0
    """Seconds until the next attempt after no run could be started for a temporary reason."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The result of one pass, and the time of the next one without a notification."""

    started: int
    ended: int
    lost: int
    check_again_at: datetime | None

    @property
    def moved(self) -> bool:
        """True when something changed, so that another pass may find more to do."""
        return bool(self.started or self.ended or self.lost)


log = logging.getLogger(__name__)


class Dispatcher:
    """The dispatch loop: `run` loops until stopped, `step` makes one pass. `slots` returns the most runs at once where
    that depends on live hosts. Runs are then on other machines and outlive this process: it ends without waiting for
    them."""

    def __init__(
        self,
        db: Engine,
        starter: RunStarter,
        watcher: RunWatcher,
        clock: Clock,
        *,
        worker: str,
        catalog: Mapping[str, JobRow],
        parties: Mapping[str, PartyRate] | None = None,
        history: RunHistory | None = None,
        intake: Callable[[], object] | None = None,
        settings: DispatchSettings | None = None,
        slots: Callable[[], int] | None = None,
    ) -> None:
        self._db = db
        self._starter = starter
        self._watcher = watcher
        self._clock = clock
        self._worker = worker
        self._history = history
        self._intake = intake
        self._settings = settings or DispatchSettings()
        self._slots = slots
        self._rows = catalog
        self._parties = parties or {}
        self._listener = Listener(db.url, [requests.CHANNEL])
        self._live: dict[UUID, str | None] = {}
        self._ends: deque[RunEnd] = deque()
        self._stopped: dict[str, bool] = {}
        self._started = 0
        self._next_beat = 0.0
        self._next_tick = 0.0
        self._next_intake = 0.0
        self._calm_at = 0.0
        self._first_expiry: datetime | None = None

    def wake(self) -> None:
        """Make the loop check at once, from any thread: a run ended, or `stop` was set."""
        self._listener.wake()

    def close(self) -> None:
        """Close the listening connection."""
        self._listener.close()

    def run(self, stop: threading.Event) -> None:
        """Dispatch until `stop` is set (and `wake` called), then drain the runs of this process. While the database is
        unavailable, wait for it."""
        pause_s = 0.1
        ready = False
        while not stop.is_set():
            try:
                if not ready:
                    self._listener.open()
                    self.sync()
                    self._next_tick = self._next_intake = 0.0  # another dispatcher may have left something over
                    ready = True
                step = self.step()
                pause_s = 0.1
                if not step.moved and not stop.is_set():
                    notifications = self._listener.wait(self._sleep_s(step))
                    if notifications:  # perhaps of a lease that another process took: the next tick but one knows it
                        self._calm_at = time.monotonic() + 2 * self._settings.tick_s
                    if any(one.payload == requests.CANCELLED for one in notifications):
                        self._next_tick = self._next_intake = 0.0
            except (DBAPIError, DatabaseUnavailable) as error:
                if isinstance(error, DBAPIError) and not _lost_database(error):
                    raise
                log.warning("the database is away; trying again in %.1f s", pause_s)
                ready = False
                # What was claimed and not started has no owner now: its lease must run out before it is claimed again.
                self._live = {lease_id: run_id for lease_id, run_id in self._live.items() if run_id is not None}
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, 2.0)
        if self._slots is None:
            self._drain()

    def sync(self) -> None:
        """Copy the catalogue's names to the table that `kordant.enqueue_job` reads."""
        with self._db.begin() as connection:
            requests.sync_catalogue(connection, self._rows.values())

    def step(self) -> Step:
        """One pass: collect ends, extend and reap leases, stop cancelled runs, claim and start. Never waits."""
        ended = self._collect_ends()
        lost = self._keep_house()
        started, check_again_at = self._claim_and_start()
        return Step(started=started, ended=ended, lost=lost, check_again_at=check_again_at)

    def _sleep_s(self, step: Step) -> float:
        stirs = self._live or self._first_expiry or time.monotonic() < self._calm_at
        sleep_s = self._settings.tick_s if stirs else self._settings.idle_s
        if step.check_again_at is not None:
            sleep_s = min(sleep_s, (step.check_again_at - self._clock.now()).total_seconds())
        return max(0.0, sleep_s)

    def _collect_ends(self) -> int:
        self._ends.extend(self._watcher.ended())
        return self._handle_ends()

    def _handle_ends(self) -> int:
        if not self._ends:
            return 0
        now, handled = self._clock.now(), list[str]()
        with self._db.begin() as connection:  # all at once: an end stays in line until what follows it is committed
            for end in self._ends:
                returning = self._stopped.get(end.run_id, False)
                if outcomes.run_ended(connection, end, self._rows, returning=returning, now=now):
                    handled.append(end.run_id)
            traces.ended(connection, handled, settled_at=now)
        over = {end.run_id for end in self._ends}
        self._ends.clear()
        self._stopped = {run_id: again for run_id, again in self._stopped.items() if run_id not in over}
        self._live = {lease_id: run_id for lease_id, run_id in self._live.items() if run_id not in over}
        return len(handled)

    def _keep_house(self) -> int:
        monotonic, now = time.monotonic(), self._clock.now()
        if self._live and monotonic >= self._next_beat:
            with self._db.begin() as connection:
                leases.extend_launching(connection, list(self._live), now=now, ttl_s=self._settings.lease_s)
            self._forget_those_given_back()
            self._next_beat = monotonic + self._settings.lease_s / 3
        if monotonic < self._next_tick:
            return 0
        if self._intake and monotonic >= self._next_intake:
            self._intake()
            self._next_intake = monotonic + self._settings.intake_s
        self._look_up_ends()
        with self._db.begin() as connection:
            lost = outcomes.reap_lost(connection, self._rows, now=now)
            traces.ended(connection, [one.run_id for one in lost if one.run_id], settled_at=now)
            leases.cut_off(connection, now=now)
            cancelling = attempts.cancelling(connection)
            self._first_expiry = leases.next_expiry(connection)
        for one in lost:
            started = self._live.pop(one.id, None)
            if run_id := one.run_id or started:
                self._stop(run_id, LOST)
        for run in cancelling:
            if (
                now - run.asked_at
            ).total_seconds() >= self._settings.cancel_grace_s and run.run_id not in self._stopped:
                self._stopped[run.run_id] = False
                self._stop(run.run_id, CANCELED)
        self._next_tick = monotonic + self._settings.tick_s
        return len(lost)

    def _forget_those_given_back(self) -> None:
        """Forget runs whose lease is gone. Runs report their ends themselves, but a warm process that stops may not
        report them here."""
        if self._live:
            with self._db.connect() as connection:
                held = leases.still_held(connection, list(self._live))
            self._live = {lease_id: run_id for lease_id, run_id in self._live.items() if lease_id in held}

    def _look_up_ends(self) -> None:
        """Look up ends that no process reported: the run's process is gone, and so is the warm process that had it."""
        if self._history is None:
            return
        with self._db.connect() as connection:
            silent = leases.silent_runs(connection, now=self._clock.now(), ttl_s=self._settings.lease_s)
        self._ends.extend(filter(None, map(self._history, silent)))
        self._handle_ends()

    def _stop(self, run_id: str, cause: str) -> None:
        try:
            self._starter.stop(run_id, cause=cause)
        except TransientError as error:
            log.warning("run %s could not be stopped: %s", run_id, error)  # without its process it does nothing

    def _claim_and_start(self) -> tuple[int, datetime | None]:
        now = self._clock.now()
        if not self._starter.ready():
            return 0, now + timedelta(seconds=self._settings.not_ready_s)
        with self._db.begin() as connection:
            claimed = claim(
                connection,
                self._rows,
                self._parties,
                runs=self._settings.runs if self._slots is None else self._slots(),
                critical_extra=self._settings.critical_extra,
                worker=self._worker,
                now=now,
                ttl_s=self._settings.lease_s,
                started=self._started,
            )
            next_due = None if claimed.claims else waiting.next_due(connection, now=now)
        for each in claimed.claims:
            self._live[each.lease.id] = None
            self._started += 1
        if claimed.claims:
            payloads = self._payloads(claimed.claims)
            for each in claimed.claims:
                if payloads[each.lease.id]:
                    self._start(each, payloads[each.lease.id])
        moments = [moment for moment in (claimed.check_again_at, next_due) if moment is not None]
        return len(claimed.claims), min(moments, default=None)

    def _payloads(self, claims: Sequence[Claim]) -> dict[UUID, list[Payload]]:
        """The payloads by lease. A request with an invalid payload becomes dead; a lease without requests is
        released."""
        by_lease: dict[UUID, list[Running]] = {each.lease.id: [] for each in claims}
        payloads: dict[UUID, list[Payload]] = {}
        refused: list[Move] = []
        with self._db.begin() as connection:
            for one in attempts.running(connection, list(by_lease), lock=False):
                by_lease[one.lease_id].append(one)
            for each in claims:
                payloads[each.lease.id], bad = sort_out(self._rows[each.job], by_lease[each.lease.id])
                refused += bad
            empty = [lease_id for lease_id, good in payloads.items() if not good]
            attempts.move(connection, refused, now=self._clock.now())
            leases.release(connection, empty)
        for lease_id in empty:
            del self._live[lease_id]
        return payloads

    def _start(self, each: Claim, payloads: Sequence[Payload]) -> None:
        try:
            self._starter.start(order_for(each, self._rows[each.job], payloads))
        except RunIsOver:
            self._over_before_it_began(each)
        except TransientError as error:
            again_s = self._settings.start_again_s if error.retry_after_s is None else error.retry_after_s
            self._not_started(each, Ended(outcome=Outcome.RETURNED, retry_after_s=again_s), str(error))
        except PermanentError as error:
            ended = Ended(outcome=Outcome.FAILURE, cause=Cause.EXCEPTION, permanent=True)
            self._not_started(each, ended, str(error))
        except DBAPIError as error:
            if not _lost_database(error):
                raise
            ended = Ended(outcome=Outcome.RETURNED, retry_after_s=self._settings.start_again_s)
            self._not_started(each, ended, "the database went away")
        except Exception as error:  # noqa: BLE001 - one job that cannot start must not stop the others; it is retried
            text = f"the run could not be started: {type(error).__name__}: {redact_foreign(str(error))}"
            self._not_started(each, Ended(outcome=Outcome.FAILURE, cause=Cause.EXCEPTION), text)
        else:
            self._live[each.lease.id] = each.run_id

    def _over_before_it_began(self, each: Claim) -> None:
        """Handle a run that ended in Dagster while it waited: usually cancelled there, or deleted."""
        end = self._history(each.run_id) if self._history else None
        self._ends.append(end or RunEnd(run_id=each.run_id, outcome=CANCELED))
        self._live[each.lease.id] = each.run_id
        self._handle_ends()

    def _not_started(self, each: Claim, ended: Ended, error: str) -> None:
        log.warning("%s: no run for %d request(s): %s", each.job, len(each.requests), error)
        with self._db.begin() as connection:
            now = self._clock.now()
            outcomes.settle(connection, [each.lease.id], ended, self._rows, error=error, now=now)
            traces.ended(connection, [each.run_id], settled_at=now)
            leases.release(connection, [each.lease.id])
        del self._live[each.lease.id]

    def _drain(self) -> None:
        """Let running work end. Runs that exceed the grace time are stopped and their work returns to the queue."""
        deadline = time.monotonic() + self._settings.drain_s
        stopping = False
        while self._live and time.monotonic() < deadline + (self._settings.cancel_grace_s if stopping else 0.0):
            try:
                if not self._collect_ends():
                    self._keep_house()
                    self._forget_those_given_back()
                    self._listener.wait(self._settings.drain_poll_s)
            except (DBAPIError, DatabaseUnavailable):
                time.sleep(self._settings.tick_s)  # the leases run out on their own, should it not come back
            if not stopping and time.monotonic() >= deadline:
                stopping = True
                for run_id in filter(None, self._live.values()):
                    self._stopped[run_id] = True
                    self._stop(run_id, RETURNING)


def _lost_database(error: DBAPIError) -> bool:
    """True when the connection or the server failed, not the statement."""
    kinds = {"OperationalError", "InterfaceError", "AdminShutdown"}
    return error.connection_invalidated or bool(kinds & {kind.__name__ for kind in type(error.orig).__mro__})
