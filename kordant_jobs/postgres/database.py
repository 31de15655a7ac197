"""Connections to Postgres: URLs, engines, session locks. `store.server` decides which server (embedded or your own)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import sqlalchemy as sa
from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from kordant_jobs.errors import DatabaseUnavailable, SettingsError
from kordant_jobs.postgres import interrupts
from kordant_jobs.postgres.schema import DAGSTER_SCHEMA

CONNECT_TIMEOUT_S = 10
"""The time-out of a connection attempt in seconds: longer than the recovery of a small database after a restart, and
short enough for a person who waits."""


ALIVE: dict[str, int] = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""libpq's options for every TCP connection, in seconds, and milliseconds for the last. An unreachable server is noticed
within 20 s, both while waiting for its answer (keepalives) and while sending; an interruption shorter than the default
lease (15 s) costs no connection. By default Linux waits 2 hours and 15 minutes (tcp(7))."""


def normal_url(url: str, *, search_path: str | None = None) -> URL:
    """`url` for SQLAlchemy 2.0 with psycopg2, from any common form. `search_path` is set with the libpq option, which
    gives Dagster's storage its schema.

    Raises:
        SettingsError: it is not a Postgres URL. The text does not repeat it, since it may hold a password.
    """
    parsed = _parsed(url)
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


def _parsed(url: str) -> URL | None:
    try:
        return make_url(url)
    except ArgumentError:
        return None
    except ValueError:  # several hosts, each with its port: libpq's form, which SQLAlchemy does not read
        try:
            parts = parse_dsn(url)
        except ProgrammingError:
            return None
        places = zip(parts.pop("host").split(","), parts.pop("port").split(","), strict=True)
        return URL.create(
            "postgresql",
            username=parts.pop("user", None),
            password=parts.pop("password", None),
            database=parts.pop("dbname", None),
            query={"host": [f"{host}:{port or 5432}" for host, port in places], **parts},
        )


DIRECT_VARIABLE = "KORDANT_DATABASE_DIRECT_URL"
"""The variable with the address of the server itself, where KORDANT_DATABASE_URL leads to a PgBouncer in transaction
mode. It is read here, since every process needs it, the engine's included."""


def url_without_pooler(url: str | URL) -> URL:
    """The address of the server of `url` without a pooler: for a LISTEN, a session lock, and Dagster's storage, which
    sets its search path and commit mode by session. Unchanged where there is no pooler."""
    given = url if isinstance(url, URL) else normal_url(url)
    named = os.environ.get(DIRECT_VARIABLE)
    if not named:
        return given
    found = normal_url(named).set(database=given.database)
    options = given.query.get("options")
    return found.update_query_dict({"options": options}) if options else found


def direct_engine(db: Engine) -> Engine:
    """An engine on the server of `db` itself, without a pooler; `db` where there is none."""
    url = url_without_pooler(db.url)
    return db if url == db.url else _engine_without_pool(url)


@lru_cache(maxsize=4)
def _engine_without_pool(url: URL) -> Engine:
    options = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "kordant_jobs", **ALIVE}
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args=options, hide_parameters=True)


def dagster_url(url: str) -> str:
    """The URL of Dagster's own storage: the same database, the schema `dagster`, without a pooler."""
    return normal_url(
        str(url_without_pooler(url).render_as_string(hide_password=False)), search_path=DAGSTER_SCHEMA
    ).render_as_string(hide_password=False)


def create_engine(url: str, *, pool_size: int = 4, for_reads: bool = False) -> Engine:
    """An engine on our database. A stale connection in the pool is replaced before use. With `for_reads` it uses no
    transactions, and notices a stale connection only in use."""
    engine = sa.create_engine(
        normal_url(url),
        pool_size=pool_size,
        max_overflow=4,
        pool_pre_ping=not for_reads,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "kordant_jobs", **ALIVE},
        **({"isolation_level": "AUTOCOMMIT"} if for_reads else {}),
        hide_parameters=True,  # an error text never carries a bound value
    )
    sa.event.listen(engine, "connect", lambda connection, _: interrupts.note(connection))
    return engine


@lru_cache(maxsize=4)
def shared_engine(url: str) -> Engine:
    """The engine of this process on our database; every call returns the same one. It is never disposed of. A process
    that forks must call its `dispose` before."""
    return create_engine(url)


@contextmanager
def saying_what_failed() -> Iterator[None]:
    """Convert a lost or missing database to an error of one line with what to do.

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
