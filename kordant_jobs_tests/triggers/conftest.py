"""A database with the price list in it, and subscriptions by the hundred."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.engine.queue.given import GivenRun, queue_run
from kordant_jobs.engine.store import given_runs
from kordant_jobs.store.people.tables import subscribers, subscriptions
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.triggers import price_list

Subscribe = Callable[..., list[UUID]]


@pytest.fixture
def listed(db: Engine) -> Engine:
    """A database with the catalogue's price list."""
    with db.begin() as connection:
        price_list.ensure(connection)
    return db


@pytest.fixture
def subscribe_many(listed: Engine) -> Subscribe:
    """Makes subscriptions without a watchlist, placed as their tier says; their ids."""

    def make(
        count: int, tier: str = "premium", *, started_at: datetime = datetime(2024, 5, 31, tzinfo=UTC)
    ) -> list[UUID]:
        ids = [uuid4() for _ in range(count)]
        with listed.begin() as connection:
            connection.execute(sa.insert(subscribers), [{"id": one} for one in ids])
            connection.execute(
                sa.insert(subscriptions),
                [{"id": one, "subscriber_id": one, "tier": tier, "started_at": started_at} for one in ids],
            )
            due_slots.place(connection)
        return ids

    return make


def under_way(db: Engine, schedule: str) -> str:
    """A run that Dagster made for a tick of this schedule, and that waits for its turn; its id."""
    run = GivenRun(
        run_id=str(uuid4()),
        job="darkwatch_scan",
        config={},
        tags={"dagster/schedule_name": schedule},
        by="test",
    )
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.now())).scalar_one()
        queue_run(connection, BY_NAME[run.job], run, now=now)
    return run.run_id


def ended(db: Engine, run_id: str) -> None:
    """That run has ended."""
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.now())).scalar_one()
        assert given_runs.cancel(connection, run_id, now=now)
