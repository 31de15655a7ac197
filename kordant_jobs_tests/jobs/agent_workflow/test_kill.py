"""Executions that real processes take on: one is killed in the middle of a step, and one waits without any."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.settings import Settings
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.agent_workflow.test_workflow import (
    END,
    GATE,
    SCAN,
    Ask,
    app,
    approved,
    ask,
    begun,
    callers,
    grant,
    requests_of,
    shown,
)

__all__ = ["app", "ask", "callers", "grant"]

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("settings")]

CHOICE = {
    "type": "decide", "name": "choice", "on": "${inputs.who}",
    "cases": [{"op": "eq", "value": "nobody", "goto": "end"}], "otherwise": "scan",
}  # fmt: skip
ADVANCE = """
import sys
from datetime import UTC, datetime
from uuid import UUID
from kordant_jobs.cli.session import open_session
from kordant_jobs.jobs.agent_workflow import service
with open_session() as session:
    came = service.advance(UUID(sys.argv[1]), db=session.db, keyring=session.keyring, now=datetime.now(UTC))
print(came.steps, came.status)
"""
STALLED = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    AND query LIKE '%audit_log%'"""


def _process(execution: UUID) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", ADVANCE, str(execution)], stdout=subprocess.PIPE, text=True)


def _take_on(execution: UUID) -> str:
    """What a process says that takes the execution on and has ended."""
    process = _process(execution)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.strip()


@contextmanager
def _audit_log_held(db: Engine) -> Iterator[None]:
    """Entries wait meanwhile: an effect of a step is made by then, and its transaction not ended."""
    with db.connect() as connection:
        connection.execute(sa.text("LOCK TABLE kordant.audit_log IN SHARE ROW EXCLUSIVE MODE"))
        yield
        connection.rollback()


def _until_it_stalls(db: Engine, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "it ended before the step that was to be killed"
        with db.connect() as connection:
            if connection.execute(sa.text(STALLED)).scalar_one():
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError("it never came to the step")


def test_a_process_that_is_killed_in_a_step_leaves_nothing_of_it_and_the_next_goes_on_there(
    ask: Ask, db: Engine, keyring: Keyring, settings: Settings
) -> None:
    execution = begun(ask, approved(ask, CHOICE, SCAN, END))
    with _audit_log_held(db):
        process = _process(execution)
        _until_it_stalls(db, process)
        process.kill()
        assert process.wait(20) == -9
    (done,) = shown(ask, execution)["steps"]
    assert (done["name"], done["status"]) == ("choice", "done")
    assert requests_of(db, "darkwatch_scan") == []
    assert _take_on(execution) == "2 completed"
    assert len(requests_of(db, "darkwatch_scan")) == 1
    first, *_ = shown(ask, execution)["steps"]
    assert first == done, "the step before was not done again"
    assert _take_on(execution) == "0 completed"
    assert len(requests_of(db, "darkwatch_scan")) == 1
    with db.connect() as connection:
        assert log.check(connection, keyring).holds


def test_an_execution_waits_for_a_person_without_a_process(ask: Ask, db: Engine) -> None:
    execution = begun(ask, approved(ask, GATE, SCAN, END))
    assert _take_on(execution) == "0 running"
    change_id = shown(ask, execution)["steps"][0]["change_id"]
    digest = ask("admin", "GET", f"/change-sets/{change_id}").json()["digest"]
    assert ask("operator", "POST", f"/change-sets/{change_id}/approve", json={"digest": digest}).is_success
    assert requests_of(db, "darkwatch_scan") == []
    assert _take_on(execution) == "3 completed"
    assert len(requests_of(db, "darkwatch_scan")) == 1
