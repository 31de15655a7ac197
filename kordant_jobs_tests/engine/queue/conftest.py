"""A queue of the test's own: the toys' names known to the database, and a clock that stands still."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from kordant_jobs.engine.store.requests import sync_catalogue
from kordant_jobs.lab.engine import FakeClock
from kordant_jobs_tests.engine.queue.toys import catalog


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(db: Engine) -> Engine:
    with db.begin() as connection:
        sync_catalogue(connection, catalog().values())
    return db
