"""The code server's second process, started ahead: it becomes what it is told, with our code as it is by then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine.dagster_private import DAGSTER_VERSION
from kordant_jobs.engine.dagster_private.code_server import AHEAD, CODE_SERVER
from kordant_jobs_tests.engine.toy_app import SYSTEM

BROKEN_APP = """
import sys
from dataclasses import replace
from kordant_jobs.engine.processes import main
from kordant_jobs_tests.engine.toy_app import SYSTEM
sys.exit(main(replace(SYSTEM, app="broken_app", definitions="no_such_module")))
"""


def ahead(folder: Path, app: str = SYSTEM.app) -> subprocess.Popen[str]:
    environ = {**os.environ, "KORDANT_STATE_DIR": str(folder), "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", app, CODE_SERVER, AHEAD]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, cwd=CHECKOUT, text=True
    )


def test_it_becomes_the_command_that_it_is_given(tmp_path: Path) -> None:
    with ahead(tmp_path) as process:
        said, _ = process.communicate(json.dumps(["--version"]) + "\n", timeout=120)
    assert process.returncode == 0
    assert DAGSTER_VERSION in said


def test_it_waits_also_when_the_code_is_broken_since_it_may_be_whole_by_then(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text(BROKEN_APP, encoding="utf-8")
    with ahead(tmp_path, "broken_app") as process:
        said, _ = process.communicate(json.dumps(["--version"]) + "\n", timeout=120)
    assert process.returncode == 0
    assert DAGSTER_VERSION in said


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    with ahead(tmp_path) as process:
        process.communicate("", timeout=120)
    assert process.returncode == 0
