"""Leader election among daemon processes: the one that holds a Postgres advisory lock acts, others wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from kordant_jobs.engine.listen import connect
from kordant_jobs.engine.system import DAEMON_LOCK

POLL_S = 1.0
"""Seconds between two attempts of a standby to lead, and between two checks of a leader that it still leads."""


class Leader:
    """The lock of one process. It belongs to a connection: when that is lost, so is the lock."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._held = False

    def wait(self, stop: threading.Event) -> bool:
        """Wait until this process leads; False when it receives a stop signal first. A database that is away is waited
        for, and asked less often than a leader does: who led before goes on, since taking over takes seconds.
        """
        while not stop.is_set():
            if self._take():
                return True
            stop.wait(POLL_S if self._connection else 3 * POLL_S)
        return False

    def still(self) -> bool:
        """True while this process still leads. After a restart of the database it does, if it is the first to ask."""
        try:
            if self._connection is None or not self._held:
                return self._take()
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error:
            self._hang_up()
            return self._take()
        return True

    def watch(self, lost: Callable[[], None], stop: threading.Event, patience_s: float = 5.0) -> None:
        """Look after the lock until `stop`; call `lost` once another leads, or the database is away for too long."""
        good = time.monotonic()
        while not stop.wait(POLL_S):
            if self.still():
                good = time.monotonic()
            elif time.monotonic() - good > patience_s:
                lost()
                return

    def release(self) -> None:
        """Let another one lead."""
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
