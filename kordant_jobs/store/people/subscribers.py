"""Subscribers, their subscriptions and watchlists: written in bulk, and forgotten one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.identifiers import IdentifierKind, kept, sha1_hex
from kordant_jobs.domain.people.subscriptions import SubscriptionStatus
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.darkwatch.source_tables import alerted, dismissals
from kordant_jobs.store.notifications.tables import contact_addresses
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriber_keys, subscribers, subscriptions, watchlist_items


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An identifier to watch, in its canonical form."""

    id: UUID
    kind: str
    canonical: str
    verified_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewSubscriber:
    """A subscriber with one subscription and its watchlist, all in clear: this value goes nowhere but into `add`."""

    id: UUID
    subscription_id: UUID
    tier: str
    locale: str
    time_zone: str
    name: str
    contact: str
    created_at: datetime
    items: tuple[NewItem, ...]


def add(connection: Connection, people: Sequence[NewSubscriber], keyring: Keyring) -> None:
    """Write subscribers in bulk, each encrypted with a new key of their own."""
    if not people:
        return
    people_rows = [(str(person.id), person.created_at) for person in people]
    write_frame(connection, _frame(people_rows, ["id", "created_at"]), "kordant.subscribers")
    keys = keyring.create_keys(connection, [person.id for person in people])
    connection.execute(sa.text("CREATE TEMP TABLE sealed (id uuid, name bytea, contact bytea) ON COMMIT DROP"))
    sealed = [
        (
            str(p.id),
            keys.seal(p.id, subscribers.c.name_encrypted, p.id, p.name),
            keys.seal(p.id, subscribers.c.contact_encrypted, p.id, p.contact),
        )
        for p in people
    ]
    write_frame(connection, _frame(sealed, ["id", "name", "contact"]), "sealed")
    connection.execute(
        sa.text(
            "UPDATE kordant.subscribers s SET name_encrypted = x.name, contact_encrypted = x.contact "
            "FROM sealed x WHERE x.id = s.id"
        )
    )
    plans = [(str(p.subscription_id), str(p.id), p.tier, p.locale, p.time_zone, p.created_at) for p in people]
    columns = ["id", "subscriber_id", "tier", "locale", "time_zone", "started_at"]
    write_frame(connection, _frame(plans, columns), "kordant.subscriptions")
    items = [
        (
            str(item.id),
            str(person.subscription_id),
            str(person.id),
            item.kind,
            keys.seal(
                person.id,
                watchlist_items.c.identifier_encrypted,
                item.id,
                kept(IdentifierKind(item.kind), item.canonical),
            ),
            keyring.blind_index(item.kind, item.canonical),
            keyring.range_index(sha1_hex(item.canonical)) if item.kind == IdentifierKind.EMAIL else None,
            item.verified_at,
            item.created_at,
        )
        for person in people
        for item in person.items
    ]
    columns = ["id", "subscription_id", "subscriber_id", "kind", "identifier_encrypted", "blind_index", "range_index"]
    write_frame(connection, _frame(items, [*columns, "verified_at", "created_at"]), "kordant.watchlist_items")


def _frame(rows: Sequence[tuple[object, ...]], columns: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=list(columns), orient="row", infer_schema_length=None)


def forget(connection: Connection, subscriber_id: UUID) -> bool:
    """Delete a subscriber's key and blind indexes and end the subscription. Nothing can be read or matched again.

    Exposures and counts stay, as facts about nobody. False when there is no key to delete.
    """
    gone = connection.execute(sa.delete(subscriber_keys).where(subscriber_keys.c.subscriber_id == subscriber_id))
    if not gone.rowcount:
        return False
    connection.execute(
        sa.update(watchlist_items)
        .where(watchlist_items.c.subscriber_id == subscriber_id)
        .values(blind_index=None, range_index=None)
    )
    theirs = sa.select(subscriptions.c.id).where(subscriptions.c.subscriber_id == subscriber_id)
    for table in (alerted, dismissals):
        connection.execute(sa.delete(table).where(table.c.subscription_id.in_(theirs)))
    connection.execute(
        sa.update(contact_addresses).where(contact_addresses.c.subscriber_id == subscriber_id).values(blind_index=None)
    )
    connection.execute(
        sa.update(subscriptions)
        .where(subscriptions.c.subscriber_id == subscriber_id)
        .values(status=SubscriptionStatus.CANCELLED, ended_at=sa.func.now())
    )
    connection.execute(
        sa.update(subscribers)
        .where(subscribers.c.id == subscriber_id)
        .values(forgotten_at=sa.func.now(), name_encrypted=None, contact_encrypted=None)
    )
    return True
