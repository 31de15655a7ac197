"""After a rotation everything opens under the new master key alone, however often it was killed."""

from __future__ import annotations

import os
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.domain.finance.states import EntityKind
from kordant_jobs.errors import KeyringError
from kordant_jobs.privacy import rotation
from kordant_jobs.privacy.owners import KEY_TABLES, sealed_columns
from kordant_jobs.privacy.rotation import RotationSummary, rotate
from kordant_jobs.store.finance import entities
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys, owner_column
from kordant_jobs.store.people.tables import keyring_check, subscriber_keys
from kordant_jobs_tests.conftest import MASTER_KEY
from kordant_jobs_tests.jobs.people import subscribe

NEW_KEY = os.urandom(32)


def _readable(connection: Connection, keyring: Keyring) -> list[str]:
    """Every sealed value of the database in clear, with its column."""
    keys = SubscriberKeys({})
    for table in KEY_TABLES:
        owners = list(connection.execute(sa.select(owner_column(table))).scalars())
        keys |= keyring.load_keys(connection, owners, table=table)
    found = []
    for one in sealed_columns():
        table = one.column.table
        query = sa.select(table.c.id, one.owner.label("owner"), one.column.label("sealed"))
        for row in connection.execute(query.where(one.column.is_not(None))):
            found.append(f"{one.column.name} {keys.open(row.owner, one.column, row.id, row.sealed)}")
    return sorted(found)


def _people(db: Engine, keyring: Keyring, count: int) -> list[UUID]:
    made = [subscribe(db, keyring, f"one{n}@mail.example", f"+1202555{n:04}", name=f"P {n}") for n in range(count)]
    return [one.subscriber_id for one in made]


def test_everything_is_readable_under_the_new_key_alone(db: Engine, keyring: Keyring) -> None:
    _people(db, keyring, 3)
    with db.begin() as connection:
        entities.create(connection, keyring, kind=EntityKind.FIRM, name="Padaria Sol")
        before = _readable(connection, keyring)
        wrapped = set(connection.execute(sa.select(subscriber_keys.c.wrapped_key)).scalars())
    moving = Keyring(NEW_KEY, previous=[MASTER_KEY])
    with db.begin() as connection:
        moving.check(connection)
    assert rotate(db, moving) == RotationSummary(subscribers=3, values=13, entities=1)
    new = Keyring(NEW_KEY)
    with db.begin() as connection:
        new.check(connection)
        assert _readable(connection, new) == before
        assert not wrapped & set(connection.execute(sa.select(subscriber_keys.c.wrapped_key)).scalars())
        assert new.blind_index("email", "x@y.example") == keyring.blind_index("email", "x@y.example")
    with db.begin() as connection, pytest.raises(KeyringError, match="is not the one this database"):
        Keyring(MASTER_KEY).check(connection)
    assert rotate(db, new) == RotationSummary(subscribers=0, values=0)


def test_a_rotation_that_is_killed_after_every_batch_goes_on(
    db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    _people(db, keyring, 7)
    with db.connect() as connection:
        before = _readable(connection, keyring)
    moving = Keyring(NEW_KEY, previous=[MASTER_KEY])
    with db.begin() as connection:
        moving.check(connection)

    def killed(done: RotationSummary) -> None:
        raise KeyboardInterrupt

    kills = 0
    while True:
        try:
            rotate(db, moving, each=killed)
        except KeyboardInterrupt:
            kills += 1
            with db.connect() as connection:
                assert _readable(connection, moving) == before
        else:
            break
    assert kills == 4
    with db.connect() as connection:
        assert connection.execute(sa.select(keyring_check.c.master_key_id)).scalar() == moving.master_key_id
        assert _readable(connection, Keyring(NEW_KEY)) == before


def test_every_sealed_column_says_whose_it_is() -> None:
    names = {f"{one.column.table.name}.{one.column.name}" for one in sealed_columns()}
    assert names >= {
        "subscribers.name_encrypted",
        "subscribers.contact_encrypted",
        "watchlist_items.identifier_encrypted",
        "contact_addresses.address_encrypted",
        "watched_properties.parcel_encrypted",
        "watched_properties.owners_encrypted",
    }
    assert "property_instruments.parties_encrypted" not in names
