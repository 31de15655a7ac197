"""Lists of requests: by whichever filter, the same as a plain look at all of them."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.control import Cause, Filter, Request, RequestStatus, operate

JOBS, CALLERS, TENANTS = ("alpha", "beta", "gone_job"), ("user:a", "user:b"), ("t1", "t2", None)


def fill(db: Engine) -> None:
    """400 requests of three jobs in every state but running, which needs a lease."""
    chance = random.Random(7)
    states = [one for one in RequestStatus if one is not RequestStatus.RUNNING]
    rows = []
    for _ in range(400):
        status = chance.choice(states)
        rows.append(
            {
                "job": chance.choice(JOBS), "status": status, "tenant": chance.choice(TENANTS),
                "by": chance.choice(CALLERS),
                "cause": chance.choice(list(Cause)) if status is RequestStatus.DEAD else None,
                "error": f"list {chance.randrange(5)}" if status is RequestStatus.DEAD else None,
            }
        )  # fmt: skip
    with db.begin() as connection:
        connection.execute(
            sa.text("""
            INSERT INTO kordant.job_requests (id, job, payload, status, priority, run_at, turn_at, created_at,
                                              requested_by, tenant, cause, error, ended_at)
            VALUES (kordant.uuid7(), :job, '{}', :status, 2, now(), now(), now(), :by, :tenant, :cause, :error, now())
            """),
            rows,
        )


FILTERS = [
    Filter(),
    *(Filter(statuses=(one,)) for one in RequestStatus),
    *(Filter(job=one) for one in JOBS),
    Filter(job="none"),
    Filter(statuses=(RequestStatus.DEAD, RequestStatus.EXPIRED)),
    Filter(job="alpha", statuses=(RequestStatus.DEAD,)),
    Filter(statuses=(RequestStatus.DEAD,), cause=Cause.TIMEOUT),
    Filter(statuses=(RequestStatus.COMPLETED,), tenants=("t1",)),
    Filter(job="beta", requested_by="user:a"),
    Filter(statuses=(RequestStatus.DEAD,), tenant="t2"),
]


def pages(db: Engine, where: Filter, limit: int) -> list[UUID]:
    found: list[UUID] = []
    after: UUID | None = None
    with db.connect() as connection:
        while page := operate.find(connection, where, limit=limit, after=after):
            assert len(page) <= limit
            found += [one.id for one in page]
            after = found[-1]
    return found


def matches(one: Request, where: Filter) -> bool:
    return all(
        (
            where.job in (None, one.job),
            where.statuses is None or one.status in where.statuses,
            where.cause in (None, one.cause),
            where.requested_by in (None, one.requested_by),
            where.tenant in (None, one.tenant),
            where.tenants is None or one.tenant in where.tenants,
        )
    )


def test_every_filter_pages_through_exactly_what_a_plain_look_finds(db: Engine) -> None:
    fill(db)
    with db.connect() as connection:
        everything = operate.find(connection, Filter())
    assert len(everything) == 400
    for where in FILTERS:
        wanted = [one.id for one in everything if matches(one, where)]
        for limit in (7, 50, 1000):
            assert pages(db, where, limit) == wanted, (where, limit)


def test_groups_of_dead_requests_count_what_there_is_and_show_the_newest_error(db: Engine) -> None:
    fill(db)
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.job_requests SET ended_at = now() + random() * interval '1 day'"))
        connection.execute(
            sa.text("UPDATE kordant.job_requests SET acknowledged_at = now() WHERE status = 'dead' AND tenant = 't1'")
        )
        dead = [one for one in operate.find(connection, Filter()) if one.status is RequestStatus.DEAD]
        groups = operate.dead_groups(connection, Filter())
        of_one = operate.dead_groups(connection, Filter(tenants=("t2",)))
    assert [one.unseen for one in groups] == sorted((one.unseen for one in groups), reverse=True)
    assert {(one.job, one.cause) for one in groups} == {(one.job, one.cause) for one in dead}
    for group in groups:
        mine = [one for one in dead if (one.job, one.cause) == (group.job, group.cause)]
        newest = max(mine, key=lambda one: one.ended_at or one.created_at)
        assert (group.count, group.unseen) == (len(mine), sum(one.acknowledged_at is None for one in mine))
        assert (group.last_at, group.error) == (newest.ended_at, newest.error)
    assert sum(one.count for one in of_one) == sum(one.tenant == "t2" for one in dead)


@pytest.mark.parametrize("where", [Filter(), Filter(statuses=(RequestStatus.DEAD,), cause=Cause.TIMEOUT)])
def test_an_estimate_is_near_after_statistics(db: Engine, where: Filter) -> None:
    fill(db)
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE kordant.job_requests"))
        exact = len(operate.find(connection, where))
        assert abs(operate.estimate(connection, where) - exact) <= max(20, exact // 5)
