"""Session locks: they outlast transactions, and are released when their holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.postgres.database import direct_engine


@contextmanager
def session_lock(db: Engine, name: str, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of this name on a separate connection, without an open transaction. Yields True. With `wait` it
    waits while another session holds the lock; without, it then yields False."""
    given = {"name": name}
    with direct_engine(db).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if wait:
            connection.execute(sa.text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), given)
        elif not connection.execute(sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), given).scalar():
            yield False
            return
        try:
            yield True
        finally:
            connection.execute(sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), given)
