"""What is queued when: inside the caller's transaction, once a key, merged, refused."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.engine.listen import Listener, Notification
from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many, enqueue_named
from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.engine.store.arrivals import Merge
from kordant_jobs.engine.store.requests import CHANNEL, Filter, find, get
from kordant_jobs.errors import PermanentError
from kordant_jobs.lab.engine import FakeClock, drain, statuses
from kordant_jobs_tests.engine.queue.toys import Toy, catalog

ROWS = catalog()


def put(db: Engine, number: int = 0, **more: Any) -> UUID:
    with db.begin() as connection:
        return enqueue(connection, Toy(number=number), requested_by="test", catalog=ROWS, **more)


def count(db: Engine) -> int:
    with db.connect() as connection:
        return len(find(connection, Filter()))


def test_a_rollback_queues_nothing_and_wakes_no_one(queue: Engine) -> None:
    listener = Listener(queue.url, [CHANNEL])
    listener.open()
    with queue.connect() as connection:
        enqueue(connection, Toy(), requested_by="test", idempotency_key="k", catalog=ROWS)
        enqueue_many(connection, [Item(payload=Toy())], requested_by="test", catalog=ROWS)
        connection.rollback()
    assert count(queue) == 0
    assert listener.wait(0.05) == set()
    put(queue, idempotency_key="k")
    assert listener.wait(5) == {Notification(CHANNEL, "toy")}
    listener.close()


def test_a_second_request_with_the_key_is_the_first_until_the_window_ends(queue: Engine, clock: FakeClock) -> None:
    hour = timedelta(hours=1)
    first = put(queue, idempotency_key="k", window=hour, now=clock.now())
    clock.advance(3599)
    assert put(queue, idempotency_key="k", window=hour, now=clock.now()) == first
    clock.advance(1)
    assert put(queue, idempotency_key="k", window=hour, now=clock.now()) != first


def test_a_key_with_another_payload_is_refused(queue: Engine) -> None:
    put(queue, 1, idempotency_key="k")
    with pytest.raises(PermanentError, match="used with another payload"):
        put(queue, 2, idempotency_key="k")


def test_a_key_belongs_to_its_tenant_and_caller(queue: Engine) -> None:
    whose = [("a", "api:1"), ("b", "api:1"), ("a", "api:2"), (None, "api:1")]
    with queue.begin() as connection:
        ids = [
            enqueue(connection, Toy(), requested_by=by, tenant=tenant, idempotency_key="k", catalog=ROWS)
            for tenant, by in (*whose, *whose)
        ]
    assert len(set(ids)) == 4
    assert ids[:4] == ids[4:]


def test_ten_thousand_by_copy_know_their_own_keys_only(queue: Engine) -> None:
    items = [Item(payload=Toy(number=n), idempotency_key="k", tenant=tenant) for n, tenant in enumerate("aab")]
    with queue.begin() as connection:
        assert enqueue_many(connection, items, requested_by="test", catalog=ROWS) == 2
        assert enqueue_many(connection, items, requested_by="other", catalog=ROWS) == 2


def test_a_key_whose_request_is_dead_is_refused_with_its_name(queue: Engine, clock: FakeClock) -> None:
    def fail(work: object) -> None:
        raise PermanentError("never")

    dead = put(queue, idempotency_key="k", now=clock.now(), window=timedelta(days=3650))
    drain(queue, {"toy": fail}, clock, catalog=ROWS)
    with pytest.raises(PermanentError, match=f"belongs to request {dead}, which is dead. Replay it"):
        put(queue, idempotency_key="k", now=clock.now())
    same = "'toy', '{\"number\": 0}', idempotency_key => 'k', requested_by => 'test'"
    with pytest.raises(DBAPIError, match=f"belongs to request {dead}, which is dead"), queue.begin() as connection:
        connection.execute(sa.text(f"SELECT kordant.enqueue_job({same})"))


def test_a_key_that_is_longer_than_a_kilobyte_is_refused_with_its_length(queue: Engine) -> None:
    put(queue, idempotency_key="k" * 1024)
    with pytest.raises(PermanentError, match="has 1026 bytes, and may have 1024: send a hash of it"):
        put(queue, idempotency_key="\N{LATIN SMALL LETTER E WITH ACUTE}" * 513)
    with pytest.raises(DBAPIError, match="has 1025 bytes, and may have 1024"), queue.begin() as connection:
        connection.execute(sa.text("SELECT kordant.enqueue_job('toy', idempotency_key => repeat('k', 1025))"))


def test_sixteen_that_race_with_one_key_make_one_request(queue: Engine) -> None:
    ids: list[UUID] = []
    start = threading.Barrier(16)
    pool = sa.create_engine(queue.url, pool_size=16)

    def race() -> None:
        start.wait()
        ids.append(put(pool, idempotency_key="k"))

    threads = [threading.Thread(target=race) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.dispose()
    assert len(ids) == 16
    assert len(set(ids)) == 1
    assert count(queue) == 1


def test_an_invalid_payload_is_refused_with_the_field_named(queue: Engine) -> None:
    with queue.begin() as connection:
        with pytest.raises(PermanentError, match=r"toy: payload\.number: Input should be a valid integer"):
            enqueue_named(connection, "toys.toy", {"number": "many"}, requested_by="test", catalog=ROWS)
        with pytest.raises(PermanentError, match=r"payload\.other: Extra inputs"):
            enqueue_named(connection, "toy", {"other": 1}, requested_by="test", catalog=ROWS)
        with pytest.raises(PermanentError, match="there is no job 'tyo'"):
            enqueue_named(connection, "tyo", {}, requested_by="test", catalog=ROWS)


def test_an_identifier_in_a_payload_is_not_repeated_in_the_refusal(queue: Engine) -> None:
    with queue.begin() as connection, pytest.raises(PermanentError) as refused:
        enqueue_named(connection, "toy", {"ann@example.com": "ann@example.com"}, requested_by="test", catalog=ROWS)
    assert "ann@" not in str(refused.value)


def test_the_dotted_name_is_the_same_job(queue: Engine) -> None:
    with queue.begin() as connection:
        request_id = enqueue_named(connection, "toys.toy", {"number": 3}, requested_by="test", catalog=ROWS)
        found = get(connection, request_id)
    assert found is not None
    assert (found.job, found.payload) == ("toy", {"number": 3})


def test_a_debounced_request_waits_for_quiet_but_not_for_ever(queue: Engine, clock: FakeClock) -> None:
    merge = Merge(key="s1", debounce_s=10, at_most_s=25)
    begun = clock.now()
    for number in range(4):
        last = put(queue, number, merge=merge, now=clock.now())
        clock.advance(8)
    with queue.connect() as connection:
        (waiting,) = find(connection, Filter())
    assert waiting.id == last
    assert waiting.payload == {"number": 3}
    assert waiting.run_at == begun + timedelta(seconds=25)


def test_a_throttled_request_runs_at_once_and_then_once_a_period(queue: Engine, clock: FakeClock) -> None:
    seen: list[tuple[object, int]] = []
    handlers = {"toy": lambda work: seen.append((clock.now(), work.requests()[0].payload["number"]))}
    merge = Merge(key="s1", throttle_s=60)
    begun = clock.now()
    put(queue, 0, merge=merge, now=clock.now())
    drain(queue, handlers, clock, catalog=ROWS)
    for number in (1, 2, 3):
        clock.advance(5)
        put(queue, number, merge=merge, now=clock.now())
    drain(queue, handlers, clock, catalog=ROWS)
    assert seen == [(begun, 0), (begun + timedelta(seconds=60), 3)]


def test_ten_thousand_by_copy_leave_out_the_known_keys(queue: Engine) -> None:
    put(queue, 7, idempotency_key="k7", tenant="t")
    items = [Item(payload=Toy(number=n), idempotency_key=f"k{n}", tenant="t") for n in range(10_000)]
    with queue.begin() as connection:
        assert enqueue_many(connection, items, requested_by="test", catalog=ROWS) == 9_999
        assert enqueue_many(connection, items[:5], requested_by="test", catalog=ROWS) == 0
    assert statuses(queue) == {RequestStatus.PENDING: 10_000}


def test_the_sql_function_queues_what_any_program_asks_for(queue: Engine, clock: FakeClock) -> None:
    query = sa.text("SELECT kordant.enqueue_job('toys.toy', '{\"number\": 5}', priority => 'high', tenant => 't1')")
    with queue.begin() as connection:
        request_id = connection.execute(query).scalar_one()
        found = get(connection, request_id)
    assert found is not None
    assert request_id.version == 7
    assert (found.job, found.priority, found.tenant) == ("toy", Priority.HIGH, "t1")
    assert found.requested_by.startswith("sql:")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("kordant.enqueue_job('tyo')", "there is no job 'tyo'"),
        ("kordant.enqueue_job('toy', '[]')", "must be a JSON object"),
        ("kordant.enqueue_job('toy', priority => 'now')", "there is no priority 'now'"),
        ("kordant.enqueue_job('toy', idempotency_window => '0')", "longer than nothing"),
    ],
)
def test_the_sql_function_refuses_what_it_can_see(queue: Engine, call: str, says: str) -> None:
    with queue.begin() as connection, pytest.raises(DBAPIError, match=says):
        connection.execute(sa.text(f"SELECT {call}"))


def test_what_sql_could_not_see_is_dead_with_the_field_named(queue: Engine) -> None:
    with queue.begin() as connection:
        bad = connection.execute(sa.text("SELECT kordant.enqueue_job('toy', '{\"number\": \"x\"}')")).scalar_one()
    at = FakeClock()
    at.advance_to(at.now() + timedelta(days=3650))
    drain(queue, {"toy": lambda work: None}, at, catalog=ROWS)
    with queue.connect() as connection:
        found = get(connection, bad)
    assert found is not None
    assert found.status is RequestStatus.DEAD
    assert "payload.number" in (found.error or "")


def test_a_role_with_the_documented_grants_queues_under_its_own_name_and_reads_nothing(queue: Engine) -> None:
    role = f"product_{uuid4().hex[:8]}"
    with queue.begin() as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA kordant TO {role}",
            f"GRANT EXECUTE ON FUNCTION kordant.enqueue_job TO {role}",
        ):
            connection.execute(sa.text(statement))
    try:
        with queue.connect() as connection:
            connection.execute(sa.text(f"SET SESSION AUTHORIZATION {role}"))
            call = "SELECT kordant.enqueue_job('toy', requested_by => 'somebody else', idempotency_key => 'k')"
            request_id = connection.execute(sa.text(call)).scalar_one()
            connection.commit()
            for refused in ("SELECT * FROM kordant.job_requests", "SELECT kordant.uuid7()"):
                with pytest.raises(DBAPIError, match="permission denied"):
                    connection.execute(sa.text(refused))
                connection.rollback()
            connection.execute(sa.text("RESET SESSION AUTHORIZATION"))
            connection.commit()
        with queue.connect() as connection:
            found = get(connection, request_id)
            mine = connection.execute(sa.text(call)).scalar_one()
        assert found is not None
        assert found.requested_by == f"sql:{role}"
        assert mine != request_id, "another caller's key is another key"
    finally:
        with queue.begin() as connection:
            connection.execute(sa.text(f"DROP OWNED BY {role}; DROP ROLE {role}"))
