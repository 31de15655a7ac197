"""In which order requests start, as far as it can be said without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kordant_jobs.engine.queue.claim_rules import Room, in_order, plan_runs
from kordant_jobs.engine.queue.given import HEAD_START
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store.waiting import Waiting
from kordant_jobs_tests.engine.queue.toys import TOY, catalog

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def one(number: int, priority: Priority, *, due_s: float = 0, tick: bool = False) -> Waiting:
    """A request that became due so many seconds ago."""
    run_at = NOW - timedelta(seconds=due_s)
    return Waiting(
        id=UUID(int=number),
        job="toy",
        priority=priority,
        run_at=run_at,
        turn_at=run_at - HEAD_START if tick else run_at,
        entity_key=None,
        attempt=0,
        run_id=None,
        root_run_id=None,
        key_running=0,
    )


def order(*waiting: Waiting) -> list[int]:
    return [each.id.int for each in in_order(waiting, started=0)]


def test_a_tick_passes_what_is_no_more_urgent_however_long_that_has_waited() -> None:
    backlog = [one(n, Priority.NORMAL, due_s=3600 - n) for n in range(1, 6)]
    assert order(*backlog, one(9, Priority.NORMAL, tick=True)) == [9, 1, 2, 3, 4, 5]


def test_a_tick_passes_nothing_that_is_more_urgent() -> None:
    urgent = [one(1, Priority.CRITICAL), one(2, Priority.HIGH)]
    assert order(*urgent, one(9, Priority.NORMAL, tick=True), one(3, Priority.NORMAL)) == [1, 2, 9, 3]
    assert order(one(2, Priority.NORMAL), one(9, Priority.LOW, tick=True), one(3, Priority.LOW)) == [2, 9, 3]


def test_ticks_stand_by_their_own_priority() -> None:
    ticks = [one(n, priority, tick=True) for n, priority in enumerate(reversed(Priority))]
    assert order(*ticks) == [3, 2, 1, 0]


def test_one_claim_starts_no_more_runs_of_a_job_than_there_is_room_for() -> None:
    waiting = [one(n, Priority.CRITICAL, due_s=n) for n in range(1, 6)]
    room = Room(runs=8, critical_extra=2, by_job={"toy": 2}, tokens={})
    assert len(plan_runs(waiting, {"toy": TOY}, room, now=NOW).runs) == 2
    assert plan_runs(waiting, {"toy": TOY}, replace(room, by_job={}), now=NOW).runs == ()


def test_all_jobs_together_start_no_more_than_there_is_room_for_and_critical_ones_a_few_more() -> None:
    room = Room(runs=1, critical_extra=2, by_job={"toy": 9}, tokens={})
    for priority, started in ((Priority.NORMAL, 1), (Priority.CRITICAL, 3)):
        waiting = [one(n, priority, due_s=n) for n in range(1, 6)]
        assert len(plan_runs(waiting, {"toy": TOY}, room, now=NOW).runs) == started


def test_what_runs_long_leaves_a_slot_to_critical_requests_of_its_job() -> None:
    rows = catalog(concurrency=2, critical_extra=1)
    lines = [one(n, Priority.NORMAL, due_s=60 - n) for n in range(1, 5)] + [one(9, Priority.CRITICAL)]

    def started(free: int) -> list[int]:
        room = Room(runs=9, critical_extra=0, by_job={"toy": free}, tokens={})
        return [run.requests[0].id.int for run in plan_runs(lines, rows, room, now=NOW).runs]

    assert started(2) == [9, 1]
    assert started(0) == [9], "two long ones run"
    assert started(-1) == [], "and a critical one beside them"
