"""A database with the price list in it, and subscriptions by the hundred."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

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
