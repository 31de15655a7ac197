"""A webhook is a hint: kept once, never believed, and it makes its connection due."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from kordant_jobs.adapters.banks.pluggy import Pluggy
from kordant_jobs.domain.finance.states import ConnectionStatus, Provider
from kordant_jobs.domain.finance.values import ConnectionRead
from kordant_jobs.jobs.bank_sync.hooks import take_webhook
from kordant_jobs.lab.banks.small_bank import SAME, SmallBank, entry
from kordant_jobs.pages.app import PagesContext, application
from kordant_jobs.ports import BankCalls, BankQuestion
from kordant_jobs.store.finance import connections

SECRET = {"x-kordant-secret": "s3cret"}


@pytest.fixture
def client(bank: SmallBank) -> TestClient:
    context = PagesContext(
        db=bank.db, keyring=bank.keyring, public_url="https://us.example", mail_domain="us.example",
        bank_secrets={Provider.PLUGGY: "s3cret"},
    )  # fmt: skip
    return TestClient(application(context))


def event_body(event: str, number: int = 1, item: str = "item-1", **more: Any) -> dict[str, Any]:
    return {"event": event, "eventId": f"event-{number}", "itemId": item, **more}


def count(bank: SmallBank, what: str) -> int:
    with bank.db.connect() as connection:
        found: int = connection.execute(sa.text(f"SELECT count(*) FROM kordant.{what}")).scalar_one()
        return found


def test_the_same_event_fifty_times_at_once_is_one_row_and_one_request(bank: SmallBank, client: TestClient) -> None:
    bank.open("checking")
    bank.sync()

    def post(_: int) -> int:
        return client.post("/hooks/banks/pluggy", json=event_body("item/updated"), headers=SECRET).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(post, range(50))) == {200}
    assert count(bank, "webhook_events") == 1
    assert count(bank, "job_requests WHERE job = 'bank_sync'") == 1
    assert bank.sync(named=False)["total"] == 0, "the lab's clock is behind the server's"


def test_who_has_not_the_secret_is_refused_and_a_foreign_item_makes_nothing_due(
    bank: SmallBank, client: TestClient
) -> None:
    bank.open("checking")
    url = "/hooks/banks/pluggy"
    assert client.post(url, json=event_body("item/updated")).status_code == 401
    assert client.post(url, json=event_body("item/updated"), headers={"x-kordant-secret": "wrong"}).status_code == 401
    assert client.post("/hooks/banks/belvo", json={}, headers=SECRET).status_code == 404
    assert client.post("/hooks/banks/nope", json={}, headers=SECRET).status_code == 404
    assert client.post(url, content=b"{", headers=SECRET).status_code == 422
    assert client.post(url, json={"event": "item/updated"}, headers=SECRET).status_code == 422
    found = client.post(url, json=event_body("item/updated", item="foreign"), headers=SECRET)
    assert (found.status_code, found.json()) == (200, {"news": False})
    assert count(bank, "job_requests") == 0


@pytest.mark.parametrize("odd", ["x\\ud800", "x\\u0000"])
@pytest.mark.parametrize("field", ["eventId", "event", "itemId", "transactionIds"])
def test_an_id_that_is_no_text_is_no_webhook(bank: SmallBank, client: TestClient, field: str, odd: str) -> None:
    bank.open("checking")
    body = event_body("transactions/deleted", transactionIds=["a"])
    body[field] = ["ODD"] if field == "transactionIds" else "ODD"
    content = json.dumps(body).replace("ODD", odd)
    assert client.post("/hooks/banks/pluggy", content=content, headers=SECRET).status_code == 422


def test_an_item_that_looks_like_a_consent_is_no_webhook(bank: SmallBank, client: TestClient) -> None:
    body = event_body("item/updated", item="{")
    assert client.post("/hooks/banks/pluggy", json=body, headers=SECRET).status_code == 422


def test_rows_deleted_and_created_under_new_ids_are_the_same_rows_in_any_order(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    for n in range(6):
        entry(account, f"a{n}", f"-{n}1.00", bank.ledger.today - timedelta(days=n + 1), word="PIX")
    bank.sync()
    before = {row.id for row in bank.rows()}
    old_ids = [one.id_at(bank.ledger.now) for one in account.entries]
    bank.ledger.move(hours=1)
    with bank.db.begin() as connection:
        body = json.dumps(event_body("transactions/deleted", transactionIds=old_ids)).encode()
        assert take_webhook(connection, bank.keyring, Provider.PLUGGY, body, now=bank.ledger.now)
        assert not take_webhook(connection, bank.keyring, Provider.PLUGGY, body, now=bank.ledger.now)
    assert bank.sync(named=False)["total"] == 1, "it made the connection due"
    assert {row.id for row in bank.rows()} == before, "a deletion waits for what takes its place"
    for one in account.entries:
        one.renamed_at.append(bank.ledger.now)
    figures = bank.sync()
    assert figures["rows_changed"] == 6
    assert {row.id for row in bank.rows()} == before
    assert bank.compare() == SAME


def test_a_row_that_is_deleted_explicitly_is_closed_although_it_was_final(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    gone = entry(account, "a", "-5.00", bank.ledger.today - timedelta(days=3))
    entry(account, "b", "-6.00", bank.ledger.today - timedelta(days=3))
    bank.sync()
    gone.gone_at = bank.ledger.now
    body = json.dumps(event_body("transactions/deleted", transactionIds=[gone.id_at(bank.ledger.now)])).encode()
    with bank.db.begin() as connection:
        take_webhook(connection, bank.keyring, Provider.PLUGGY, body, now=bank.ledger.now)
    bank.ledger.move(hours=1)
    assert bank.sync()["rows_removed"] == 1
    assert bank.compare() == SAME


def test_when_every_webhook_is_lost_data_is_at_most_a_day_old(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    bank.sync()
    for n in range(4):
        entry(account, f"a{n}", f"-{n}1.00", bank.ledger.today, appears_at=bank.ledger.now)
        bank.ledger.move(hours=12)
        bank.sync(named=False)
    assert len(bank.rows()) >= 3


def test_what_a_webhook_says_while_its_connection_is_read_is_read_next(
    bank: SmallBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.open("checking")
    read = Pluggy.read

    async def read_amid_a_webhook(client: Pluggy, question: BankQuestion, calls: BankCalls) -> ConnectionRead:
        found = await read(client, question, calls)
        bank.ledger.move(hours=1)
        with bank.db.begin() as connection:
            body = json.dumps(event_body("item/updated")).encode()
            assert take_webhook(connection, bank.keyring, Provider.PLUGGY, body, now=bank.ledger.now)
        return found

    monkeypatch.setattr(Pluggy, "read", read_amid_a_webhook)
    assert bank.sync()["successful"] == 1
    monkeypatch.undo()
    assert bank.sync(named=False)["total"] == 1
    assert bank.sync(named=False)["total"] == 0


def test_an_owner_who_has_acted_is_read_again(bank: SmallBank) -> None:
    bank.open("checking")
    item = bank.ledger.items["item-1"]
    item.status, item.execution = "LOGIN_ERROR", "INVALID_CREDENTIALS"
    bank.sync()
    item.status, item.execution = "UPDATED", "SUCCESS"
    body = json.dumps(event_body("item/updated")).encode()
    with bank.db.begin() as connection:
        take_webhook(connection, bank.keyring, Provider.PLUGGY, body, now=bank.ledger.now)
    assert bank.sync(named=False)["successful"] == 1


def test_a_connection_that_was_paused_stays_paused_whatever_a_webhook_says(bank: SmallBank) -> None:
    bank.open("checking")
    now = bank.ledger.now
    body = json.dumps(event_body("item/updated")).encode()
    with bank.db.begin() as connection:
        (paused,) = bank.connection_ids.values()
        assert connections.set_status(connection, paused, ConnectionStatus.PAUSED, reason="operator", now=now)
        assert not take_webhook(connection, bank.keyring, Provider.PLUGGY, body, now=now)
    figures = bank.sync(named=False)
    assert (figures["total"], figures["active"], figures["deferred_paused"]) == (0, 0, 1)
