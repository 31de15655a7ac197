"""`kordant-jobs agents grant`: a new grant asks a person first, and a later one keeps what was decided."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.settings import Settings


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["agents", *words])
    assert done.exit_code == 0, done.output
    return done.output


def grant() -> Any:
    (found,) = json.loads(run("show", "agent:a", "--json"))
    return found


def test_a_new_grant_asks_a_person_first_and_a_later_one_keeps_what_was_decided(settings: Settings, db: Engine) -> None:
    assert "first_trigger" in run("grant", "agent:a", "darkwatch.scan")
    assert grant()["ask_first"] is True
    run("grant", "agent:a", "darkwatch.scan", "--no-ask-first")
    assert "first_trigger" not in run("grant", "agent:a", "darkwatch.scan", "--per-hour", "5")
    assert (grant()["ask_first"], grant()["requests_per_hour"], grant()["version"]) == (False, 5, 3)
