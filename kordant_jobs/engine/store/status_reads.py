"""One request by its id, as fast as Postgres gives it: a statement prepared once a connection, one round trip, no
transaction. What it gives is what `requests.find` gives."""

from __future__ import annotations

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
_QUERY = selected().where(job_requests.c.id == sa.literal_column("$1"))
_NAMES = tuple(str(column.key) for column in _QUERY.selected_columns)
_PREPARE = f"PREPARE kordant_status (uuid) AS {_QUERY.compile(dialect=_DIALECT)}"


class StatusReads:
    """Reads requests over connections of its own, at most `size` at once. Threads may share it."""

    def __init__(self, db: Engine, *, size: int = 8) -> None:
        url = db.url.render_as_string(hide_password=False)
        self._db = database.create_engine(url, pool_size=size, for_reads=True)
        sa.event.listen(self._db, "connect", _prepare)

    def get(self, request_id: UUID) -> Request | None:
        """The request, or None.

        Raises:
            DatabaseUnavailable: the connection was lost; the next call opens another.
        """
        connection = self._db.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"EXECUTE kordant_status ('{request_id}')")
            row = cursor.fetchone()
        except psycopg2.Error:
            connection.invalidate()
            raise DatabaseUnavailable("a status could not be read: ask again.") from None
        finally:
            connection.close()
        return None if row is None else of_row({**dict(zip(_NAMES, row, strict=True)), "id": request_id})

    def close(self) -> None:
        """Close the connections."""
        self._db.dispose()


def _prepare(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_PREPARE)
