"""Waits without polling: until Postgres notifies, another thread calls `wake`, or the time-out has passed. The only
place that LISTENs."""

import os
import select
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
import sqlalchemy as sa

from kordant_jobs.postgres.database import url_without_pooler

KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 2,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 6_000,
}
"""TCP keepalive: a lost connection is noticed within six seconds on both sides; a local one at once."""


def libpq(url: str | sa.URL) -> dict[str, Any]:
    """The arguments with which psycopg2 connects as SQLAlchemy does with this URL, which may name several hosts."""
    target = sa.make_url(url)
    return dict(target.get_dialect()().create_connect_args(target)[1])


def connect(url: str | sa.URL, *, name: str | None = None) -> Any:
    """A direct psycopg2 connection, for a lock or a LISTEN: it goes through no pool and no PgBouncer. The server lists
    it under `name`.

    Raises:
        psycopg2.Error: the database is away.
    """
    connection = psycopg2.connect(
        **{**libpq(url_without_pooler(url)), "connect_timeout": 5, "application_name": name, **KEEPALIVE}
    )
    connection.autocommit = True
    return connection


@dataclass(frozen=True)
class Notification:
    """One notification."""

    channel: str
    payload: str


class Listener:
    """One connection that LISTENs, and a pipe for `wake`. A wait ends at once, with an error, when the connection
    breaks."""

    def __init__(self, url: str | sa.URL, channels: Sequence[str]) -> None:
        self._url = url
        self._channels = tuple(channels)
        self._connection: Any = None
        self._closing, self._closed = threading.Lock(), False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def open(self, *, first: str | None = None) -> None:
        """Connect and listen, after running the statement `first`. Earlier notifications are missed, so check the state
        once afterwards.

        Raises:
            sqlalchemy.exc.OperationalError: the database is away.
        """
        self._drop()
        try:
            self._connection = connect(self._url)
            with self._connection.cursor() as cursor:
                for statement in filter(None, [first, *(f'LISTEN "{channel}"' for channel in self._channels)]):
                    cursor.execute(statement)
        except psycopg2.OperationalError as error:
            self._lost(error)

    def wait(self, timeout_s: float) -> set[Notification]:
        """The received notifications; empty when the time-out has passed or `wake` was called.

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
        except psycopg2.OperationalError as error:
            self._lost(error)
        notifications = {Notification(one.channel, str(one.payload)) for one in self._connection.notifies}
        self._connection.notifies.clear()
        return notifications

    def wake(self) -> None:
        """End a wait, from any thread. Does nothing once it is closed."""
        with self._closing, suppress(BlockingIOError):  # a full pipe is full of calls
            if not self._closed:
                os.write(self._writer, b".")

    def close(self) -> None:
        """Close the connection and the pipe."""
        self._drop()
        with self._closing:
            self._closed = True
            os.close(self._reader)
            os.close(self._writer)

    def _lost(self, error: psycopg2.OperationalError) -> None:
        self._drop()
        raise sa.exc.OperationalError("LISTEN", None, error, connection_invalidated=True) from None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


WAKES = "kordant/wakes"
"""A tag of sensors. With the value 'events', `NOTIFY kordant_events` has them evaluated at once; their minimum interval
then only covers changes without a notification."""
