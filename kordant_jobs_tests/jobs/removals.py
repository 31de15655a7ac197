"""Brokers and removal requests for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.removals.brokers import BrokerRow, ListSource
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import catalogue, profiles, requests
from kordant_jobs.store.removals.profiles import Profile
from kordant_jobs_tests.jobs.people import Person, subscribe

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def broker_row(key: str, **more: Any) -> BrokerRow:
    """A broker of our own list, with its domain `<key>.example`… of a real suffix."""
    values = {
        "source": ListSource.KORDANT,
        "key": key,
        "name": key.title(),
        "domains": (f"{key}.com",),
        "website": f"https://{key}.com",
        "emails": (f"privacy@{key}.com",),
        "categories": ("people-search",),
        **more,
    }
    return BrokerRow(**values)


def add_brokers(db: Engine, rows: Sequence[BrokerRow], *, now: datetime = NOW) -> dict[str, UUID]:
    """Import our own list; the ids of its brokers by key."""
    with db.begin() as connection:
        catalogue.import_rows(connection, ListSource.KORDANT, rows, now=now)
        found = connection.execute(sa.text("SELECT key, id FROM kordant.brokers"))
        return {row.key: row.id for row in found}


def add_profiled(
    db: Engine,
    keyring: Keyring,
    *,
    country: str = "US",
    state: str | None = "CA",
    details: Mapping[str, str] | None = None,
    **more: Any,
) -> Person:
    """A subscriber with a removal profile."""
    person = subscribe(db, keyring, "ann@mail.example", **more)
    with db.begin() as connection:
        profile = Profile(
            subscriber_id=person.subscriber_id,
            country=country,
            state=state,
            details={"city": "Fresno", "state": "CA", **(details or {})},
            permission=b"%PDF-1.7 permission",
        )
        profiles.write(connection, keyring, profile, now=NOW)
    return person


def ask(db: Engine, person: Person, broker_ids: Sequence[UUID], *, now: datetime = NOW) -> list[UUID]:
    """Ask these brokers; the ids of the requests."""
    with db.begin() as connection:
        return list(requests.create(connection, person.subscription_id, broker_ids, now=now).made)
