"""What goes wrong is said in one line that tells what to do, with exit code 1, no traceback and no secret.

Most commands run in this process, which spares the second that a new one takes to import everything.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.main import main
from kordant_jobs.store.darkwatch.tables import breaches
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.conftest import MASTER_KEY

Ran = tuple[int, str, str]
"""Exit code, standard output, standard error."""


def _kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("KORDANT_", "DAGSTER"))}


def _spawn(*arguments: str, **environ: str) -> Ran:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "kordant_jobs.cli", *arguments],
        cwd=CHECKOUT,
        env={**_kept(), **environ, "NO_COLOR": "1", "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command in this process, with the same words and environment."""

    def call(*arguments: str, **environ: str) -> Ran:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name in set(os.environ) - set(_kept()):
                patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["kordant-jobs", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return call


def _one_line(ran: Ran, says: str) -> None:
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
    ran = _spawn("status", KORDANT_STATE_DIR=str(tmp_path), KORDANT_DATABASE_URL="sesame@host/db")
    _one_line(ran, "KORDANT_DATABASE_URL is no Postgres URL")
    assert "sesame" not in ran[2]


def test_a_server_that_is_not_there(tmp_path: Path, run: Callable[..., Ran]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://u:sesame@127.0.0.1:{taken.getsockname()[1]}/d"
        ran = run("status", KORDANT_STATE_DIR=str(tmp_path), KORDANT_DATABASE_URL=url)
    _one_line(ran, "Postgres cannot be reached .*Check KORDANT_DATABASE_URL")
    assert "sesame" not in ran[2]


def test_no_master_key_for_an_own_database(environ: Mapping[str, str], run: Callable[..., Ran]) -> None:
    without = {name: value for name, value in environ.items() if name != "KORDANT_MASTER_KEY"}
    _one_line(run("status", **without), "there is no master key: .* is absent and KORDANT_MASTER_KEY is unset")


def test_another_master_key(environ: Mapping[str, str], db: Engine, keyring: Keyring, run: Callable[..., Ran]) -> None:
    with db.begin() as connection:
        keyring.check(connection)
    other = base64.b64encode(b"\x07" * 32).decode()
    ran = run("status", **{**environ, "KORDANT_MASTER_KEY": other})
    _one_line(ran, "the master key is not the one this database was written with")
    assert other not in ran[2]


def test_a_setting_of_the_wrong_kind(tmp_path: Path, run: Callable[..., Ran]) -> None:
    ran = run("settings", KORDANT_STATE_DIR=str(tmp_path), KORDANT_WEB_PORT="many")
    _one_line(ran, "KORDANT_WEB_PORT is wrong")


def test_a_catalogue_that_is_not_json_changes_nothing(
    environ: Mapping[str, str], db: Engine, tmp_path: Path, run: Callable[..., Ran]
) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text("<html>busy</html>")
    _one_line(run("catalogue", "import", str(path), **environ), "the breach catalogue is not JSON")
    with db.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(breaches)).scalar_one() == 0


def test_a_dump_id_that_is_none(environ: Mapping[str, str], run: Callable[..., Ran]) -> None:
    _one_line(run("dumps", "retry", "nonsense", **environ), "'nonsense' is no dump id")


def test_an_unknown_shape_lists_those_there_are(
    environ: Mapping[str, str], tmp_path: Path, run: Callable[..., Ran]
) -> None:
    path = tmp_path / "dump.txt"
    path.write_text("a@example.com:x\n")
    ran = run("dumps", "add", str(path), "--shape", "tree", **environ)
    _one_line(ran, "there is no such shape; choose one of combo, ")


def test_a_wrong_word_is_exit_code_2() -> None:
    assert _spawn("fly")[0] == 2


def test_a_near_miss_is_helped() -> None:
    code, _, err = _spawn("requets")
    assert code == 2
    assert "Did you mean 'requests'" in err


def test_status_as_json_is_one_object(environ: Mapping[str, str], run: Callable[..., Ran]) -> None:
    code, out, err = run("status", "--json", **environ)
    assert (code, err) == (0, "")
    assert '"exposures": {}' in out


def test_a_dump_is_added_and_listed_once(environ: Mapping[str, str], tmp_path: Path, run: Callable[..., Ran]) -> None:
    path = tmp_path / "jane@example.com.txt"
    path.write_text("a@example.com:x\n")
    assert "registered as" in run("dumps", "add", str(path), "--known-at", "2026-03-01", **environ)[1]
    assert "known already" in run("dumps", "add", str(path), **environ)[1]
    listed = run("dumps", "list", **environ)[1]
    assert listed.count("registered") == 1
    assert "jane@example.com" not in listed


def test_a_dump_is_read_as_the_operator_says(
    environ: Mapping[str, str], tmp_path: Path, run: Callable[..., Ran]
) -> None:
    path, columns = tmp_path / "dump.txt", tmp_path / "map.yaml"
    path.write_text("".join(f"x{at}|030 9018{at:02}|y\n" for at in range(20)))
    columns.write_text("delimiter: '|'\ncolumns: {2: phone}\n")
    told = ("--columns", str(columns), "--region", "de")
    _one_line(run("dumps", "add", str(path), "--region", "nowhere", **environ), "there is no such country")
    assert json.loads(run("dumps", "explain", str(path), *told, "--json", **environ)[1])["would_be"] == "ingested"
    assert "registered as" in run("dumps", "add", str(path), *told, **environ)[1]
    assert run("corpus", "ingest", **environ)[0] == 0
    (dump,) = json.loads(run("dumps", "list", "--json", **environ)[1])
    assert (dump["status"], dump["records"]) == ("ingested", 20)
