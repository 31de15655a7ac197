"""A run that is cut off from the database ends itself, and all that it started, before its work is another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine.runs import FENCED
from kordant_jobs_tests.engine.launcher.conftest import alive, until
from kordant_jobs_tests.engine.toy_app import EFFECTS
from kordant_jobs_tests.relay import Relay

LEASE_S = 2.0
RUN = """
import sys
import dagster as dg
from kordant_jobs_tests.engine.toy_definitions import defs
with dg.DagsterInstance.ephemeral() as instance:
    config = {"how": sys.argv[1], "folder": sys.argv[2], "number": 1}
    defs.resolve_job_def("chore").execute_in_process(
        instance=instance, raise_on_error=False, run_config={"ops": {"do_chore": {"config": config}}})
"""


def start(url: str, folder: Path, how: str) -> subprocess.Popen[bytes]:
    """A run in a process of its own that has effects outside, every 20 ms."""
    folder.mkdir()
    environ = {
        **os.environ,
        "KORDANT_DATABASE_URL": url,
        "KORDANT_LEASE_S": str(LEASE_S),
        "KORDANT_STATE_DIR": str(folder / "state"),
    }
    return subprocess.Popen([sys.executable, "-c", RUN, how, str(folder)], env=environ, cwd=CHECKOUT)


def effects(folder: Path) -> Sequence[tuple[float, int]]:
    """When the run did something outside, and its child's process."""
    lines = (folder / "outside").read_text().splitlines() if (folder / "outside").exists() else []
    return [(float(when), int(pid)) for when, pid in (line.split() for line in lines)]


@pytest.mark.timeout(90)
def test_a_run_that_cannot_renew_its_lease_ends_itself_and_its_children_within_the_lease(
    database_url: str, db: Engine, tmp_path: Path
) -> None:
    with db.begin() as connection:
        connection.execute(sa.text(EFFECTS))
    with Relay(database_url) as relay:
        runs = {how: (start(relay.url, tmp_path / how, how), tmp_path / how) for how in ("outside", "outside, deaf")}
        until(lambda: all(effects(folder) for _, folder in runs.values()))
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 1.5 * LEASE_S)  # a lease is renewed meanwhile
        assert all(process.poll() is None for process, _ in runs.values())
        relay.cut()
        cut_at = time.monotonic()
        assert {process.wait(LEASE_S + 3) for process, _ in runs.values()} == {FENCED}
        for _, folder in runs.values():
            last_at, child = effects(folder)[-1]
            assert last_at - cut_at <= LEASE_S
            assert not alive(child)


def test_a_run_that_was_paused_for_longer_than_its_lease_ends_itself_when_it_wakes(
    database_url: str, db: Engine, tmp_path: Path
) -> None:
    with db.begin() as connection:
        connection.execute(sa.text(EFFECTS))
    process = start(database_url, tmp_path / "run", "outside, deaf")
    until(lambda: effects(tmp_path / "run"))
    process.send_signal(signal.SIGSTOP)
    paused_at = time.monotonic()
    until(lambda: time.monotonic() > paused_at + LEASE_S)
    process.send_signal(signal.SIGCONT)
    assert process.wait(3) == FENCED
