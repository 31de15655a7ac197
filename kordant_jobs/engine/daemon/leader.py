"""Leader election among daemon processes: the one that holds a Postgres advisory lock acts, others wait."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from kordant_jobs.engine.listen import connect
from kordant_jobs.engine.system import DAEMON_LOCK

POLL_S = 1.0
"""Seconds between two attempts of a standby to lead, and between two checks of the leader's lock."""


class Leader:
    """The leader lock of one process. It belongs to a connection: when the connection is lost, so is the lock."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._held = False

    def wait(self, stop: threading.Event) -> bool:
        """Wait until this process leads; False when a stop signal comes first. An unavailable database is retried less
        often than the leader retries, so that the former leader keeps the lock: a change of leader takes seconds."""
        while not stop.is_set():
            if self._take():
                return True
            stop.wait(POLL_S if self._connection else 3 * POLL_S)
        return False

    def still(self) -> bool:
        """True while this process still leads. After a restart of the database it leads again if it is the first to
        ask."""
        try:
            if self._connection is None or not self._held:
                return self._take()
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error:
            self._hang_up()
            return self._take()
        return True

    def watch(self, lost: Callable[[], None], stop: threading.Event, timeout_s: float = 5.0) -> None:
        """Check the lock until `stop`; call `lost` once another process leads, or the database is unavailable for too
        long."""
        good = time.monotonic()
        while not stop.wait(POLL_S):
            if self.still():
                good = time.monotonic()
            elif time.monotonic() - good > timeout_s:
                lost()
                return

    def release(self) -> None:
        """Give up the lock, so that another process can lead."""
        self._hang_up()

    def _take(self) -> bool:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._url, name=DAEMON_LOCK)
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (DAEMON_LOCK,))
                row = cursor.fetchone()
                self._held = bool(row and row[0])
                return self._held
        except psycopg2.Error:
            self._hang_up()
            return False

    def _hang_up(self) -> None:
        self._held = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
