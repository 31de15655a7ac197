"""Maps each column to the owner whose key decrypts it: subscribers and entities each have a data key of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kordant_jobs.store.finance.tables import entities, entity_keys
from kordant_jobs.store.people.keyring import owner_column
from kordant_jobs.store.people.tables import subscriber_keys, subscribers
from kordant_jobs.store.tables import metadata

ENCRYPTED = "_encrypted"
KEY_TABLES = (subscriber_keys, entity_keys)


@dataclass(frozen=True, kw_only=True)
class SealedColumn:
    """A column of ciphertexts, the column with the owner of its key, and the table of such keys."""

    column: sa.Column[Any]
    owner: sa.Column[Any]
    keys: sa.Table


def sealed_columns() -> Iterator[SealedColumn]:
    """Every encrypted column of ours: those whose names end in `_encrypted`.

    Raises:
        KeyError: a table has one, and no column that names its owner.
    """
    for table in metadata.sorted_tables:
        for column in table.columns:
            # what the house sealed is under the index root, which a rotation keeps
            if column.name.endswith(ENCRYPTED) and column.info.get("sealed_by") != "house":
                yield SealedColumn(column=column, owner=owner_of(table), keys=key_table(table))


def key_table(table: sa.Table) -> sa.Table:
    """The table of the keys that decrypt a table's ciphertexts."""
    return entity_keys if table is entities or "entity_id" in table.c else subscriber_keys


def owner_of(table: sa.Table) -> sa.Column[Any]:
    """The column with the id of the owner whose key decrypts a table's ciphertexts.

    Raises:
        KeyError: the table has no such column.
    """
    return table.c.id if table in (subscribers, entities) else table.c[owner_column(key_table(table)).name]
