"""The doctor's checks of processes, ports, files, models and tokens: each finds its fault, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.api.gate import Tokens
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.observability import system_checks
from kordant_jobs.observability.checks import CHECKS
from kordant_jobs.observability.doctor import ExaminedSystem, State, examine
from kordant_jobs.settings import Settings
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.observability.conftest import Warm, changed, facts, only, run, wrong
from kordant_jobs_tests.voices import models_folder


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    with socket.create_server((host, 0)) as server:
        yield int(server.getsockname()[1])


@contextmanager
def started(code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that has printed a line, and ends at the end."""
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        yield child
        child.communicate(b"\n")


@pytest.mark.injects("secrets")
def test_keys_that_others_can_read_are_reported(healthy: ExaminedSystem, tmp_path: Path) -> None:
    key = tmp_path / "vapid.pem"
    key.write_text("x")
    key.chmod(0o600)
    system = changed(healthy, vapid_key_path=key)
    assert "secrets" not in wrong(system)
    key.chmod(0o640)
    assert only(system, "secrets") == f"{key} (KORDANT_VAPID_KEY_PATH) has the mode -rw-r-----"
    key.chmod(0o600)
    state = healthy.settings.state_dir
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o755)
    assert "(the state folder) has the mode drwxr-xr-x" in only(system, "secrets")
    data = state / "postgres" / "data"  # of a Postgres that root runs as another user, who enters the folder
    data.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(data, 65534, 65534)
        assert "secrets" not in wrong(system)
        state.chmod(0o757)
        assert "(the state folder) has the mode drwxr-xrwx" in only(system, "secrets")
    state.chmod(0o700)
    healthy.settings.operator_token.write_text("x")
    healthy.settings.operator_token.chmod(0o604)
    assert "(an operator's token) has the mode -rw----r--" in only(system, "secrets")


HEARTBEATS = (
    "CREATE SCHEMA IF NOT EXISTS dagster",
    "CREATE TABLE dagster.daemon_heartbeats (daemon_type text, daemon_id text, timestamp timestamp)",
    "INSERT INTO dagster.daemon_heartbeats VALUES ('SENSOR', 'a', now() AT TIME ZONE 'UTC')",
)


@pytest.mark.injects("leader")
def test_two_active_daemons_are_reported(healthy: ExaminedSystem, db: Engine) -> None:
    run(db, *HEARTBEATS)
    assert "leader" not in wrong(healthy)
    run(db, "INSERT INTO dagster.daemon_heartbeats VALUES ('SCHEDULER', 'b', now() AT TIME ZONE 'UTC')")
    assert only(healthy, "leader") == "2 daemon processes give signs of life"


