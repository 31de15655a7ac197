"""Rotation of the master key: every owner of data (subscriber or entity) gets a new data key under the new master key,
and their data is encrypted again. In batches, a transaction each: after a kill it continues where it was."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.privacy.owners import KEY_TABLES, SealedColumn, sealed_columns
from kordant_jobs.store.people.keyring import KEY_BYTES, Keyring, SubscriberKeys, owner_column
from kordant_jobs.store.people.tables import keyring_check, subscriber_keys

BATCH = 500
"""Owners in one transaction: about 0.1 s for subscribers."""


@dataclass(frozen=True, kw_only=True)
class RotationSummary:
    """The result of one rotation: the subscribers and entities with a new key, and the values that were encrypted
    again."""

    subscribers: int
    values: int
    entities: int = 0


def count_outdated_keys(connection: Connection, keyring: Keyring) -> int:
    """The number of subscribers and entities whose key is not under the current master key."""
    counts = [
        sa.select(sa.func.count()).where(table.c.master_key_id != keyring.master_key_id).scalar_subquery()
        for table in KEY_TABLES
    ]
    found: int = connection.execute(sa.select(sum(counts[1:], start=counts[0]))).scalar_one()
    return found


def rotate(db: Engine, keyring: Keyring, *, each: Callable[[RotationSummary], None] | None = None) -> RotationSummary:
    """Move everything under the keyring's current master key. `each` is called after every batch, with the sum so far.

    Raises:
        KeyringError: something is under a master key that the keyring does not have; what was moved before stays.
    """
    done = RotationSummary(subscribers=0, values=0)
    for table in KEY_TABLES:
        while True:
            with db.begin() as connection:
                batch = _claim(connection, keyring, table)
                if not batch:
                    break
                values = done.values + _reseal(connection, keyring, table, batch)
            if table is subscriber_keys:
                done = replace(done, subscribers=done.subscribers + len(batch), values=values)
            else:
                done = replace(done, entities=done.entities + len(batch), values=values)
            if each is not None:
                each(done)
    with db.begin() as connection:
        connection.execute(sa.update(keyring_check).values(**keyring.wrapped_root()))
    return done


def _claim(connection: Connection, keyring: Keyring, table: sa.Table) -> list[UUID]:
    """The next owners, locked: a writer that encrypts something for one of them waits, and gets the new key."""
    owner = owner_column(table)
    query = sa.select(owner).where(table.c.master_key_id != keyring.master_key_id)
    return list(connection.execute(query.order_by(owner).limit(BATCH).with_for_update()).scalars())


def _reseal(connection: Connection, keyring: Keyring, table: sa.Table, batch: Sequence[UUID]) -> int:
    old = keyring.load_keys(connection, batch, table=table)
    fresh = {owner_id: secrets.token_bytes(KEY_BYTES) for owner_id in batch}
    new = SubscriberKeys(fresh)
    columns = [one for one in sealed_columns() if one.keys is table]
    values = sum(_reseal_column(connection, one, batch, old, new) for one in columns)
    update = sa.update(table).where(owner_column(table) == sa.bindparam("of"))
    rows = [{**keyring.wrapped(of, key), "of": of} for of, key in fresh.items()]
    connection.execute(
        update.values(wrapped_key=sa.bindparam("wrapped_key"), master_key_id=sa.bindparam("master_key_id")), rows
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
        ids.append(str(row.id))
        sealed.append(new.seal(row.owner, column, row.id, old.open(row.owner, column, row.id, row.sealed)))
    if ids:
        connection.execute(
            sa.text(
                f"UPDATE {table.schema}.{table.name} t SET {column.name} = x.sealed "  # noqa: S608 - names of ours
                "FROM unnest(CAST(:ids AS uuid[]), CAST(:sealed AS bytea[])) AS x (id, sealed) WHERE x.id = t.id"
            ),
            {"ids": ids, "sealed": sealed},
        )
    return len(ids)
