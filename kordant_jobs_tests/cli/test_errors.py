"""What goes wrong is said in one line that tells what to do, with exit code 1, no traceback and no secret."""

from __future__ import annotations

import base64
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.store.keyring import Keyring
from kordant_jobs.store.schema import breaches
from kordant_jobs_tests.conftest import MASTER_KEY


def _run(*arguments: str, **environ: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KORDANT_", "DAGSTER"))}
    done = subprocess.run(
        [sys.executable, "-m", "kordant_jobs.cli", *arguments],
        cwd=CHECKOUT,
        env={**kept, **environ, "NO_COLOR": "1", "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def _one_line(ran: tuple[int, str, str], says: str) -> None:
    code, _, err = ran
    lines = err.strip().splitlines()
    assert code == 1
    assert len(lines) == 1, err
    assert re.search(says, lines[0]), err


@pytest.fixture
def environ(tmp_path: Path, database_url: str) -> Mapping[str, str]:
    """A state folder and a database of the test's own."""
    return {
        "KORDANT_STATE_DIR": str(tmp_path / "state"),
        "KORDANT_DATABASE_URL": database_url,
        "KORDANT_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
    }


def test_a_url_that_is_none(tmp_path: Path) -> None:
    ran = _run("status", KORDANT_STATE_DIR=str(tmp_path), KORDANT_DATABASE_URL="sesame@host/db")
    _one_line(ran, "KORDANT_DATABASE_URL is no Postgres URL")
    assert "sesame" not in ran[2]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://u:sesame@127.0.0.1:{taken.getsockname()[1]}/d"
        ran = _run("status", KORDANT_STATE_DIR=str(tmp_path), KORDANT_DATABASE_URL=url)
    _one_line(ran, "Postgres cannot be reached .*Check KORDANT_DATABASE_URL")
    assert "sesame" not in ran[2]


def test_no_master_key_for_an_own_database(environ: Mapping[str, str]) -> None:
    without = {name: value for name, value in environ.items() if name != "KORDANT_MASTER_KEY"}
    _one_line(_run("status", **without), "there is no master key: .* is absent and KORDANT_MASTER_KEY is unset")


def test_another_master_key(environ: Mapping[str, str], db: Engine, keyring: Keyring) -> None:
    with db.begin() as connection:
        keyring.check(connection)
    other = base64.b64encode(b"\x07" * 32).decode()
    ran = _run("status", **{**environ, "KORDANT_MASTER_KEY": other})
    _one_line(ran, "the master key is not the one this database was written with")
    assert other not in ran[2]


def test_a_setting_of_the_wrong_kind(tmp_path: Path) -> None:
    ran = _run("settings", KORDANT_STATE_DIR=str(tmp_path), KORDANT_WEB_PORT="many")
    _one_line(ran, "KORDANT_WEB_PORT is wrong")


def test_a_catalogue_that_is_not_json_changes_nothing(environ: Mapping[str, str], db: Engine, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text("<html>busy</html>")
    _one_line(_run("catalogue", "import", str(path), **environ), "the breach catalogue is not JSON")
    with db.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(breaches)).scalar_one() == 0


def test_a_dump_id_that_is_none(environ: Mapping[str, str]) -> None:
    _one_line(_run("dumps", "retry", "nonsense", **environ), "'nonsense' is no dump id")


def test_an_unknown_shape_lists_those_there_are(environ: Mapping[str, str], tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_text("a@example.com:x\n")
    ran = _run("dumps", "add", str(path), "--shape", "tree", **environ)
    _one_line(ran, "there is no such shape; choose one of combo, ")


def test_a_wrong_word_is_exit_code_2() -> None:
    assert _run("fly")[0] == 2


def test_status_as_json_is_one_object(environ: Mapping[str, str]) -> None:
    code, out, err = _run("status", "--json", **environ)
    assert (code, err) == (0, "")
    assert '"exposures": {}' in out


def test_a_dump_is_added_and_listed_once(environ: Mapping[str, str], tmp_path: Path) -> None:
    path = tmp_path / "jane@example.com.txt"
    path.write_text("a@example.com:x\n")
    assert "registered as" in _run("dumps", "add", str(path), "--known-at", "2026-03-01", **environ)[1]
    assert "known already" in _run("dumps", "add", str(path), **environ)[1]
    listed = _run("dumps", "list", **environ)[1]
    assert listed.count("registered") == 1
    assert "jane@example.com" not in listed
