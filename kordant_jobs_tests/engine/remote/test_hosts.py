"""Which host takes a run, and what the dispatcher sends again, on a broker in this process's memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.remote import broker
from kordant_jobs.engine.remote.starter import HostStarter
from kordant_jobs.engine.runs import LOST, RunOrder
from kordant_jobs.engine.store import host_rows, leases
from kordant_jobs.errors import TransientError

TTL_S = 15.0
QUEUE = broker.queue_of("v1")


@pytest.fixture
def now(db: Engine) -> datetime:
    return DatabaseClock(db).now()


def enter(db: Engine, name: str, now: datetime, *, version: str = "v1", place: str = "", slots: int = 4) -> bool:
    with db.begin() as connection:
        return host_rows.register(
            connection, name, place=place or name, code_version=version, slots=slots, now=now, ttl_s=TTL_S
        )


def lease_of(db: Engine, run_id: str, now: datetime) -> leases.Lease:
    with db.begin() as connection:
        (lease,) = leases.insert(connection, ["job:chore"], holder="d", now=now, ttl_s=TTL_S, run_ids=[run_id])
    return lease


def take(db: Engine, run_id: str, host: str, now: datetime) -> bool:
    with db.begin() as connection:
        return host_rows.take(connection, run_id, host, now=now, ttl_s=TTL_S)


def test_a_run_is_taken_by_one_host_only_and_by_none_once_its_lease_is_gone(db: Engine, now: datetime) -> None:
    lease = lease_of(db, "run", now)
    assert [take(db, "run", host, now) for host in ("alpha", "beta", "alpha")] == [True, False, False]
    with db.begin() as connection:
        leases.release(connection, [lease.id])
    assert not take(db, "run", "beta", now)


def beats(
    db: Engine, host: str, now: datetime, *, place: str = "", slots: int = 4, run_ids: tuple[str, ...] = ()
) -> bool | None:
    with db.begin() as connection:
        return host_rows.beat(connection, host, place=place or host, slots=slots, run_ids=run_ids, now=now, ttl_s=1000)


def lasts_s(db: Engine, now: datetime) -> float:
    with db.begin() as connection:
        expires_at = connection.execute(sa.text("SELECT expires_at FROM kordant.job_leases")).scalar_one()
    return float((expires_at - now).total_seconds())


def test_who_claimed_a_run_does_not_keep_it_alive_once_a_host_took_it(db: Engine, now: datetime) -> None:
    lease = lease_of(db, "run", now)
    take(db, "run", "alpha", now)
    with db.begin() as connection:
        leases.extend_launching(connection, [lease.id], now=now, ttl_s=1000)
    assert lasts_s(db, now) == pytest.approx(TTL_S, abs=0.01)
    enter(db, "alpha", now)
    assert beats(db, "alpha", now, run_ids=("run",)) is False
    assert lasts_s(db, now) == pytest.approx(1000, abs=0.01)


def test_a_run_that_was_taken_by_a_host_that_does_not_know_it_is_given_to_another(db: Engine, now: datetime) -> None:
    enter(db, "alpha", now)
    lease_of(db, "run", now)
    take(db, "run", "alpha", now)
    enter(db, "alpha", now)  # its process was killed before it handed the run over, and started again
    assert beats(db, "alpha", now, run_ids=("another",)) is False
    assert lasts_s(db, now) == pytest.approx(TTL_S, abs=0.01)


def test_a_host_takes_runs_from_the_heartbeat_on_in_which_it_says_so(db: Engine, now: datetime) -> None:
    enter(db, "alpha", now, slots=0)
    with db.connect() as connection:
        assert host_rows.live_slots(connection, code_version="v1", now=now, ttl_s=TTL_S) == 0
    beats(db, "alpha", now, slots=3)
    with db.connect() as connection:
        assert host_rows.live_slots(connection, code_version="v1", now=now, ttl_s=TTL_S) == 3


def test_slots_count_living_hosts_of_the_same_code_that_do_not_drain(db: Engine, now: datetime) -> None:
    for name, version in (("alpha", "v1"), ("beta", "v1"), ("gamma", "v2"), ("delta", "v1")):
        assert enter(db, name, now, version=version)
    with db.begin() as connection:
        assert host_rows.drain(connection, "beta")
        assert not host_rows.drain(connection, "nobody")
        connection.execute(sa.text("UPDATE kordant.job_hosts SET seen_at = now() - interval '1 h' WHERE name='delta'"))
        assert host_rows.live_slots(connection, code_version="v1", now=now, ttl_s=TTL_S) == 4
        found = {one.name: (one.draining, one.silent, one.runs) for one in host_rows.listed(connection, ttl_s=TTL_S)}
    assert found == {
        "alpha": (False, False, 0), "beta": (True, False, 0), "delta": (False, True, 0), "gamma": (False, False, 0),
    }  # fmt: skip


def test_two_machines_cannot_have_one_name_while_both_live(db: Engine, now: datetime) -> None:
    assert enter(db, "alpha", now, place="here")
    assert enter(db, "alpha", now, place="here"), "it may begin again"
    assert not enter(db, "alpha", now, place="there")
    assert beats(db, "alpha", now, place="there") is None
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.job_hosts SET seen_at = now() - interval '1 h'"))
    assert enter(db, "alpha", now, place="there")


class Factory:
    """Makes runs of nothing."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def ready(self) -> bool:
        return True

    def create(self, order: RunOrder) -> dg.DagsterRun:
        run = dg.DagsterRun(job_name=order.job, run_id=order.run_id, tags=dict(order.tags))
        return self.instance.add_run(run)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def starter_on(db: Engine, instance: dg.DagsterInstance, url: str = "memory://") -> tuple[HostStarter, Any]:
    app = broker.celery_app(url)
    factory: Any = Factory(instance)
    made = HostStarter(
        db, instance, factory, DatabaseClock(db), app=app, code_version="v1", lease_s=TTL_S, grace_s=1,
        missed_after_s=0.0, check_every_s=0.0,
    )  # fmt: skip
    return made, app


