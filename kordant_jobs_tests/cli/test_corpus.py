"""`kordant-jobs corpus` on an empty and on a filled corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kordant_jobs.cli.main import app


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("KORDANT_STATE_DIR", str(tmp_path / "state"))
    return CliRunner()


def test_an_empty_corpus_is_told_without_a_database(run: CliRunner, tmp_path: Path) -> None:
    done = run.invoke(app, ["corpus", "status", "--json"])
    facts = json.loads(done.stdout)
    assert (facts["dumps"], facts["records"], facts["bytes"], facts["drafts"]) == (0, 0, 0, 0)
    assert not (tmp_path / "state" / "postgres").exists()
