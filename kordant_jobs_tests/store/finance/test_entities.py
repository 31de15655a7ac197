"""Entities have a key of their own; what is held of them is shown whole, and goes whole."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.finance.states import EntityKind
from kordant_jobs.privacy.held import stored_data
from kordant_jobs.store.finance import entities, tables
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe


def _entity(db: Engine, keyring: Keyring, name: str, subscription_id: UUID | None = None) -> UUID:
    """An entity with an account and a transaction."""
    account, transaction = uuid4(), uuid4()
    with db.begin() as connection:
        made = entities.create(
            connection,
            keyring,
            kind=EntityKind.HOUSEHOLD,
            name=name,
            document="52998224725",
            subscription_id=subscription_id,
        )
        keys = entities.load_keys(connection, keyring, [made])
        connection.execute(
            sa.insert(tables.bank_accounts),
            {
                "id": account, "entity_id": made, "kind": "checking", "currency": "BRL", "institution": "1",
                "identity_index": account.bytes,
            },
        )  # fmt: skip
        column = tables.transactions.c.description_encrypted
        connection.execute(
            sa.insert(tables.transactions),
            {
                "id": transaction, "account_id": account, "entity_id": made, "alias": transaction.bytes,
                "state": "posted", "booked_on": date(2026, 1, 2), "amount": Decimal("-1.50"), "currency": "BRL",
                "type": "pix", "content_hash": b"1", "extra_hash": b"2",
                "description_encrypted": keys.seal(made, column, transaction, f"PIX {name}"),
            },
        )  # fmt: skip
    return made


def _rows(db: Engine, table: sa.Table) -> int:
    with db.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_a_forgotten_entity_leaves_only_its_id_and_another_stays(db: Engine, keyring: Keyring) -> None:
    gone, stays = _entity(db, keyring, "Silva"), _entity(db, keyring, "Souza")
    with db.begin() as connection:
        deleted = entities.forget(connection, gone)
        assert deleted is not None
        assert (deleted["entity_keys"], deleted["bank_accounts"], deleted["transactions"]) == (1, 1, 1)
        assert entities.forget(connection, gone) is None
        shown = {one.id: one for one in entities.find(connection, keyring)}
    assert shown[gone].name is None
    assert (shown[stays].name, shown[stays].transactions) == ("Souza", 1)
    assert _rows(db, tables.transactions) == 1


@pytest.mark.parametrize("by_subscriber", [False, True])
def test_an_export_shows_what_is_held_of_an_entity(db: Engine, keyring: Keyring, by_subscriber: bool) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    made = _entity(db, keyring, "Silva", person.subscription_id)
    _entity(db, keyring, "Souza")
    with db.begin() as connection:
        if by_subscriber:
            shown = stored_data(connection, keyring, person.subscriber_id)
        else:
            shown = stored_data(connection, keyring, made, root=tables.entities)
    text = str([one.rows for one in shown])
    assert "PIX Silva" in text
    assert "Souza" not in text
    assert all(one.purpose and one.source for one in shown)


def test_forgetting_a_subscriber_forgets_their_entities(db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    _entity(db, keyring, "Silva", person.subscription_id)
    with db.begin() as connection:
        subscribers.forget(connection, person.subscriber_id)
    assert [_rows(db, table) for table in (tables.entities, tables.entity_keys, tables.transactions)] == [0, 0, 0]
