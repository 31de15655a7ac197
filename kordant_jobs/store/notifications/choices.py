"""Subscribers' choices (preferences, hours, addresses), and addresses that are suppressed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.notifications.addresses import check_address
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.choices import Category, Mode
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.store.notifications.tables import (
    contact_addresses,
    notification_hours,
    notification_preferences,
    suppressions,
)
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscribers, subscriptions

AddressKey = tuple[Channel, bytes]
"""A channel and the blind index of an address: it identifies an address that must not be readable."""


def address_key(keyring: Keyring, channel: Channel, address: str) -> AddressKey:
    """The key of an address; spellings that reach the same mailbox have the same key."""
    canonical = address.strip().lower() if channel is Channel.EMAIL else address.strip()
    return channel, keyring.blind_index(f"to {channel}", canonical)


def suppressed(connection: Connection, keys: Collection[AddressKey]) -> dict[AddressKey, str]:
    """The suppressed ones of these addresses, each with the reason."""
    if not keys:
        return {}
    table = suppressions.c
    rows = connection.execute(
        sa.select(table.channel, table.address_index, table.reason).where(
            table.address_index.in_([index for _, index in keys])
        )
    )
    found = {(Channel(row.channel), bytes(row.address_index)): row.reason for row in rows}
    return {key: found[key] for key in keys if key in found}


def suppress(connection: Connection, keys: Sequence[AddressKey], *, reason: str, by: str) -> int:
    """Suppress these addresses: nothing is sent to them any more. The first reason is kept. Returns the number of new
    ones. Rows are written in the order of their keys, so that concurrent senders cannot deadlock."""
    rows = [
        {"channel": channel, "address_index": index, "reason": reason, "created_by": by}
        for channel, index in sorted(set(keys))
    ]
    if not rows:
        return 0
    statement = insert(suppressions).on_conflict_do_nothing().returning(suppressions.c.channel)
    return len(connection.execute(statement, rows).all())


def _older(days: float) -> sa.ColumnElement[bool]:
    return suppressions.c.created_at < sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, days * 86_400)


def count_old_suppressions(connection: Connection, *, days: float) -> int:
    """The number of addresses suppressed more than this many days ago."""
    count = sa.select(sa.func.count()).select_from(suppressions).where(_older(days))
    return int(connection.execute(count).scalar_one())


def prune_suppressions(connection: Connection, *, days: float, limit: int) -> int:
    """Delete at most `limit` of them. Returns the number deleted."""
    key = (suppressions.c.channel, suppressions.c.address_index)
    some = sa.select(*key).where(_older(days)).limit(limit)
    return connection.execute(sa.delete(suppressions).where(sa.tuple_(*key).in_(some))).rowcount


def unsuppress(connection: Connection, key: AddressKey) -> bool:
    """Allow messages to an address again. False when it was not suppressed."""
    channel, index = key
    table = suppressions.c
    gone = connection.execute(sa.delete(suppressions).where(table.channel == channel, table.address_index == index))
    return bool(gone.rowcount)


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address of a subscriber, still encrypted."""

    id: UUID
    channel: Channel
    created_at: datetime
    removed_at: datetime | None
    removed_reason: str | None


def add_address(
    connection: Connection, keyring: Keyring, subscriber_id: UUID, channel: Channel, address: str
) -> UUID | None:
    """Store an address of a subscriber, encrypted. None when it is known already.

    Raises:
        BadAddress: no message could ever be sent to it.
        KeyringError: the subscriber was forgotten.
    """
    check_address(channel, address)
    address_id = uuid7()
    keys = keyring.load_keys(connection, [subscriber_id], for_writing=True)
    statement = insert(contact_addresses).values(
        id=address_id,
        subscriber_id=subscriber_id,
        channel=channel,
        address_encrypted=keys.seal(subscriber_id, contact_addresses.c.address_encrypted, address_id, address),
        blind_index=address_key(keyring, channel, address)[1],
    )
    made = connection.execute(statement.on_conflict_do_nothing().returning(contact_addresses.c.id)).scalar()
    return address_id if made else None


