"""What every run owes the queue, however it came: a request, a lease, fenced writes, an end that is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.listen import Listener
from kordant_jobs.engine.queue import outcomes
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.engine.run_side import database_of_run
from kordant_jobs.engine.runs import RunEnd
from kordant_jobs.engine.store import attempts, leases, waiting
from kordant_jobs.engine.store.attempts import Attempt, attempts_of
from kordant_jobs.engine.store.leases import Lease, LeaseLost
from kordant_jobs.engine.store.requests import EVENTS, Filter, Request, find
from kordant_jobs.postgres import database
from kordant_jobs.settings import Settings
from kordant_jobs_tests.engine import toy_definitions
from kordant_jobs_tests.engine.toy_app import EFFECTS, SYSTEM, Chore

ROWS = SYSTEM.rows


@pytest.fixture
def chores(settings: Settings, db: Engine) -> Engine:
    """A database in which chores have their effects."""
    with db.begin() as connection:
        connection.execute(sa.text(EFFECTS))
    return db


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def own(database_url: str) -> Iterator[Engine]:
    """The engine of the run's own process."""
    made = database.create_engine(database_url)
    yield made
    made.dispose()


def run(instance: dg.DagsterInstance, job: str = "chore", *, tags: Any = None, **config: Any) -> str:
    """Run the job in this process, as Dagster's own commands do; the run's id."""
    made = toy_definitions.defs.resolve_job_def(job)
    options: dict[str, Any] = {"run_config": {"ops": {"do_chore": {"config": config}}}} if config else {}
    done = made.execute_in_process(instance=instance, raise_on_error=False, tags=tags, **options)
    return done.run_id


def only(db: Engine) -> tuple[Request, list[Attempt]]:
    with db.connect() as connection:
        (one,) = find(connection, Filter())
        return one, attempts_of(connection, one.id)


def queued(db: Engine, payload: Chore, run_id: str) -> tuple[UUID, Lease]:
    """A request that a dispatcher has just claimed, for this run."""
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.now())).scalar_one()
        request_id = enqueue(connection, payload, requested_by="test", catalog=ROWS)
        (lease,) = leases.insert(connection, ["job:chore"], holder="t", now=now, ttl_s=15, run_ids=[run_id])
        attempts.start(connection, [(request_id, lease)], worker="t", now=now)
    return request_id, lease


def effects(db: Engine) -> list[int]:
    with db.connect() as connection:
        return list(connection.execute(sa.text("SELECT number FROM toy_effects ORDER BY 1")).scalars())


def free(db: Engine) -> bool:
    with db.connect() as connection:
        return waiting.slots_taken(connection) == {}


def test_a_run_that_dagster_started_has_a_request_with_its_end_and_figures(
    chores: Engine, instance: dg.DagsterInstance
) -> None:
    run_id = run(instance, number=3, how="well")
    one, (attempt,) = only(chores)
    assert (one.status, one.partial, one.run_id, one.requested_by) == (
        RequestStatus.COMPLETED,
        True,
        run_id,
        "dagster:execute",
    )
    assert (one.summary, one.items_failed) == ({"number": 3}, 1)
    assert (attempt.outcome, attempt.run_id) == (Outcome.PARTIAL, run_id)
    assert attempt.cpu_s
    assert attempt.peak_memory_mb
    assert (one.progress.done, one.progress.total) == (1, 2)
    made = instance.get_run_by_id(run_id)
    assert made
    assert made.tags["kordant/request_id"] == str(one.id)
    assert free(chores)


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [
        ("permanent", RequestStatus.DEAD, "KORDANT_X is wrong: set it right"),
        ("later", RequestStatus.PENDING, "the source is busy"),
        ("fail once", RequestStatus.PENDING, "the source did not answer"),
    ],
)
def test_a_failed_run_moves_its_request_on_by_the_rule_of_its_error(
    chores: Engine, instance: dg.DagsterInstance, tmp_path: Any, how: str, status: RequestStatus, error: str
) -> None:
    run(instance, how=how, folder=str(tmp_path))
    one, (attempt,) = only(chores)
    assert (one.status, one.cause, attempt.outcome) == (status, Cause.EXCEPTION, Outcome.FAILURE)
    assert one.error
    assert error in one.error
    assert attempt.ended_at
    assert free(chores)
    wait_s = (one.run_at - attempt.ended_at).total_seconds()
    assert wait_s == pytest.approx({"permanent": wait_s, "later": 600, "fail once": 0.5}[how], abs=0.01)


def test_a_run_that_was_cancelled_stops_by_itself_where_it_reports(
    chores: Engine, instance: dg.DagsterInstance
) -> None:
    run(instance, number=1, how="cancelled")
    one, (attempt,) = only(chores)
    assert (one.status, attempt.outcome) == (RequestStatus.CANCELLED, Outcome.CANCELED)
    assert effects(chores) == []
    (made,) = instance.get_runs()
    assert made.status is dg.DagsterRunStatus.CANCELED
    assert free(chores)


def test_a_run_adopts_the_lease_it_was_ordered_under_and_ends_its_request(
    chores: Engine, own: Engine, instance: dg.DagsterInstance
) -> None:
    job = toy_definitions.defs.resolve_job_def("chore")
    ordered = instance.create_run_for_job(job, run_config=Chore.run_config([Chore(number=2)]))
    request_id, _ = queued(chores, Chore(number=2), ordered.run_id)
    with database_of_run(SYSTEM, own, ordered, instance) as db, db.begin() as connection:
        assert connection.execute(sa.text("SELECT adopted FROM kordant.job_leases")).scalar_one() is True
    one, (attempt,) = only(chores)
    assert (one.id, one.run_id, attempt.run_id) == (request_id, ordered.run_id, ordered.run_id)


