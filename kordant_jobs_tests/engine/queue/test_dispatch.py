"""From request to end through the dispatcher: order, coalescing, retries, loss, cancelling. The clock is told."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.requests import Cause, Outcome, Priority, RequestStatus
from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.queue.dispatch import Dispatcher
from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many
from kordant_jobs.engine.queue.pace import Pace
from kordant_jobs.engine.queue.work import Done, record_run
from kordant_jobs.engine.runs import RunEnd, RunOrder
from kordant_jobs.engine.testing import FakeClock, Fault, InlineRuns, Work, drain, run_now, statuses
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.store.requests import Filter, Request, find, get
from kordant_jobs.store.running import report_progress
from kordant_jobs_tests.engine.queue.toys import Mail, Toy, catalog, mails

SEQUENTIAL = Pace(runs=1, critical_extra=0, tick_s=0.0)


def put(db: Engine, clock: FakeClock, number: int = 0, **more: object) -> UUID:
    with db.begin() as connection:
        return enqueue(connection, Toy(number=number), requested_by="test", now=clock.now(), catalog=catalog(), **more)  # type: ignore[arg-type]


def look(db: Engine, request_id: UUID) -> Request:
    with db.connect() as connection:
        found = get(connection, request_id)
    assert found is not None
    return found


def causes(db: Engine, request_id: UUID) -> list[tuple[Outcome | None, Cause | None]]:
    with db.connect() as connection:
        return [(one.outcome, one.cause) for one in operate.inspect(connection, request_id).attempts]


def numbers(db: Engine, runs: InlineRuns) -> list[int]:
    by_id = {}
    with db.connect() as connection:
        by_id = {str(one.id): one.payload["number"] for one in find(connection, Filter())}
    return [by_id[order.tags["kordant/request_id"]] for order in runs.orders]


def nothing(work: Work) -> None:
    """Succeed."""


def test_the_more_urgent_starts_first_and_within_a_priority_the_older(queue: Engine, clock: FakeClock) -> None:
    for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.CRITICAL]):
        put(queue, clock, number, priority=priority)
        clock.advance(1)
        put(queue, clock, number + 10, priority=priority)
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), pace=SEQUENTIAL)
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
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), pace=SEQUENTIAL)
    assert numbers(queue, runs) == [1, 0, 2]


@pytest.mark.slow  # thousands of requests
def test_endless_critical_load_starves_nobody(queue: Engine, clock: FakeClock) -> None:
    put(queue, clock, 99, priority=Priority.LOW)
    clock.advance(3600)
    for number in range(40):
        put(queue, clock, number, priority=Priority.CRITICAL)
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), pace=SEQUENTIAL)
    assert numbers(queue, runs).index(99) < 16


@pytest.mark.slow  # thousands of requests
def test_a_tenant_with_thousands_does_not_delay_anothers_one(queue: Engine, clock: FakeClock) -> None:
    with queue.begin() as connection:
        items = [Item(payload=Toy(number=n), tenant="big") for n in range(5_000)]
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=catalog())
    clock.advance(1)
    put(queue, clock, 9_999, tenant="small")
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog(), pace=SEQUENTIAL)
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
    runs = drain(queue, {"mail": lambda work: served.extend(_numbers(work))}, clock, catalog=rows)
    assert len(runs.orders) == 10
    assert sorted(served) == list(range(10_000))
    assert statuses(queue) == {RequestStatus.COMPLETED: 10_000}


def _numbers(work: Work) -> list[int]:
    return [one.payload["number"] for one in work.requests()]


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

    def send(work: Work) -> None:
        if 13 in _numbers(work):
            raise RuntimeError("13 is unlucky")

    drain(queue, {"mail": send}, clock, catalog=rows)
    assert statuses(queue) == {RequestStatus.COMPLETED: 99, RequestStatus.DEAD: 1}


def test_a_failed_request_waits_1_5_15_minutes_without_a_slot_and_is_then_dead(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)
    begun, started = clock.now(), []

    def fail(work: Work) -> None:
        started.append((clock.now() - begun).total_seconds() / 60)
        raise RuntimeError("no luck")

    runs = drain(queue, {"toy": fail}, clock, catalog=catalog())
    assert started == [0, 1, 6, 21]
    found = look(queue, request_id)
    assert (found.status, found.cause, found.attempt) == (RequestStatus.DEAD, Cause.EXCEPTION, 4)
    assert causes(queue, request_id) == [(Outcome.FAILURE, Cause.EXCEPTION)] * 4
    first, second, third, _ = runs.orders
    assert (first.parent_run_id, first.root_run_id) == (None, None)
    assert second.parent_run_id == second.root_run_id == third.root_run_id
    assert third.parent_run_id not in (None, third.root_run_id)


@pytest.mark.parametrize("cause", [Cause.EXCEPTION, Cause.TIMEOUT, Cause.MEMORY, Cause.CPU, Cause.KILLED, Cause.LOST])
def test_whatever_ended_the_first_attempt_the_second_does_the_work(
    queue: Engine, clock: FakeClock, cause: Cause
) -> None:
    request_id = put(queue, clock)
    drain(queue, {"toy": nothing}, clock, catalog=catalog(), faults={"toy": [Fault(cause=cause)]})
    found = look(queue, request_id)
    assert (found.status, found.attempt) == (RequestStatus.COMPLETED, 2)
    assert [cause for _, cause in causes(queue, request_id)] == [cause, None]
    assert clock.now() >= found.created_at + timedelta(minutes=1)


def test_a_host_that_dies_without_a_word_is_noticed_when_the_lease_runs_out(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock, faults={"toy": [Fault(silent=True)]})
    first = Dispatcher(queue, runs, runs, clock, worker="dies", catalog=catalog(), pace=Pace(tick_s=0, lease_s=15))
    first.step()
    first.close()
    assert look(queue, request_id).status is RequestStatus.RUNNING
    clock.advance(15)
    drain(queue, {"toy": nothing}, clock, catalog=catalog())
    assert causes(queue, request_id) == [(Outcome.LOST, Cause.LOST), (Outcome.SUCCESS, None)]


def test_a_permanent_error_is_dead_at_once_and_a_retry_after_is_kept(queue: Engine, clock: FakeClock) -> None:
    bad, slow = put(queue, clock, 1), put(queue, clock, 2)
    begun, starts = clock.now(), []

    def handle(work: Work) -> None:
        (number,) = _numbers(work)
        if number == 1:
            raise PermanentError("never")
        starts.append((clock.now() - begun).total_seconds())
        if len(starts) == 1:
            raise TransientError("busy", retry_after_s=7)

    drain(queue, {"toy": handle}, clock, catalog=catalog())
    assert (look(queue, bad).status, look(queue, bad).attempt) == (RequestStatus.DEAD, 1)
    assert look(queue, slow).status is RequestStatus.COMPLETED
    assert starts == [0, 7]


def test_a_run_that_cannot_be_started_now_costs_no_attempt(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)

    class Away(InlineRuns):
        def start(self, order: object) -> str:
            raise TransientError("no warm process answers")

    runs = Away(db=queue, handlers={}, clock=clock)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog())
    for _ in range(5):
        dispatcher.step()
        clock.advance(1)
    dispatcher.close()
    drain(queue, {"toy": nothing}, clock, catalog=catalog(retries=catalog()["toy"].retries))
    found = look(queue, request_id)
    assert found.status is RequestStatus.COMPLETED
    assert {outcome for outcome, _ in causes(queue, request_id)} == {Outcome.RETURNED, Outcome.SUCCESS}


def test_while_no_run_can_be_started_requests_wait_untouched(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)

    class NotYet(InlineRuns):
        def ready(self) -> bool:
            return False

    runs = NotYet(db=queue, handlers={"toy": nothing}, clock=clock)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog())
    for _ in range(5):
        assert dispatcher.step().look_again_at is not None
        clock.advance(1)
    dispatcher.close()
    assert look(queue, request_id).status is RequestStatus.PENDING
    assert causes(queue, request_id) == []
    drain(queue, {"toy": nothing}, clock, catalog=catalog())
    assert look(queue, request_id).status is RequestStatus.COMPLETED


class Cut(InlineRuns):
    """Cannot start the first run, since the database goes away."""

    def start(self, order: RunOrder) -> str:
        if not self.orders:
            self.orders.append(order)
            raise sa.exc.OperationalError("INSERT", None, psycopg2.OperationalError("server closed the connection"))
        return super().start(order)


def test_a_database_that_goes_away_while_a_run_is_started_costs_no_attempt(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)
    runs = Cut(db=queue, handlers={"toy": nothing}, clock=clock)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog())
    dispatcher.step()
    waiting = look(queue, request_id)
    assert (waiting.status, waiting.run_at) == (RequestStatus.PENDING, clock.now() + timedelta(seconds=1))
    clock.advance(1)
    dispatcher.step()
    dispatcher.step()
    dispatcher.close()
    assert look(queue, request_id).status is RequestStatus.COMPLETED
    assert causes(queue, request_id) == [(Outcome.RETURNED, None), (Outcome.SUCCESS, None)]


class Remembers:
    """Knows how every run ended, though nobody told it at the time."""

    def __init__(self, outcome: str) -> None:
        self._outcome = outcome

    def end_of(self, run_id: str) -> RunEnd:
        return RunEnd(run_id=run_id, outcome=self._outcome, cause=None, cpu_s=0, peak_memory_mb=0, error="it broke",
                      retry_after_s=None, permanent=False)  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "status", "attempt"),
    [
        ("success", RequestStatus.COMPLETED, (Outcome.SUCCESS, None)),
        ("failure", RequestStatus.PENDING, (Outcome.FAILURE, Cause.EXCEPTION)),
        ("canceled", RequestStatus.CANCELLED, (Outcome.CANCELED, None)),
    ],
)
def test_an_end_that_nobody_told_is_looked_up_before_a_run_is_taken_for_lost(
    queue: Engine, clock: FakeClock, outcome: str, status: RequestStatus, attempt: tuple[Outcome, Cause | None]
) -> None:
    request_id = put(queue, clock)
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock, faults={"toy": [Fault(silent=True)]})
    first = Dispatcher(queue, runs, runs, clock, worker="died", catalog=catalog())
    first.step()
    first.step()
    first.close()
    clock.advance(60)
    second = Dispatcher(queue, runs, runs, clock, worker="next", catalog=catalog(), history=Remembers(outcome))
    second.step()
    second.close()
    assert look(queue, request_id).status is status
    assert causes(queue, request_id)[0] == attempt


def test_a_partial_success_keeps_its_counts(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)

    def handle(work: Work) -> None:
        (one,) = work.requests()
        work.complete(Done(request_id=one.id, summary={"sent": 8}, items_failed=2))

    drain(queue, {"toy": handle}, clock, catalog=catalog())
    found = look(queue, request_id)
    assert found.partial
    assert (found.items_failed, found.summary) == (2, {"sent": 8})
    assert causes(queue, request_id) == [(Outcome.PARTIAL, None)]


def test_what_a_run_completed_before_it_broke_is_not_done_again(queue: Engine, clock: FakeClock) -> None:
    rows = mails(batch_size=10)
    with queue.begin() as connection:
        items = [Item(payload=Mail(number=n)) for n in range(10)]
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=rows)
    sent: list[int] = []

    def send(work: Work) -> None:
        for one in work.requests():
            if len(sent) == 4:
                sent.append(-1)
                raise RuntimeError("the connection broke")
            sent.append(one.payload["number"])
            work.complete(Done(request_id=one.id))

    drain(queue, {"mail": send}, clock, catalog=rows)
    assert sorted(sent) == [-1, *range(10)]


def test_progress_is_readable_while_it_runs_and_tells_the_run_of_a_cancellation(
    queue: Engine, clock: FakeClock
) -> None:
    request_id = put(queue, clock)
    told: list[set[UUID]] = []

    def handle(work: Work) -> None:
        for done in (1, 2):
            with queue.begin() as connection:
                told.append(report_progress(connection, work.lease, None, done=done, total=3, message="shards"))
            assert look(queue, request_id).progress.done == done
            with queue.begin() as connection:
                operate.cancel(connection, Filter(ids=(request_id,)), now=clock.now())
        raise RuntimeError("stopping, as asked")

    drain(queue, {"toy": handle}, clock, catalog=catalog())
    assert told == [set(), {request_id}]
    assert look(queue, request_id).status is RequestStatus.CANCELLED


def test_a_run_that_does_not_heed_a_cancellation_is_stopped_after_the_grace(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock, faults={"toy": [Fault(silent=True)]})
    pace = Pace(tick_s=0, cancel_grace_s=10, lease_s=600)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog(), pace=pace)
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


def test_priority_and_time_can_be_changed_while_it_waits(queue: Engine, clock: FakeClock) -> None:
    put(queue, clock, 1)
    later = put(queue, clock, 2, run_at=clock.now() + timedelta(days=1))
    with queue.begin() as connection:
        operate.reprioritise(connection, Filter(ids=(later,)), priority=Priority.CRITICAL, run_at=clock.now())
    runs = drain(queue, {"toy": nothing}, clock, catalog=catalog(), pace=SEQUENTIAL)
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
    pace = Pace(runs=4, critical_extra=1, tick_s=0)
    dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog(concurrency=50), pace=pace)
    dispatcher.step()
    assert len(runs.orders) == 4
    put(queue, clock, 99, priority=Priority.CRITICAL)
    put(queue, clock, 98, priority=Priority.HIGH)
    dispatcher.step()
    dispatcher.close()
    assert numbers(queue, runs)[4:] == [99]


def test_inline_mode_runs_one_request_now(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock, run_at=clock.now() + timedelta(days=1))
    failed = run_now(queue, request_id, {"toy": nothing}, clock, fault=Fault(cause=Cause.MEMORY), catalog=catalog())
    assert (failed.status, failed.cause) == (RequestStatus.PENDING, Cause.MEMORY)
    done = run_now(queue, request_id, {"toy": nothing}, clock, catalog=catalog())
    assert done.status is RequestStatus.COMPLETED


def test_a_run_that_nobody_queued_gets_a_request_and_is_retried_like_any_other(queue: Engine, clock: FakeClock) -> None:
    with queue.begin() as connection:
        record_run(connection, catalog()["toy"], Toy(), run_id="from-the-ui", requested_by="ui", clock=clock)
    (one,) = _all(queue)
    assert (one.status, one.run_id, one.requested_by) == (RequestStatus.RUNNING, "from-the-ui", "ui")
    clock.advance(60)
    drain(queue, {"toy": nothing}, clock, catalog=catalog())
    (one,) = _all(queue)
    assert (one.status, one.root_run_id) == (RequestStatus.COMPLETED, "from-the-ui")
    assert causes(queue, one.id) == [(Outcome.LOST, Cause.LOST), (Outcome.SUCCESS, None)]


def _all(db: Engine) -> list[Request]:
    with db.connect() as connection:
        return find(connection, Filter())


def test_a_waiting_request_that_another_transaction_holds_is_passed_over(queue: Engine, clock: FakeClock) -> None:
    held, free = put(queue, clock, 1), put(queue, clock, 2)
    with queue.connect() as other, other.begin():
        operate.cancel(other, Filter(ids=(held,)), now=clock.now())
        runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock)
        dispatcher = Dispatcher(queue, runs, runs, clock, worker="t", catalog=catalog())
        dispatcher.step()
        dispatcher.close()
        assert [order.tags["kordant/request_id"] for order in runs.orders] == [str(free)]
    assert look(queue, held).status is RequestStatus.CANCELLED
