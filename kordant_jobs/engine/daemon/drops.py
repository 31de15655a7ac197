"""Notices dropped files, so that no sensor has to poll for them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CHECK_EVERY_S = 0.5
"""Seconds between two checks of the folder; a check of an unchanged folder is one system call."""
SETTLED_S = 2.1
"""Seconds without a change after which a file counts as complete; longer than the scan's own limit."""


class DropWatch:
    """Detects when new or changed files in a folder have stopped changing: at once for a file that was renamed into it
    and last written before. It compares times and sizes only, so any file system will do and no kernel notification is
    needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder_mtime = -1
        self._facts: frozenset[tuple[str, int, int]] = frozenset()
        self._changed_at: float | None = None

    def have_settled(self, now: float) -> bool:
        """True when files have just stopped changing; `now` is in seconds since the epoch."""
        try:
            mtime = self._folder.stat().st_mtime_ns
        except OSError:
            return False
        if mtime == self._folder_mtime and self._changed_at is None:
            return False
        facts = self._list()
        if mtime != self._folder_mtime or facts != self._facts:
            newest = max((file_mtime for _, _, file_mtime in facts), default=0) / 1e9
            self._folder_mtime, self._facts, self._changed_at = mtime, facts, min(now, newest)
        if self._changed_at is not None and now - self._changed_at >= SETTLED_S:
            self._changed_at = None
            return True
        return False

    def _list(self) -> frozenset[tuple[str, int, int]]:
        found = set()
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    facts = entry.stat(follow_symlinks=False)
                    found.add((entry.name, facts.st_size, facts.st_mtime_ns))
        return frozenset(found)


def watch_drops(folder: Path, wake: Callable[[], None], stop: threading.Event) -> threading.Thread:
    """Start a thread that calls `wake` whenever files in `folder` have stopped changing, until `stop`."""
    watch = DropWatch(folder)

    def body() -> None:
        while not stop.wait(CHECK_EVERY_S):
            if watch.have_settled(time.time()):
                wake()

    thread = threading.Thread(target=body, name="kordant-drops", daemon=True)
    thread.start()
    return thread
