"""Reads requests by their ids as fast as Postgres can: one prepared statement per connection, one round trip for all
ids, no transaction. The values are the same as from `requests.find`."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import psycopg2
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.store.requests import Request, of_row, selected
from kordant_jobs.engine.store.tables import job_requests
from kordant_jobs.errors import DatabaseUnavailable
from kordant_jobs.postgres import database

_DIALECT = sa.make_url("postgresql+psycopg2://").get_dialect()()
_QUERY = selected().where(job_requests.c.id == sa.func.any(sa.literal_column("$1")))
_NAMES = tuple(str(column.key) for column in _QUERY.selected_columns)
_ID = _NAMES.index("id")
_PREPARE = f"PREPARE kordant_status (uuid[]) AS {_QUERY.compile(dialect=_DIALECT)}"


class StatusReads:
    """Reads requests over its own connections, at most `size` at once. Thread-safe."""

    def __init__(self, db: Engine, *, size: int = 8) -> None:
        url = db.url.render_as_string(hide_password=False)
        self._db = database.create_engine(url, pool_size=size, for_reads=True)
        sa.event.listen(self._db, "connect", _prepare)

    def get(self, ids: Collection[UUID]) -> dict[UUID, Request]:
        """The requests by id; ids without a request are left out.

        Raises:
            DatabaseUnavailable: the connection was lost; the next call opens another.
        """
        connection = self._db.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"EXECUTE kordant_status ('{{{','.join(map(str, ids))}}}')")
            rows = cursor.fetchall()
        except psycopg2.Error:
            connection.invalidate()
            raise DatabaseUnavailable("a status could not be read: ask again.") from None
        finally:
            connection.close()
        found = [of_row({**dict(zip(_NAMES, row, strict=True)), "id": UUID(str(row[_ID]))}) for row in rows]
        return {one.id: one for one in found}

    def close(self) -> None:
        """Close the connections."""
        self._db.dispose()


def _prepare(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_PREPARE)
