"""Slots, keys and rates hold over all processes, and free themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.jobs import JobRow, PartyRate
from kordant_jobs.engine.queue.claim import claim
from kordant_jobs.engine.queue.enqueue import Item, enqueue_many
from kordant_jobs.engine.queue.work import adopt
from kordant_jobs.engine.store import leases, waiting
from kordant_jobs.engine.store.leases import LeaseLost
from kordant_jobs.lab.engine import Done, FakeClock, complete, drain, my_requests
from kordant_jobs_tests.engine.queue.toys import Mail, Toy, catalog, mails


def put(db: Engine, clock: FakeClock, items: list[Item], rows: Mapping[str, JobRow]) -> None:
    with db.begin() as connection:
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=rows)


@pytest.mark.slow  # seconds
def test_64_threads_that_race_for_5_slots_never_hold_more(queue: Engine, clock: FakeClock) -> None:
    pool = sa.create_engine(queue.url, pool_size=16, max_overflow=0, pool_timeout=60)
    held, most, got = 0, 0, 0
    count = threading.Lock()
    start = threading.Barrier(64)

    def race() -> None:
        nonlocal held, most, got
        start.wait()
        for _ in range(4):
            with pool.begin() as connection:
                lease = leases.acquire(connection, "party:x", limit=5, holder="t", now=clock.now(), ttl_s=60)
            if lease is None:
                continue
            with count:
                held, got = held + 1, got + 1
                most = max(most, held)
            time.sleep(0.002)
            with count:
                held -= 1
            with pool.begin() as connection:
                leases.release(connection, [lease.id])

    threads = [threading.Thread(target=race) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.dispose()
    assert got >= 5
    assert most <= 5


@pytest.mark.slow  # seconds
def test_64_threads_that_race_to_claim_never_run_more_than_the_jobs_limit(queue: Engine, clock: FakeClock) -> None:
    rows = catalog(concurrency=3)
    put(queue, clock, [Item(payload=Toy(number=n)) for n in range(200)], rows)
    pool = sa.create_engine(queue.url, pool_size=16, max_overflow=0, pool_timeout=60)
    claimed: list[int] = []
    start = threading.Barrier(64)

    def race() -> None:
        start.wait()
        with pool.begin() as connection:
            taken = claim(connection, rows, {}, runs=100, worker="t", now=clock.now(), ttl_s=60)
        claimed.append(len(taken.claims))

    threads = [threading.Thread(target=race) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.dispose()
    assert sum(claimed) == 3
    with queue.connect() as connection:
        assert waiting.slots_taken(connection) == {"toy": 3}


def test_a_dead_holders_slot_is_free_once_its_lease_ran_out(queue: Engine, clock: FakeClock) -> None:
    def take() -> leases.Lease | None:
        with queue.begin() as connection:
            return leases.acquire(connection, "party:x", limit=1, holder="t", now=clock.now(), ttl_s=15)

    first = take()
    assert first is not None
    clock.advance(14.9)
    assert take() is None
    clock.advance(0.1)
    second = take()
    assert second is not None
    assert second.fence > first.fence
    with queue.begin() as connection, pytest.raises(LeaseLost, match="was lost"):
        leases.fenced(connection, first)


def test_one_entity_runs_once_at_a_time_and_holds_up_no_other(queue: Engine, clock: FakeClock) -> None:
    rows = catalog(concurrency=10, key_concurrency=1)
    items = [Item(payload=Toy(number=n), entity_key="a" if n < 5 else f"e{n}") for n in range(8)]
    put(queue, clock, items, rows)
    with queue.begin() as connection:
        first = claim(connection, rows, {}, runs=10, worker="t", now=clock.now(), ttl_s=60)
        again = claim(connection, rows, {}, runs=10, worker="t", now=clock.now(), ttl_s=60)
    keys = [one.entity_key for each in (*first.claims, *again.claims) for one in each.requests]
    assert sorted(key or "" for key in keys) == ["a", "e5", "e6", "e7"]


@pytest.mark.slow  # seconds
def test_a_partys_rate_is_shared_by_its_jobs_and_the_loop_wakes_for_the_next_token(
    queue: Engine, clock: FakeClock
) -> None:
    rows = catalog(concurrency=10, party="hibp")
    rows["mail"] = mails(party="hibp")["mail"]
    put(queue, clock, [Item(payload=Toy(number=n)) for n in range(4)], rows)
    put(queue, clock, [Item(payload=Mail(number=n)) for n in range(4)], rows)
    begun, starts = clock.now(), []

    def note(work: object) -> None:
        starts.append((clock.now() - begun).total_seconds())

    def note_all(work: object) -> None:
        starts.extend([(clock.now() - begun).total_seconds()] * len(work.requests()))  # type: ignore[attr-defined]

    drain(
        queue,
        {"toy": note, "mail": note_all},
        clock,
        catalog=rows,
        parties={"hibp": PartyRate(per_s=0.5, burst=3)},
    )
    assert sorted(starts) == [0, 0, 0, 2, 4, 6, 8, 10]


def test_a_party_that_rested_gets_its_burst_and_no_more(queue: Engine, clock: FakeClock) -> None:
    def take(wanted: int) -> int:
        with queue.begin() as connection:
            return leases.take_tokens(connection, "hibp", wanted, per_s=0.5, burst=3, now=clock.now())

    assert (take(2), take(2)) == (2, 1)
    clock.advance(3600)
    assert (take(100), take(1)) == (3, 0)


def test_a_worker_that_lost_its_lease_writes_nothing(queue: Engine, clock: FakeClock) -> None:
    rows = catalog()
    put(queue, clock, [Item(payload=Toy(number=1))], rows)
    with queue.begin() as connection:
        (taken,) = claim(connection, rows, {}, runs=1, worker="t", now=clock.now(), ttl_s=15).claims
        assert adopt(connection, taken.run_id, now=clock.now()) == taken.lease
        (mine,) = my_requests(connection, taken.lease)
    clock.advance(15)
    with queue.begin() as connection:
        leases.reap(connection, now=clock.now())
    with queue.begin() as connection:
        with pytest.raises(LeaseLost):
            complete(connection, taken.lease, [Done(request_id=mine.id)], clock=clock)
        with pytest.raises(LeaseLost):
            adopt(connection, taken.run_id, now=clock.now())


def test_a_lease_is_not_taken_from_under_a_transaction_that_writes(queue: Engine, clock: FakeClock) -> None:
    with queue.begin() as connection:
        (lease,) = leases.insert(connection, ["job:toy"], holder="t", now=clock.now(), ttl_s=15)
    clock.advance(60)
    with queue.connect() as writer, queue.connect() as reaper, writer.begin():
        leases.fenced(writer, lease)
        with reaper.begin():
            assert leases.reap(reaper, now=clock.now()) == []
            assert leases.extend(reaper, [lease.id], now=clock.now(), ttl_s=1) == {lease.id}
    clock.advance(60)
    with queue.begin() as connection:
        assert [one.id for one in leases.reap(connection, now=clock.now())] == [lease.id]


def test_a_run_that_was_not_claimed_has_no_lease_to_adopt(queue: Engine, clock: FakeClock) -> None:
    with queue.begin() as connection:
        (lease,) = leases.insert(connection, ["job:toy"], holder="t", now=clock.now(), ttl_s=15, run_ids=["run-1"])
        assert adopt(connection, "run-1", now=clock.now()) == adopt(connection, "run-1", now=clock.now()) == lease
        with pytest.raises(LeaseLost, match="End without doing anything"):
            adopt(connection, "run-2", now=clock.now())
