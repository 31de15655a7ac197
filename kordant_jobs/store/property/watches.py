"""Watched parcels and owners: add, remove, list, decrypt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.property.names import Order, normalise_name
from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property.records import name_indexes, parcel_indexes
from kordant_jobs.store.property.tables import watched_properties


@dataclass(frozen=True, kw_only=True)
class NewWatch:
    """A watch to add, unencrypted: pass this value only to `add`. Without a parcel it is an owner watch."""

    county: str
    parcel: str | None = field(default=None, repr=False)
    owners: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A watched parcel or owner, decrypted."""

    id: UUID
    subscription_id: UUID
    subscriber_id: UUID
    county: str
    parcel: str | None = field(repr=False)
    owners: tuple[str, ...] = field(repr=False)
    created_at: datetime
    removed_at: datetime | None = None


def add(connection: Connection, keyring: Keyring, subscription_id: UUID, wanted: Sequence[NewWatch]) -> list[UUID]:
    """Add watches to a subscription. Returns the ids of new ones. One that is watched already gets the owners given
    now; one that was removed is watched again under its old id, with its earlier alerts and each 'not me'.

    Raises:
        SettingsError: there is no such subscription.
    """
    row = connection.execute(
        sa.text("SELECT subscriber_id FROM kordant.subscriptions WHERE id = :id FOR UPDATE"), {"id": subscription_id}
    ).first()
    if row is None:
        raise SettingsError(f"there is no subscription {subscription_id}: `kordant-jobs subscribers` makes one.")
    keys = keyring.load_keys(connection, [row.subscriber_id], for_writing=True)
    known = {_meant(one.county, one.parcel, one.owners): one for one in _ever(connection, keyring, subscription_id)}
    seal, made, indexes = watched_properties.c, [], []
    for one in wanted:
        before = known.get(_meant(one.county, one.parcel, one.owners))
        watch_id = before.id if before else uuid4()
        owners = "\n".join(one.owners or (before.owners if before else ()))
        values: dict[str, Any] = {
            "owners_encrypted": keys.seal(row.subscriber_id, seal.owners_encrypted, watch_id, owners)
            if owners
            else None
        }
        if before is None or before.removed_at is not None:
            made.append(watch_id)
            values |= {"removed_at": None, "created_at": sa.func.clock_timestamp()}
        if before:
            connection.execute(sa.update(watched_properties).where(seal.id == watch_id).values(values))
            continue
        values |= {
            "id": watch_id,
            "subscription_id": subscription_id,
            "subscriber_id": row.subscriber_id,
            "county": one.county,
            "parcel_encrypted": one.parcel
            and keys.seal(row.subscriber_id, seal.parcel_encrypted, watch_id, one.parcel),
            "parcel_index": one.parcel and parcel_indexes(keyring, one.county, [one.parcel])[0],
        }
        connection.execute(sa.insert(watched_properties).values(values))
        known[_meant(one.county, one.parcel, one.owners)] = Watch(
            id=watch_id,
            subscription_id=subscription_id,
            subscriber_id=row.subscriber_id,
            county=one.county,
            parcel=one.parcel,
            owners=one.owners,
            created_at=datetime.now(UTC),
        )
        if one.parcel is None:
            names = name_indexes(keyring, one.county, one.owners, Order.GIVEN_FIRST)
            indexes += [(str(watch_id), index) for index in names]
    frame = pl.DataFrame(indexes, schema={"watch_id": pl.String, "key_index": pl.Binary}, orient="row")
    write_frame(connection, frame, "kordant.watched_name_keys")
    connection.execute(sa.text("SELECT pg_notify('kordant_events', 'property')"))
    return made


def _meant(county: str, parcel: str | None, owners: Sequence[str]) -> tuple[str, str]:
    """The identity of a watch within a subscription: the parcel, or the names in any spelling."""
    return county, parcel or " ".join(sorted(normalise_name(name) for name in owners))


def _ever(connection: Connection, keyring: Keyring, subscription_id: UUID) -> list[Watch]:
    """All present and former watches of a subscription, present ones last."""
    found = load(connection, keyring, subscription_id=subscription_id, with_removed=True)
    return sorted(found, key=lambda one: one.removed_at is None)


def remove(connection: Connection, watch_id: UUID) -> bool:
    """Remove a watch. False when it was not watched."""
    query = "UPDATE kordant.watched_properties SET removed_at = now() WHERE id = :id AND removed_at IS NULL"
    return bool(connection.execute(sa.text(query), {"id": watch_id}).rowcount)


def load(
    connection: Connection,
    keyring: Keyring,
    *,
    ids: Sequence[UUID] | None = None,
    subscription_id: UUID | None = None,
    with_removed: bool = False,
) -> list[Watch]:
    """The watches with these ids, or of a subscription, decrypted. Those of a forgotten subscriber are missing."""
    query = sa.select(watched_properties)
    if not with_removed:
        query = query.where(watched_properties.c.removed_at.is_(None))
    if ids is not None:
        query = query.where(watched_properties.c.id.in_(list(ids)))
    if subscription_id is not None:
        query = query.where(watched_properties.c.subscription_id == subscription_id)
    rows = connection.execute(query.order_by(watched_properties.c.created_at)).all()
    keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))

    def opened(row: Any, name: str) -> str | None:
        sealed = getattr(row, name)
        return None if sealed is None else keys.open(row.subscriber_id, watched_properties.c[name], row.id, sealed)

    return [
        Watch(
            id=row.id,
            subscription_id=row.subscription_id,
            subscriber_id=row.subscriber_id,
            county=row.county,
            parcel=opened(row, "parcel_encrypted"),
            owners=tuple((opened(row, "owners_encrypted") or "").splitlines()),
            created_at=row.created_at,
            removed_at=row.removed_at,
        )
        for row in rows
        if row.subscriber_id in keys
    ]
