"""Steps of the set-up: short messages on stderr, the whole output in a log, one line when something fails."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STILL_AT_IT_S = 20.0
"""Seconds that a step stays silent before it reports that it is still running."""


class BootstrapError(Exception):
    """The environment cannot be made. The text is one line: what failed, and what to do next."""


def say(words: str) -> None:
    """Tell the person at the terminal what is happening."""
    sys.stderr.write(f"kordant-jobs: {words}\n")
    sys.stderr.flush()


def run_step(
    what: str,
    command: Sequence[str],
    *,
    log: Path,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    keep_open: tuple[int, ...] = (),
) -> bool:
    """Run `command` with its output appended to `log`. Returns whether it succeeded. `keep_open` are descriptors that
    the command inherits: with the lock among them, the lock is held until the command has ended, even when this process
    is killed."""
    with log.open("a", encoding="utf-8", errors="replace") as output:
        output.write(f"\n== {what}: {command[0]} ({time.strftime('%Y-%m-%d %H:%M:%S')})\n")
        output.flush()
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environ),
                cwd=cwd,
                pass_fds=keep_open,
            )
        except OSError as error:
            output.write(f"{error}\n")
            return False
        try:
            return _wait(child, what) == 0
        except BaseException:
            child.terminate()
            child.wait()
            raise


def _wait(child: subprocess.Popen[bytes], what: str) -> int:
    started = time.monotonic()
    while True:
        try:
            return child.wait(STILL_AT_IT_S)
        except subprocess.TimeoutExpired:
            say(f"{what}: still at it after {time.monotonic() - started:.0f} s")


def answer(command: Sequence[str], *, environ: Mapping[str, str], timeout_s: float = 60) -> str | None:
    """The stdout of `command`, or None when it fails or does not exist."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(environ),
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def fresh_log(folder: Path, name: str) -> Path:
    """An empty log in `folder`, mode 0600; the former one is kept as `NAME.1`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = folder / name
    if log.exists():
        log.replace(folder / f"{name}.1")
    os.close(os.open(log, os.O_CREAT | os.O_WRONLY, 0o600))
    return log
