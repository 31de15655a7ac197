"""The queue's time: the database's, so that machines whose clocks differ agree on a lease."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Engine

READ_AGAIN_EVERY_S = 60.0
"""Seconds between two readings of the database's clock. Even a bad machine clock drifts by less than 10 ms in that
time."""


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""


class DatabaseClock:
    """The database's clock, read once a minute; in between this machine's monotonic clock is added. A change of the
    machine's wall clock therefore has no effect."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._base: datetime | None = None
        self._read_at = 0.0

    def now(self) -> datetime:
        """The database's time; the error is at most the drift of a minute."""
        monotonic = time.monotonic()
        if self._base is None or monotonic - self._read_at > READ_AGAIN_EVERY_S:
            with self._db.connect() as connection:
                found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            self._base, self._read_at = found.astimezone(UTC), time.monotonic()
            return self._base
        return self._base + timedelta(seconds=monotonic - self._read_at)
