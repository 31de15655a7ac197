"""Which request starts when: priority, age, fair share, and requests that share a run. The clock is told."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from kordant_jobs.engine.queue.dispatch import Dispatcher
from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many
from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.lab.engine import FakeClock, InlineRuns, RunContext, drain, statuses
from kordant_jobs_tests.engine.queue.asking import SEQUENTIAL, nothing, numbers, numbers_in, put
from kordant_jobs_tests.engine.queue.toys import Mail, Toy, catalog, mails


def test_the_more_urgent_starts_first_and_within_a_priority_the_older(queue: Engine, clock: FakeClock) -> None:
    for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.CRITICAL]):
        put(queue, clock, number, priority=priority)
        clock.advance(1)
        put(queue, clock, number + 10, priority=priority)
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), settings=SEQUENTIAL)
    assert numbers(queue, runs) == [3, 13, 2, 12, 1, 11, 0, 10]


@pytest.mark.parametrize(("priority", "handicap_s"), [(Priority.NORMAL, 120), (Priority.LOW, 600)])
def test_a_waiting_request_overtakes_higher_ones_that_came_after_its_bound(
    queue: Engine, clock: FakeClock, priority: Priority, handicap_s: float
) -> None:
    put(queue, clock, 0, priority=priority)
    clock.advance(handicap_s - 1)
    put(queue, clock, 1, priority=Priority.HIGH)
    clock.advance(2)
    put(queue, clock, 2, priority=Priority.HIGH)
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), settings=SEQUENTIAL)
    assert numbers(queue, runs) == [1, 0, 2]


@pytest.mark.slow  # thousands of requests
def test_endless_critical_load_starves_no_one(queue: Engine, clock: FakeClock) -> None:
    put(queue, clock, 99, priority=Priority.LOW)
    clock.advance(3600)
    for number in range(40):
        put(queue, clock, number, priority=Priority.CRITICAL)
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), settings=SEQUENTIAL)
    assert numbers(queue, runs).index(99) < 16


@pytest.mark.slow  # thousands of requests
def test_a_tenant_with_thousands_does_not_delay_anothers_one(queue: Engine, clock: FakeClock) -> None:
    with queue.begin() as connection:
        items = [Item(payload=Toy(number=n), tenant="big") for n in range(5_000)]
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=catalog())
    clock.advance(1)
    put(queue, clock, 9_999, tenant="small")
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog(), settings=SEQUENTIAL)
    for _ in range(4):
        dispatcher.step()
    dispatcher.close()
    assert 9_999 in numbers(queue, runs)[:2]


@pytest.mark.slow  # thousands of requests
def test_ten_thousand_requests_are_ten_runs(queue: Engine, clock: FakeClock) -> None:
    rows = mails()
    with queue.begin() as connection:
        items = [Item(payload=Mail(number=n)) for n in range(10_000)]
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=rows)
    served: list[int] = []
    runs = drain(queue, {"mail": lambda work: served.extend(numbers_in(work))}, clock, catalog=rows)
    assert len(runs.orders) == 10
    assert sorted(served) == list(range(10_000))
    assert statuses(queue) == {RequestStatus.COMPLETED: 10_000}


def test_a_run_that_could_be_fuller_waits_no_longer_than_its_bound(queue: Engine, clock: FakeClock) -> None:
    rows = mails(batch_wait_s=5.0)
    begun = clock.now()
    with queue.begin() as connection:
        enqueue(connection, Mail(number=1), requested_by="test", now=clock.now(), catalog=rows)
    started: list[float] = []
    runs = drain(
        queue, {"mail": lambda work: started.append((clock.now() - begun).total_seconds())}, clock, catalog=rows
    )
    assert started == [5.0]
    assert len(runs.orders) == 1


@pytest.mark.slow  # thousands of requests
def test_one_request_that_brings_its_run_down_is_soon_alone(queue: Engine, clock: FakeClock) -> None:
    rows = mails(batch_size=100)
    with queue.begin() as connection:
        items = [Item(payload=Mail(number=n)) for n in range(100)]
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=rows)

    def send(work: RunContext) -> None:
        if 13 in numbers_in(work):
            raise RuntimeError("13 is unlucky")

    drain(queue, {"mail": send}, clock, catalog=rows)
    assert statuses(queue) == {RequestStatus.COMPLETED: 99, RequestStatus.DEAD: 1}
