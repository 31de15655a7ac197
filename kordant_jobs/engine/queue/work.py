"""A run's side of the queue: adopt the lease, read the requests, report, complete. Every write is fenced."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.catalog import BY_NAME, JobRow
from kordant_jobs.domain.payloads import Payload
from kordant_jobs.domain.requests import Outcome, RequestStatus
from kordant_jobs.engine.queue.clock import Clock
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.store import attempts, leases
from kordant_jobs.store.attempts import Move, Running
from kordant_jobs.store.leases import Lease, LeaseLost

LEASE_TAG = "kordant/lease_id"
FENCE_TAG = "kordant/fence"
REQUESTS_TAG = "kordant/requests"
REQUEST_TAG = "kordant/request_id"


def lease_tags(lease: Lease) -> dict[str, str]:
    """The tags by which a run finds its lease again."""
    return {LEASE_TAG: str(lease.id), FENCE_TAG: str(lease.fence)}


def lease_from_tags(job: str, tags: Mapping[str, str]) -> Lease | None:
    """The lease that a run was ordered under; None for a run that nobody queued."""
    if LEASE_TAG not in tags:
        return None
    return Lease(id=UUID(tags[LEASE_TAG]), name=f"job:{job}", fence=int(tags[FENCE_TAG]))


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of one request. `items_failed` above 0 makes it partial."""

    request_id: UUID
    summary: Mapping[str, Any] | None = None
    items_failed: int = 0


@contextmanager
def working(db: Engine, lease: Lease, *, run_id: str, clock: Clock, ttl_s: float = 15.0) -> Iterator[Heartbeat]:
    """Hold the lease while the body runs: adopted first, kept alive by a thread at a third of `ttl_s`.

    Raises:
        LeaseLost: the run came too late; nothing was done.
    """
    with db.begin() as connection:
        leases.adopt(connection, lease, run_id=run_id, now=clock.now(), ttl_s=ttl_s)
    heartbeat = Heartbeat(db, lease, clock=clock, ttl_s=ttl_s)
    heartbeat.start()
    try:
        yield heartbeat
    finally:
        heartbeat.stop()


class Heartbeat:
    """Keeps a lease alive from a thread. `lost` is set once it is not ours any more."""

    def __init__(self, db: Engine, lease: Lease, *, clock: Clock, ttl_s: float) -> None:
        self._db = db
        self._lease = lease
        self._clock = clock
        self._ttl_s = ttl_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self.lost = threading.Event()

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; the lease itself is given back when the run's end is handled."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._ttl_s / 3):
            try:
                with self._db.begin() as connection:
                    kept = leases.extend(connection, [self._lease.id], now=self._clock.now(), ttl_s=self._ttl_s)
            except DBAPIError:
                continue  # the database is away: the next beat tells whether the lease outlived it
            if not kept:
                self.lost.set()
                return


def record_run(
    connection: Connection,
    payload: Payload,
    *,
    run_id: str,
    requested_by: str,
    clock: Clock,
    ttl_s: float = 15.0,
    entity_key: str | None = None,
    catalog: Mapping[str, JobRow] = BY_NAME,
) -> Lease:
    """The lease of a run that nobody queued (UI, schedule, backfill, command line), with a request made for it.

    It runs at once, whatever the limits; from here on it is like any other: history, retries, dead letters.
    """
    now = clock.now()
    request_id = enqueue(
        connection, payload, requested_by=requested_by, entity_key=entity_key, now=now, catalog=catalog
    )
    (lease,) = leases.insert(connection, [f"job:{payload.job}"], holder=run_id, now=now, ttl_s=ttl_s)
    attempts.start(connection, [(request_id, lease)], worker=run_id, now=now)
    attempts.set_run(connection, lease.id, run_id)
    leases.adopt(connection, lease, run_id=run_id, now=now, ttl_s=ttl_s)
    return lease


def my_requests(connection: Connection, lease: Lease) -> list[Running]:
    """The requests that this run serves and has not completed yet.

    Raises:
        LeaseLost: they are another attempt's by now.
    """
    leases.fenced(connection, lease)
    return attempts.running(connection, [lease.id], lock=False)


def complete(connection: Connection, lease: Lease, done: Sequence[Done], *, clock: Clock) -> None:
    """End requests of this run well, in the transaction that writes what they did. Those not named go on.

    Raises:
        LeaseLost: they are another attempt's by now; roll back.
    """
    leases.fenced(connection, lease)
    mine = {one.id for one in attempts.running(connection, [lease.id], lock=True)}
    moves = [
        Move(
            request_id=one.request_id,
            status=RequestStatus.COMPLETED,
            outcome=Outcome.PARTIAL if one.items_failed else Outcome.SUCCESS,
            items_failed=one.items_failed,
            summary=one.summary,
        )
        for one in done
        if one.request_id in mine
    ]
    attempts.move(connection, moves, now=clock.now())


__all__ = [
    "Done",
    "Heartbeat",
    "LeaseLost",
    "complete",
    "lease_from_tags",
    "lease_tags",
    "my_requests",
    "record_run",
    "working",
]
