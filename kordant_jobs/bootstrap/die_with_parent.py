"""Keep one command, and all that it starts, from outliving the process that asked for it.

Run by path, since it imports nothing of ours; stdin is a pipe whose other end only the parent has::

    python -I -S die_with_parent.py GRACE_S COMMAND…

The end of the pipe is the parent's death, kill -9 included; SIGTERM means the same. Then the command gets
SIGTERM and the grace time (a second SIGTERM cuts it short), what is left of its descendants SIGTERM and a
moment, and at last SIGKILL. They are found because this process is their subreaper (Linux) or shares its
group with them (elsewhere). The exit code is the command's, 128 + N when signal N ended it.
"""

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LAST_WORDS_S = 3.0
"""Seconds after the command has ended for its run workers and the like to record that they were stopped."""

_STOPPERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def keep(grace_s: float, command: Sequence[str]) -> int:
    """Run `command` until it, or the parent, ends, and leave no process of it behind."""
    linux = sys.platform == "linux"
    prctl: Callable[..., int] = ctypes.CDLL(None).prctl if linux else lambda *_: 0
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    stopping: list[int] = []
    for stopper in _STOPPERS:
        signal.signal(stopper, lambda number, _: stopping.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)

    child = os.fork()
    if child == 0:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _become(command)

    code: int | None = None
    deadline: float | None = None
    parent_lives = True
    while code is None:
        watched = [wake_read, *([0] if parent_lives else [])]
        ready, _, _ = select.select(watched, [], [], 1.0)
        if wake_read in ready:
            os.read(wake_read, 4096)
        if parent_lives and 0 in ready and not os.read(0, 4096):
            parent_lives = False
        code = _reap(child)
        if code is None and deadline is None and (stopping or not parent_lives):
            deadline = time.monotonic() + grace_s
            os.kill(child, signal.SIGTERM)
        if deadline is not None and (len(stopping) > 1 or time.monotonic() > deadline):
            break
    _end_the_rest()
    return 128 + signal.SIGKILL if code is None else code


def _become(command: Sequence[str]) -> None:
    """Turn this forked child into `command`, with default signals and no stdin."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (*_STOPPERS, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)  # what a shell's '&' or nohup set to 'ignore' is inherited
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.closerange(3, 256)  # the parent's lock among them: it is ours to hold
        os.execvp(command[0], list(command))
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _reap(child: int) -> int | None:
    """Reap dead processes, adopted ones too. Returns the exit code of `child` when it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _end_the_rest() -> None:
    """Send SIGTERM and then SIGKILL to every descendant, until there is none."""
    number = signal.SIGTERM
    deadline = time.monotonic() + _LAST_WORDS_S
    signalled: set[int] = set()
    while left := _descendants():
        for pid in left:
            if number == signal.SIGKILL or pid not in signalled:
                signalled.add(pid)
                _signal(pid, number)
        _reap(-1)
        time.sleep(0.02)
        if time.monotonic() > deadline:
            number = signal.SIGKILL
    if not Path("/proc/self/stat").exists():
        for stopper in _STOPPERS:
            signal.signal(stopper, signal.SIG_IGN)
        _signal(-os.getpgrp(), signal.SIGTERM)


def _signal(pid: int, number: int) -> None:
    try:
        if pid < 0:
            os.killpg(-pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return


def _descendants() -> list[int]:
    """Every living process below this one; empty where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state ppid …: the name may hold spaces and brackets
            state, parent = stat.read_bytes().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in b"ZX":
            parents.setdefault(int(parent), []).append(int(stat.parent.name))
    found: list[int] = []
    layer = [os.getpid()]
    while layer:
        layer = [pid for parent in layer for pid in parents.get(parent, ())]
        found += layer
    return found


if __name__ == "__main__":
    sys.exit(keep(float(sys.argv[1]), sys.argv[2:]))
