"""Child processes that never outlive this one, and their logs; `die_with_parent.py` is the other half."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

GRACE_S = 20.0
"""Seconds for a child to end on SIGTERM: a code server waits for the runs that it started."""
EXTRA_S = 8.0
"""Seconds that the supervisor needs beyond the grace time: final reports of run workers, SIGKILL, and a slow
machine."""
LOGS_KEPT = 3
LOG_BYTES = 20 << 20
"""The size above which a log is rotated while its process runs: with three older ones at most 80 MB for each
process."""

_SUPERVISOR = Path(__file__).with_name("die_with_parent.py")


@dataclass(kw_only=True)
class SupervisedProcess:
    """One command under a small supervisor process, `die_with_parent`: the command and all its children end when our
    process ends, even if it is killed. `keep_open` are descriptors that the supervisor keeps open (a lock, for
    example); the command does not get them. Output is appended to `log`."""

    name: str
    command: list[str]
    log: Path
    environ: Mapping[str, str]
    cwd: Path
    keep_open: tuple[int, ...] = ()
    orphaned_grace_s: float = GRACE_S
    """Seconds that the command has to end after our process was killed."""
    started_at: float = 0.0
    """Monotonic time of the start."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def spawn(self) -> None:
        """Start the command. A command started before must have ended."""
        supervisor = [sys.executable, "-I", "-S", str(_SUPERVISOR), str(self.orphaned_grace_s)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*supervisor, *self.command],
                stdin=subprocess.PIPE,  # its end tells the supervisor that we are no more
                stdout=log,
                stderr=log,
                env=dict(self.environ),
                cwd=self.cwd,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, in our order
                pass_fds=self.keep_open,
            )
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int | None:
        """The pid of the supervisor, which is the leader of the session."""
        return self._process.pid if self._process else None

    def ended(self) -> int | None:
        """The exit code once the command has ended; None while it runs or when it was never started."""
        return self._process.poll() if self._process else None

    def end(self, grace_s: float) -> None:
        """Send SIGTERM, wait up to `grace_s`, and then end every process of the command. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        for timeout_s in (grace_s, EXTRA_S):  # the second SIGTERM cuts the grace time short
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout_s)
        _kill_session(process.pid)  # only when the supervisor itself was killed is anything left
        process.wait()
        if process.stdin:
            process.stdin.close()


def rotate(log: Path) -> None:
    """Make room for a new log: NAME.log becomes NAME.log.1, and so on; three are kept."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for age in range(LOGS_KEPT, 0, -1):
        older = log.with_name(f"{log.name}.{age}")
        newer = log.with_name(f"{log.name}.{age - 1}") if age > 1 else log
        if newer.exists():
            newer.replace(older)


def rotate_in_place(log: Path, *, above: int = LOG_BYTES) -> bool:
    """Rotate a log larger than `above` bytes while a process writes to it: its content moves to NAME.log.1, and the
    file, which is only appended to, is truncated. A line written at that moment may be lost."""
    try:
        if log.stat().st_size <= above:
            return False
        for age in range(LOGS_KEPT, 1, -1):
            newer = log.with_name(f"{log.name}.{age - 1}")
            if newer.exists():
                newer.replace(log.with_name(f"{log.name}.{age}"))
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
    except OSError:
        return False  # a full disk, say: the next look tries again
    return True


def last_log_line(log: Path) -> str:
    """The last line of a log, shortened: most likely the error."""
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip()[:160] for line in reversed(lines) if line.strip()), "no words")
    return "no words"


def _kill_session(leader: int) -> None:
    """Send SIGKILL to the remaining processes of a session; all of them were started for us."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(entry.name)) == leader:
                os.kill(int(entry.name), signal.SIGKILL)
    with suppress(OSError):
        os.killpg(leader, signal.SIGKILL)
