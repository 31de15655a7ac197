"""From request to end through the dispatcher: retries, loss, counts. The clock is told."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.queue.dispatch import Dispatcher, DispatchSettings
from kordant_jobs.engine.queue.enqueue import Item, enqueue_many
from kordant_jobs.engine.queue.work import record_run
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.engine.runs import RunEnd, RunOrder
from kordant_jobs.engine.store.requests import Filter, Request, find
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.lab.engine import Done, FakeClock, Fault, InlineRuns, RunContext, drain, run_now
from kordant_jobs_tests.engine.queue.asking import causes, look, nothing, numbers_in, put
from kordant_jobs_tests.engine.queue.toys import Mail, Toy, catalog, mails


def test_a_failed_request_waits_1_5_15_minutes_without_a_slot_and_is_then_dead(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)
    begun, started = clock.now(), []

    def fail(work: RunContext) -> None:
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
    first = Dispatcher(
        queue, runs, runs, clock, worker="dies", catalog=catalog(), settings=DispatchSettings(tick_s=0, lease_s=15)
    )
    first.step()
    first.close()
    assert look(queue, request_id).status is RequestStatus.RUNNING
    clock.advance(15)
    drain(queue, {"toy": nothing}, clock, catalog=catalog())
    assert causes(queue, request_id) == [(Outcome.LOST, Cause.LOST), (Outcome.SUCCESS, None)]


def test_a_permanent_error_is_dead_at_once_and_a_retry_after_is_kept(queue: Engine, clock: FakeClock) -> None:
    bad, slow = put(queue, clock, 1), put(queue, clock, 2)
    begun, starts = clock.now(), []

    def handle(work: RunContext) -> None:
        (number,) = numbers_in(work)
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
        def start(self, order: object) -> None:
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
        assert dispatcher.step().check_again_at is not None
        clock.advance(1)
    dispatcher.close()
    assert look(queue, request_id).status is RequestStatus.PENDING
    assert causes(queue, request_id) == []
    drain(queue, {"toy": nothing}, clock, catalog=catalog())
    assert look(queue, request_id).status is RequestStatus.COMPLETED


class Cut(InlineRuns):
    """Cannot start the first run, since the database goes away."""

    def start(self, order: RunOrder) -> None:
        if not self.orders:
            self.orders.append(order)
            raise sa.exc.OperationalError("INSERT", None, psycopg2.OperationalError("server closed the connection"))
        super().start(order)


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


def remembered(outcome: str, run_id: str) -> RunEnd:
    """How every run ended, though nobody told it at the time."""
    return RunEnd(run_id=run_id, outcome=outcome, error="it broke")


@pytest.mark.parametrize(
    ("outcome", "status", "attempt"),
    [
        ("success", RequestStatus.COMPLETED, (Outcome.SUCCESS, None)),
        ("failure", RequestStatus.PENDING, (Outcome.FAILURE, Cause.EXCEPTION)),
        ("canceled", RequestStatus.CANCELLED, (Outcome.CANCELED, None)),
    ],
)
def test_an_end_that_was_not_reported_is_looked_up_before_a_run_is_taken_for_lost(
    queue: Engine, clock: FakeClock, outcome: str, status: RequestStatus, attempt: tuple[Outcome, Cause | None]
) -> None:
    request_id = put(queue, clock)
    runs = InlineRuns(db=queue, handlers={"toy": nothing}, clock=clock, faults={"toy": [Fault(silent=True)]})
    first = Dispatcher(queue, runs, runs, clock, worker="died", catalog=catalog())
    first.step()
    first.step()
    first.close()
    clock.advance(60)
    second = Dispatcher(
        queue, runs, runs, clock, worker="next", catalog=catalog(), history=partial(remembered, outcome)
    )
    second.step()
    second.close()
    assert look(queue, request_id).status is status
    assert causes(queue, request_id)[0] == attempt


def test_a_partial_success_keeps_its_counts(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock)

    def handle(work: RunContext) -> None:
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

    def send(work: RunContext) -> None:
        for one in work.requests():
            if len(sent) == 4:
                sent.append(-1)
                raise RuntimeError("the connection broke")
            sent.append(one.payload["number"])
            work.complete(Done(request_id=one.id))

    drain(queue, {"mail": send}, clock, catalog=rows)
    assert sorted(sent) == [-1, *range(10)]


def test_inline_mode_runs_one_request_now(queue: Engine, clock: FakeClock) -> None:
    request_id = put(queue, clock, run_at=clock.now() + timedelta(days=1))
    failed = run_now(queue, request_id, {"toy": nothing}, clock, fault=Fault(cause=Cause.MEMORY), catalog=catalog())
    assert (failed.status, failed.cause) == (RequestStatus.PENDING, Cause.MEMORY)
    done = run_now(queue, request_id, {"toy": nothing}, clock, catalog=catalog())
    assert done.status is RequestStatus.COMPLETED


def test_a_run_that_no_one_queued_gets_a_request_and_is_retried_like_any_other(queue: Engine, clock: FakeClock) -> None:
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
