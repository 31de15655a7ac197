"""From `python3 -m kordant_jobs …` to the command proper, in a checkout of its own that locks no package."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kordant_jobs.bootstrap.state import CHECKOUT

CLI = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "cwd": os.getcwd(), "python": sys.executable, "mine": __file__}))
sys.exit(7)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "kordant jobs ü'$x"
    shutil.copytree(CHECKOUT / "kordant_jobs" / "bootstrap", folder / "kordant_jobs" / "bootstrap")
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(CHECKOUT / "kordant_jobs" / name, folder / "kordant_jobs")
    (folder / "kordant_jobs" / "cli").mkdir()
    (folder / "kordant_jobs" / "cli" / "__main__.py").write_text(CLI, encoding="utf-8")
    for name in ("pyproject.toml", "requirements.lock", "requirements-voice.lock", "requirements-dev.lock"):
        (folder / name).touch()
    return folder


def start(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # No uv, and no apt-get that would install Pango.
    environ = {"PATH": str(cwd / "no-tools"), "HOME": str(cwd), "LANG": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, check=False)


def test_the_first_start_sets_up_and_the_next_ones_go_straight_to_the_command(checkout: Path, tmp_path: Path) -> None:
    first = start(sys.executable, "-m", "kordant_jobs", "demo", "two words", cwd=checkout)
    assert first.returncode == 7, first.stderr
    assert "setting up" in first.stderr
    python = str(checkout / ".venv" / "bin" / "python")
    mine = str(checkout / "kordant_jobs" / "cli" / "__main__.py")
    told = ast.literal_eval(first.stdout)
    assert told == {"arguments": ["demo", "two words"], "cwd": str(checkout), "python": python, "mine": mine}

    second = start(sys.executable, "-m", "kordant_jobs", cwd=checkout)
    assert "setting up" not in second.stderr
    assert ast.literal_eval(second.stdout)["arguments"] == []

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(checkout / "kordant_jobs", elsewhere / "kordant_jobs")  # must not be taken for ours
    third = start("/bin/sh", checkout / ".venv" / "bin" / "kordant-jobs", "up", cwd=elsewhere)
    assert ast.literal_eval(third.stdout) == {**told, "arguments": ["up"], "cwd": str(elsewhere)}


@pytest.mark.parametrize("version", [(3, 8, 10), (3, 10, 14), (3, 15, 0)])
def test_a_python_that_is_too_old_or_too_new_gets_a_sentence(version: tuple[int, ...]) -> None:
    main = CHECKOUT / "kordant_jobs" / "__main__.py"
    code = f"import sys, runpy; sys.version_info = {version}; runpy.run_path({str(main)!r}, run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("kordant-jobs needs Python 3.11 to 3.14 and this is 3.")
    assert ended.stderr.count("\n") == 1


def test_the_first_file_parses_on_old_pythons() -> None:
    source = (CHECKOUT / "kordant_jobs" / "__main__.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 4))
    assert "__future__" not in source


def test_an_environment_that_cannot_be_made_is_one_line_and_exit_1(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "kordant_jobs", "demo"],
        capture_output=True, text=True, cwd=checkout, check=False,
        env={"PATH": "/nothing", "HOME": str(checkout), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.rstrip().splitlines()[-1]
    assert last.startswith("kordant-jobs: the packages could not be installed (No matching distribution found")
    assert str(checkout / ".state" / "logs" / "setup.log") in last
