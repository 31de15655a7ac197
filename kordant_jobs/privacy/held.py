"""All stored data of a subscriber or an entity, for them: every row that belongs to theirs, decrypted, with its purpose
and origin.

The tables are found by the foreign keys, as in `forget`, so a new table is included.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.postgres.schema import SCHEMA, metadata
from kordant_jobs.privacy.owners import ENCRYPTED, KEY_TABLES, owner_of
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys, owner_column
from kordant_jobs.store.people.tables import subscribers

NOT_SHOWN = frozenset(
    {"wrapped_key", "blind_index", "range_index", "address_index", "figures_sha256", "alias", "removed_aliases"}
    | {"holder_index", "item_index", "identity_index", "provider_account_index", "bill_index", "counterparty_index"}
    | {"row_index", "event_key", "content_hash", "extra_hash", "content_key"}
    | {"owners_hash", "mailing_hash", "waiting_hash"}
)
"""Keys, and keyed hashes of values that are shown beside them or are not stored."""

_PURPOSES = tomllib.loads(files(__package__).joinpath("purposes.toml").read_text("utf-8"))
PURPOSES: Mapping[str, tuple[str, str]] = {table: (purpose, origin) for table, (purpose, origin) in _PURPOSES.items()}
"""The purpose and origin of each table's rows. For other tables the table's comment is shown."""


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """The rows of one table that belong to a person or an entity, decrypted, with the purpose and the origin of the
    data."""

    table: str
    purpose: str
    source: str
    rows: tuple[Mapping[str, Any], ...]


def _keys_of(table: sa.Table) -> Iterator[tuple[sa.Column[Any], sa.Column[Any]]]:
    """The foreign keys of a table whose rows belong to the referenced row: own column, referenced column."""
    for key in table.foreign_keys:
        if key.ondelete == "CASCADE":
            yield key.parent, key.column


def _owned(root: sa.Table) -> list[sa.Table]:
    """The tables whose rows belong to a row of `root`, each after the tables that it refers to."""
    found = [root]
    grown = True
    while grown:
        grown = False
        for table in metadata.sorted_tables:
            if table not in found and any(named.table in found for _, named in _keys_of(table)):
                found.append(table)
                grown = True
    return found


def stored_data(
    connection: Connection, keyring: Keyring, owner_id: UUID, *, root: sa.Table = subscribers
) -> list[StoredRows]:
    """The stored data of a subscriber or, with `root=entities`, of an entity, by table. Empty when there is none, or
    they were forgotten."""
    keys = SubscriberKeys({})
    chosen: dict[sa.Table, sa.Subquery] = {}
    answer = []
    for table in _owned(root):
        mine = sa.select(table).where(root.c.id == owner_id) if table is root else None
        if mine is None:
            ways = [own.in_(sa.select(chosen[n.table].c[n.name])) for own, n in _keys_of(table) if n.table in chosen]
            mine = sa.select(table).where(sa.or_(*ways))
        chosen[table] = mine.subquery()
        found = connection.execute(mine).mappings().all()
        if table in KEY_TABLES:
            keys |= keyring.load_keys(connection, [row[owner_column(table).name] for row in found], table=table)
        purpose, source = PURPOSES.get(table.name, (table.comment or f"for {table.name.replace('_', ' ')}", "us"))
        if found:
            answer.append(
                (StoredRows(table=f"{SCHEMA}.{table.name}", purpose=purpose, source=source, rows=()), table, found)
            )
    if owner_id not in keys:
        return []
    return [replace(one, rows=tuple(_opened(table, row, keys) for row in found)) for one, table, found in answer]


def _opened(table: sa.Table, row: Any, keys: SubscriberKeys) -> dict[str, Any]:
    """A row with its ciphertexts decrypted, under the column's name without `_encrypted`."""
    shown: dict[str, Any] = {}
    for column in table.columns:
        value = row[column.name]
        if column.name.endswith(ENCRYPTED):
            owner = row[owner_of(table).name]
            shown[column.name.removesuffix(ENCRYPTED)] = value and keys.open(owner, column, row["id"], value)
        elif column.name not in NOT_SHOWN:
            shown[column.name] = bytes(value).hex() if isinstance(value, bytes | memoryview) else value
    return shown
