"""Stores the owner roll's entries of watched parcels: keyed hashes, and the encrypted names of new owners that wait for
a document.

Every function works in the caller's transaction; those that use `scope`, after `darkwatch.scans.choose`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.property.rolls import RollState
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property.tables import property_rolls


@dataclass(frozen=True, kw_only=True)
class RollRow:
    """The entry to save for one watch. `waiting_owners`: the names of waiting owners, to be encrypted."""

    watch_id: UUID
    subscriber_id: UUID
    is_listed: bool
    state: RollState
    address_index: bytes | None
    waiting_owners: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """New owners on the roll that wait for a document, decrypted."""

    watch_id: UUID
    state: RollState
    since: date
    owners: tuple[str, ...] = field(repr=False)


def due(connection: Connection, county: str, *, read_before: datetime) -> list[UUID]:
    """The chosen subscriptions' watched parcels in a county whose roll entry was not read since `read_before`."""
    rows = connection.execute(
        sa.text("""
        SELECT w.id FROM scope JOIN kordant.watched_properties w USING (subscription_id)
        LEFT JOIN kordant.property_rolls r ON r.id = w.id
        WHERE w.county = :county AND w.parcel_index IS NOT NULL AND w.removed_at IS NULL
          AND (r.id IS NULL OR r.read_at < cast(:before AS timestamptz)) ORDER BY w.parcel_index, w.id
        """),
        {"county": county, "before": read_before},
    )
    return [row.id for row in rows]


def states(connection: Connection, watch_ids: Sequence[UUID]) -> dict[UUID, RollState]:
    """The stored state of those of these watches that were ever on the roll, locked until the transaction ends."""
    table = property_rolls.c
    query = sa.select(property_rolls).where(table.id.in_(list(watch_ids))).order_by(table.id).with_for_update()
    found = ((row, _state(row)) for row in connection.execute(query))
    return {row.id: state for row, state in found if row.is_listed or state != RollState()}


def save(connection: Connection, keyring: Keyring, rows: Sequence[RollRow]) -> None:
    """Save entries of the roll. The names of waiting owners, and the address, stay where the roll is blank now."""
    if not rows:
        return
    keys = keyring.load_keys(connection, list({one.subscriber_id for one in rows}), for_writing=True)
    column = property_rolls.c.waiting_owners_encrypted
    values = [
        {
            "id": one.watch_id,
            "subscriber_id": one.subscriber_id,
            "read_at": sa.func.clock_timestamp(),
            "is_listed": one.is_listed,
            "owners_hash": one.state.owners,
            "mailing_hash": one.state.mailing,
            "address_index": one.address_index,
            "waiting_hash": one.state.waiting,
            "waiting_since": one.state.waiting_since,
            "waiting_owners_encrypted": keys.seal(
                one.subscriber_id, column, one.watch_id, "\n".join(one.waiting_owners)
            )
            if one.waiting_owners
            else None,
        }
        for one in rows
        if one.subscriber_id in keys
    ]
    new = insert(property_rolls)
    stay = sa.func.coalesce(new.excluded.waiting_owners_encrypted, column)
    written: dict[str, sa.ColumnElement[Any]] = {one.name: new.excluded[one.name] for one in property_rolls.columns}
    written |= {column.name: sa.case((new.excluded.waiting_hash.is_(None), None), else_=stay)}
    written |= {"address_index": sa.func.coalesce(new.excluded.address_index, property_rolls.c.address_index)}
    if values:
        connection.execute(new.values(values).on_conflict_do_update(index_elements=["id"], set_=written))


def shown(connection: Connection, watch_id: UUID) -> dict[str, Any] | None:
    """The facts of a watch's entry that may be shown: when it was read, whether it is on the roll, and since when other
    owners wait for a document; None where it was not read."""
    query = "SELECT read_at, is_listed, waiting_since FROM kordant.property_rolls WHERE id = :id"
    row = connection.execute(sa.text(query), {"id": watch_id}).first()
    return dict(row._mapping) if row else None


def waiting(connection: Connection, keyring: Keyring, county: str) -> list[Waiting]:
    """The chosen subscriptions' parcels in a county with other owners that wait for a document."""
    rows = connection.execute(
        sa.text("""
        SELECT r.* FROM scope JOIN kordant.watched_properties w USING (subscription_id)
        JOIN kordant.property_rolls r ON r.id = w.id
        WHERE w.county = :county AND w.removed_at IS NULL AND r.waiting_since IS NOT NULL
        ORDER BY r.id FOR UPDATE OF r
        """),
        {"county": county},
    ).all()
    keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))
    column = property_rolls.c.waiting_owners_encrypted
    found = []
    for row in rows:
        if row.subscriber_id in keys and row.waiting_owners_encrypted is not None:
            text = keys.open(row.subscriber_id, column, row.id, row.waiting_owners_encrypted)
            names = tuple(text.splitlines())
            found.append(Waiting(watch_id=row.id, state=_state(row), since=row.waiting_since, owners=names))
    return found


def link_addresses(connection: Connection, county: str) -> None:
    """Link documents that name only an address to the chosen subscriptions' parcels with that address. They count as
    changed, so that they are compared, whenever the parcel's address became known."""
    connection.execute(
        sa.text("""
        WITH linked AS (
            INSERT INTO kordant.property_lots (parcel_index, instrument_id)
            SELECT DISTINCT w.parcel_index, l.instrument_id
            FROM scope JOIN kordant.watched_properties w USING (subscription_id)
            JOIN kordant.property_rolls r ON r.id = w.id
            JOIN kordant.property_lots l ON l.parcel_index = r.address_index
            WHERE w.county = :county AND w.removed_at IS NULL
            ON CONFLICT DO NOTHING RETURNING instrument_id
        )
        UPDATE kordant.property_instruments SET changed_at = clock_timestamp()
        WHERE id IN (SELECT instrument_id FROM linked)
        """),
        {"county": county},
    )


def settle(connection: Connection, watch_ids: Sequence[UUID]) -> None:
    """Accept the waiting owners as the owners; their names are deleted."""
    table = property_rolls.c
    connection.execute(
        sa.update(property_rolls)
        .where(table.id.in_(list(watch_ids)))
        .values(owners_hash=table.waiting_hash, waiting_hash=None, waiting_since=None, waiting_owners_encrypted=None)
    )


def _state(row: sa.Row[tuple[object, ...]]) -> RollState:
    said = {"owners": row.owners_hash, "mailing": row.mailing_hash, "waiting": row.waiting_hash}
    return RollState(
        **{name: None if value is None else bytes(value) for name, value in said.items()},
        waiting_since=row.waiting_since,
    )