def test_a_run_that_comes_too_late_does_nothing(chores: Engine, instance: dg.DagsterInstance) -> None:
    run_id = "0b7e4a51-6d83-4f0f-8a53-3a1d2e4c5b60"
    _, lease = queued(chores, Chore(number=2), run_id)
    with chores.begin() as connection:
        leases.release(connection, [lease.id])
    job = toy_definitions.defs.resolve_job_def("chore")
    done = job.execute_in_process(instance=instance, raise_on_error=False, run_id=run_id)
    assert not done.success
    assert effects(chores) == []
    assert "End without doing anything" in str([event.event_specific_data for event in done.all_events])


def test_a_run_that_lost_its_lease_writes_nothing_more(
    chores: Engine, own: Engine, instance: dg.DagsterInstance
) -> None:
    job = toy_definitions.defs.resolve_job_def("chore")
    made = instance.create_run_for_job(job)
    with database_of_run(SYSTEM, own, made, instance) as db:
        with db.begin() as connection:
            connection.execute(sa.text("INSERT INTO toy_effects VALUES (1, '')"))
        with chores.begin() as connection:
            connection.execute(sa.text("DELETE FROM kordant.job_leases"))
        with pytest.raises(LeaseLost), db.begin() as connection:
            connection.execute(sa.text("INSERT INTO toy_effects VALUES (2, '')"))
        with pytest.raises(LeaseLost), db.connect() as connection:
            connection.execute(sa.text("INSERT INTO toy_effects VALUES (3, '')"))
    assert effects(chores) == [1]


def test_a_run_paused_in_the_middle_of_a_transaction_is_cut_off(
    chores: Engine, own: Engine, instance: dg.DagsterInstance
) -> None:
    made = instance.create_run_for_job(toy_definitions.defs.resolve_job_def("chore"))
    with database_of_run(SYSTEM, own, made, instance) as db:
        paused = db.connect()
        paused.execute(sa.text("INSERT INTO toy_effects VALUES (1, '')"))
        with chores.begin() as reaper:
            later = reaper.execute(sa.text("SELECT now() + interval '1 hour'")).scalar_one()
            assert leases.reap(reaper, now=later) == []  # it may be about to commit
            assert leases.cut_off(reaper, now=later) >= 1
        with pytest.raises(sa.exc.DBAPIError):
            paused.execute(sa.text("SELECT 1"))
        paused.close()
        with chores.begin() as reaper:
            assert [one.run_id for one in leases.reap(reaper, now=later)] == [made.run_id]
    assert effects(chores) == []


def test_repeating_a_dead_run_by_hand_takes_its_request_over(
    chores: Engine, instance: dg.DagsterInstance, tmp_path: Any
) -> None:
    first = instance.get_run_by_id(run(instance, how="permanent"))
    assert first
    again = run(instance, tags={**first.tags, "dagster/parent_run_id": first.run_id}, number=4, folder=str(tmp_path))
    one, (dead, done) = only(chores)
    assert (dead.outcome, done.outcome) == (Outcome.FAILURE, Outcome.SUCCESS)
    assert (one.status, one.run_id, one.root_run_id) == (RequestStatus.COMPLETED, again, first.run_id)


def test_repeating_a_run_that_ended_well_is_a_request_of_its_own(chores: Engine, instance: dg.DagsterInstance) -> None:
    first = instance.get_run_by_id(run(instance, number=2))
    assert first
    run(instance, number=2, tags={**first.tags, "dagster/parent_run_id": first.run_id})
    with chores.connect() as connection:
        found = find(connection, Filter())
    assert [one.status for one in found] == [RequestStatus.COMPLETED] * 2
    assert found[0].requested_by == f"repeats:{first.run_id}"


def test_a_sensor_gets_a_plain_engine(chores: Engine, own: Engine) -> None:
    with database_of_run(SYSTEM, own, None, None) as db, db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.job_leases")).scalar_one() == 0


def test_what_a_run_claims_is_held_for_as_long_as_its_own_lease_and_then_wakes_the_sensors(
    chores: Engine, own: Engine, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORDANT_LEASE_S", "600")
    job = toy_definitions.defs.resolve_job_def("chore")
    ordered = instance.create_run_for_job(job, run_config=Chore.run_config([Chore(number=2)]))
    queued(chores, Chore(number=2), ordered.run_id)
    held = sa.text(f"SELECT {leases.held_sql('cast(:id AS uuid)')}")
    listener = Listener(chores.url, [EVENTS])
    listener.open()
    with database_of_run(SYSTEM, own, ordered, instance) as db:
        with db.begin() as connection:
            now = connection.execute(sa.select(sa.func.now())).scalar_one()
            (claim,) = leases.insert(connection, ["mails"], holder="x", now=now, ttl_s=600)
        with chores.begin() as connection:
            (other,) = leases.insert(connection, ["mails"], holder="x", now=now, ttl_s=600)
            assert connection.execute(held, {"id": claim.id}).scalar_one()
            end = RunEnd(run_id=ordered.run_id, outcome="lost", cause="killed")
            assert outcomes.run_ended(connection, end, ROWS, now=now)
        with chores.begin() as connection:
            assert [connection.execute(held, {"id": one.id}).scalar_one() for one in (claim, other)] == [False, True]
        with pytest.raises(LeaseLost), db.begin() as connection:
            leases.insert(connection, ["mails"], holder="x", now=now, ttl_s=600)
    assert [one.payload for one in listener.wait(5.0)] == ["ended"]
    listener.close()
