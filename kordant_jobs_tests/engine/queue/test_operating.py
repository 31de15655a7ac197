"""What may be done to a request that waits or runs: looked at, cancelled, changed. The clock is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.queue.dispatch import Dispatcher, DispatchSettings
from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.engine.runs import RunEnd
from kordant_jobs.engine.store.requests import Filter
from kordant_jobs.lab.engine import FakeClock, Fault, InlineRuns, RunContext, drain
from kordant_jobs_tests.engine.queue.asking import SEQUENTIAL, look, nothing, numbers, put
from kordant_jobs_tests.engine.queue.toys import catalog


def test_a_run_that_does_not_heed_a_cancellation_is_stopped_after_the_grace(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock, faults={"toy": [Fault(silent=True)]})
    settings = DispatchSettings(tick_s=0, cancel_grace_s=10, lease_s=600)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog(), settings=settings)
    dispatcher.step()
    with queue.begin() as connection:
        operate.cancel(connection, Filter(ids=(request_id,)), now=clock.now())
    dispatcher.step()
    assert runs.stopped == []
    clock.advance(10)
    dispatcher.step()
    run_id = look(queue, request_id).run_id
    assert runs.stopped == [(run_id, "canceled")]
    assert run_id is not None
    ended = RunEnd(
        run_id=run_id,
        outcome="canceled",
        cause=None,
        cpu_s=1.5,
        peak_memory_mb=80,
        error=None,
        retry_after_s=None,
        permanent=False,
    )
    runs._ends.append(ended)
    dispatcher.step()
    dispatcher.close()
    assert look(queue, request_id).status is RequestStatus.CANCELLED
    with queue.connect() as connection:
        (attempt,) = operate.inspect(connection, request_id).attempts
    assert (attempt.cpu_s, attempt.peak_memory_mb) == (1.5, 80)


@pytest.mark.parametrize("end", ["failure", "lost"])
def test_a_cancelled_request_whose_run_fails_or_is_lost_is_not_tried_again(
    queue: Engine, clock: FakeClock, end: str
) -> None:
    def fail(work: RunContext) -> None:
        with queue.begin() as connection:
            operate.cancel(connection, Filter(ids=(request_id,)), now=clock.now())
        raise RuntimeError("it could not undo what it had begun")

    request_id = put(queue, clock)
    faults = {"toy": [Fault(silent=True)] if end == "lost" else []}
    runs = InlineRuns(db=queue, handlers={"toy": fail}, clock=clock, faults=faults)
    settings = DispatchSettings(tick_s=0, cancel_grace_s=600, lease_s=15)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog(), settings=settings)
    dispatcher.step()
    if end == "lost":
        with queue.begin() as connection:
            operate.cancel(connection, Filter(ids=(request_id,)), now=clock.now())
        clock.advance(16)
    dispatcher.step()
    dispatcher.close()
    assert look(queue, request_id).status is RequestStatus.CANCELLED


def test_priority_and_time_can_be_changed_while_it_waits(queue: Engine, clock: FakeClock) -> None:
    put(queue, clock, 1)
    later = put(queue, clock, 2, run_at=clock.now() + timedelta(days=1))
    with queue.begin() as connection:
        operate.reprioritise(connection, Filter(ids=(later,)), priority=Priority.CRITICAL, run_at=clock.now())
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), settings=SEQUENTIAL)
    assert numbers(queue, runs) == [2, 1]


def test_a_later_request_starts_exactly_when_it_is_due(queue: Engine, clock: FakeClock) -> None:
    due = clock.now() + timedelta(hours=3, seconds=1)
    put(queue, clock, run_at=due)
    started = []
    drain(queue, {"toy": lambda work: started.append(clock.now())}, clock, catalog=catalog())
    assert started == [due]


def test_a_critical_request_starts_although_every_run_is_taken(queue: Engine, clock: FakeClock) -> None:
    silent = [Fault(silent=True)] * 8
    for number in range(8):
        put(queue, clock, number, priority=Priority.LOW)
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock, faults={"toy": silent})
    settings = DispatchSettings(runs=4, critical_extra=1, tick_s=0)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog(concurrency=50), settings=settings)
    dispatcher.step()
    assert len(runs.orders) == 4
    put(queue, clock, 99, priority=Priority.CRITICAL)
    put(queue, clock, 98, priority=Priority.HIGH)
    dispatcher.step()
    dispatcher.close()
    assert numbers(queue, runs)[4:] == [99]
