"""Entities: households and firms whose accounts are read. Created, listed, and forgotten with their key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.states import EntityKind
from kordant_jobs.postgres.schema import SCHEMA, metadata
from kordant_jobs.store.finance.tables import entities, entity_keys, entity_versions
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

HOLDER = "holder-document"
"""Kind of the blind index of a CPF or CNPJ."""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """An entity as it is shown to people. `name` is None once the entity was forgotten."""

    id: UUID
    kind: EntityKind
    name: str | None
    subscription_id: UUID | None
    connections: int
    accounts: int
    transactions: int
    is_stale: bool
    """True when its insights are older than its data."""
    created_at: datetime
    forgotten_at: datetime | None


def load_keys(
    connection: Connection, keyring: Keyring, entity_ids: Sequence[UUID], *, for_writing: bool = False
) -> SubscriberKeys:
    """Decrypt the data keys of these entities. ForgetSummary entities are missing from the result."""
    return keyring.load_keys(connection, entity_ids, table=entity_keys, for_writing=for_writing)


def create(
    connection: Connection,
    keyring: Keyring,
    *,
    kind: EntityKind,
    name: str,
    document: str | None = None,
    subscription_id: UUID | None = None,
    entity_id: UUID | None = None,
) -> UUID:
    """Create an entity with a key of its own. `document` is its CPF or CNPJ, digits only; only a keyed hash of it is
    stored."""
    made = entity_id or uuid7()
    row = {
        "id": made,
        "kind": kind.value,
        "subscription_id": subscription_id,
        "holder_index": keyring.blind_index(HOLDER, document) if document else None,
    }
    connection.execute(sa.insert(entities), row)
    keys = keyring.create_keys(connection, [made], table=entity_keys)
    sealed = keys.seal(made, entities.c.name_encrypted, made, name)
    connection.execute(sa.update(entities).where(entities.c.id == made).values(name_encrypted=sealed))
    connection.execute(insert(entity_versions).values(entity_id=made).on_conflict_do_nothing())
    return made


_LIST = sa.text("""
SELECT e.id, e.kind, e.name_encrypted, e.subscription_id, e.created_at, e.forgotten_at,
       coalesce(v.data_version > v.refreshed_version, false) AS is_stale,
       (SELECT count(*) FROM kordant.bank_connections c WHERE c.entity_id = e.id AND c.status <> 'ended')
           AS connections,
       (SELECT count(*) FROM kordant.bank_accounts a WHERE a.entity_id = e.id) AS accounts,
       (SELECT count(*) FROM kordant.transactions t JOIN kordant.bank_accounts a ON a.id = t.account_id
        WHERE a.entity_id = e.id AND t.state <> 'removed') AS transactions
FROM kordant.entities e LEFT JOIN kordant.entity_versions v ON v.entity_id = e.id
WHERE cast(:id AS uuid) IS NULL OR e.id = :id
ORDER BY e.id LIMIT :limit
""")


def find(connection: Connection, keyring: Keyring, *, entity_id: UUID | None = None, limit: int = 100) -> list[Entity]:
    """Entities, or the one with this id, with counts of their data."""
    rows = connection.execute(_LIST, {"id": entity_id, "limit": limit}).mappings().all()
    keys = load_keys(connection, keyring, [row["id"] for row in rows])
    found = []
    for row in rows:
        fields = dict(row)
        sealed = fields.pop("name_encrypted")
        name = None
        if sealed is not None and row["id"] in keys:
            name = keys.open(row["id"], entities.c.name_encrypted, row["id"], sealed)
        found.append(Entity(**{**fields, "name": name, "kind": EntityKind(fields["kind"])}))
    return found


def forget(connection: Connection, entity_id: UUID) -> dict[str, int] | None:
    """Delete an entity's key and all its rows. Returns the number of deleted rows by table. Only the entity's id and
    the time remain. None when there is no such entity, or it was forgotten before."""
    table = entities.c
    known = sa.select(table.id).where(table.id == entity_id, table.forgotten_at.is_(None)).with_for_update()
    if connection.execute(known).first() is None:
        return None
    count = "SELECT count(*) FROM kordant.transactions t JOIN kordant.bank_accounts a ON a.id = t.account_id "
    gone = {"transactions": connection.execute(sa.text(f"{count} WHERE a.entity_id = :id"), {"id": entity_id})}
    deleted = {name: result.scalar_one() for name, result in gone.items()}
    for one in [entity_keys, *(found for found in metadata.sorted_tables if found is not entity_keys)]:
        if any(key.column.table is entities for key in one.foreign_keys):  # what hangs on these goes with them
            result = connection.execute(
                sa.text(f"DELETE FROM {SCHEMA}.{one.name} WHERE entity_id = :id"),  # noqa: S608 - names of ours
                {"id": entity_id},
            )
            deleted[one.name] = result.rowcount
    emptied = sa.update(entities).where(table.id == entity_id)
    connection.execute(emptied.values(forgotten_at=sa.func.now(), name_encrypted=None, holder_index=None))
    return {name: number for name, number in deleted.items() if number}
