from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from starlette.testclient import TestClient

from kordant_jobs.jobs.removebrokers_process.asking import CALLBACK
from kordant_jobs.pages.app import PagesContext, application
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import moves, requests
from kordant_jobs.store.removals.links import DONE, done_link, token_of
from kordant_jobs_tests.jobs.removals import NOW, add_brokers, add_profiled, ask, broker_row

SECRET = "a secret"


@pytest.fixture
def client(db: Engine, keyring: Keyring) -> TestClient:
    context = PagesContext(
        db=db, keyring=keyring, public_url="https://us.example", mail_domain="us.example", webhook_secret=SECRET,
        clock=NOW.timestamp,
    )  # fmt: skip
    return TestClient(application(context))


def test_a_status_callback_is_only_a_reason_to_ask(client: TestClient, db: Engine, keyring: Keyring) -> None:
    [request] = ask(db, add_profiled(db, keyring), list(add_brokers(db, [broker_row("spoken")]).values()))
    far = datetime.now(UTC) + timedelta(days=30)
    with db.begin() as connection:
        connection.execute(
            sa.text("UPDATE kordant.removal_requests SET channel = 'drp', outside_id = 'r', next_at = :far"),
            {"far": far},
        )
    token = token_of(keyring, CALLBACK, request)
    for wrong in (
        f"{request}/{'0' * 32}",
        f"{uuid4()}/{token}",
        f"x/{token}",
        f"{request}/{token_of(keyring, DONE, request)}",
    ):
        assert client.post(f"/callbacks/removals/{wrong}", json={"status": "fulfilled"}).status_code == 404
    assert client.post(f"/callbacks/removals/{request}/{token}", json={"status": "fulfilled"}).status_code == 200
    with db.connect() as connection:
        row = requests.get(connection, request)
    assert row.state == "draft"
    assert row.next_at < far


def test_a_form_that_was_filled_in_starts_the_clock_once(client: TestClient, db: Engine, keyring: Keyring) -> None:
    [request] = ask(db, add_profiled(db, keyring), list(add_brokers(db, [broker_row("spoken")]).values()))
    with db.begin() as connection:
        one = {
            "id": str(request),
            "from_state": "draft",
            "to_state": "needs_user_action",
            "reason": "form_for_a_person",
        }
        moves.apply(connection, moves.frame_of([one]), now=NOW, actor="test")
    url = f"/removals/{request}/done/{token_of(keyring, DONE, request)}"
    assert [client.post(url).text for _ in range(2)] == ["sent", "sent"]
    assert client.post(url.replace("/done/", "/done/0")).status_code == 404
    assert done_link(keyring, "https://us.example/", request) == f"https://us.example{url}"
    with db.connect() as connection:
        row = requests.get(connection, request)
    assert (row.sent_on, row.channel, row.attempts) == (NOW.date(), "web_form", 1)


def test_what_opens_the_link_of_a_mail_says_nothing_and_the_button_behind_it_does(
    client: TestClient, db: Engine, keyring: Keyring
) -> None:
    [request] = ask(db, add_profiled(db, keyring), list(add_brokers(db, [broker_row("spoken")]).values()))
    url = done_link(keyring, "", request)
    browser = {"accept": "text/html,*/*", "accept-language": "pt-BR"}
    assert client.post(url, headers=browser).status_code == 409
    with db.begin() as connection:
        one = {"id": str(request), "from_state": "draft", "to_state": "needs_user_action", "reason": "x"}
        moves.apply(connection, moves.frame_of([one]), now=NOW, actor="test")
    asked = client.get(url, headers=browser)
    assert (asked.status_code, "<button>Sim" in asked.text) == (200, True)
    with db.connect() as connection:
        assert requests.get(connection, request).state == "needs_user_action"
    assert "Obrigado" in client.post(url, headers=browser).text
    with db.connect() as connection:
        assert requests.get(connection, request).state == "sent"


def test_a_reply_that_a_mail_service_posts_needs_our_signature(
    client: TestClient, db: Engine, keyring: Keyring
) -> None:
    [request] = ask(db, add_profiled(db, keyring), list(add_brokers(db, [broker_row("spoken")]).values()))
    with db.connect() as connection:
        token = requests.get(connection, request).address_token
    head = f"From: p@spoken.com\r\nTo: removals+{token}@kordant.example\r\nMessage-ID: <1@s>\r\n\r\n"
    mail = (head + "Hello? " * 300_000).encode()  # two megabytes, as the mailbox takes them
    moment = str(int(NOW.timestamp()))
    signature = hmac.new(SECRET.encode(), moment.encode() + b"." + mail, "sha256").hexdigest()
    headers = {"x-kordant-timestamp": moment, "x-kordant-signature": f"sha256={signature}"}
    assert client.post("/callbacks/removals/mail", content=mail).status_code == 403
    assert client.post("/callbacks/removals/mail", content=mail, headers=headers).status_code == 204
    with db.connect() as connection:
        assert len(requests.story(connection, request).replies) == 1