def addresses(connection: Connection, subscriber_id: UUID) -> list[Address]:
    """The addresses that a subscriber has or had, besides their contact."""
    table = contact_addresses.c
    columns = (table.id, table.channel, table.created_at, table.removed_at, table.removed_reason)
    rows = connection.execute(
        sa.select(*columns).where(table.subscriber_id == subscriber_id).order_by(table.created_at, table.id)
    )
    return [Address(**{**row._mapping, "channel": Channel(row.channel)}) for row in rows]


def remove_addresses(connection: Connection, gone: Collection[tuple[UUID, datetime | None]], reason: str) -> int:
    """Remove these addresses; one that was given after the time beside it stays. Returns the number removed."""
    if not gone:
        return 0
    query = """
        UPDATE kordant.contact_addresses c SET removed_at = now(), removed_reason = :reason
        FROM unnest(cast(:ids AS uuid[]), cast(:moments AS timestamptz[])) AS g (id, gone_at)
        WHERE c.id = g.id AND c.removed_at IS NULL AND c.created_at <= coalesce(g.gone_at, now())
    """
    values = {"ids": [str(one) for one, _ in gone], "moments": [moment for _, moment in gone], "reason": reason}
    return int(connection.execute(sa.text(query), values).rowcount)


def choose(
    connection: Connection, subscriber_id: UUID, *, category: Category, channel: Channel, mode: Mode, by: str
) -> None:
    """Set when a subscriber wants messages of a category over a channel."""
    values = {"mode": mode, "changed_by": by, "changed_at": sa.func.now()}
    statement = insert(notification_preferences).values(
        subscriber_id=subscriber_id, category=category, channel=channel, **values
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=["subscriber_id", "category", "channel"], set_=values)
    )


def choices(connection: Connection, subscriber_id: UUID) -> dict[tuple[Category, Channel], Mode]:
    """The choices of a subscriber; for anything missing `DEFAULT_MODE` applies."""
    table = notification_preferences.c
    rows = connection.execute(
        sa.select(table.category, table.channel, table.mode)
        .where(table.subscriber_id == subscriber_id)
        .order_by(table.category, table.channel)
    )
    return {(Category(row.category), Channel(row.channel)): Mode(row.mode) for row in rows}


@dataclass(frozen=True, kw_only=True)
class ChosenHours:
    """The quiet hours and digest times of a subscriber, in local time of the subscription's zone."""

    quiet_from: time | None = None
    quiet_until: time | None = None
    digest_at: time = time(8)
    digest_weekday: int = 1


def hours(connection: Connection, subscriber_id: UUID) -> ChosenHours:
    """The hours of a subscriber, or the defaults for one who has chosen none."""
    table = notification_hours.c
    columns = (table.quiet_from, table.quiet_until, table.digest_at, table.digest_weekday)
    row = connection.execute(sa.select(*columns).where(table.subscriber_id == subscriber_id)).one_or_none()
    return ChosenHours(**row._mapping) if row else ChosenHours()


def set_hours(connection: Connection, subscriber_id: UUID, chosen: ChosenHours) -> None:
    """Store the hours of a subscriber."""
    values = {
        "quiet_from": chosen.quiet_from,
        "quiet_until": chosen.quiet_until,
        "digest_at": chosen.digest_at,
        "digest_weekday": chosen.digest_weekday,
    }
    statement = insert(notification_hours).values(subscriber_id=subscriber_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["subscriber_id"], set_=values))


def is_known(connection: Connection, subscriber_id: UUID) -> bool:
    """True when the subscriber exists."""
    found = connection.execute(sa.select(subscribers.c.id).where(subscribers.c.id == subscriber_id))
    return found.scalar() is not None


def locale_of(connection: Connection, subscriber_id: UUID) -> Locale:
    """The language of a subscriber's newest subscription; English when they have none."""
    table = subscriptions.c
    query = sa.select(table.locale).where(table.subscriber_id == subscriber_id).order_by(table.started_at.desc())
    found = connection.execute(query.limit(1)).scalar()
    return Locale(found) if found else Locale.EN
