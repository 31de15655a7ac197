"""`test`: format, lint, types, import contracts, tests. Each step is its tool's own command."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from kordant_jobs.bootstrap import die_with_parent
from kordant_jobs.bootstrap.kept import GRACE_S
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import bold, err, out
from kordant_jobs.errors import SettingsError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

STEPS: Mapping[str, Sequence[str]] = {
    "format": ("ruff", "format", "--check", "--quiet", "."),
    "lint": ("ruff", "check", "--quiet", "."),
    "types": ("mypy", "-n", "2"),
    "imports": ("importlinter.cli", "lint"),
    "tests": ("pytest", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"),  # in our order: long ones first
}


def _command(step: str, pytest_arguments: Sequence[str]) -> list[str]:
    tool, *rest = STEPS[step]
    if tool == "importlinter.cli":
        code = "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())"
        return [sys.executable, "-c", code]
    return [sys.executable, "-m", tool, *rest, *(pytest_arguments if step == "tests" else ())]


def _run(command: Sequence[str]) -> int:
    """The command's exit code. However this process ends, the command's servers and test workers end with it."""
    kept = [sys.executable, "-I", "-S", die_with_parent.__file__, str(GRACE_S), *command]
    # without bytecode on disk each of a run's processes compiles every module again: a tenth of its CPU time
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(kept, cwd=CHECKOUT, env=environ, stdin=subprocess.PIPE) as process:
        return process.wait()


def check(*, only: str | None, pytest_arguments: Sequence[str]) -> int:
    """Run all steps, or one, in the checkout; a failed step does not stop the others. Returns 0 when all passed.

    Raises:
        SettingsError: there is no such step.
    """
    if only is not None and only not in STEPS:
        raise SettingsError(f"--only {only}: there is no such step; choose one of {', '.join(STEPS)}.")
    failed = []
    for step in [only] if only else STEPS:
        err.print(bold(step, " …"))
        started = time.monotonic()
        code = _run(_command(step, pytest_arguments))
        word, style = ("passed", "green") if code == 0 else ("failed", "bold red")
        err.print(bold(f"{step} {word}", f" in {time.monotonic() - started:.0f} s", style=style))
        if code:
            failed.append(step)
    if only in (None, "tests") and not any(map(shutil.which, BROWSERS)):
        err.print(
            "left out: the tests that drive a browser, since there is no Chromium here (apt-get install chromium)"
        )
    out.print("all checks passed" if not failed else f"failed: {', '.join(failed)}")
    return 1 if failed else 0
