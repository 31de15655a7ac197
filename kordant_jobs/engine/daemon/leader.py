"""Of several daemon processes exactly one acts: whoever holds a Postgres advisory lock. Another waits to take over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import sqlalchemy as sa
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 names its class in lower case

LOCK = "kordant_jobs.daemon"
POLL_S = 1.0
"""How often a standby tries, and a leader looks whether it still is one."""
_KEEPALIVE: dict[str, Any] = {"keepalives_idle": 2, "keepalives_interval": 2, "keepalives_count": 2}
"""A server that is cut off is noticed in six seconds, by both sides of a TCP connection; a local one at once."""


def libpq(url: str) -> str:
    """A SQLAlchemy URL as libpq takes it."""
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def connect(url: str) -> Connection:
    """A connection of our own, for a lock or a LISTEN; nothing pools it.

    Raises:
        psycopg2.Error: the database is away.
    """
    connection: Connection = psycopg2.connect(url, connect_timeout=5, **_KEEPALIVE)
    connection.autocommit = True
    return connection


class Leader:
    """The lock of one process. It belongs to a connection: when that is lost, so is the lock."""

    def __init__(self, url: str) -> None:
        self._url = libpq(url)
        self._connection: Connection | None = None
        self._held = False

    def wait(self, stop: threading.Event) -> bool:
        """Wait until this process leads; False when told to stop before. A database that is away is waited for, and
        asked less often than a leader does: who led before goes on, since taking over takes seconds.
        """
        while not stop.is_set():
            if self._take():
                return True
            stop.wait(POLL_S if self._connection else 3 * POLL_S)
        return False

    def still(self) -> bool:
        """Whether this process still leads. After a restart of the database it does, if it is the first to ask."""
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
                self._connection = connect(self._url)
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (LOCK,))
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
