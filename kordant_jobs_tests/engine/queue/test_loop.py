"""The dispatcher's loop in real time: it sleeps until called, and survives kills, cut connections and being stopped."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.dispatch import Dispatcher, DispatchSettings
from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many
from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.engine.runs import RunEnd
from kordant_jobs.engine.store.leases import LeaseLost
from kordant_jobs.engine.store.requests import Filter, find
from kordant_jobs.lab.engine import Handler, InlineRuns, RunContext, statuses, working
from kordant_jobs_tests.engine.queue.ledger_worker import ROWS
from kordant_jobs_tests.engine.queue.toys import Mail, Toy, catalog

LONG_SLEEP = DispatchSettings(idle_s=60.0)


@contextmanager
def dispatching(
    db: Engine, handler: Handler, *, settings: DispatchSettings = LONG_SLEEP, kind: type[InlineRuns] = InlineRuns
) -> Iterator[tuple[Dispatcher, Callable[[], None]]]:
    """A dispatcher that runs in a thread, and the call that stops it."""
    clock = DatabaseClock(db)
    runs = kind(db=db, handlers={"toy": handler}, clock=clock, threads=True)
    dispatcher = Dispatcher(db, runs, runs, clock, worker="loop", catalog=catalog(), settings=settings)
    runs.on_end = dispatcher.wake
    stop = threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()

    def end() -> None:
        stop.set()
        dispatcher.wake()
        thread.join(30)
        assert not thread.is_alive()

    try:
        yield dispatcher, end
    finally:
        end()
        dispatcher.close()


def put(db: Engine, **more: Any) -> None:
    with db.begin() as connection:
        enqueue(connection, Toy(), requested_by="test", catalog=catalog(), **more)


def until(done: Callable[[], bool], *, within_s: float = 30.0) -> float:
    """Seconds until `done`; fails when it is not within the time."""
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < within_s, "it did not come about in time"
        time.sleep(0.005)
    return time.monotonic() - started


def test_a_commit_and_a_coming_time_end_its_sleep_at_once(queue: Engine) -> None:
    started: list[float] = []
    with dispatching(queue, lambda work: started.append(time.monotonic())):
        time.sleep(0.3)  # past its first look: from here on it sleeps for a minute unless it is called
        put(queue)
        until(lambda: len(started) == 1)
        until(lambda: statuses(queue) == {RequestStatus.COMPLETED: 1})
        asked = time.monotonic()
        put(queue, run_at=DatabaseClock(queue).now() + timedelta(seconds=0.7))
        until(lambda: len(started) == 2)
        assert started[1] - asked > 0.6


def test_it_goes_on_after_every_connection_was_cut(queue: Engine) -> None:
    started: list[float] = []
    with dispatching(queue, lambda work: started.append(time.monotonic())):
        put(queue)
        until(lambda: statuses(queue) == {RequestStatus.COMPLETED: 1})
        with queue.connect() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        put(queue)
        until(lambda: statuses(queue) == {RequestStatus.COMPLETED: 2}, within_s=10)


def test_asked_to_stop_it_lets_running_work_end_and_starts_nothing_new(queue: Engine) -> None:
    begun = threading.Event()

    def slow(work: RunContext) -> None:
        begun.set()
        time.sleep(0.3)

    with dispatching(queue, slow) as (_, end):
        put(queue)
        assert begun.wait(10)
        put(queue, run_at=DatabaseClock(queue).now() + timedelta(seconds=0.1))
        end()
        assert statuses(queue) == {RequestStatus.COMPLETED: 1, RequestStatus.PENDING: 1}


class Stoppable(InlineRuns):
    """Runs that end when they are stopped, as processes do."""

    def stop(self, run_id: str, *, cause: str) -> None:
        super().stop(run_id, cause=cause)
        self._ends.append(
            RunEnd(run_id=run_id, outcome="canceled", cause=None, cpu_s=0, peak_memory_mb=0, error=None,
                   retry_after_s=None, permanent=False)
        )  # fmt: skip


def test_work_that_does_not_end_in_time_goes_back_to_the_queue_and_costs_no_attempt(queue: Engine) -> None:
    begun, release = threading.Event(), threading.Event()

    def endless(work: RunContext) -> None:
        begun.set()
        release.wait(30)

    with dispatching(queue, endless, settings=DispatchSettings(idle_s=60, drain_s=0.2), kind=Stoppable) as (_, end):
        put(queue)
        assert begun.wait(10)
        end()
        with queue.connect() as connection:
            (one,) = find(connection, Filter())
        release.set()
    assert (one.status, one.attempt, one.error) == (RequestStatus.PENDING, 1, None)
    with queue.connect() as connection:
        assert connection.execute(sa.text("SELECT forgiven FROM kordant.job_requests")).scalar_one() == 1


def test_a_run_that_keeps_its_own_lease_outlives_its_dispatcher(queue: Engine) -> None:
    done = threading.Event()
    lost: list[bool] = []

    def long(work: RunContext) -> None:
        with working(queue, run_id=work.run_id, clock=work.clock, ttl_s=0.6) as heartbeat:
            time.sleep(1.5)
            lost.append(heartbeat.lost.is_set())
            work.requests()
        done.set()

    with dispatching(queue, long, settings=DispatchSettings(idle_s=60, lease_s=0.3, tick_s=0.1)):
        put(queue)
        assert done.wait(10)
        until(lambda: statuses(queue) == {RequestStatus.COMPLETED: 1})
    assert lost == [False]


def test_a_paused_run_is_given_to_another_and_can_write_nothing_when_it_wakes(queue: Engine) -> None:
    outcome: list[str] = []

    def pause_once(work: RunContext) -> None:
        if outcome:
            outcome.append("second did it")
            return
        outcome.append("paused")
        with working(queue, run_id=work.run_id, clock=work.clock, ttl_s=60) as heartbeat:
            heartbeat.stop()
            with queue.begin() as connection:
                connection.execute(sa.text("UPDATE kordant.job_leases SET expires_at = now()"))
            until(lambda: statuses(queue) == {RequestStatus.PENDING: 1})
            try:
                work.requests()
            except LeaseLost:
                outcome.append("fenced off")

    with dispatching(queue, pause_once, settings=DispatchSettings(idle_s=60, tick_s=0.05)):
        put(queue)
        until(lambda: "fenced off" in outcome)
        with queue.begin() as connection:
            connection.execute(sa.text("UPDATE kordant.job_requests SET run_at = now(), turn_at = now()"))
            connection.execute(sa.text("NOTIFY kordant_requests"))
        until(lambda: statuses(queue) == {RequestStatus.COMPLETED: 1})
    assert outcome == ["paused", "fenced off", "second did it"]


@pytest.mark.parametrize(("word", "times", "code"), [("kill", 6, "-9"), ("term", 20, "0")])
@pytest.mark.slow  # minutes of kills
def test_a_thousand_requests_are_each_done_once_though_the_dispatcher_is_ended_again_and_again(
    queue: Engine, database_url: str, word: str, times: int, code: str
) -> None:
    with queue.begin() as connection:
        connection.execute(sa.text("CREATE TABLE ledger (number int)"))
        items = [Item(payload=Mail(number=n)) for n in range(1000)]
        enqueue_many(connection, items, requested_by="test", catalog=ROWS)
    chance = random.Random(7)
    command = [sys.executable, "-m", "kordant_jobs_tests.engine.queue.ledger_worker", database_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:

        def tell(word: str) -> str:
            assert parent.stdin is not None
            assert parent.stdout is not None
            print(word, file=parent.stdin, flush=True)
            return parent.stdout.readline().strip()

        def written() -> int:
            with queue.connect() as connection:
                return int(connection.execute(sa.text("SELECT count(*) FROM ledger")).scalar_one())

        for _ in range(times):
            enough = min(1000, written() + chance.randrange(1, 40))
            assert tell("start") == "started"
            until(lambda enough=enough: written() >= enough, within_s=30)  # type: ignore[misc]
            assert tell(word) == code
        assert tell("start") == "started"
        until(lambda: statuses(queue) == {RequestStatus.COMPLETED: 1000}, within_s=150)
        assert tell("term") == "0"
    with queue.connect() as connection:
        numbers = connection.execute(sa.text("SELECT number FROM ledger")).scalars().all()
        lost = connection.execute(sa.text("SELECT count(*) FROM kordant.job_attempts WHERE outcome = 'lost'"))
        assert lost.scalar_one() >= (times if word == "kill" else 0)
    assert sorted(numbers) == list(range(1000))


def _cut_behind_the_next_claim(db: Engine) -> Callable[[], bool]:
    """The database goes away from the others between a claim's commit and what comes next; says whether it has."""
    claimed, cut, ours = threading.Event(), threading.Event(), threading.get_ident()

    @sa.event.listens_for(db, "after_cursor_execute")
    def see(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO kordant.job_leases"):
            claimed.set()

    @sa.event.listens_for(db, "begin")
    def break_it(connection: object) -> None:
        if claimed.is_set() and not cut.is_set() and threading.get_ident() != ours:
            cut.set()
            raise sa.exc.OperationalError("BEGIN", None, psycopg2.OperationalError("server closed the connection"))

    return cut.is_set


def test_what_was_claimed_when_the_database_went_away_is_taken_back_once_its_lease_ran_out(queue: Engine) -> None:
    def taken_back() -> bool:
        with queue.connect() as connection:
            (one,) = find(connection, Filter())
            return one.attempt > 1 or (one.attempt == 1 and one.status is RequestStatus.PENDING)  # or begun again

    with dispatching(queue, lambda work: None, settings=DispatchSettings(idle_s=60.0, lease_s=1.0)):
        time.sleep(0.3)
        was_cut = _cut_behind_the_next_claim(queue)
        put(queue)
        assert until(taken_back) < 10
        assert was_cut()
