"""`kordant-jobs db prune`, as a person types it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.notifications_send import NotificationsSend
from kordant_jobs.cli.data import db_app
from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.lab.engine import FakeClock, drain, statuses


def run(*words: str) -> Any:
    result = CliRunner().invoke(db_app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("settings")
def test_dry_run_counts_ahead_and_rows_stay_as_long_as_is_set(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()  # its time is long past
    with db.begin() as connection:
        enqueue(connection, NotificationsSend(), requested_by="test", now=clock.now())
    drain(db, {"notifications_send": lambda work: None}, clock)
    monkeypatch.setenv("KORDANT_KEEP_DONE_DAYS", "36500")
    assert run("prune")["requests"] == 0
    monkeypatch.setenv("KORDANT_KEEP_DONE_DAYS", "0.5")
    assert run("prune", "--dry-run")["requests"] == 1
    assert statuses(db) == {RequestStatus.COMPLETED: 1}
    assert run("prune")["requests"] == 1
    assert statuses(db) == {}
