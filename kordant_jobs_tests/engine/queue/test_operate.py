"""What operators do: look, replay, acknowledge, expire, cancel."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import Engine

from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many
from kordant_jobs.engine.requests import Cause, RequestStatus
from kordant_jobs.engine.store.requests import Filter, find
from kordant_jobs.errors import PermanentError
from kordant_jobs.lab.engine import FakeClock, RunContext, drain, statuses
from kordant_jobs_tests.engine.queue.toys import Mail, Toy, catalog

ROWS = catalog()


def fail(work: RunContext) -> None:
    raise PermanentError(f"the source of {work.order.job} is gone")


@pytest.fixture
def dead(queue: Engine, clock: FakeClock) -> list[UUID]:
    """Two dead toys and one dead mail."""
    with queue.begin() as connection:
        ids = [
            enqueue(connection, payload, requested_by="test", now=clock.now(), catalog=ROWS)
            for payload in (Toy(number=1), Toy(number=2), Mail())
        ]
    drain(queue, {"toy": fail, "mail": fail}, clock, catalog=ROWS)
    assert statuses(queue) == {RequestStatus.DEAD: 3}
    return ids


def test_a_dead_request_says_what_happened(queue: Engine, dead: list[UUID]) -> None:
    with queue.connect() as connection:
        found = operate.inspect(connection, dead[0])
        with pytest.raises(PermanentError, match="there is no request"):
            operate.inspect(connection, UUID(int=0))
    assert found.request.error == "the source of toy is gone"
    assert [(one.attempt, one.run_id, one.cause) for one in found.attempts] == [
        (1, found.request.run_id, Cause.EXCEPTION)
    ]


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        (Filter(job="toy"), 2),
        (Filter(error_like="mail is gone"), 1),
        (Filter(error_like="%"), 0),
        (Filter(cause=Cause.EXCEPTION), 3),
        (Filter(cause=Cause.MEMORY), 0),
        (Filter(acknowledged=False), 3),
        (Filter(acknowledged=True), 0),
        (Filter(ids=()), 0),
    ],
)
def test_a_filter_means_what_it_says_and_a_dry_run_changes_nothing(
    queue: Engine, dead: list[UUID], clock: FakeClock, where: Filter, meant: int
) -> None:
    with queue.begin() as connection:
        planned = operate.replay(connection, where, now=clock.now(), dry_run=True)
    assert len(planned) == meant
    assert statuses(queue) == {RequestStatus.DEAD: 3}
    with queue.begin() as connection:
        assert sorted(operate.replay(connection, where, now=clock.now())) == sorted(planned)


def test_a_replayed_request_has_all_its_retries_again(queue: Engine, dead: list[UUID], clock: FakeClock) -> None:
    begun, starts = clock.now(), []

    def again(work: RunContext) -> None:
        starts.append((clock.now() - begun).total_seconds() / 60)
        raise RuntimeError("still gone")

    with queue.begin() as connection:
        operate.replay(connection, Filter(ids=(dead[0],)), now=clock.now())
    drain(queue, {"toy": again}, clock, catalog=ROWS)
    assert starts == [0, 1, 6, 21]
    with queue.connect() as connection:
        assert len(operate.inspect(connection, dead[0]).attempts) == 5


def test_an_acknowledged_one_stays_and_an_expired_one_is_dead_no_more(
    queue: Engine, dead: list[UUID], clock: FakeClock
) -> None:
    with queue.begin() as connection:
        operate.acknowledge(connection, Filter(ids=(dead[0],)), by="op", now=clock.now())
        operate.expire(connection, Filter(ids=(dead[1],)))
        unseen = find(connection, Filter(statuses=(RequestStatus.DEAD,), acknowledged=False))
        assert operate.replay(connection, Filter(ids=(dead[1],)), now=clock.now()) == []
    assert [one.id for one in unseen] == [dead[2]]
    assert statuses(queue) == {RequestStatus.DEAD: 2, RequestStatus.EXPIRED: 1}


def test_what_waits_is_cancelled_at_once_and_stays_so(queue: Engine, clock: FakeClock) -> None:
    with queue.begin() as connection:
        items = [Item(payload=Toy(number=n), entity_key=f"s{n % 2}") for n in range(10)]
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=ROWS)
        assert len(operate.cancel(connection, Filter(entity_key="s1"), now=clock.now())) == 5
    drain(queue, {"toy": lambda work: None}, clock, catalog=ROWS)
    assert statuses(queue) == {RequestStatus.COMPLETED: 5, RequestStatus.CANCELLED: 5}
