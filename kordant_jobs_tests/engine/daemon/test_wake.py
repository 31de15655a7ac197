"""What wakes which daemon: runs that wait in Dagster's queue, ends that sensors wait for, steps of backfills."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from dagster_postgres import PostgresRunStorage
from sqlalchemy import Engine

from kordant_jobs.engine.daemon.wake import BACKFILLS, EVENTS, RUNS, Wake
from kordant_jobs.postgres import database


@dataclass
class Heard:
    """How often the queue was woken, since Postgres tells in the order of the commits."""

    db: Engine
    times: int = 0
    looks: int = 0
    steps: int = 0
    _told: threading.Event = field(default_factory=threading.Event)

    def runs(self) -> None:
        self.times += 1

    def events(self) -> None:
        self.looks += 1
        self._told.set()

    def backfills(self) -> None:
        self.steps += 1

    def do(self, statement: str) -> int:
        """How often the queue was woken by a statement."""
        before = self.times
        with self.db.begin() as connection:
            connection.execute(sa.text(statement))
        self._told.clear()
        with self.db.begin() as connection:
            connection.execute(sa.text(f"NOTIFY {EVENTS}"))
        assert self._told.wait(30)
        return self.times - before


@pytest.fixture
def heard(db: Engine, database_url: str) -> Iterator[Heard]:
    url = database.dagster_url(database_url)
    PostgresRunStorage(url, should_autocreate_tables=True)._engine.dispose()
    found = Heard(db)
    wake = Wake(url, {EVENTS: found.events, RUNS: found.runs, BACKFILLS: found.backfills})
    assert found._told.wait(30)
    yield found
    wake.close()


def insert(run_id: str, status: str) -> str:
    return f"INSERT INTO dagster.runs (run_id, status, run_body) VALUES ('{run_id}', '{status}', '{{}}')"


def test_dagsters_queue_is_woken_for_runs_in_it_and_by_no_others(heard: Heard) -> None:
    assert heard.do(insert("ours", "STARTING")) == 0
    assert heard.do("UPDATE dagster.runs SET status = 'SUCCESS' WHERE run_id = 'ours'") == 0
    assert heard.do(insert("one", "STARTED")) == 0
    assert heard.do(insert("two", "QUEUED")) == 1
    assert heard.do("UPDATE dagster.runs SET status = 'FAILURE' WHERE run_id = 'one'") == 1


def test_sensors_are_woken_when_a_run_ends_that_one_of_them_asked_for(heard: Heard) -> None:
    for run_id in ("asked", "other"):
        heard.do(insert(run_id, "STARTED"))
    heard.do("INSERT INTO dagster.run_tags (run_id, key, value) VALUES ('asked', 'dagster/sensor_name', 'outbox')")

    before = heard.looks
    heard.do("UPDATE dagster.runs SET status = 'SUCCESS' WHERE run_id = 'other'")
    assert heard.looks == before + 1  # `do` itself notifies once
    heard._told.clear()
    with heard.db.begin() as connection:
        connection.execute(sa.text("UPDATE dagster.runs SET status = 'SUCCESS' WHERE run_id = 'asked'"))
    assert heard._told.wait(30)


def test_each_step_of_a_backfill_wakes_for_the_next(heard: Heard) -> None:
    before = heard.steps
    heard.do("INSERT INTO dagster.bulk_actions (key, status, timestamp, body) VALUES ('b', 'REQUESTED', now(), '{}')")
    heard.do("UPDATE dagster.bulk_actions SET body = '{1}' WHERE key = 'b'")
    assert heard.steps - before == 2
