"""Personal data opens only with its subscriber's key, and the blind index says nothing without the master key."""

from __future__ import annotations

import base64
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from kordant_jobs.errors import KeyringError
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.master_key import (
    keys_of_command,
    make_key_file,
    parse_master_keys,
    read_key_file,
    write_key_file,
)
from kordant_jobs.store.people.tables import subscriber_keys, subscribers

NAME = subscribers.c.name_encrypted
KEYS = (bytes(range(32)), b"\x07" * 32)


def test_what_was_sealed_opens_and_is_not_readable_meanwhile(db: Engine, keyring: Keyring) -> None:
    subscriber_id, row_id = uuid4(), uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        keys = keyring.create_keys(connection, [subscriber_id])
    sealed = keys.seal(subscriber_id, NAME, row_id, "jane@example.com")
    assert b"jane" not in sealed
    assert keys.open(subscriber_id, NAME, row_id, sealed) == "jane@example.com"


def test_a_value_moved_to_another_row_does_not_open(db: Engine, keyring: Keyring) -> None:
    subscriber_id = uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        keys = keyring.create_keys(connection, [subscriber_id])
    sealed = keys.seal(subscriber_id, NAME, uuid4(), "jane@example.com")
    with pytest.raises(KeyringError, match="does not open"):
        keys.open(subscriber_id, NAME, uuid4(), sealed)


def test_a_value_moved_to_another_column_does_not_open(db: Engine, keyring: Keyring) -> None:
    subscriber_id = uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        keys = keyring.create_keys(connection, [subscriber_id])
    sealed = keys.seal(subscriber_id, NAME, subscriber_id, "jane@example.com")
    contact = subscribers.c.contact_encrypted
    with pytest.raises(KeyringError, match="does not open"):
        keys.open(subscriber_id, contact, subscriber_id, sealed)


def test_a_deleted_key_makes_the_data_unreadable(db: Engine, keyring: Keyring) -> None:
    subscriber_id, row_id = uuid4(), uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        sealed = keyring.create_keys(connection, [subscriber_id]).seal(subscriber_id, NAME, row_id, "x")
        connection.execute(sa.delete(subscriber_keys).where(subscriber_keys.c.subscriber_id == subscriber_id))
        keys = keyring.load_keys(connection, [subscriber_id])
    assert subscriber_id not in keys
    with pytest.raises(KeyringError, match="was deleted"):
        keys.open(subscriber_id, NAME, row_id, sealed)


def test_a_second_create_keeps_the_key(db: Engine, keyring: Keyring) -> None:
    subscriber_id, row_id = uuid4(), uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id})
        sealed = keyring.create_keys(connection, [subscriber_id]).seal(subscriber_id, NAME, row_id, "x")
        keys = keyring.create_keys(connection, [subscriber_id])
    assert keys.open(subscriber_id, NAME, row_id, sealed) == "x"


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
        with pytest.raises(KeyringError, match=r"does not open with this master key .*written with"):
            Keyring(KEYS[1]).load_keys(connection, [subscriber_id])
        both = Keyring(KEYS[1], previous=KEYS[:1])
        assert subscriber_id in both.load_keys(connection, [subscriber_id])


def test_nothing_is_blinded_before_the_key_was_proved(db: Engine) -> None:
    keyring = Keyring(KEYS[0])
    with pytest.raises(KeyringError, match="not proved"):
        keyring.blind_index("email", "jane@example.com")
    with db.begin() as connection:
        keyring.check(connection)
    assert len(keyring.blind_index("email", "jane@example.com")) == 16


@given(st.text(min_size=1), st.text(min_size=1))
def test_blind_indexes_are_equal_just_when_the_identifiers_are(one: str, other: str) -> None:
    keyring, another = (Keyring(KEYS[0], index_root=root) for root in KEYS)
    assert (keyring.blind_index("email", one) == keyring.blind_index("email", other)) == (one == other)
    assert keyring.blind_index("email", one) != keyring.blind_index("username", one)
    assert keyring.blind_index("email", one) != another.blind_index("email", one)


@pytest.mark.parametrize("text", ["", "no base64!", "c2hvcnQ=", "é"])
def test_a_master_key_that_is_none_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(KeyringError, match="is not base64 of 32 bytes") as caught:
        parse_master_keys(text, origin="KORDANT_MASTER_KEY")
    assert not text.strip() or text not in str(caught.value)


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


def test_a_key_file_may_hold_the_new_key_and_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    write_key_file(path, KEYS)
    assert read_key_file(path) == KEYS
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_command_may_give_the_key_and_its_output_is_never_repeated() -> None:
    printed = base64.b64encode(KEYS[0]).decode()
    assert keys_of_command(f"echo '{printed}'") == KEYS[:1]
    for command, says in (("false", "ended with code 1"), ("/nothing/there", "cannot be run"), ("echo no-key", "no")):
        with pytest.raises(KeyringError, match=says) as caught:
            keys_of_command(command)
        assert "no-key" not in str(caught.value)
