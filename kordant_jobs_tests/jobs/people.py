"""Subscribers for tests of jobs: a few lines make one with a watchlist, as the product's back end would."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscribers, subscriptions, watchlist_items

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A subscriber, the subscription, and its items by the identifier as typed."""

    subscriber_id: UUID
    subscription_id: UUID
    items: dict[str, UUID]


def subscribe(
    db: Engine,
    keyring: Keyring,
    *identifiers: str,
    tier: str = "premium",
    verified: bool = True,
    created_at: datetime = LONG_AGO,
    locale: str = "en",
    contact: str = "ann@mail.example",
    name: str = "Ann Example",
) -> Person:
    """Make a subscriber who watches `identifiers` (an e-mail, +phone or user name, by its look)."""
    subscriber_id, subscription_id = uuid4(), uuid4()
    with db.begin() as connection:
        connection.execute(sa.insert(subscribers), {"id": subscriber_id, "created_at": created_at})
        keys = keyring.create_keys(connection, [subscriber_id])
        connection.execute(
            sa.update(subscribers)
            .where(subscribers.c.id == subscriber_id)
            .values(
                name_encrypted=keys.seal(subscriber_id, subscribers.c.name_encrypted, subscriber_id, name),
                contact_encrypted=keys.seal(subscriber_id, subscribers.c.contact_encrypted, subscriber_id, contact),
            )
        )
        connection.execute(
            sa.insert(subscriptions),
            {"id": subscription_id, "subscriber_id": subscriber_id, "tier": tier, "locale": locale},
        )
        items = {}
        for typed in identifiers:
            kind = kind_of(typed)
            canonical = normalise(kind, typed)
            assert canonical is not None, typed
            item_id = items[typed] = uuid4()
            connection.execute(
                sa.insert(watchlist_items),
                {
                    "id": item_id,
                    "subscription_id": subscription_id,
                    "subscriber_id": subscriber_id,
                    "kind": kind,
                    "identifier_encrypted": keys.seal(
                        subscriber_id, watchlist_items.c.identifier_encrypted, item_id, canonical
                    ),
                    "blind_index": keyring.blind_index(kind, canonical),
                    "verified_at": created_at if verified else None,
                    "created_at": created_at,
                },
            )
    return Person(subscriber_id=subscriber_id, subscription_id=subscription_id, items=items)


def kind_of(typed: str) -> IdentifierKind:
    """E-mail, phone or user name, by its look."""
    if "@" in typed:
        return IdentifierKind.EMAIL
    return IdentifierKind.PHONE if typed.startswith("+") else IdentifierKind.USERNAME
