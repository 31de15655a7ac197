"""Commands are imported when they are called, and not before."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.bootstrap.version import version_of
from kordant_jobs.cli.main import GROUPS

HEAVY = "{'sqlalchemy', 'dagster', 'pandas', 'polars', 'pydantic'}"


@pytest.mark.parametrize("name", GROUPS)
def test_every_lazy_command_is_there_and_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = GROUPS[name].load(name)
    assert command.name == name
    with typer.Context(command) as context:
        command.get_help(context)
    assert "Usage" in capsys.readouterr().out


def test_the_help_imports_nothing_heavy_and_names_every_command() -> None:
    code = (
        "import sys; from kordant_jobs.cli.main import app\n"
        "try: app(['--help'])\n"
        f"except SystemExit: print('heavy:', sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    assert all(f" {name} " in done.stdout for name in (*GROUPS, "up", "demo", "test"))


def test_the_version_is_the_packages_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kordant_jobs.cli.main import app\n"
        "try: app(['--version'])\n"
        f"except SystemExit as end: print('ended', end.code, 'heavy:', sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wanted = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    version, ended = done.stdout.splitlines()
    assert ended == "ended 0 heavy: []"
    assert re.fullmatch(rf"kordant-jobs {re.escape(wanted)}( \(commit [0-9a-f]{{10,}}\+?\))?", version)


def test_outside_of_a_checkout_the_version_is_that_of_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "kordant_jobs-7.8.9.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: kordant-jobs\nVersion: 7.8.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert version_of(tmp_path / "no-checkout") == "7.8.9"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "1"\n')
    assert version_of(tmp_path) == "7.8.9"
