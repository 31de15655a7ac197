"""Rows that were changed in the database without the key are found, each with its place."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.privacy.verification import verify
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.subscribers import NewItem, NewSubscriber

OPENS_NOT, OTHERS = "does not open at this place", "is not that of this row's identifier"
SWAP = """
UPDATE kordant.watchlist_items SET {column} = (
    SELECT {column} FROM kordant.watchlist_items o WHERE o.kind = 'email' AND o.id <> watchlist_items.id LIMIT 1
) WHERE id = (SELECT min(id::text)::uuid FROM kordant.watchlist_items WHERE kind = 'email')
"""
FLIP = (
    "UPDATE {table} SET {column} = set_byte({column}, 13, get_byte({column}, 13) # 1) "
    "WHERE id = (SELECT min(id::text)::uuid FROM {table} WHERE {rows})"
)


def _person(kind: str, canonical: str) -> NewSubscriber:
    now = datetime.now(UTC)
    item = NewItem(id=uuid4(), kind=kind, canonical=canonical, verified_at=now, created_at=now)
    return NewSubscriber(
        id=uuid4(), subscription_id=uuid4(), tier="basic", locale="en", time_zone="UTC", name="Ann",
        contact="ann@mail.example", created_at=now, items=(item,),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tamper", "place", "why"),
    [
        (SWAP.format(column="identifier_encrypted"), "watchlist_items.identifier_encrypted", OPENS_NOT),
        (SWAP.format(column="blind_index"), "watchlist_items.blind_index", OTHERS),
        (SWAP.format(column="range_index"), "watchlist_items.range_index", OTHERS),
        (FLIP.format(table="kordant.watchlist_items", column="blind_index", rows="kind = 'email'"),
         "watchlist_items.blind_index", OTHERS),  # that of a card is masked: it cannot be made again
        (FLIP.format(table="kordant.subscribers", column="name_encrypted", rows="true"),
         "subscribers.name_encrypted", OPENS_NOT),
        ("DELETE FROM kordant.subscriber_keys WHERE subscriber_id = (SELECT min(subscriber_id::text)::uuid "
         "FROM kordant.watchlist_items WHERE kind = 'card')", None, OPENS_NOT),
    ],
)  # fmt: skip
def test_a_changed_or_swapped_row_is_found(
    db: Engine, keyring: Keyring, tamper: str, place: str | None, why: str
) -> None:
    watched = {"email": ["ann@mail.example", "bob@mail.example"], "card": ["4111111111111111"]}
    with db.begin() as connection:
        subscribers.add(connection, [_person(kind, one) for kind in watched for one in watched[kind]], keyring)
    before = verify(db, keyring)
    assert (before.indexes, before.masked, before.faults) == (2, 1, [])
    assert before.values == 9
    with db.begin() as connection:
        assert connection.execute(sa.text(tamper)).rowcount == 1
    faults = verify(db, keyring).faults
    assert {one.why for one in faults} == {why}
    assert place is None or [one.column for one in faults] == [place]
