"""Reaching Postgres: URLs and engines. Which server it is (embedded or your own) is `store.server`'s."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from kordant_jobs.errors import DatabaseUnavailable, SettingsError
from kordant_jobs.postgres.schema import DAGSTER_SCHEMA

if TYPE_CHECKING:  # Alembic takes a quarter of a second to import, and only migrations need it
    pass

CONNECT_TIMEOUT_S = 10
"""Longer than a Postgres restart's recovery of a small database, shorter than a person's patience."""


ALIVE: dict[str, int] = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""libpq's options of every TCP connection: seconds, and milliseconds for the last. A server that is cut off is noticed
within 20 s whether we wait for it to speak (keepalives) or to take what we wrote; a cut shorter than the default lease
(15 s) costs no connection. Without them Linux waits 2 hours and 15 minutes (tcp(7))."""


def normal_url(url: str, *, search_path: str | None = None) -> URL:
    """`url` for SQLAlchemy 2.0 with psycopg2, whichever way it was written.

    `search_path` is set by the libpq option, which is how Dagster's storage gets its schema.

    Raises:
        SettingsError: it is no Postgres URL. The text does not repeat it, since it may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise SettingsError(
            "KORDANT_DATABASE_URL is no Postgres URL. Write postgresql://user:password@host:5432/database, "
            "or unset it to use the embedded Postgres."
        )
    parsed = parsed.set(drivername="postgresql+psycopg2")
    if search_path:
        options = [o for o in [parsed.query.get("options")] if isinstance(o, str)]
        parsed = parsed.update_query_dict({"options": " ".join([*options, f"-csearch_path={search_path}"])})
    return parsed


DIRECT_VARIABLE = "KORDANT_DATABASE_DIRECT_URL"
"""Names the server itself, where KORDANT_DATABASE_URL leads to a PgBouncer in transaction mode. Read here, since what
connects must find it in every process, the engine's included."""


def direct(url: str | URL) -> URL:
    """The address of the server of `url` without a pooler: for a LISTEN, a lock of a session, and Dagster's storage,
    which sets its search path and how it commits by session. The same where there is no pooler."""
    given = make_url(url)
    named = os.environ.get(DIRECT_VARIABLE)
    if not named:
        return given
    found = normal_url(named).set(database=given.database)
    options = given.query.get("options")
    return found.update_query_dict({"options": options}) if options else found


def direct_engine(db: Engine) -> Engine:
    """An engine on the server of `db` itself; `db` where there is no pooler."""
    url = direct(db.url)
    return db if url == db.url else _engine_without_pool(url)


@lru_cache(maxsize=4)
def _engine_without_pool(url: URL) -> Engine:
    options = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "kordant_jobs", **ALIVE}
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args=options, hide_parameters=True)


def dagster_url(url: str) -> str:
    """The URL of Dagster's own storage: the same database, the schema `dagster`, past a pooler."""
    return normal_url(
        str(direct(url).render_as_string(hide_password=False)), search_path=DAGSTER_SCHEMA
    ).render_as_string(hide_password=False)


def create_engine(url: str, *, pool_size: int = 4, for_reads: bool = False) -> Engine:
    """An engine on our database. A connection that went stale in the pool is replaced, not used; one for reads asks
    without a transaction, and finds out when it is used."""
    return sa.create_engine(
        normal_url(url),
        pool_size=pool_size,
        max_overflow=4,
        pool_pre_ping=not for_reads,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "kordant_jobs", **ALIVE},
        **({"isolation_level": "AUTOCOMMIT"} if for_reads else {}),
        hide_parameters=True,  # an error text never carries a bound value
    )


@lru_cache(maxsize=4)
def shared_engine(url: str) -> Engine:
    """The engine of this process on our database: what asks again gets the same connections. It is never disposed of.

    A process that forks must call its `dispose` before.
    """
    return create_engine(url)


@contextmanager
def saying_what_failed() -> Iterator[None]:
    """Turn a lost or absent database into one line that says what to do.

    Raises:
        DatabaseUnavailable: in place of the driver's error.
    """
    try:
        yield
    except OperationalError as error:
        first = str(error.orig).strip().splitlines()[0] if error.orig else "no answer"
        raise DatabaseUnavailable(
            f"Postgres cannot be reached ({first}). Check KORDANT_DATABASE_URL and that the server runs; "
            "then do the same again: nothing was lost."
        ) from None
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseUnavailable(
            "Postgres went away in the middle of the work. Do the same again: what was done is kept."
        ) from None
