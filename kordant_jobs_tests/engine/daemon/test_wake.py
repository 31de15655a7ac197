"""What wakes which daemon: whatever a sensor waits for, and steps of backfills."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from dagster_postgres import PostgresRunStorage
from sqlalchemy import Engine

from kordant_jobs.engine.daemon.wake import BACKFILLS, Wake
from kordant_jobs.engine.store.requests import EVENTS, wake_sensors
from kordant_jobs.postgres import database


@dataclass
class Heard:
    """How often each was woken. Postgres tells in the order of the commits."""

    db: Engine
    looks: int = 0
    steps: int = 0
    _told: threading.Event = field(default_factory=threading.Event)

    def events(self) -> None:
        self.looks += 1
        self._told.set()

    def backfills(self) -> None:
        self.steps += 1

    def do(self, statement: str) -> None:
        """Back when everything that a statement notifies was heard."""
        with self.db.begin() as connection:
            connection.execute(sa.text(statement))
        self._told.clear()
        with self.db.begin() as connection:
            wake_sensors(connection)
        assert self._told.wait(30)


@pytest.fixture
def heard(db: Engine, database_url: str) -> Iterator[Heard]:
    url = database.dagster_url(database_url)
    PostgresRunStorage(url, should_autocreate_tables=True)._engine.dispose()
    found = Heard(db)
    wake = Wake(url, {EVENTS: found.events, BACKFILLS: found.backfills})
    assert found._told.wait(30)
    yield found
    wake.close()


def test_what_a_sensor_waits_for_wakes_the_sensors(heard: Heard) -> None:
    before = heard.looks
    heard.do("NOTIFY kordant_events")
    assert heard.looks - before in {1, 2}, "one for the statement, one for what `do` itself says; or both at once"


def test_each_step_of_a_backfill_wakes_for_the_next(heard: Heard) -> None:
    before = heard.steps
    heard.do("INSERT INTO dagster.bulk_actions (key, status, timestamp, body) VALUES ('b', 'REQUESTED', now(), '{}')")
    heard.do("UPDATE dagster.bulk_actions SET body = '{1}' WHERE key = 'b'")
    assert heard.steps - before == 2
