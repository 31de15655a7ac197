"""What retention takes away, of our own tables and of Dagster's, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import Engine

from kordant_jobs.app import SYSTEM
from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many
from kordant_jobs.engine.queue.retention import Pruned, RetentionDays, prune
from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.lab.engine import FakeClock, drain, statuses
from kordant_jobs.postgres import database
from kordant_jobs_tests.databases import Emptied, copy_of, database_at
from kordant_jobs_tests.engine.queue.test_operate import ROWS, fail
from kordant_jobs_tests.engine.queue.toys import Mail, Toy

KEEP = RetentionDays(done_days=30, dead_days=90, tick_days=2)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
COUNTED = ("runs", "run_tags", "event_logs", "job_ticks")


@pytest.fixture(scope="module")
def with_dagster(admin_url: str, template: str) -> Iterator[Emptied]:
    """The migrated database with Dagster's tables in it as well, which take seconds to make."""
    with copy_of(admin_url, template) as name:
        url = database.dagster_url(database_at(admin_url, name))
        for storage in (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
            storage(url, should_autocreate_tables=True)._engine.dispose()
        databases = Emptied(admin_url, name)
        yield databases
        databases.drop()


@pytest.fixture
def database_url(with_dagster: Emptied, served_at: Callable[[str], str]) -> Iterator[str]:
    """It, with no rows."""
    with with_dagster.lend() as url:
        yield served_at(str(database.normal_url(url).database))


@pytest.fixture
def history(db: Engine) -> Engine:
    """Dagster's tables with 30 runs of each status, one a day back from NOW, each with 16 events, and hourly ticks."""
    with db.begin() as connection:
        connection.execute(
            sa.text("""
                INSERT INTO dagster.runs (run_id, pipeline_name, status, run_body, update_timestamp)
                SELECT status || n, 'job', status, '{}', CAST(:now AS timestamptz) - make_interval(days => n * 4)
                FROM unnest(ARRAY['SUCCESS', 'FAILURE', 'CANCELED', 'STARTED']) status, generate_series(1, 30) n
            """),
            {"now": NOW},
        )
        connection.execute(
            sa.text("""
                INSERT INTO dagster.run_tags (run_id, key, value) SELECT run_id, 'k', 'v' FROM dagster.runs;
                INSERT INTO dagster.event_logs (run_id, event, timestamp)
                SELECT run_id, '{}', now() FROM dagster.runs, generate_series(1, 16);
                INSERT INTO kordant.run_progress (run_id, done, total, message)
                SELECT run_id, 1, 1, '' FROM dagster.runs;
            """)
        )
        connection.execute(
            sa.text("""
                INSERT INTO dagster.job_ticks (job_origin_id, status, type, timestamp, tick_body)
                SELECT 'o', status, 'SENSOR', CAST(:now AS timestamptz) - make_interval(days => n), '{}'
                FROM unnest(ARRAY['SKIPPED', 'SUCCESS', 'FAILURE', 'STARTED']) status, generate_series(1, 40) n
            """),
            {"now": NOW},
        )
    return db


def left(db: Engine) -> dict[str, int]:
    with db.connect() as connection:
        query = "SELECT count(*) FROM dagster.{}"
        return {table: connection.execute(sa.text(query.format(table))).scalar_one() for table in COUNTED}


def runs_left(db: Engine, status: str) -> set[int]:
    with db.connect() as connection:
        query = sa.text("SELECT replace(run_id, :status, '') FROM dagster.runs WHERE status = :status")
        return {int(number) for number in connection.execute(query, {"status": status}).scalars()}


def test_runs_go_by_their_status_with_tags_events_and_progress(history: Engine) -> None:
    pruned = prune(history, now=NOW, keep=KEEP)
    assert (pruned.counts["runs"], pruned.counts["failed_runs"]) == (46, 8)
    assert runs_left(history, "SUCCESS") == runs_left(history, "CANCELED") == set(range(1, 8))
    assert runs_left(history, "FAILURE") == set(range(1, 23))
    assert runs_left(history, "STARTED") == set(range(1, 31)), "what has not ended stays, however old"
    runs = 7 + 7 + 22 + 30
    assert left(history) | {"job_ticks": 0} == {"runs": runs, "run_tags": runs, "event_logs": 16 * runs, "job_ticks": 0}
    with history.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.run_progress")).scalar_one() == runs


def test_ticks_that_found_nothing_go_first(history: Engine) -> None:
    pruned = prune(history, now=NOW, keep=KEEP)
    assert (pruned.counts["skipped_ticks"], pruned.counts["ticks"]) == (38, 2 * 10)
    assert left(history)["job_ticks"] == 2 + 2 * 30 + 40, "a tick that goes on is kept"


def gone(pruned: Pruned) -> dict[str, int]:
    """What was deleted at all."""
    return {kind: count for kind, count in pruned.counts.items() if count}


def test_a_dry_run_says_what_the_next_one_deletes_and_deletes_nothing(history: Engine) -> None:
    before = left(history)
    foretold = prune(history, now=NOW, keep=KEEP, dry_run=True)
    assert left(history) == before
    assert prune(history, now=NOW, keep=KEEP, bulk=32) == foretold
    assert prune(history, now=NOW, keep=KEEP).rows == 0


def test_what_schedules_decided_long_ago_goes(db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text("""
                INSERT INTO kordant.schedule_starts (job, tier, kind, source, due_at, decided_at, spans, version)
                SELECT 'darkwatch_scan', 'plus', 'started', 'tick ' || n, at, at, '[]', 1
                FROM generate_series(0, 39) n,
                     LATERAL (SELECT CAST(:now AS timestamptz) - make_interval(days => n)) d (at)
            """),
            {"now": NOW},
        )
    for rest in ({"dry_run": True}, {"bulk": 4}):
        pruned = prune(db, now=NOW, keep=KEEP, more=SYSTEM.prunable, **rest)
        assert pruned.counts["schedule_starts"] == pruned.rows == 9
    assert prune(db, now=NOW, keep=KEEP, more=SYSTEM.prunable).rows == 0


def test_the_files_of_a_deleted_run_go_and_those_of_another_stay(history: Engine, tmp_path: Path) -> None:
    for run in ("SUCCESS30", "SUCCESS1", "FAILURE30"):
        (tmp_path / run / "compute_logs").mkdir(parents=True)
    prune(history, now=NOW, keep=KEEP, run_files=tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == ["SUCCESS1"]


def test_a_run_that_is_locked_is_left_for_the_next_time_without_waiting(history: Engine) -> None:
    with history.begin() as holder:
        holder.execute(sa.text("SELECT 1 FROM dagster.runs WHERE run_id = 'SUCCESS30' FOR UPDATE"))
        assert prune(history, now=NOW, keep=KEEP).counts["runs"] == 45
    assert prune(history, now=NOW, keep=KEEP).counts["runs"] == 1


def test_it_breaks_off_between_two_bulks_and_goes_on_later(history: Engine) -> None:
    answers = iter([True])
    first = prune(history, now=NOW, keep=KEEP, bulk=160, go_on=lambda: next(answers, False))
    assert first.rows == 0
    assert left(history)["runs"] == 120
    assert prune(history, now=NOW, keep=KEEP, bulk=160).counts["runs"] == 46


def test_retention_takes_what_ended_long_ago_and_nothing_that_waits(queue: Engine, clock: FakeClock) -> None:
    with queue.begin() as connection:
        items = [Item(payload=Toy(number=n), idempotency_key=str(n)) for n in range(25)]
        enqueue_many(connection, items, requested_by="test", now=clock.now(), catalog=ROWS)
        enqueue(connection, Mail(), requested_by="test", now=clock.now(), catalog=ROWS)
        enqueue(
            connection, Mail(), requested_by="test", now=clock.now(), catalog=ROWS,
            run_at=clock.now() + timedelta(days=400),
        )  # fmt: skip
    until = clock.now() + timedelta(days=1)
    drain(queue, {"toy": lambda work: None, "mail": fail}, clock, catalog=ROWS, until=until)
    clock.advance(29 * 86_400)
    assert gone(prune(queue, now=clock.now(), keep=KEEP)) == {"idempotency_keys": 25}
    clock.advance(2 * 86_400)
    assert gone(prune(queue, now=clock.now(), keep=KEEP, bulk=10)) == {"requests": 25}
    clock.advance(60 * 86_400)
    assert gone(prune(queue, now=clock.now(), keep=KEEP)) == {"dead": 1}
    assert statuses(queue) == {RequestStatus.PENDING: 1}
