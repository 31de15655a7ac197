"""What wakes Dagster's queue: a run that waits in it, and an end that makes room for one that does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from dagster_postgres import PostgresRunStorage
from sqlalchemy import Engine

from kordant_jobs.engine.daemon.wake import EVENTS, RUNS, Wake
from kordant_jobs.store import database


@dataclass
class Heard:
    """How often the queue was woken, since Postgres tells in the order of the commits."""

    db: Engine
    times: int = 0
    _told: threading.Event = field(default_factory=threading.Event)

    def runs(self) -> None:
        self.times += 1

    def events(self) -> None:
        self._told.set()

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
    wake = Wake(url, {EVENTS: found.events, RUNS: found.runs})
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
