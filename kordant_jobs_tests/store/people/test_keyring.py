"""Personal data opens only with its subscriber's key, and the blind index says nothing without the master key."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from kordant_jobs.errors import KeyringError
from kordant_jobs.store.people.keyring import Keyring, Sealed, make_key_file, parse_master_key, read_key_file
from kordant_jobs.store.people.tables import subscriber_keys, subscribers


def test_what_was_sealed_opens_and_is_not_readable_meanwhile(db: Engine, keyring: Keyring) -> None:
    subscriber_id, row_id = uuid4(), uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        keys = keyring.create_keys(connection, [subscriber_id])
    sealed = keys.seal(subscriber_id, row_id, "jane@example.com")
    assert b"jane" not in sealed
    assert keys.open(Sealed(subscriber_id=subscriber_id, row_id=row_id, sealed=sealed)) == "jane@example.com"


def test_a_value_moved_to_another_row_does_not_open(db: Engine, keyring: Keyring) -> None:
    subscriber_id = uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        keys = keyring.create_keys(connection, [subscriber_id])
    sealed = keys.seal(subscriber_id, uuid4(), "jane@example.com")
    with pytest.raises(KeyringError, match="does not open"):
        keys.open(Sealed(subscriber_id=subscriber_id, row_id=uuid4(), sealed=sealed))


def test_a_deleted_key_makes_the_data_unreadable(db: Engine, keyring: Keyring) -> None:
    subscriber_id, row_id = uuid4(), uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        sealed = keyring.create_keys(connection, [subscriber_id]).seal(subscriber_id, row_id, "x")
        connection.execute(sa.delete(subscriber_keys).where(subscriber_keys.c.subscriber_id == subscriber_id))
        keys = keyring.load_keys(connection, [subscriber_id])
    assert subscriber_id not in keys
    with pytest.raises(KeyringError, match="was deleted"):
        keys.open(Sealed(subscriber_id=subscriber_id, row_id=row_id, sealed=sealed))


def test_a_second_create_keeps_the_key(db: Engine, keyring: Keyring) -> None:
    subscriber_id, row_id = uuid4(), uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        sealed = keyring.create_keys(connection, [subscriber_id]).seal(subscriber_id, row_id, "x")
        keys = keyring.create_keys(connection, [subscriber_id])
    assert keys.open(Sealed(subscriber_id=subscriber_id, row_id=row_id, sealed=sealed)) == "x"


def test_another_master_key_is_refused_before_anything_is_written(db: Engine, keyring: Keyring) -> None:
    with db.begin() as connection:
        keyring.check(connection)
    with db.begin() as connection:
        keyring.check(connection)
    with db.begin() as connection, pytest.raises(KeyringError, match="is not the one this database was written with"):
        Keyring(b"\x07" * 32).check(connection)


def test_a_subscribers_key_does_not_open_under_another_master_key(db: Engine, keyring: Keyring) -> None:
    subscriber_id = uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        keyring.create_keys(connection, [subscriber_id])
        with pytest.raises(KeyringError, match="does not open with this master key"):
            Keyring(b"\x07" * 32).load_keys(connection, [subscriber_id])


@given(st.text(min_size=1), st.text(min_size=1))
def test_blind_indexes_are_equal_just_when_the_identifiers_are(one: str, other: str) -> None:
    keyring = Keyring(bytes(range(32)))
    assert (keyring.blind_index("email", one) == keyring.blind_index("email", other)) == (one == other)
    assert keyring.blind_index("email", one) != keyring.blind_index("username", one)
    assert keyring.blind_index("email", one) != Keyring(b"\x07" * 32).blind_index("email", one)


@pytest.mark.parametrize("text", ["", "no base64!", "c2hvcnQ=", "é"])
def test_a_master_key_that_is_none_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(KeyringError, match="is not base64 of 32 bytes") as caught:
        parse_master_key(text, origin="KORDANT_MASTER_KEY")
    assert not text or text not in str(caught.value)


def test_a_made_key_file_is_for_its_owner_alone_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "master.key"
    made = make_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_key_file(path) == made


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_key_file(path)
    path.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        read_key_file(path)


def test_a_missing_key_file_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match=r"absent and KORDANT_MASTER_KEY is unset"):
        read_key_file(tmp_path / "master.key")
