"""A run's side of the queue: adopt the lease and renew it; record a run that bypassed the queue."""

import threading
import time
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue.clock import Clock
from kordant_jobs.engine.runs import HIDDEN
from kordant_jobs.engine.store import arrivals, attempts, given_runs, leases, requests
from kordant_jobs.engine.store.arrivals import NewRequest
from kordant_jobs.engine.store.leases import Lease, LeaseLost

LEASE_S = 15.0
"""Seconds that a run may be silent (paused, cut off) before its work is given to another run."""

INTERRUPT_AT = 5 / 6
"""The part of its lease after which a run that could not renew it is interrupted; the rest is left for it to clean up.
Of 15 s that is 2.5 s: less than the three seconds that the warm process gives, more than an op's `finally` takes."""

REQUESTS_TAG = f"{HIDDEN}requests"
REQUEST_TAG = "kordant/request_id"


class Fence(Protocol):
    """Ends the process of a run that lost its lease."""

    def interrupt(self) -> None:
        """Ask the run to end."""

    def end(self) -> None:
        """End the run, and every process that it started, at once."""


class Heartbeat:
    """Renews a lease from a thread. `lost` is set once the lease is no longer ours.

    With a `fence`, the run's process ends itself when the lease is lost or cannot be renewed: cut off from the
    database, it could still send mails and make calls beside the run that took over its work. A second thread watches
    this machine's monotonic clock, since the first may be waiting for a database that does not answer. The time is
    counted from the moment before the last successful renewal was sent, so it never ends after the lease in the
    database.
    """

    def __init__(self, db: Engine, lease: Lease, *, clock: Clock, ttl_s: float, fence: Fence | None = None) -> None:
        self._db = db
        self._lease = lease
        self._clock = clock
        self._ttl_s = ttl_s
        self._fence = fence
        self._stop = threading.Event()
        self._watched = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self._until = float("inf")
        self._kept_at = time.monotonic()
        self.lost = threading.Event()

    def start(self) -> None:
        """Start the renewal."""
        self._kept_at = time.monotonic()
        self._thread.start()
        if self._fence is not None:
            threading.Thread(target=self._watch, args=(self._fence,), name="lease-fence", daemon=True).start()

    def stop(self) -> None:
        """Stop the renewal. The lease itself is released when the run's end is handled."""
        self._watched.set()
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def stop_in(self, seconds: float) -> None:
        """Stop the renewal after these seconds, unless `stop` is called before: that call may never come. The run's own
        code has ended, so it needs no fencing any more."""
        self._watched.set()
        self._until = time.monotonic() + seconds

    def _beat(self) -> None:
        pause_s = self._ttl_s / 3
        while not self._stop.wait(pause_s) and time.monotonic() < self._until:
            sent_at = time.monotonic()
            try:
                with self._db.begin() as connection:
                    kept = leases.extend(connection, [self._lease.id], now=self._clock.now(), ttl_s=self._ttl_s)
            except DBAPIError:
                pause_s = self._ttl_s / 15  # the database is away: the next beat tells whether the lease outlived it
                continue
            if not kept:
                self.lost.set()
                if self._fence is not None and not self._watched.is_set():
                    self._fence.end()
                return
            self._kept_at = sent_at
            pause_s = self._ttl_s / 3

    def _watch(self, fence: Fence) -> None:
        """Interrupt the run when five sixths of the lease are over, and end its process with the lease. It is watched
        after the interruption, too: its cleaning up may wait for a database that never answers."""
        left_s = self._ttl_s * INTERRUPT_AT
        while not self._watched.wait(left_s):
            left_s = self._kept_at + self._ttl_s * INTERRUPT_AT - time.monotonic()
            if left_s > 0:
                continue
            fence.interrupt()
            while (left_s := self._kept_at + self._ttl_s - time.monotonic()) > 0:
                time.sleep(left_s)
            self.lost.set()
            fence.end()


def record_run(
    connection: Connection,
    row: JobRow,
    payload: Payload,
    *,
    run_id: str,
    requested_by: str,
    clock: Clock,
    ttl_s: float = LEASE_S,
    worker: str = "dagster",
    follows: str | None = None,
) -> tuple[Lease, list[UUID]]:
    """The lease of a run that bypassed our queue (`dagster job execute`, or Dagster's own coordinator), and the
    requests that it serves.

    These are the requests that wait with it, or that the run `follows` left waiting or dead when it repeats that one;
    else a new one. It runs at once, whatever the limits. From then on it is like any other run: history, retries, dead
    letters.
    """
    now = clock.now()
    ids = given_runs.waiting_for(connection, run_id)
    if not ids and follows is not None:
        ids = attempts.left_over(connection, follows, now=now)
    if not ids:
        new = NewRequest(
            id=uuid7(),
            job=row.name,
            payload=payload.model_dump(mode="json"),
            priority=row.priority,
            run_at=now,
            created_at=now,
            requested_by=requested_by,
        )
        ids = [arrivals.insert_one(connection, new)[0]]
    (lease,) = leases.insert(connection, [f"job:{row.name}"], holder=worker, now=now, ttl_s=ttl_s, run_ids=[run_id])
    attempts.start(connection, [(one, lease) for one in ids], worker=worker, now=now)
    adopt(connection, run_id, now=now, ttl_s=ttl_s)
    requests.notify(connection, "recorded")  # there is a lease that may run out
    return lease, ids


def adopt(connection: Connection, run_id: str, *, now: datetime, ttl_s: float = LEASE_S) -> Lease:
    """Adopt the run's lease, which the run itself renews from now on. Its requests record that the run serves them.

    Raises:
        LeaseLost: the run came too late; it must do nothing.
    """
    lease = attempts.adopt(connection, run_id, now=now, ttl_s=ttl_s)
    if lease is None:
        raise LeaseLost(
            f"run {run_id} has no lease any more: it came too late, and its work was given back to the queue. "
            "End without doing anything."
        )
    return lease
