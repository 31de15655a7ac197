"""Locks on files, each held until the last process that inherited it has ended."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def held(path: Path, *, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold the lock on `path` and yield its descriptor; `on_wait` is called once when another process has it. On a file
    system without locks, nothing is locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        yield descriptor
    finally:
        os.close(descriptor)


class AlreadyTaken(Exception):
    """Another process has the claim; `owner` is what it wrote, or None when it has written nothing yet."""

    def __init__(self, owner: dict[str, Any] | None) -> None:
        super().__init__("already taken")
        self.owner = owner


class Claim:
    """A lock on a file that has its holder's facts, in JSON. Each process that inherits `descriptor` holds it, too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor: int | None = None

    def acquire(self, *, timeout_s: float, on_wait: Callable[[], None]) -> None:
        """Acquire the lock. Wait up to `timeout_s` when its owner is dead and only its child processes still hold it.

        Raises:
            AlreadyTaken: a living process has it, or it was not released within `timeout_s`.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + timeout_s
        waited = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                owner = living_owner(self.path)
                if owner or time.monotonic() > deadline:
                    os.close(descriptor)
                    raise AlreadyTaken(owner) from None
            if not waited:
                on_wait()
                waited = True
            time.sleep(0.1)
        self.descriptor = descriptor
        self.say({})

    def say(self, more: Mapping[str, Any]) -> None:
        """Write our facts, and `more`, to the file."""
        if self.descriptor is not None:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, json.dumps({"pid": os.getpid(), **more}).encode(), 0)

    def release(self) -> None:
        """Release the claim. Safe to repeat."""
        if self.descriptor is not None:
            os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = None


def living_owner(path: Path) -> dict[str, Any] | None:
    """The facts that the living owner of the claim at `path` wrote, `pid` among them; None when there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        owner: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        os.kill(owner["pid"], 0)
        return owner
    return None