def order(run_id: str) -> RunOrder:
    return RunOrder(run_id=run_id, job="chore", run_config={}, tags={"kordant/limit_wall_s": "5"})


def purge(app: Any) -> None:
    with app.connection_for_write() as connection:
        connection.default_channel.queue_purge(QUEUE)


def test_what_the_broker_lost_is_sent_again_and_what_a_host_took_is_not(
    db: Engine, now: datetime, instance: dg.DagsterInstance
) -> None:
    enter(db, "alpha", now)
    starter, app = starter_on(db, instance)
    purge(app)
    assert starter.ready()
    for run_id in ("taken", "lost"):
        lease_of(db, run_id, now)
        starter.start(order(run_id))
    assert broker.waiting(app, QUEUE) == 2
    starter.ready()
    assert broker.waiting(app, QUEUE) == 2, "they wait: nothing is sent twice"
    take(db, "taken", "alpha", now)
    purge(app)
    starter.ready()
    with app.connection_for_write() as connection:
        queue = connection.SimpleQueue(QUEUE)
        (run_id, limits), *_ = queue.get(timeout=1).payload
        assert queue.qsize() == 0
        queue.close()
    assert (run_id, limits) == ("lost", {"timeout": 5.0})


def test_without_a_host_of_its_code_or_a_broker_nothing_is_started(
    db: Engine, now: datetime, instance: dg.DagsterInstance
) -> None:
    starter, _ = starter_on(db, instance)
    enter(db, "gamma", now, version="v2")
    assert (starter.ready(), starter.slots()) == (False, 0)
    enter(db, "alpha", now, slots=3)
    assert (starter.ready(), starter.slots()) == (True, 3)
    away, _ = starter_on(db, instance, "redis://127.0.0.1:1/0")
    assert not away.ready()
    with pytest.raises(TransientError, match="KORDANT_BROKER_URL"):
        away.start(order("never"))
    run = instance.get_run_by_id("never")
    assert run
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_a_lost_run_is_failed_in_dagster_though_no_host_answers(
    db: Engine, now: datetime, instance: dg.DagsterInstance
) -> None:
    starter, _ = starter_on(db, instance)
    enter(db, "alpha", now)
    lease_of(db, "run", now)
    starter.start(order("run"))
    starter.stop("run", cause=LOST)
    run = instance.get_run_by_id("run")
    assert run
    assert (run.status, run.tags["kordant/cause"]) == (dg.DagsterRunStatus.FAILURE, "lost")
