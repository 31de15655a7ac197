"""A database with a few invented households, filled once and put back after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kordant_jobs.lab.households.fill import fill
from kordant_jobs.lab.households.generator import World, generate
from kordant_jobs.postgres import database
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.conftest import INDEX_ROOT, MASTER_KEY
from kordant_jobs_tests.databases import Emptied, copy_of, database_at
from kordant_jobs_tests.jobs.people import Person, subscribe


@pytest.fixture(scope="session")
def world() -> World:
    """Five households with eight months of history; the first one's owner has a subscription."""
    return generate(5, entities=5, months=8)


@pytest.fixture(scope="session")
def filled(admin_url: str, template: str, world: World) -> Iterator[tuple[Emptied, Person]]:
    """A database with the world in the tables of banks."""
    with copy_of(admin_url, template) as name:
        engine = database.create_engine(database_at(admin_url, name))
        keyring = Keyring(MASTER_KEY, index_root=INDEX_ROOT)
        owner = subscribe(engine, keyring)
        with engine.begin() as connection:
            fill(connection, keyring, world, subscription_ids=[owner.subscription_id], with_lines=True)
        engine.dispose()
        databases = Emptied(admin_url, name)
        yield databases, owner
        databases.drop()


@pytest.fixture
def database_url(filled: tuple[Emptied, Person]) -> Iterator[str]:
    """It, in the place of the empty one that other tests get."""
    with filled[0].lend() as url:
        yield url
