"""Dagster's own commands in a checkout: what they find there, and that they end."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.catalog import SCHEDULES

WAITS = """
import signal, sys, time
from kordant_jobs.cli.passthrough import _run
waits = "import sys,time\\ntry:\\n print('ready',flush=True); time.sleep(60)\\nexcept KeyboardInterrupt: sys.exit(7)"
sys.exit(_run([sys.executable, "-c", waits], {}))
"""


BY_ITSELF = ["-c", "from kordant_jobs.instance import join; join()"]
AS_TYPED = ["-m", "kordant_jobs.cli", "dagster", "run", "list"]


@pytest.mark.parametrize("command", [BY_ITSELF, AS_TYPED])
def test_a_fresh_database_has_the_price_list_when_dagster_comes_first(
    db: Engine, database_url: str, tmp_path: Path, command: list[str]
) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("TRUNCATE kordant.scheduler_config CASCADE"))
        connection.execute(sa.text("TRUNCATE kordant.keyring_check"))
    environ = {**os.environ, "KORDANT_DATABASE_URL": database_url, "KORDANT_STATE_DIR": str(tmp_path)}
    environ["KORDANT_MASTER_KEY"] = base64.b64encode(bytes(32)).decode()
    subprocess.run([sys.executable, *command], cwd=CHECKOUT, env=environ, check=True, timeout=60)
    with db.connect() as connection:
        rows = connection.execute(sa.text("SELECT count(*) FROM kordant.scheduler_config")).scalar_one()
    assert rows == len(SCHEDULES)
    assert (tmp_path / "schedules.json").is_file()


def test_a_sigterm_reaches_the_command_also_behind_a_shells_ampersand() -> None:
    command = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", WAITS]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 7
