"""Each check finds the fault that is put in, by its own name, and no other does; a healthy system has none."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.engine.control import host_rows
from kordant_jobs.observability import checks
from kordant_jobs.observability.checks import CHECKS
from kordant_jobs.observability.doctor import ExaminedSystem, State, examine, exit_code
from kordant_jobs.observability.query_checks import LIMITS
from kordant_jobs.postgres import database
from kordant_jobs.store import migrate
from kordant_jobs_tests.databases import await_rows
from kordant_jobs_tests.observability.conftest import OF_THE_TESTS, facts, only, run, wrong


def test_a_healthy_system_has_no_finding(healthy: ExaminedSystem) -> None:
    assert set(wrong(healthy)) <= OF_THE_TESTS


def test_every_check_has_an_injected_fault() -> None:
    """`injects` is a claim that the fixture `_injected` holds its test to."""
    here = Path(__file__).parent
    modules = [importlib.import_module(f"{__package__}.{path.stem}") for path in here.glob("test_*.py")]
    marks = [mark for module in modules for one in vars(module).values() for mark in getattr(one, "pytestmark", ())]
    named = {name for mark in marks if mark.name == "injects" for name in mark.args}
    assert named | {fault.check for fault in FAULTS} == set(CHECKS)


class Fault(NamedTuple):
    """What is put in, and what is said of it."""

    check: str
    sql: str
    says: str


FAULTS = [
    Fault("migrations", "UPDATE kordant.alembic_version SET version_num = '0003'", "migration 0003"),
    Fault("migrations", "UPDATE kordant.alembic_version SET version_num = '9999'", "migration 9999"),
    Fault("master_key", "UPDATE kordant.keyring_check SET master_key_id = 'ffffffffffffffff'", "wants ffffffff"),
    Fault("zones", "UPDATE kordant.subscriptions SET time_zone = 'Mars/Olympus'", "'Mars/Olympus' is unknown"),
    Fault(
        "queue",
        "INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, created_at, requested_by) "
        "SELECT gen_random_uuid(), 'cleanup', '{}', 3, now() - interval '1 hour', now(), now(), 'test'",
        "1 requests of cleanup are due, the oldest for 60 min",
    ),
    Fault(
        "queue",
        "INSERT INTO kordant.job_leases (id, name, holder, taken_at, expires_at) "
        "SELECT gen_random_uuid(), 'job:x', 'h', now(), now() - interval '10 min'",
        "1 leases have ended",
    ),
    Fault(
        "dead_letters",
        "INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, created_at, requested_by, "
        "status, ended_at) SELECT gen_random_uuid(), 'cleanup', '{}', 3, now(), now(), now(), 'test', 'dead', now()",
        "1 dead letters of cleanup",
    ),
    Fault(
        "sources",
        "INSERT INTO kordant.source_states (source, open_until, last_reason) "
        "VALUES ('hibp', now() + interval '1 hour', 'key_refused')",
        "hibp is switched off after failures (key_refused)",
    ),
    Fault(
        "counties",
        "INSERT INTO kordant.watched_properties (id, subscription_id, subscriber_id, county, parcel_encrypted, "
        "parcel_index) SELECT gen_random_uuid(), id, subscriber_id, 'nyc', 'x', 'x' FROM kordant.subscriptions; "
        "INSERT INTO kordant.county_states (county, reason) VALUES ('nyc', 'its newest record is old')",
        "nyc gives no answer: its newest record is old",
    ),
    Fault(
        "tables",
        "ALTER TABLE kordant.job_requests SET (autovacuum_enabled = false)",
        "autovacuum is off for kordant.job_requests",
    ),
    Fault(
        "schedules",
        "ALTER TABLE kordant.scheduler_config DISABLE TRIGGER USER; UPDATE kordant.scheduler_config "
        "SET version = version + 1, changed_at = now() - interval '5 min' WHERE job = 'cleanup'",
        "and Dagster has an older row",
    ),
    Fault(
        "outbox",
        "INSERT INTO kordant.reports (id, subscription_id, kind, period_start_on, period_end_on, figures, "
        "figures_sha256, content_sha256, storage_key, pages) SELECT gen_random_uuid(), id, 'weekly', '2026-01-01', "
        "'2026-01-08', '{}', '', '', 'k', 1 FROM kordant.subscriptions; INSERT INTO kordant.notification_outbox (id, "
        "report_id, subscription_id, category, channel, due_at) SELECT gen_random_uuid(), id, subscription_id, "
        "'report', 'email', now() - interval '2 hours' FROM kordant.reports",
        "1 notifications by email are over an hour late",
    ),
    Fault(
        "outbox",
        "INSERT INTO kordant.channel_pauses (channel, pauses, paused_until, reason) "
        "VALUES ('sms', 1, now() + interval '1 hour', 'refused')",
        "sms is paused: refused",
    ),
    Fault(
        "dumps",
        "INSERT INTO kordant.breaches (name, source, title) VALUES ('B', 'dump', 'B'); INSERT INTO "
        "kordant.breach_dumps (id, content_sha256, file_label, file_key, file_size, file_mtime_ns, breach_name, "
        "status) VALUES (gen_random_uuid(), 'x', 'f', 'k', 1, 1, 'B', 'quarantined')",
        "1 dumps are quarantined",
    ),
    Fault(
        "voices",
        "INSERT INTO kordant.analysis_jobs (id, subscription_id, subscriber_id, content_key, ending, bytes, "
        "created_at) SELECT gen_random_uuid(), id, subscriber_id, 'k', 'wav', 9, now() - interval '3 hours' "
        "FROM kordant.subscriptions",
        "1 clips of voices have waited for over two hours",
    ),
    Fault(
        "indexes",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'kordant.job_requests_next_idx'::regclass",
        "job_requests_next_idx is not valid",
    ),
    Fault("indexes", "DROP INDEX kordant.exposures_breach_name_idx", "kordant.exposures_breach_name_idx is missing"),
    Fault(
        "indexes",
        "ALTER TABLE kordant.attempt_hours DROP CONSTRAINT attempt_hours_pkey",
        "kordant.attempt_hours_pkey is missing",
    ),
    Fault(
        "agents",
        "INSERT INTO kordant.principals (id, role, owner, disabled_at) VALUES ('user:b', 'admin', NULL, now()), "
        "('agent:c', 'agent', 'user:b', NULL)",
        "agent:c belongs to user:b",
    ),
    Fault(
        "audit",
        "ALTER TABLE kordant.audit_log DISABLE TRIGGER USER; "
        "UPDATE kordant.audit_log SET hash = sha256('x') WHERE seq = 1",
        "row",
    ),
    Fault(
        "cleanup",
        "INSERT INTO kordant.cleanup_reports (id, plan_id, clock, dry_run, digest, figures) SELECT gen_random_uuid(), "
        'gen_random_uuid(), now(), false, \'\', \'{"reports": {"stopped": "too many"}}\'',
        "left reports alone: too many",
    ),
    Fault(
        "cleanup",
        "INSERT INTO kordant.cleanup_reports (id, plan_id, clock, dry_run, digest, figures) SELECT gen_random_uuid(), "
        "gen_random_uuid(), now() - interval '16 days', false, '', '{}'",
        "the last clean-up ran on",
    ),
    Fault(
        "schedules",
        "UPDATE kordant.schedule_progress SET until = now() - interval '9 days' WHERE job = 'cleanup'; "
        "ALTER TABLE kordant.scheduler_config DISABLE TRIGGER USER; "
        "UPDATE kordant.scheduler_config SET changed_at = now() - interval '20 days' WHERE job = 'cleanup'",
        "and has ticked since",
    ),
    Fault(
        "daemon",
        "CREATE SCHEMA IF NOT EXISTS dagster; CREATE TABLE dagster.daemon_heartbeats (daemon_type text, daemon_id "
        "text, timestamp timestamp); INSERT INTO dagster.daemon_heartbeats "
        "VALUES ('SENSOR', 'a', now() AT TIME ZONE 'UTC' - interval '5 min'), "
        "('KORDANT_RETENTION', 'a', now() AT TIME ZONE 'UTC' - interval '10 min')",
        "SENSOR has been silent",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: f"{one.check}: {one.says}"[:60])
def test_a_fault_is_found_by_its_own_check_and_no_other(healthy: ExaminedSystem, db: Engine, fault: Fault) -> None:
    with db.begin() as connection:
        connection.execute(sa.text(fault.sql))
    found = wrong(healthy)
    assert any(fault.says in fact for fact in facts(healthy, fault.check))
    caused = {"master_key": {"audit"}}.get(fault.check, set())  # without the key nothing of the log can be proved
    assert set(found) - OF_THE_TESTS - caused == {fault.check}


@pytest.mark.injects("connections")
def test_connections_that_run_out_or_hold_a_transaction_open_are_reported(
    healthy: ExaminedSystem, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(LIMITS, "connections_share", 0)
        assert "connections are in use" in only(healthy, "connections")
    with monkeypatch.context() as patch:
        patch.setitem(LIMITS, "idle_s", 0)
        assert "connections" not in wrong(healthy)
        with db.connect() as other:
            other.execute(sa.text("SELECT 1"))
            assert "idle in a transaction" in only(healthy, "connections")
    with monkeypatch.context() as patch, db.connect() as long:
        patch.setitem(LIMITS, "long_s", 0)
        assert "connections" not in wrong(healthy)
        pid = long.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        thread = threading.Thread(target=_sleep_in_postgres, args=(long,))
        thread.start()
        await_rows(db, f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'")
        assert "1 transactions have been at work" in only(healthy, "connections")
        run(db, f"SELECT pg_cancel_backend({pid})")
        thread.join()


def _sleep_in_postgres(connection: sa.Connection) -> None:
    with suppress(sa.exc.OperationalError):  # it is cancelled
        connection.execute(sa.text("SELECT pg_sleep(60)"))


@pytest.mark.injects("driver", "disk", "libraries", "clock")
def test_faults_of_this_machine_are_reported(healthy: ExaminedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    real, statvfs = importlib.metadata.version, os.statvfs
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "2.1.3" if name == "sqlalchemy" else real(name))
        assert "SQLAlchemy 2.1" in only(healthy, "driver")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "1.14.0" if name == "dagster" else real(name))
        assert "dagster 1.14.0" in only(healthy, "driver")
    with monkeypatch.context() as patch:
        patch.setattr(checks, "DISK_FREE_MB", 1e12)
        assert "GB are free" in only(healthy, "disk")
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda path: _Inodes(statvfs(path).f_frsize, f_files=100_000, f_favail=70))
        found = facts(healthy, "disk")
        assert f"70 more files can be made at {healthy.settings.corpus}" in found
    with monkeypatch.context() as patch:
        patch.setattr(checks, "find_library", lambda name: None)
        assert "pango" in only(healthy, "libraries")
    early = replace(healthy, clock=lambda: datetime.now(UTC) - timedelta(minutes=3))
    late = replace(healthy, clock=lambda: datetime.now(UTC) + timedelta(minutes=3))
    assert only(early, "clock") == only(late, "clock") == "the clocks are 180 s apart"


class _Inodes(NamedTuple):
    """A file system as statvfs gives it, with room and few inodes."""

    f_frsize: int
    f_files: int
    f_favail: int
    f_blocks: int = 10**9
    f_bfree: int = 10**9
    f_bavail: int = 10**9


@pytest.mark.injects("hosts")
def test_hosts_that_are_missing_silent_or_of_another_code_are_reported(healthy: ExaminedSystem, db: Engine) -> None:
    system = replace(healthy, settings=healthy.settings.model_copy(update={"launcher": "celery"}))
    assert wrong(system)["hosts"] == "no host takes runs"
    with db.begin() as connection:
        now = connection.execute(sa.text("SELECT now()")).scalar_one()
        for name, version in (("alpha", "v1"), ("beta", "v2")):
            host_rows.register(connection, name, place=name, code_version=version, slots=4, now=now, ttl_s=15)
    assert "several versions" in wrong(system)["hosts"]
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.job_hosts SET seen_at = now() - interval '1 h' WHERE name = 'beta'"))
    assert wrong(system)["hosts"] == "silent: beta"


@pytest.mark.injects("master_key")
def test_a_key_file_that_others_can_read_is_reported(healthy: ExaminedSystem, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o644)
    open_to_all = healthy.settings.model_copy(
        update={"master_key": None, "master_key_path": None, "state_dir": tmp_path}
    )
    assert not open_to_all.key_is_given
    open_to_all.key_file.parent.mkdir(parents=True, exist_ok=True)
    open_to_all.key_file.write_text("AAAA")
    open_to_all.key_file.chmod(0o644)
    (found, *_) = facts(ExaminedSystem(settings=open_to_all, db=healthy.db), "master_key")
    assert "-rw-r--r--" in found


def test_without_a_database_one_check_fails_and_the_others_are_skipped(healthy: ExaminedSystem) -> None:
    results = examine(ExaminedSystem(settings=healthy.settings, db=None), CHECKS)
    assert [one.id for one in results if one.state is State.FAIL] == ["database"]
    assert {one.id for one in results if one.state is State.SKIPPED} >= {"queue", "audit", "master_key", "migrations"}
    assert exit_code(results) == 2


def test_an_empty_database_is_reported_once_and_what_needs_its_tables_is_skipped(
    healthy: ExaminedSystem, db: Engine
) -> None:
    migrate.downgrade(db, "base")
    results = examine(replace(healthy, stack=None), CHECKS)
    failed = {one.id: one.findings[0].fact for one in results if one.state is State.FAIL}
    assert failed == {"migrations": "the database is empty"}
    assert "db upgrade" in next(one for one in results if one.id == "migrations").findings[0].fix
    skipped = {one.id for one in results if one.reason == "the database is empty"}
    assert skipped >= {"zones", "queue", "outbox", "voices", "audit"}


@pytest.mark.injects("database")
def test_a_setting_that_can_lose_committed_data_is_reported(healthy: ExaminedSystem, database_url: str) -> None:
    for value in ("off", "on"):
        options = {"options": f"-c synchronous_commit={value}"}
        db = sa.create_engine(database.normal_url(database_url), connect_args=options, poolclass=sa.NullPool)
        is_told = "synchronous_commit is off" in facts(replace(healthy, db=db), "database")
        assert is_told is (value == "off")


def test_the_command_says_what_to_do_and_ends_with_its_code(healthy: ExaminedSystem, db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(sa.text(next(one.sql for one in FAULTS if one.check == "queue")))
    result = CliRunner().invoke(app, ["doctor", "--only", "queue", "--json"])
    assert result.exit_code == 1
    (one,) = json.loads(result.stdout)
    assert (one["id"], one["state"], one["findings"][0]["state"]) == ("queue", "warn", "warn")
    words = CliRunner().invoke(app, ["doctor", "--only", "queue"])
    assert "To fix it:" in words.stdout
    assert CliRunner().invoke(app, ["doctor", "--only", "zones"]).exit_code == 0
    unknown: Any = CliRunner().invoke(app, ["doctor", "--only", "nothing"])
    assert "there is no such check" in str(unknown.exception)


def test_a_weekly_row_is_well_until_its_next_tick(healthy: ExaminedSystem, db: Engine) -> None:
    tick = datetime(2026, 11, 22, 6, tzinfo=UTC)  # a Sunday, 03:00 in São Paulo
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "ALTER TABLE kordant.scheduler_config DISABLE TRIGGER USER; "
                "UPDATE kordant.scheduler_config SET changed_at = '2026-11-01' WHERE job = 'cleanup'; "
            )
        )
        looked_at = "UPDATE kordant.schedule_progress SET until = :at WHERE job = 'cleanup'"
        connection.execute(sa.text(looked_at), {"at": tick})
    assert "schedules" not in wrong(replace(healthy, clock=lambda: tick + timedelta(days=6)))
    assert "schedules" in wrong(replace(healthy, clock=lambda: tick + timedelta(days=7, hours=2)))


def test_daemons_of_a_process_that_was_replaced_are_no_concern(healthy: ExaminedSystem, db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE SCHEMA IF NOT EXISTS dagster; CREATE TABLE dagster.daemon_heartbeats (daemon_type text, "
                "daemon_id text, timestamp timestamp); INSERT INTO dagster.daemon_heartbeats VALUES "
                "('QUEUED_RUN_COORDINATOR', 'old', now() AT TIME ZONE 'UTC' - interval '1 day'), "
                "('SENSOR', 'new', now() AT TIME ZONE 'UTC')"
            )
        )
    assert "daemon" not in wrong(healthy)
