"""For tests of jobs: a clock that is set by the test, runs in this process, and faults on order. No daemon needed.

    with db.begin() as connection:
        request_id = enqueue(connection, DarkwatchScan(), requested_by="test")
    run_now(db, request_id, {"darkwatch_scan": scan}, clock)     # inline: this request, now
    drain(db, {"darkwatch_scan": scan}, clock)                   # everything, retries included

`scan` is a function of a `RunContext`. What it raises counts as its run's end, as in production.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine

from kordant_jobs.catalog import BY_NAME, PARTIES
from kordant_jobs.engine.jobs import JobRow, PartyRate
from kordant_jobs.engine.queue import outcomes, work
from kordant_jobs.engine.queue.clock import Clock
from kordant_jobs.engine.queue.dispatch import Dispatcher, DispatchSettings
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.engine.runs import RunEnd, RunOrder
from kordant_jobs.engine.store import attempts, leases, requests
from kordant_jobs.engine.store.attempts import Move, Running
from kordant_jobs.engine.store.leases import Lease, LeaseLost
from kordant_jobs.engine.store.requests import Request
from kordant_jobs.errors import PermanentError, TransientError


class FakeClock:
    """A clock that stands still until the test moves it."""

    def __init__(self, at: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)) -> None:
        self._now = at

    def now(self) -> datetime:
        """The moment it was set to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Go on by `seconds`."""
        self._now += timedelta(seconds=seconds)

    def advance_to(self, moment: datetime) -> None:
        """Go on to `moment`; a moment that is past changes nothing."""
        self._now = max(self._now, moment)


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of one request. `items_failed` above 0 makes it partial."""

    request_id: UUID
    summary: Mapping[str, Any] | None = None
    items_failed: int = 0


def my_requests(connection: Connection, lease: Lease) -> list[Running]:
    """The requests that this run serves and has not completed yet.

    Raises:
        LeaseLost: another attempt has them now.
    """
    leases.fenced(connection, lease)
    return attempts.running(connection, [lease.id], lock=False)


def complete(connection: Connection, lease: Lease, done: Sequence[Done], *, clock: Clock) -> None:
    """Complete requests of this run, in the transaction that writes their results. Requests that are not named keep
    running.

    Raises:
        LeaseLost: another attempt has them now; roll back.
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


@contextmanager
def working(db: Engine, *, run_id: str, clock: Clock, ttl_s: float = work.LEASE_S) -> Iterator[work.Heartbeat]:
    """Hold the run's lease while the body runs: adopt it, then renew it from a thread every third of `ttl_s`.

    Raises:
        LeaseLost: the run came too late; nothing was done.
    """
    with db.begin() as connection:
        lease = work.adopt(connection, run_id, now=clock.now(), ttl_s=ttl_s)
    heartbeat = work.Heartbeat(db, lease, clock=clock, ttl_s=ttl_s)
    heartbeat.start()
    try:
        yield heartbeat
    finally:
        heartbeat.stop()


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run as its handler sees it: its order, its lease and its requests, with methods to report and end them."""

    db: Engine
    order: RunOrder
    run_id: str
    lease: Lease
    clock: Clock

    def requests(self) -> list[Running]:
        """The requests that this run serves.

        Raises:
            LeaseLost: another run has them now.
        """
        with self.db.begin() as connection:
            return my_requests(connection, self.lease)

    def complete(self, *done: Done) -> None:
        """End requests well, in a transaction of their own.

        Raises:
            LeaseLost: another run has them now.
        """
        with self.db.begin() as connection:
            complete(connection, self.lease, done, clock=self.clock)


