"""Rotation of the master key: every subscriber gets a new data key under the new master key, and what is sealed for
them is sealed again. In batches, a transaction each: a rotation that was killed goes on where it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.store.people.keyring import KEY_BYTES, Keyring, Sealed, SubscriberKeys
from kordant_jobs.store.people.tables import keyring_check, subscriber_keys, subscribers
from kordant_jobs.store.tables import metadata

BATCH = 500
"""Subscribers in one transaction: about 0.1 s."""


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """What one rotation did: subscribers with a new key, and values that were sealed again."""

    subscribers: int
    values: int


@dataclass(frozen=True, kw_only=True)
class SealedColumn:
    """A column of ciphertexts, and the column that says whose key opens them."""

    column: sa.Column[Any]
    owner: sa.Column[Any]


def sealed_columns() -> Iterator[SealedColumn]:
    """Every column of ours that holds ciphertexts: those whose names end so.

    Raises:
        KeyError: a table has one and does not say whose it is.
    """
    for table in metadata.sorted_tables:
        for column in table.columns:
            # what the house sealed is under the index root, which a rotation keeps
            if column.name.endswith("_encrypted") and column.info.get("sealed_by") != "house":
                owner = table.c.id if table is subscribers else table.c["subscriber_id"]
                yield SealedColumn(column=column, owner=owner)


def remaining(connection: Connection, keyring: Keyring) -> int:
    """Subscribers whose key is not under the current master key."""
    query = sa.select(sa.func.count()).where(subscriber_keys.c.master_key_id != keyring.master_key_id)
    found: int = connection.execute(query).scalar_one()
    return found


def rotate(db: Engine, keyring: Keyring, *, each: Callable[[Rotated], None] | None = None) -> Rotated:
    """Move everything under the keyring's current master key. `each` hears of every batch, with the sum so far.

    Raises:
        KeyringError: something is under a master key that the keyring does not have; what was moved before stays.
    """
    done = Rotated(subscribers=0, values=0)
    while True:
        with db.begin() as connection:
            batch = _claim(connection, keyring)
            if not batch:
                connection.execute(sa.update(keyring_check).values(**keyring.wrapped_root()))
                return done
            values = _reseal(connection, keyring, batch)
        done = Rotated(subscribers=done.subscribers + len(batch), values=done.values + values)
        if each is not None:
            each(done)


def _claim(connection: Connection, keyring: Keyring) -> list[UUID]:
    """The next subscribers, locked: whoever seals something for one of them waits, and gets the new key."""
    table = subscriber_keys.c
    query = sa.select(table.subscriber_id).where(table.master_key_id != keyring.master_key_id)
    return list(connection.execute(query.order_by(table.subscriber_id).limit(BATCH).with_for_update()).scalars())


def _reseal(connection: Connection, keyring: Keyring, batch: Sequence[UUID]) -> int:
    old = keyring.load_keys(connection, batch)
    fresh = {subscriber_id: secrets.token_bytes(KEY_BYTES) for subscriber_id in batch}
    new = SubscriberKeys(fresh)
    values = sum(_reseal_column(connection, one, batch, old, new) for one in sealed_columns())
    update = sa.update(subscriber_keys).where(subscriber_keys.c.subscriber_id == sa.bindparam("of"))
    rows = [{**keyring.wrapped(of, key), "of": of} for of, key in fresh.items()]
    connection.execute(
        update.values(wrapped_key=sa.bindparam("wrapped_key"), master_key_id=sa.bindparam("master_key_id")),
        [{name: row[name] for name in ("of", "wrapped_key", "master_key_id")} for row in rows],
    )
    return values


def _reseal_column(
    connection: Connection, one: SealedColumn, batch: Sequence[UUID], old: SubscriberKeys, new: SubscriberKeys
) -> int:
    table, column, owner = one.column.table, one.column, one.owner
    query = sa.select(table.c.id, owner.label("owner"), column.label("sealed"))
    found = connection.execute(query.where(owner.in_(batch), column.is_not(None))).all()
    ids, sealed = [], []
    for row in found:
        value = Sealed(subscriber_id=row.owner, column=column, row_id=row.id, sealed=bytes(row.sealed))
        ids.append(str(row.id))
        sealed.append(new.seal(row.owner, column, row.id, old.open(value)))
    if ids:
        connection.execute(
            sa.text(
                f"UPDATE {table.schema}.{table.name} t SET {column.name} = x.sealed "  # noqa: S608 - names of ours
                "FROM unnest(CAST(:ids AS uuid[]), CAST(:sealed AS bytea[])) AS x (id, sealed) WHERE x.id = t.id"
            ),
            {"ids": ids, "sealed": sealed},
        )
    return len(ids)