@pytest.mark.injects("leader")
def test_a_missing_leader_is_reported(healthy: ExaminedSystem, db: Engine) -> None:
    """The lock is another application's: it has the same name in another database, or another one in this."""
    assert "leader" not in wrong(healthy)
    with db.connect() as other:
        other.execute(sa.text("SELECT pg_advisory_lock(4711)"))
        of_the_daemon = (
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid <> 4711 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        (pid,) = other.execute(sa.text(of_the_daemon)).scalars()
        other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        assert only(healthy, "leader") == "no daemon process leads"


@pytest.mark.injects("leader")
def test_a_missing_standby_is_reported(healthy: ExaminedSystem, db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_checks, "STANDBY_WITHIN_S", 0)
    assert "leader" not in wrong(healthy)
    standbys = (
        "FROM pg_stat_activity a WHERE datname = current_database() AND application_name = 'kordant_jobs.daemon' "
        "AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')"
    )
    run(db, f"SELECT pg_terminate_backend(pid, 5000) {standbys}")
    assert only(healthy, "leader") == "no second daemon process stands by"


@pytest.mark.injects("code")
def test_a_warm_process_with_other_code_than_on_disk_is_reported(
    healthy: ExaminedSystem, warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while it may still be trying it."""
    warm.code = "what was there before"
    monkeypatch.setattr(system_checks, "OUTDATED_AFTER_S", 1e9)
    assert "code" not in wrong(healthy)
    monkeypatch.setattr(system_checks, "OUTDATED_AFTER_S", -1e9)
    assert only(healthy, "code") == "the warm process runs other code than is on disk"


@pytest.mark.injects("code")
def test_a_warm_process_that_is_away_is_reported(healthy: ExaminedSystem, tmp_path: Path) -> None:
    elsewhere = changed(healthy, state_dir=tmp_path / "another")
    assert facts(elsewhere, "code") == ["the warm process does not answer"]


@pytest.mark.injects("processes")
def test_a_process_that_runs_out_of_files_is_reported(healthy: ExaminedSystem) -> None:
    code = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); "
        "kept = [os.dup(0) for _ in range(int(sys.argv[1]))]; print(len(kept), flush=True); input()"
    )
    for count, is_told in (("10", False), ("85", True)):
        with started(code, count) as child:
            found = facts(replace(healthy, stack={"pid": child.pid}), "processes")
            assert [
                f"(process {child.pid}) has {int(count) + 3} files open and may have 100" in one for one in found
            ] == ([True] * is_told)


@pytest.mark.injects("processes")
def test_a_part_that_has_grown_is_reported_and_a_run_is_not(
    healthy: ExaminedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` starts supervisors, a supervisor its part, and a part its runs."""
    grows = "held = bytearray(150_000_000); print(1, flush=True); input()"
    starts = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    monkeypatch.setattr(system_checks, "PART_MB", 100)
    for deep, is_told in (([starts], True), ([starts, starts], False)):
        with started(starts, *deep, grows) as top:
            found = facts(replace(healthy, stack={"pid": top.pid}), "processes")
            assert ["takes 1" in one for one in found] == [True] * is_told, found


@pytest.mark.injects("ports")
def test_a_part_that_does_not_answer_is_reported_by_its_port(healthy: ExaminedSystem) -> None:
    with listening() as port:
        stack = {"pid": os.getpid(), "urls": {"API": f"http://127.0.0.1:{port}/api/jobs"}}
        assert "ports" not in wrong(replace(healthy, stack=stack))
    assert only(replace(healthy, stack=stack), "ports") == f"API does not answer on port {port}"


@pytest.mark.injects("ports")
def test_another_program_on_the_port_of_the_pages_is_reported(healthy: ExaminedSystem) -> None:
    with listening() as port:
        taken = changed(replace(healthy, stack=None), public_url="https://k.example", public_port=port)
        assert only(taken, "ports") == f"another program listens on port {port}"
    assert "ports" not in wrong(taken)


@pytest.mark.injects("exposure")
def test_a_process_that_listens_beyond_this_machine_is_reported(healthy: ExaminedSystem) -> None:
    code = (
        "import socket, sys; s = socket.create_server((sys.argv[1], 0)); print(s.getsockname()[1], flush=True); input()"
    )
    for host, is_told in (("127.0.0.1", False), ("0.0.0.0", True)):
        with subprocess.Popen(
            [sys.executable, "-c", code, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            port = int(child.stdout.readline())
            system = replace(healthy, stack={"pid": child.pid})
            assert [f"listens on {host}:{port}" in one for one in facts(system, "exposure")] == [True] * is_told
            child.communicate(b"\n")


@pytest.mark.injects("children")
def test_a_secret_in_a_command_line_or_where_none_is_needed_is_reported(
    healthy: ExaminedSystem, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part gets the secrets that it needs: the warm process those of runs, the API its own, the daemon none."""
    folder = settings.state_dir
    config, stock = (
        StackConfig(checkout=folder, state_dir=folder, environ={"KORDANT_LAUNCHER": launcher}, web_port=1)
        for launcher in ("warm", "stock")
    )
    given = ("KORDANT_MASTER_KEY", "KORDANT_SMTP_URL", "KORDANT_WEBHOOK_SECRET", "KORDANT_OIDC_CLIENT_SECRET")
    _, mail, webhook, openid = given
    for name in given:
        monkeypatch.setenv(name, "k" * 43)
    monkeypatch.setenv("KORDANT_HIBP_API_KEY", "")
    monkeypatch.setenv("KORDANT_UI_SECRET", "of the web server's own")
    code = "print(1, flush=True); input()"
    for command, excess in (
        (config.warm_command(), {webhook, openid}),
        (config.code_server(None), {mail, webhook, openid}),
        (config.pages(1), {mail, openid}),
        (config.api_commands(1)["api"], {mail, webhook}),
        (config.host_command(), set(given)),
        (config.webserver_command(1), set(given)),
        (config.daemon_command(), set(given)),
        (stock.daemon_command(), set(given)),
    ):
        with started(code, *command) as child:
            found = facts(replace(healthy, stack={"pid": child.pid}), "children")
            assert [one.partition(" holds ")[2] for one in found] == [", ".join(sorted(excess))]
    system = changed(healthy, hibp_api_key=SecretStr("much-too-open"))
    with started(code, "--key=much-too-open") as child:
        (fact,) = facts(replace(system, stack={"pid": child.pid}), "children")
    assert f"process {child.pid}) holds KORDANT_HIBP_API_KEY" in fact


@pytest.mark.injects("servers")
def test_another_process_on_our_port_is_reported(healthy: ExaminedSystem) -> None:
    """It shares the port without a word."""
    serves = (
        "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); "
        "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print(1, flush=True); input()"
    )
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        port = stranger.getsockname()[1]
        with started(serves, str(port)) as up:
            system = replace(healthy, stack={"pid": up.pid, "urls": {"API": f"http://127.0.0.1:{port}/api/jobs"}})
            assert facts(system, "servers") == []
            stranger.listen()
            assert facts(system, "servers") == [f"process {os.getpid()} listens on our port {port}, too"]


@pytest.mark.injects("servers")
def test_a_second_code_server_is_reported(healthy: ExaminedSystem, tmp_path: Path) -> None:
    """The socket's file is replaced, while the first server still listens and has a caller."""
    path = tmp_path / "code-server.sock"
    system = replace(healthy, stack={"pid": os.getpid(), "code_server": str(path)})
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(path))
        first.listen()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            assert facts(system, "servers") == []
            path.unlink()
            second.bind(str(path))
            second.listen()
            assert only(system, "servers") == f"2 code servers listen on {path}"


@pytest.mark.injects("runs")
def test_a_run_without_a_lease_is_reported(healthy: ExaminedSystem, db: Engine) -> None:
    run(
        db,
        "CREATE SCHEMA IF NOT EXISTS dagster",
        "CREATE TABLE dagster.runs (run_id text, pipeline_name text, status text, start_time float8)",
        "INSERT INTO dagster.runs SELECT name, job, status, extract(epoch FROM now()) - age FROM (VALUES "
        "('left', 'cleanup', 'STARTED', 300), ('new', 'cleanup', 'STARTED', 5), ('done', 'cleanup', 'SUCCESS', 300), "
        "('held', 'darkwatch_scan_premium', 'STARTED', 300), ('other', 'not_ours', 'STARTED', 300)) "
        "v (name, job, status, age)",
        "INSERT INTO kordant.job_leases (id, name, holder, run_id, taken_at, expires_at) SELECT gen_random_uuid(), "
        "'job:darkwatch_scan', 'h', 'held', now(), now() + interval '1 min'",
    )
    assert only(healthy, "runs") == "run left of cleanup is shown as running, and no process works on it"
    run(db, "UPDATE dagster.runs SET status = 'FAILURE' WHERE run_id = 'left'")
    assert "runs" not in wrong(healthy)


@pytest.mark.injects("schedules")
def test_a_schedule_that_was_never_checked_is_reported(healthy: ExaminedSystem, db: Engine) -> None:
    row = "DELETE FROM kordant.schedule_progress WHERE job = 'cleanup'"
    run(db, row)
    assert "schedules" not in wrong(healthy)  # it was made a moment ago
    run(
        db,
        "ALTER TABLE kordant.scheduler_config DISABLE TRIGGER USER",
        "UPDATE kordant.scheduler_config SET changed_at = now() - interval '20 days' WHERE job = 'cleanup'",
    )
    assert "has never been looked at" in only(healthy, "schedules")


ENROLMENT = (
    "SET LOCAL session_replication_role = replica; "
    "INSERT INTO kordant.voice_enrolments "
    "(id, subscriber_id, consent_id, model, embeddings_encrypted, clips, speech_s) "
    "SELECT gen_random_uuid(), id, gen_random_uuid(), 'm', '', 1, 1 FROM kordant.subscribers LIMIT 1"
)
"""Without the consent that it belongs to."""


@pytest.mark.injects("drop_places")
def test_a_drop_place_that_cannot_be_read_is_reported_once(
    healthy: ExaminedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing listens
    away = changed(healthy, voice_drop_url="s3://none/clips")
    assert only(away, "drop_places").startswith("dropped files cannot be listed")
    assert "KORDANT_VOICE_DROP_URL" in only(away, "drop_places")


@pytest.mark.injects("voices")
def test_clips_that_no_run_accepts_are_reported_by_reason_and_never_by_name(healthy: ExaminedSystem) -> None:
    folder, old = healthy.settings.voice_drop, time.time() - 2 * 3600
    folder.mkdir(parents=True)
    for name in ("call from Ana.wav", "Ana again.wav", "new.wav"):
        (folder / name).write_bytes(b"sound")
        os.utime(folder / name, (old, old))
    os.utime(folder / "new.wav")
    assert only(healthy, "voices") == "2 files in the drop folder of clips are not imported: 2 no id in the name"
    [result] = examine(healthy, {"voices": CHECKS["voices"]})
    assert "Ana" not in str(result)
    assert str(folder) in result.findings[0].fix


@pytest.mark.injects("models")
def test_missing_models_are_reported_if_voices_are_enrolled(
    healthy: ExaminedSystem, db: Engine, keyring: Keyring
) -> None:
    (models,) = examine(healthy, {"models": CHECKS["models"]})
    assert models.state is State.SKIPPED
    subscribe(db, keyring)
    run(db, ENROLMENT)
    assert "voices are watched" in only(healthy, "models")
    shutil.copytree(models_folder(), healthy.settings.models, ignore=shutil.ignore_patterns(".*"))
    (told,) = examine(healthy, {"models": CHECKS["models"]})
    assert told.state is State.OK
    with (healthy.settings.models / "aasist.onnx").open("r+b") as file:
        file.write(b"bad!")
    assert "aasist.onnx is not the file" in only(healthy, "models")


def token(db: Engine, keyring: Keyring, whose: str, *, created: timedelta, days: int) -> str:
    """A token of a service that was made so long ago."""
    with db.begin() as connection:
        people.save_principal(connection, whose, Role.SERVICE, by="user:t", tenants=["any"])
        written = people.create_token(connection, keyring, whose, (TokenScope.JOBS_READ,), days=days, by="user:t",
                                      now=datetime.now(UTC) - created)  # fmt: skip
        connection.execute(
            sa.text("UPDATE kordant.api_tokens SET created_at = now() - CAST(:created AS interval) "
                    "WHERE principal_id = :whose"), {"created": created, "whose": whose}
        )  # fmt: skip
    return written


@pytest.mark.parametrize(
    ("created_days", "days", "says"),
    [(1, 90, ""), (40, 30, "ended on"), (28, 30, "ends on"), (100, 300, "was not used ever"), (300, 90, "")],
)
def test_tokens_that_expire_or_are_unused_are_reported(
    healthy: ExaminedSystem, db: Engine, keyring: Keyring, created_days: int, days: int, says: str
) -> None:
    token(db, keyring, "service:a", created=timedelta(days=created_days), days=days)
    assert says in only(healthy, "tokens") if says else "tokens" not in wrong(healthy)


@pytest.mark.injects("tokens")
def test_a_use_of_a_token_is_noted_and_ends_the_finding(healthy: ExaminedSystem, db: Engine, keyring: Keyring) -> None:
    written = token(db, keyring, "service:a", created=timedelta(days=100), days=300)
    assert "was not used ever" in only(healthy, "tokens")
    door = Tokens(db, keyring)
    asyncio.run(door.principal(f"Bearer {written}"))
    door.note_uses()
    door.note_uses()
    assert "tokens" not in wrong(healthy)


@pytest.mark.injects("anchors")
def test_an_old_anchor_is_reported(healthy: ExaminedSystem, tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    system = changed(healthy, audit_anchor=path)
    assert "was never written" in only(system, "anchors")
    path.touch()
    assert "anchors" not in wrong(system)
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    assert only(system, "anchors") == "the anchor of the audit log is 60 min old"


@pytest.mark.long
def test_up_that_fails_prints_what_the_doctor_finds(settings: Settings, db: Engine) -> None:
    """It fails for the master key, and the findings name that check and the fix."""
    environ = {**os.environ, "KORDANT_MASTER_KEY": "A" * 43 + "="}
    command = [sys.executable, "-m", "kordant_jobs.cli", "up"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "what the doctor finds:" in done.stderr
    assert "master_key" in done.stderr
    assert "To fix it: set KORDANT_MASTER_KEY" in " ".join(done.stderr.split())