Handler = Callable[[RunContext], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An end on order. With `silent` it is not reported: the lease has to run out, as after a host's death."""

    cause: Cause = Cause.EXCEPTION
    after_work: bool = False
    permanent: bool = False
    retry_after_s: float | None = None
    silent: bool = False


@dataclass(kw_only=True)
class InlineRuns:
    """Starts runs in this process, at once, or with `threads` each in a thread. Starter and watcher in one.

    `faults` are used up a run at a time, by job; a None lets that run through.
    """

    db: Engine
    handlers: Mapping[str, Handler]
    clock: Clock
    threads: bool = False
    lease_s: float = work.LEASE_S
    on_end: Callable[[], None] | None = None
    faults: Mapping[str, Sequence[Fault | None]] = field(default_factory=dict)
    orders: list[RunOrder] = field(default_factory=list)
    stopped: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ends: deque[RunEnd] = deque()
        self._due = {job: deque(faults) for job, faults in self.faults.items()}

    def ready(self) -> bool:
        """Always: nothing here goes away."""
        return True

    def start(self, order: RunOrder) -> None:
        """Run the handler of the order's job.

        Raises:
            PermanentError: there is none.
        """
        if order.job not in self.handlers:
            raise PermanentError(f"there is no handler for {order.job}; give one to InlineRuns.")
        with self.db.begin() as connection:
            lease = work.adopt(connection, order.run_id, now=self.clock.now(), ttl_s=self.lease_s)
        self.orders.append(order)
        due = self._due.get(order.job)
        fault = due.popleft() if due else None
        one = RunContext(db=self.db, order=order, run_id=order.run_id, lease=lease, clock=self.clock)
        if self.threads:
            threading.Thread(target=self._execute, args=(one, fault), daemon=True).start()
        else:
            self._execute(one, fault)

    def stop(self, run_id: str, *, cause: str) -> None:
        """Note it: a function cannot be stopped from outside."""
        self.stopped.append((run_id, cause))

    def ended(self) -> Iterator[RunEnd]:
        """The ends since the last call."""
        while self._ends:
            yield self._ends.popleft()

    def _execute(self, one: RunContext, fault: Fault | None) -> None:
        end = run_handler(self.handlers[one.order.job], one, fault)
        if end is not None:
            self._ends.append(end)
            if self.on_end is not None:
                self.on_end()


def run_handler(handler: Handler, one: RunContext, fault: Fault | None = None) -> RunEnd | None:
    """Run the handler; its end as a run reports it, or None when a silent fault struck."""
    error: Exception | None = None
    if fault is None or fault.after_work:
        try:
            handler(one)
        except Exception as raised:  # noqa: BLE001 - any end of a run is recorded, as a launcher records it
            error = raised
    if fault is not None:
        return (
            None if fault.silent else _end(one, fault.cause, "a fault on order", fault.permanent, fault.retry_after_s)
        )
    if error is None:
        return _end(one, None, None, False, None)
    cause = Cause.LOST if isinstance(error, LeaseLost) else Cause.EXCEPTION
    retry_after_s = error.retry_after_s if isinstance(error, TransientError) else None
    return _end(one, cause, str(error), isinstance(error, PermanentError), retry_after_s)


def _end(
    one: RunContext, cause: Cause | None, error: str | None, permanent: bool, retry_after_s: float | None
) -> RunEnd:
    outcome = "success" if cause is None else "lost" if cause is Cause.LOST else "failure"
    return RunEnd(
        run_id=one.run_id,
        outcome=outcome,
        cause=cause and cause.value,
        cpu_s=0.0,
        peak_memory_mb=0.0,
        error=error,
        retry_after_s=retry_after_s,
        permanent=permanent,
    )


def run_now(
    db: Engine,
    request_id: UUID,
    handlers: Mapping[str, Handler],
    clock: Clock,
    *,
    fault: Fault | None = None,
    catalog: Mapping[str, JobRow] = BY_NAME,
) -> Request:
    """Run one waiting request in this process, whatever its time and limits, and return it as it then stands.

    Raises:
        PermanentError: there is no such request.
    """
    with db.begin() as connection:
        request = requests.get(connection, request_id)
        if request is None:
            raise PermanentError(f"there is no request {request_id}.")
        row = catalog[request.job]
        names = [f"job:{request.job}"]
        run_id = str(uuid4())
        (lease,) = leases.insert(
            connection, names, holder="inline", now=clock.now(), ttl_s=row.timeout_s, run_ids=[run_id]
        )
        attempts.start(connection, [(request_id, lease)], worker="inline", now=clock.now())
        order = RunOrder(
            run_id=run_id,
            job=request.job,
            run_config=row.payload.run_config([row.payload.model_validate(request.payload)]),
            tags={},
        )
        one = RunContext(db=db, order=order, run_id=run_id, lease=lease, clock=clock)
        work.adopt(connection, run_id, now=clock.now(), ttl_s=row.timeout_s)
    end = run_handler(handlers[request.job], one, fault)
    with db.begin() as connection:
        if end is not None:
            outcomes.run_ended(connection, end, catalog, returning=False, now=clock.now())
        found = requests.get(connection, request_id)
    assert found is not None  # noqa: S101 - it was there
    return found


def drain(
    db: Engine,
    handlers: Mapping[str, Handler],
    clock: FakeClock,
    *,
    faults: Mapping[str, Sequence[Fault | None]] | None = None,
    catalog: Mapping[str, JobRow] = BY_NAME,
    parties: Mapping[str, PartyRate] = PARTIES,
    settings: DispatchSettings | None = None,
    until: datetime | None = None,
) -> InlineRuns:
    """Run everything that waits, retries and later ones included, moving the clock on to whatever is next.

    Stops at `until`, when given. Returns the runs, with the orders in the sequence in which they started.
    """
    runs = InlineRuns(db=db, handlers=handlers, clock=clock, faults=faults or {})
    settings = settings or DispatchSettings(tick_s=0.0)
    dispatcher = Dispatcher(db, runs, runs, clock, worker="drain", catalog=catalog, parties=parties, settings=settings)
    try:
        while True:
            step = dispatcher.step()
            if step.moved:
                continue
            with db.connect() as connection:
                expiry = leases.next_expiry(connection)
            moments = [moment for moment in (step.check_again_at, expiry) if moment is not None]
            if not moments or (until is not None and min(moments) > until):
                return runs
            clock.advance_to(min(moments))
    finally:
        dispatcher.close()


def statuses(db: Engine) -> dict[RequestStatus, int]:
    """The number of requests by status."""
    with db.connect() as connection:
        found = requests.find(connection, requests.Filter())
    counts: dict[RequestStatus, int] = {}
    for one in found:
        counts[one.status] = counts.get(one.status, 0) + 1
    return counts
