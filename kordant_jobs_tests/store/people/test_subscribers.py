"""What is kept of a watched identifier, and what is left when its subscriber is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.identifiers import KINDS, IdentifierKind, kept, sha1_hex
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.subscribers import NewItem, NewSubscriber, add, forget
from kordant_jobs.store.people.tables import watchlist_items
from kordant_jobs.store.tables import metadata

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _watching_everything() -> NewSubscriber:
    items = [
        NewItem(id=uuid4(), kind=kind, canonical=spec.example, verified_at=NOW, created_at=NOW)
        for kind, spec in KINDS.items()
    ]
    return NewSubscriber(
        id=uuid4(), subscription_id=uuid4(), tier="basic", locale="en", time_zone="UTC", name="Ann",
        contact="ann@example.com", created_at=NOW, items=tuple(items),
    )  # fmt: skip


def test_every_kind_can_be_watched_and_numbers_are_kept_as_a_hash_only(db: Engine, keyring: Keyring) -> None:
    person = _watching_everything()
    with db.begin() as connection:
        add(connection, [person], keyring)
        keys = keyring.load_keys(connection, [person.id])
        rows = connection.execute(sa.select(watchlist_items)).all()
    assert {row.kind for row in rows} == set(IdentifierKind)
    for row in rows:
        kind, example = IdentifierKind(row.kind), KINDS[IdentifierKind(row.kind)].example
        column = watchlist_items.c.identifier_encrypted
        assert keys.open(person.id, column, row.id, row.identifier_encrypted) == kept(kind, example)
        assert bytes(row.blind_index) == keyring.blind_index(kind, example)
        assert (row.range_index is not None) == (kind is IdentifierKind.EMAIL)
    email = next(row for row in rows if row.kind == IdentifierKind.EMAIL)
    assert bytes(email.range_index) == keyring.range_index(sha1_hex(KINDS[IdentifierKind.EMAIL].example))


def test_nothing_of_a_forgotten_subscriber_is_left_in_any_table(db: Engine, keyring: Keyring) -> None:
    person, other = _watching_everything(), _watching_everything()
    with db.begin() as connection:
        add(connection, [person, other], keyring)
        for table, columns in (("alerted", ""), ("dismissals", ", said_by")):
            connection.execute(
                sa.text(f"INSERT INTO kordant.{table} (subscription_id, blind_index, breach_name{columns}) "
                        f"VALUES (:id, 'x', 'Adobe'{', 1' if columns else ''})"),
                {"id": person.subscription_id},
            )  # fmt: skip
        erased = forget(connection, person.id)
        assert erased is not None
        assert erased.identifiers == len(person.items)
        owned = [
            (table, table.c[name])
            for table in metadata.sorted_tables
            for name in ("subscriber_id", "subscription_id", "item_id")
            if name in table.c
        ]
        theirs = {person.id, person.subscription_id, *(item.id for item in person.items)}
        left = [table.name for table, column in owned if theirs & set(connection.execute(sa.select(column)).scalars())]
        assert left == []
        assert {table.name for table, _ in owned} > {"exposures", "reports", "notification_outbox", "source_verdicts"}
        stays = connection.execute(sa.select(sa.func.count()).select_from(watchlist_items)).scalar_one()
        assert stays == len(other.items)
        assert forget(connection, person.id) is None
