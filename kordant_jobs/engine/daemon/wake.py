"""Wakes the daemons: by notifications of Postgres, and when dropped files are complete.

`NOTIFY kordant_events` (sent by every writer of data that a sensor reads) wakes the sensors. So does the end of a run
that a sensor requested, since new data may wait for it. Backfills are woken by a trigger on Dagster's own table.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psycopg2
import sqlalchemy as sa

from kordant_jobs.engine.listen import Listener

BACKFILLS = "kordant_backfills"
RECONNECT_S = 0.5
LONGEST_WAIT_S = 60.0

_TRIGGER = """
CREATE OR REPLACE FUNCTION kordant_notify_backfill() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM pg_notify('kordant_backfills', '');
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER kordant_backfill AFTER INSERT OR UPDATE ON bulk_actions FOR EACH STATEMENT
  EXECUTE FUNCTION kordant_notify_backfill();
"""


class Wake:
    """A thread that listens, and calls a channel's function when a notification comes."""

    def __init__(self, url: str, on: Mapping[str, Callable[[], None]]) -> None:
        self._listener = Listener(url, list(on))
        self._on = on
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kordant-wake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._listener.wake()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(sa.exc.OperationalError, psycopg2.Error):
                self._listen()
            self._stop.wait(RECONNECT_S)

    def _listen(self) -> None:
        self._listener.open(first=_TRIGGER)
        for wake in self._on.values():
            wake()  # what came while no process listened
        while not self._stop.is_set():
            for channel in {one.channel for one in self._listener.wait(LONGEST_WAIT_S)}:
                self._on[channel]()


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
