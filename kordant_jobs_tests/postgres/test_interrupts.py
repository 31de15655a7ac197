"""Ctrl-C ends a command that waits for Postgres, and the statement on the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import sqlalchemy as sa
from sqlalchemy import Engine

WAITS = """
import os, sqlalchemy as sa
from kordant_jobs.cli.output import one_line_errors
from kordant_jobs.postgres import database, interrupts
interrupts.cancel_on_interrupt()
with one_line_errors(), database.create_engine(os.environ["URL"]).connect() as connection:
    connection.execute(sa.text("SELECT pg_sleep(60) AS waits_for_the_test"))
"""
RUNNING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%waits_for_the_test%' AND pid <> pg_backend_pid() "
    "AND state = 'active' AND datname = current_database()"
)


def _running(db: Engine) -> int:
    with db.connect() as connection:
        return int(connection.execute(RUNNING).scalar_one())


def test_ctrl_c_ends_a_command_that_waits_for_a_statement(db: Engine, database_url: str) -> None:
    environ = {**os.environ, "URL": database_url}
    command = [sys.executable, "-c", WAITS]
    with subprocess.Popen(
        command, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a shell's & ignores it
    ) as child:  # fmt: skip
        while not _running(db) and child.poll() is None:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (130, "stopped\n")
    assert _running(db) == 0
