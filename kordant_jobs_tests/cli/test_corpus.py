"""`kordant-jobs corpus` on an empty corpus, on a drop folder, and for an identifier that is looked up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.cli.main import app
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import Settings
from kordant_jobs_tests.jobs.darkwatch_scan.bench import SETTLED


def run(*words: str, typed: str | None = None, exit_code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["corpus", *words], input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == exit_code, done.output
    return done


def output_of(*words: str, typed: str | None = None, exit_code: int = 0) -> Any:
    return json.loads(run(*words, "--json", typed=typed, exit_code=exit_code).stdout)


@pytest.fixture
def drop(settings: Settings, db: Engine) -> Path:
    settings.drop.mkdir(parents=True)
    return settings.drop


def put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.write_bytes(content)
    os.utime(path, (SETTLED, SETTLED))


def test_an_empty_corpus_is_reported_without_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KORDANT_STATE_DIR", str(tmp_path / "state"))
    facts = output_of("status")
    assert (facts["dumps"], facts["records"], facts["bytes"], facts["drafts"]) == (0, 0, 0, 0)
    assert not (tmp_path / "state" / "postgres").exists()


def test_what_waits_is_ingested_without_a_scan_and_can_be_looked_up(drop: Path) -> None:
    put(drop, "x.txt", b"ann@example.com:hunter2\nbob@example.com:a\nANN@example.com:b\n")
    [row] = output_of("ingest")
    assert (row["lines"], row["records"], row["bad_lines"], row["problem"]) == (3, 3, 0, None)
    assert not dropped_files(drop), "an ingested file is removed"
    facts = output_of("status")
    assert (facts["dumps"], facts["records"], facts["drafts"]) == (1, 3, 0)
    [found] = output_of("lookup", "email", typed=" Ann@Example.com \n")
    assert found == {"dump": row["dump"], "line": 1, "occurrences": 2, "secret": "clear"}
    assert output_of("lookup", "email", typed="eve@example.com\n") == []


def test_ingesting_twice_does_nothing_more(drop: Path) -> None:
    put(drop, "x.txt", b"ann@example.com:hunter2\n")
    output_of("ingest")
    put(drop, "again.txt", b"ann@example.com:hunter2\n")
    assert output_of("ingest") == []
    assert "nothing waits" in run("ingest").stdout


def test_a_dump_that_cannot_be_read_is_reported_and_the_others_go_in(drop: Path) -> None:
    put(drop, "bad.gz", b"\x1f\x8b\x08\x00junk")
    put(drop, "good.txt", b"ann@example.com:hunter2\n")
    rows = output_of("ingest", exit_code=1)
    assert sorted(row["records"] for row in rows) == [0, 1]
    [problem] = [row["problem"] for row in rows if row["problem"]]
    assert "damaged" in problem


def test_what_is_looked_up_is_shown_nowhere(drop: Path) -> None:
    put(drop, "x.txt", b"ann@example.com:hunter2\n")
    run("ingest")
    done = run("lookup", "email", typed="ann@example.com\n")
    assert "ann@" not in done.output
    assert "hunter2" not in done.output


@pytest.mark.parametrize(
    ("kind", "typed", "word"), [("email", "no address", "that is no email"), ("shoe_size", "44", "is no kind")]
)
def test_what_is_no_identifier_is_refused_without_showing_it(drop: Path, kind: str, typed: str, word: str) -> None:
    with pytest.raises(SettingsError, match=word) as refused:
        run("lookup", kind, typed=f"{typed}\n")
    assert typed not in str(refused.value)
