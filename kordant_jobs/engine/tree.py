"""A run's process tree, read from /proc: its use of CPU and memory, and how to end it. Linux only."""

import ctypes
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, kw_only=True)
class TreeUse:
    """The CPU seconds used so far by a process and its descendants, and their resident memory now (shared pages
    divided)."""

    cpu_s: float
    memory_mb: float


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process as soon as its parent is gone. Cleared by fork, kept by exec."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, daemons of a double fork included."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start_ticks(pid: int) -> int | None:
    """The start of a process, in clock ticks since boot; with the pid it identifies a process for good. None: there is
    none."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def children(pid: int) -> list[int]:
    """The direct children of every thread of a process, zombies among them."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Every process below this one, parents before children."""
    found, layer = [], children(pid)
    while layer:
        found += layer
        layer = [child for parent in layer for child in children(parent)]
    return found


def session(leader: int) -> list[int]:
    """Every living process of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields and int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(entry.name))
    return found


def use(pid: int, *, exact_above_mb: float) -> TreeUse:
    """The use of a process tree. Memory is the sum of resident sets, which counts shared pages more than once, while
    that is below `exact_above_mb`; above it, the exact figure, which costs more."""
    members = [pid, *descendants(pid)]
    cpu_s = sum(_cpu_s(member) for member in members)
    memory_mb = sum(resident_mb(member) for member in members)
    if memory_mb > exact_above_mb:
        memory_mb = sum(_proportional_mb(member) for member in members)
    return TreeUse(cpu_s=cpu_s, memory_mb=memory_mb)


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a process and its descendants. The root is stopped first, so that it cannot end normally because
    a child is gone; it is killed last, so that the others can be found through it."""
    signal_to(pid, signal.SIGSTOP)
    kill_below(pid)
    signal_to(pid, signal.SIGKILL)


def kill_below(pid: int) -> None:
    """Send SIGKILL to all descendants of a process."""
    for _ in range(100):  # what is forked while we kill is found in the next round
        below = [member for member in descendants(pid) if start_ticks(member) is not None]
        for member in below:
            signal_to(member, signal.SIGKILL)
        if not below:
            break


def signal_to(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (field 3 of proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def _cpu_s(pid: int) -> float:
    """The CPU seconds of a process and its reaped children."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / _TICKS_PER_S if fields else 0.0


def resident_mb(pid: int) -> float:
    """Resident memory of one process, shared pages counted whole; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    except (OSError, ValueError, IndexError):
        return 0.0


def _proportional_mb(pid: int) -> float:
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return resident_mb(pid)
