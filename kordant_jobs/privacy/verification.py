"""Verifies what is encrypted: every value opens at its place, and every watched identifier has its own blind index.

A blind index is bound to no row, since look-ups compare it. One that was changed, or moved to another row, by someone
who can write to the database would have its item looked for in vain, and its verdict *clean*: this finds it. Kinds that
are kept as a mask cannot be verified; they are counted.
"""

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.domain.identifiers import KINDS, IdentifierKind, sha1_hex
from kordant_jobs.errors import KeyringError
from kordant_jobs.privacy.owners import SealedColumn, sealed_columns
from kordant_jobs.store.finance.tables import entities, entity_keys
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.people.tables import subscriber_keys, subscribers, watchlist_items

BATCH = 1000
"""Owners whose values are read at once."""
KEY_AND_OWNER_TABLES = ((subscriber_keys, subscribers), (entity_keys, entities))
"""The tables of keys, each with the table of their owners."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A value that is not what was written: its column, its row, and why."""

    column: str
    row_id: UUID
    why: str


@dataclass(kw_only=True)
class Verified:
    """The counts of a verification, and its faults."""

    values: int = 0
    indexes: int = 0
    masked: int = 0
    """Watched identifiers of kinds that are kept as a mask, whose indexes cannot be computed again."""
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class DecryptedValue:
    """One encrypted value of a row. `text` None: it does not open."""

    column: sa.Column[Any]
    row_id: UUID
    text: str | None

    @property
    def place(self) -> str:
        """Table and column."""
        return f"{self.column.table.name}.{self.column.name}"


def opened(connection: Connection, keyring: Keyring) -> Iterator[DecryptedValue]:
    """Every encrypted value of subscribers and entities, decrypted (`text` None where that failed)."""
    columns = list(sealed_columns())
    for keys_table, owners in KEY_AND_OWNER_TABLES:
        for batch in _batches(connection, owners):
            keys = keyring.load_keys(connection, batch, table=keys_table)
            for one in columns:
                if one.keys is keys_table:
                    yield from _opened(connection, one, batch, keys)


def _batches(connection: Connection, owners: sa.Table) -> Iterator[list[UUID]]:
    last = UUID(int=0)
    query = sa.select(owners.c.id).order_by(owners.c.id).limit(BATCH)
    while batch := list(connection.execute(query.where(owners.c.id > last)).scalars()):
        yield batch
        last = batch[-1]


def _opened(
    connection: Connection, one: SealedColumn, batch: Sequence[UUID], keys: SubscriberKeys
) -> Iterator[DecryptedValue]:
    query = sa.select(one.column.table.c.id, one.owner.label("owner"), one.column.label("sealed"))
    for row in connection.execute(query.where(one.owner.in_(batch), one.column.is_not(None))).all():
        try:
            text: str | None = keys.open(row.owner, one.column, row.id, row.sealed)
        except KeyringError:
            text = None
        yield DecryptedValue(column=one.column, row_id=row.id, text=text)


def verify(db: Engine, keyring: Keyring, *, each: Callable[[Verified], None] | None = None) -> Verified:
    """Open every value and compute every blind index of a watched identifier again. `each` is called now and then with
    the sums so far."""
    done, watched = Verified(), dict[UUID, str]()
    with db.connect() as connection:
        for one in opened(connection, keyring):
            done.values += 1
            if one.text is None:
                done.faults.append(Fault(column=one.place, row_id=one.row_id, why="does not open at this place"))
            elif one.column is watchlist_items.c.identifier_encrypted:
                watched[one.row_id] = one.text
            if len(watched) >= BATCH:
                _verify_indexes(connection, keyring, watched, done)
                watched.clear()
                if each is not None:
                    each(done)
        _verify_indexes(connection, keyring, watched, done)
    return done


def _verify_indexes(connection: Connection, keyring: Keyring, watched: Mapping[UUID, str], done: Verified) -> None:
    column = watchlist_items.c
    query = sa.select(column.id, column.kind, column.blind_index, column.range_index).where(
        column.id.in_(list(watched))
    )
    for row in connection.execute(query).all():
        kind, text = IdentifierKind(row.kind), watched[row.id]
        if KINDS[kind].keeps_masked:
            done.masked += 1
            continue
        done.indexes += 1
        found = {"blind_index": (row.blind_index, keyring.blind_index(kind, text))}
        if row.range_index is not None:
            found["range_index"] = (row.range_index, keyring.range_index(sha1_hex(text)))
        for name, (there, own) in found.items():
            if not hmac.compare_digest(bytes(there or b""), own):
                place = f"{watchlist_items.name}.{name}"
                done.faults.append(Fault(column=place, row_id=row.id, why="is not that of this row's identifier"))
