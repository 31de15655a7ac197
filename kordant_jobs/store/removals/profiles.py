"""Subscribers' details for removal requests, encrypted: by field, and the signed permission."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.people.tables import subscribers
from kordant_jobs.store.removals.tables import removal_profiles

FIELDS = ("name", "email", "phone", "street", "city", "state", "postal_code", "country", "birth_year", "birth_date")
"""The fields that a profile may have; others are refused."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One subscriber's details, decrypted while messages are written: `details` by field, and the permission's PDF."""

    subscriber_id: UUID
    country: str
    state: str | None
    details: Mapping[str, str] = field(repr=False)
    permission: bytes | None = field(default=None, repr=False)
    verified: frozenset[str] = frozenset()
    """Fields that are known to be the subscriber's: the address that our own mails reach, and no other."""


def write(connection: Connection, keyring: Keyring, profile: Profile, *, now: datetime) -> None:
    """Replace a subscriber's profile; its permission counts from now. Country and state are stored among the details,
    too, since forms and searches ask for them.

    Raises:
        KeyringError: the subscriber was forgotten.
    """
    keys = keyring.load_keys(connection, [profile.subscriber_id], for_writing=True)
    table = removal_profiles.c
    known = connection.execute(sa.select(table.id).where(table.subscriber_id == profile.subscriber_id)).scalar()
    row_id = known or uuid4()
    lives = {"country": profile.country, **({"state": profile.state} if profile.state else {})}
    details = keys.seal(
        profile.subscriber_id, table.details_encrypted, row_id, json.dumps(lives | dict(profile.details))
    )
    permission = profile.permission and keys.seal(
        profile.subscriber_id, table.permission_encrypted, row_id, base64.b64encode(profile.permission).decode()
    )
    values = {
        "id": row_id, "subscriber_id": profile.subscriber_id, "country": profile.country, "state": profile.state,
        "details_encrypted": details, "permission_encrypted": permission,
        "permitted_at": now if permission else None,
    }  # fmt: skip
    statement = insert(removal_profiles).values(**values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def load(connection: Connection, keys: SubscriberKeys, subscriber_ids: Sequence[UUID]) -> dict[UUID, Profile]:
    """The profiles of these subscribers, with name and contact where the profile has none. Subscribers without a key or
    profile are missing from the result."""
    query = (
        sa.select(removal_profiles, subscribers.c.name_encrypted, subscribers.c.contact_encrypted)
        .join(subscribers, subscribers.c.id == removal_profiles.c.subscriber_id)
        .where(removal_profiles.c.subscriber_id.in_(list(subscriber_ids)))
    )
    found = {}
    for row in connection.execute(query):
        if row.subscriber_id not in keys or row.details_encrypted is None:
            continue
        plain = partial(keys.open, row.subscriber_id)
        details = details_of(keys, row.subscriber_id, row.id, row.details_encrypted)
        name = plain(subscribers.c.name_encrypted, row.subscriber_id, row.name_encrypted)
        contact = plain(subscribers.c.contact_encrypted, row.subscriber_id, row.contact_encrypted)
        permission = plain(removal_profiles.c.permission_encrypted, row.id, row.permission_encrypted)
        found[row.subscriber_id] = Profile(
            subscriber_id=row.subscriber_id,
            country=row.country,
            state=row.state,
            details={"name": name, "email": contact, **details},
            permission=base64.b64decode(permission) if permission else None,
            verified=frozenset({"email"} if details.get("email", contact) == contact else ()),
        )
    return found


def details_of(keys: SubscriberKeys, subscriber_id: UUID, row_id: UUID, sealed: bytes) -> dict[str, str]:
    """The details of a profile's row, decrypted."""
    column = removal_profiles.c.details_encrypted
    found: dict[str, str] = json.loads(keys.open(subscriber_id, column, row_id, sealed))
    return found
