"""What most tests stand on: a real Postgres with a migrated database that is empty, a keyring, settings.

The server is an embedded one of the test run's own, shared by its workers, or the one that
KORDANT_DATABASE_URL names; there databases of the tests' own are made and dropped.
"""

from __future__ import annotations

import base64
import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine

from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store import migrate
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.databases import Emptied, copy_of, database_at, engine_at, run
from kordant_jobs_tests.pooler import pgbouncer

MASTER_KEY = bytes(range(32))
INDEX_ROOT = bytes(reversed(range(32)))
EXTERNAL = os.environ.get("KORDANT_DATABASE_URL")

# A property claims nothing about time: a machine that is busy for 200 ms, or makes values slowly, is no failure.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")


def pytest_configure() -> None:
    """Let SIGTERM end what tests start: a shell's `&` makes us ignore SIGINT, and Dagster copies that to SIGTERM."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long modules first: one that a worker begins last keeps the other waiting for minutes."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Take the modules and the tests out of every later garbage collection: none of them goes away."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def admin_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database from which others are made."""
    if EXTERNAL:
        yield EXTERNAL
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    unsafe_but_fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with EmbeddedPostgres(shared / "postgres", settings=unsafe_but_fast) as postgres:
        yield postgres.url("postgres")


@pytest.fixture(scope="session")
def template(admin_url: str) -> Iterator[str]:
    """The name of a migrated database that tests copy."""
    name = f"template_{uuid4().hex}"
    run(admin_url, f"CREATE DATABASE {name}")
    engine = database.create_engine(database_at(admin_url, name))
    migrate.upgrade(engine)
    with engine.begin() as connection:
        Keyring(MASTER_KEY, index_root=INDEX_ROOT).check(connection)
    engine.dispose()
    yield name
    run(admin_url, f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def emptied(admin_url: str, template: str) -> Iterator[Emptied]:
    """The database that one test after the other gets, emptied."""
    databases = Emptied(admin_url, template)
    yield databases
    databases.drop()


@pytest.fixture(scope="session")
def pooler(admin_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """With KORDANT_TEST_POOLER=1 the URL of a PgBouncer in transaction mode, through which tests reach their databases;
    two connections to the server a database, so that sessions change hands."""
    if os.environ.get("KORDANT_TEST_POOLER") != "1":
        yield None
        return
    with pgbouncer(admin_url, tmp_path_factory.mktemp("pooler")) as url:
        os.environ[database.DIRECT_VARIABLE] = admin_url
        yield url
        del os.environ[database.DIRECT_VARIABLE]


@pytest.fixture(scope="session")
def served_at(admin_url: str, pooler: str | None) -> Callable[[str], str]:
    """The URL of a database by its name, as the processes of a test get it."""
    return lambda name: database_at(pooler or admin_url, name)


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest, admin_url: str, template: str, emptied: Emptied, served_at: Callable[[str], str]
) -> Iterator[str]:
    """A fresh migrated database; one of its own for a test that starts processes (`long`)."""
    with _fresh_database(request, admin_url, template, emptied) as url:
        yield served_at(str(database.normal_url(url).database))


@contextmanager
def _fresh_database(request: pytest.FixtureRequest, admin_url: str, template: str, emptied: Emptied) -> Iterator[str]:
    if request.node.get_closest_marker("long"):
        with copy_of(admin_url, template) as name:
            yield database_at(admin_url, name)
    else:
        with emptied.lend() as url:
            yield url


@pytest.fixture
def db(database_url: str) -> Engine:
    """An engine on a fresh migrated database."""
    return engine_at(database_url)


@pytest.fixture
def keyring() -> Keyring:
    """The keyring of a fixed master key."""
    return Keyring(MASTER_KEY, index_root=INDEX_ROOT)


@pytest.fixture
def settings(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of this test's own, in the environment too, so that what Dagster starts reads the same."""
    monkeypatch.setenv("KORDANT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("KORDANT_DATABASE_URL", database_url)
    monkeypatch.setenv("KORDANT_MASTER_KEY", base64.b64encode(MASTER_KEY).decode())
    return load_settings()
