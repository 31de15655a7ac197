"""Wait without polling: until Postgres notifies, until somebody in this process calls, or until a time is up."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import Any, cast

import psycopg2
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.store.requests import CHANNEL


class Listener:
    """One connection that LISTENs, and a pipe for `wake`. Wakes at once when the connection breaks, and says so."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._connection: Any = None
        self._closing, self._closed = threading.Lock(), False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def open(self) -> None:
        """Connect and listen; what was notified before is not heard, so look at the queue once afterwards.

        Raises:
            sqlalchemy.exc.OperationalError: the database is away.
        """
        self._drop()
        try:
            raw = self._db.raw_connection()
        except psycopg2.OperationalError as error:  # SQLAlchemy lets it out as it is, here
            raise sa.exc.OperationalError(f"LISTEN {CHANNEL}", None, error, connection_invalidated=True) from None
        connection = cast(Any, raw.driver_connection)
        raw.detach()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        self._connection = connection

    def wait(self, timeout_s: float) -> set[str]:
        """The words notified; empty when the time is up or `wake` was called.

        Raises:
            sqlalchemy.exc.OperationalError: the connection is gone; `open` again.
        """
        if self._connection is None:
            self.open()
        ready, _, _ = select.select([self._connection, self._reader], [], [], max(0.0, timeout_s))
        if self._reader in ready:
            os.read(self._reader, 65_536)
        if self._connection not in ready:
            return set()
        try:
            self._connection.poll()
        except self._connection.OperationalError as error:
            self._drop()
            raise sa.exc.OperationalError(f"LISTEN {CHANNEL}", None, error, connection_invalidated=True) from None
        words = {str(one.payload) for one in self._connection.notifies}
        self._connection.notifies.clear()
        return words

    def wake(self) -> None:
        """End a wait, from any thread; nothing once it is closed."""
        with self._closing, suppress(BlockingIOError):  # a full pipe is full of calls
            if not self._closed:
                os.write(self._writer, b".")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Give the connection and the pipe back."""
        self._drop()
        with self._closing:
            self._closed = True
            os.close(self._reader)
            os.close(self._writer)
