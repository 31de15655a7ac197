"""kordant-jobs logs: the output of the processes of `up`."""

import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.cli.output import out, print_table, printable
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import load_settings

CHECK_EVERY_S = 0.3
"""Seconds between two checks of a log that is followed."""


def logs(
    part: Annotated[str | None, typer.Argument(help="daemon, webserver, warm, …; none: which there are.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="The last so many.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="And what comes, until Ctrl-C.")] = False,
) -> None:
    """Show the last lines of a process's log."""
    folder = load_settings().state_dir / "logs"
    there = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if part is None:
        print_table(
            ["part", "kB", "last written"],
            [(name, f"{path.stat().st_size / 1000:,.0f}", _written(path)) for name, path in there.items()],
        )
        return
    if part not in there:
        raise SettingsError(f"there is no log {part!r}; there are {', '.join(there) or 'none yet: start `up`'}.")
    path = there[part]
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            out.print(printable(line.rstrip("\n")))
        at = file.tell()
    while follow:
        time.sleep(CHECK_EVERY_S)
        at = _more(path, at)


def _written(path: Path) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))


def _more(path: Path, at: int) -> int:
    """Print the content after the place `at`. Returns the new end of the log. A shorter log was started again."""
    size = path.stat().st_size
    if size < at:
        at = 0
    if size > at:
        with path.open(encoding="utf-8", errors="replace") as file:
            file.seek(at)
            for line in file:
                out.print(printable(line.rstrip("\n")))
            at = file.tell()
    return at
