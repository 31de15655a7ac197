"""Commands are imported when they are called, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

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
