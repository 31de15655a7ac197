"""The Postgres server and the master key of this process: your own server by setting, else the embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from kordant_jobs.catalog import CATALOG
from kordant_jobs.engine.control import operate
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.settings import Settings
from kordant_jobs.store import migrate
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.master_key import (
    keyring_of,
    keys_of_command,
    make_key_file,
    parse_master_keys,
    read_key_file,
)

EMBEDDED_DATABASE = "kordant"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A reachable Postgres. `url` may hold a password, so it is passed in environments only, never in texts."""

    url: str
    embedded: bool

    @property
    def shown(self) -> str:
        """The URL without its password, for people."""
        return database.normal_url(self.url).render_as_string(hide_password=True)

    @property
    def libpq(self) -> str:
        """The URL in libpq's form, for psql and pg_dump, without its password."""
        return str(database.normal_url(self.url).set(drivername="postgresql", password=None).render_as_string())


@contextmanager
def open_server(settings: Settings) -> Iterator[Server]:
    """The Postgres of `settings`; the embedded one runs as long as the context is open.

    Raises:
        DatabaseUnavailable: your own server does not answer.
        SetupError: no binaries for the embedded one.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        engine = database.create_engine(url)
        try:
            with database.saying_what_failed(), engine.connect():
                pass
        finally:
            engine.dispose()
        yield Server(url=url, embedded=False)
        return
    with EmbeddedPostgres(settings.state_dir) as postgres:
        _create_database(postgres.url("postgres"), EMBEDDED_DATABASE)
        yield Server(url=postgres.url(EMBEDDED_DATABASE), embedded=True)


def _create_database(admin_url: str, name: str) -> None:
    engine = sa.create_engine(admin_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(hashtext('kordant_jobs.create_database'))"))
        there = connection.execute(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}).scalar()
        if not there:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))


def open_keyring(settings: Settings) -> Keyring:
    """The keyring of `settings`.

    Raises:
        KeyringError: there is no key, or its text is not a key.
    """
    if settings.master_key is not None:
        return keyring_of(parse_master_keys(settings.master_key.get_secret_value(), origin="KORDANT_MASTER_KEY"))
    if settings.master_key_command is not None:
        return keyring_of(keys_of_command(settings.master_key_command.get_secret_value()))
    return keyring_of(read_key_file(settings.key_file))


def prepare(server: Server, settings: Settings) -> tuple[Engine, Keyring, bool]:
    """Migrate the database and verify the master key.

    An embedded server whose database has no subscriber keys gets a new master key when there is none; the third value
    is then True. A database with keys never does: a new key could not read them.

    Raises:
        KeyringError: the key is missing or is not the one of this database.
    """
    engine = database.create_engine(server.url)
    migrate.upgrade(engine)
    made = False
    with database.saying_what_failed(), engine.begin() as connection:
        operate.sync_catalogue(connection, CATALOG)
        known = connection.execute(sa.text("SELECT 1 FROM kordant.keyring_check")).scalar()
        if server.embedded and not known and not settings.key_is_given and not settings.key_file.exists():
            make_key_file(settings.key_file)
            made = True
        keyring = open_keyring(settings)
        keyring.check(connection)
    return engine, keyring, made
