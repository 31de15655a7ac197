"""The doctor's checks of Postgres at work: each finds its fault, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from psycopg2.extras import REPLICATION_PHYSICAL, LogicalReplicationConnection
from sqlalchemy import Engine

from kordant_jobs.domain.access.principals import Role
from kordant_jobs.engine.listen import libpq
from kordant_jobs.observability import database_checks
from kordant_jobs.observability.doctor import ExaminedSystem
from kordant_jobs.observability.query_checks import LIMITS
from kordant_jobs.postgres import database
from kordant_jobs.store.access import isolation, people
from kordant_jobs_tests.databases import await_rows, copy_of, database_at
from kordant_jobs_tests.observability.conftest import facts, only, run, wrong


@pytest.mark.injects("locks")
def test_a_statement_that_waits_for_a_lock_is_reported_with_its_blocker(
    healthy: ExaminedSystem, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "lock_wait_s", 0)
    with db.connect() as holder:
        pid = holder.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        holder.execute(sa.text("LOCK TABLE kordant.rate_buckets"))
        waiter = threading.Thread(target=run, args=(db, "UPDATE kordant.rate_buckets SET tokens = 1"))
        waiter.start()
        await_rows(db, "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
        assert f"for a lock that {pid} holds" in only(healthy, "locks")
        holder.rollback()
        waiter.join()
    assert "locks" not in wrong(healthy)


@pytest.mark.injects("tables")
def test_dead_rows_and_a_large_event_log_are_reported(
    healthy: ExaminedSystem, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty dead rows are too few for autovacuum, which begins at fifty."""
    monkeypatch.setitem(LIMITS, "dead_rows", 30)
    run(
        db,
        "CREATE SCHEMA IF NOT EXISTS dagster",
        "CREATE TABLE dagster.kept AS SELECT generate_series(1, 40)",
        "DELETE FROM dagster.kept",
        "SELECT pg_stat_force_next_flush()",
    )
    await_rows(db, "SELECT 1 FROM pg_stat_user_tables WHERE relname = 'kept' AND n_dead_tup = 40")
    assert "dagster.kept holds 40 dead rows beside 0 live ones" in facts(healthy, "tables")
    monkeypatch.undo()
    assert "tables" not in wrong(healthy)
    run(db, "CREATE TABLE dagster.event_logs AS SELECT repeat('x', 1000) AS event FROM generate_series(1, 1000)")
    assert "tables" not in wrong(healthy)
    monkeypatch.setitem(LIMITS, "events_bytes", 1_000_000)
    assert "Dagster's event log takes" in only(healthy, "tables")


@contextmanager
def stuck_standby(db: Engine, url: str) -> Iterator[None]:
    """A standby that is sent the WAL, and says again and again that it has applied none since it came."""
    connection = psycopg2.connect(**libpq(url), connection_factory=LogicalReplicationConnection, application_name="far")
    with connection, connection.cursor() as cursor:
        with db.connect() as other:
            at = int(other.execute(sa.text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())
        cursor.start_replication(slot_type=REPLICATION_PHYSICAL, start_lsn=at)
        told: Any = cursor.send_feedback  # types-psycopg2 gives it none
        told(write_lsn=at, flush_lsn=at, apply_lsn=at, force=True)
        await_rows(db, "SELECT 1 FROM pg_stat_replication WHERE application_name = 'far' AND replay_lsn IS NOT NULL")
        yield
    connection.close()


@pytest.mark.injects("replication")
def test_a_standby_that_lags_is_reported(
    healthy: ExaminedSystem, db: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stuck_standby(db, database_url):
        run(db, "CREATE TABLE public.written AS SELECT generate_series(1, 50000)", "DROP TABLE public.written")
        assert "replication" not in wrong(healthy)  # a gigabyte is much
        monkeypatch.setattr(database_checks, "LAG_MB", 1)
        assert "the standby far is" in only(healthy, "replication")


@pytest.mark.injects("replication")
def test_a_slot_without_a_reader_is_reported(
    healthy: ExaminedSystem, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(db, "SELECT pg_create_physical_replication_slot('left_behind', true)")
    try:
        assert "replication" not in wrong(healthy)
        monkeypatch.setattr(database_checks, "LAG_MB", -1)
        assert "the replication slot left_behind has no reader" in only(healthy, "replication")
    finally:
        run(db, "SELECT pg_drop_replication_slot('left_behind')")


@pytest.mark.injects("isolation")
def test_row_security_that_is_off_is_reported(healthy: ExaminedSystem, admin_url: str, template: str) -> None:
    """In a database of its own, since its tables change."""
    assert "isolation" not in wrong(healthy)  # no caller has a scope
    with copy_of(admin_url, template) as name:
        db = database.create_engine(database_at(admin_url, name))
        system = replace(healthy, db=db)
        with db.begin() as connection:
            people.save_principal(connection, "service:a", Role.SERVICE, by="user:t", tenants=["t"])
        assert facts(system, "isolation") == ["row security of callers with a scope is off, or lacks a table"]
        with db.begin() as connection:
            isolation.harden(connection)
        assert facts(system, "isolation") == []
        run(db, "ALTER TABLE kordant.job_requests DISABLE ROW LEVEL SECURITY")
        assert facts(system, "isolation") == ["row security of callers with a scope is off, or lacks a table"]
        db.dispose()
