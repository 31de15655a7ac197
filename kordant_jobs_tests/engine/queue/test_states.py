"""Whatever happens in whatever order, a request only ever moves as the table of moves allows."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from kordant_jobs.engine.jobs import Backoff, RetryPolicy
from kordant_jobs.engine.queue import operate, outcomes
from kordant_jobs.engine.queue.claim import Claim, claim
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.engine.queue.retry_rules import Ended
from kordant_jobs.engine.requests import REQUEST_MOVES, Cause, Outcome, Priority, RequestStatus
from kordant_jobs.engine.store import leases
from kordant_jobs.engine.store.leases import LeaseLost
from kordant_jobs.engine.store.requests import Filter, find
from kordant_jobs.lab.engine import Done, FakeClock, complete
from kordant_jobs_tests.engine.queue.toys import Toy, catalog

pytestmark = pytest.mark.slow  # races, kills and loops: `pytest -m slow kordant_jobs_tests/engine`

ROWS = catalog(concurrency=2, retries=RetryPolicy(backoff=Backoff.FIXED, first_s=30, retries=1, jitter=0.0))
ENDS = [
    Ended(outcome=Outcome.SUCCESS),
    Ended(outcome=Outcome.FAILURE, cause=Cause.EXCEPTION),
    Ended(outcome=Outcome.FAILURE, cause=Cause.MEMORY, permanent=True),
    Ended(outcome=Outcome.RETURNED),
    Ended(outcome=Outcome.CANCELED),
]


class Queue(RuleBasedStateMachine):
    """Every verb of the queue, and a model that knows no more than which moves there are."""

    def __init__(self, db: Engine) -> None:
        super().__init__()
        self.db = db
        self.clock = FakeClock()
        self.claims: list[Claim] = []
        self.seen: dict[UUID, RequestStatus] = {}
        with db.begin() as connection:
            connection.execute(sa.text("TRUNCATE kordant.job_requests, kordant.job_attempts, kordant.job_leases"))

    @rule(priority=st.sampled_from(Priority))
    def enqueue(self, priority: Priority) -> None:
        with self.db.begin() as connection:
            enqueue(
                connection, Toy(), requested_by="test", priority=priority, now=self.clock.now(), catalog=ROWS
            )  # fmt: skip

    @rule()
    def claim(self) -> None:
        with self.db.begin() as connection:
            taken = claim(connection, ROWS, {}, runs=5, worker="t", now=self.clock.now(), ttl_s=20)
        self.claims += taken.claims

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), ended=st.sampled_from(ENDS))
    def end(self, data: st.DataObject, ended: Ended) -> None:
        one = data.draw(st.sampled_from(self.claims))
        with self.db.begin() as connection:
            outcomes.settle(connection, [one.lease.id], ended, ROWS, error="an end", now=self.clock.now())
            leases.release(connection, [one.lease.id])

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.claims))
        with self.db.begin() as connection:
            held = connection.execute(
                sa.text("SELECT count(*) FROM kordant.job_leases WHERE id = :id"), {"id": one.lease.id}
            ).scalar_one()
            done = Done(request_id=one.requests[0].id)
            if held:
                complete(connection, one.lease, [done], clock=self.clock)
            else:
                with pytest.raises(LeaseLost):
                    complete(connection, one.lease, [done], clock=self.clock)

    @rule(seconds=st.sampled_from([1, 19, 21, 60]))
    def time_goes_by_and_leases_are_reaped(self, seconds: float) -> None:
        self.clock.advance(seconds)
        with self.db.begin() as connection:
            outcomes.reap_lost(connection, ROWS, now=self.clock.now())

    @rule(verb=st.sampled_from(["cancel", "replay", "expire", "acknowledge", "reprioritise"]))
    def operate(self, verb: str) -> None:
        now = self.clock.now()
        with self.db.begin() as connection:
            match verb:
                case "cancel":
                    operate.cancel(connection, Filter(), now=now)
                case "replay":
                    operate.replay(connection, Filter(), now=now)
                case "expire":
                    operate.expire(connection, Filter())
                case "acknowledge":
                    operate.acknowledge(connection, Filter(), by="test", now=now)
                case _:
                    operate.reprioritise(connection, Filter(), priority=Priority.LOW, run_at=now)

    @invariant()
    def only_allowed_moves_were_made(self) -> None:
        with self.db.connect() as connection:
            now = {one.id: one.status for one in find(connection, Filter())}
        for request_id, status in now.items():
            before = self.seen.get(request_id, status)
            ways = REQUEST_MOVES[before] | {before}
            two_steps = {further for way in ways for further in REQUEST_MOVES[way]}
            assert status in ways | two_steps, (before, status)
        self.seen = now

    @invariant()
    def who_runs_has_a_lease_and_an_open_attempt_and_no_other_has(self) -> None:
        query = sa.text("""
            SELECT count(*) FILTER (WHERE (r.status = 'running') <> (l.id IS NOT NULL)),
                   count(*) FILTER (WHERE (r.status = 'running') <> (a.request_id IS NOT NULL))
            FROM kordant.job_requests r LEFT JOIN kordant.job_leases l ON l.id = r.lease_id
            LEFT JOIN kordant.job_attempts a ON a.request_id = r.id AND a.ended_at IS NULL
        """)
        with self.db.connect() as connection:
            assert tuple(connection.execute(query).one()) == (0, 0)

    @invariant()
    def no_limit_is_passed(self) -> None:
        with self.db.connect() as connection:
            running = find(connection, Filter(statuses=(RequestStatus.RUNNING,)))
        assert len(running) <= ROWS["toy"].concurrency


def test_no_order_of_events_breaks_the_states(queue: Engine) -> None:
    class OnThisDatabase(Queue):
        def __init__(self) -> None:
            super().__init__(queue)

    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(max_examples=12, stateful_step_count=20, suppress_health_check=list(HealthCheck)),
    )


@pytest.mark.parametrize("before", list(RequestStatus))
def test_the_database_refuses_every_move_that_the_table_does_not_have(queue: Engine, before: RequestStatus) -> None:
    insert = sa.text("""
        INSERT INTO kordant.job_requests
            (id, job, payload, status, priority, run_at, turn_at, created_at, requested_by, lease_id)
        VALUES (kordant.uuid7(), 'toy', '{}', :before, 2, now(), now(), now(), 'test',
                CASE WHEN :before = 'running' THEN kordant.uuid7() END)
    """)
    move = sa.text("""
        UPDATE kordant.job_requests SET status = :after,
            lease_id = CASE WHEN :after = 'running' THEN kordant.uuid7() END
    """)
    for after in set(RequestStatus) - {before}:
        with queue.connect() as connection:  # rolled back
            connection.execute(insert, {"before": before.value})
            if after in REQUEST_MOVES[before]:
                connection.execute(move, {"after": after.value})
            else:
                with pytest.raises(IntegrityError, match="cannot go from"):
                    connection.execute(move, {"after": after.value})
