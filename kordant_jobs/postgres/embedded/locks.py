"""Locks between processes: flock files, which the kernel releases when their holder ends in any way.

A lock belongs to the *open file*, which a forked child shares. Two rules follow. The short lock around a start or stop
is unlocked explicitly (LOCK_UN), so that a child forked meanwhile by another thread cannot keep it. A client's shared
lock is only closed, never unlocked, so that a forked child that lives on still counts. No lock survives exec: Python
opens files close-on-exec.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kordant_jobs.errors import DatabaseUnavailable, SetupError

# A cold start takes a second, crash recovery of a big database perhaps a minute.
TIMEOUT_S = 180.0


def open_lock(path: Path) -> int:
    """Open a lock file, created if missing; the caller closes it.

    Raises:
        SetupError: it can't be opened, mostly since another user made it.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SetupError(
            f"{path} can't be opened ({error.strerror}): run as its owner, or set KORDANT_STATE_DIR."
        ) from None


@contextmanager
def exclusive(path: Path, *, timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """Hold the lock exclusively.

    Raises:
        DatabaseUnavailable: another process held it for all of `timeout_s`.
    """
    fd = open_lock(path)
    try:
        deadline = time.monotonic() + timeout_s
        while not _taken(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"another process has held {path} for {timeout_s:.0f} s: find it with fuser and end it."
                )
            time.sleep(0.002)
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


@contextmanager
def try_exclusive(path: Path) -> Iterator[bool]:
    """Try to hold the lock exclusively, without waiting. Yields True when that succeeded: then no process has a shared
    lock on the file, and none can get one while the block runs."""
    fd = open_lock(path)
    try:
        alone = _taken(fd, fcntl.LOCK_EX)
        yield alone
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def hold_shared(path: Path) -> int:
    """Hold a shared lock on the file until the descriptor is closed, here and in forked children."""
    fd = open_lock(path)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def held_by_process(path: Path) -> bool:
    """True when a living process holds a POSIX lock on the file, the guard's kind: no fork inherits it."""
    fd = open_lock(path)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def count_shared(path: Path) -> int | None:
    """The number of holders of the shared lock, from /proc/locks; None where the kernel lists no locks. Matched by
    inode only: on overlayfs and btrfs the device listed there is not that of stat()."""
    try:
        listed = Path("/proc/locks").read_text().splitlines()
        inode = str(path.stat().st_ino)
    except FileNotFoundError:
        return 0 if Path("/proc/locks").exists() else None
    except OSError:
        return None
    rows = [line.split() for line in listed if " -> " not in line]
    return sum(row[1] == "FLOCK" and row[3] == "READ" and row[5].rsplit(":", 1)[-1] == inode for row in rows)


def _taken(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
