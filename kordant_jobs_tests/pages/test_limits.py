"""What proves nothing costs a bounded number of bytes and seconds, and at most a line of the log."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kordant_jobs.errors import DatabaseUnavailable
from kordant_jobs.jobs.notifications_send import receipts
from kordant_jobs.pages.app import PagesContext, application
from kordant_jobs.pages.limits import ERRORS, read_body
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.asgi import PUBLIC, Client, raw_status

SECRET = "s"


@pytest.fixture
def client(db: Engine, keyring: Keyring) -> Client:
    context = PagesContext(
        db=db,
        keyring=keyring,
        public_url=PUBLIC,
        mail_domain="kordant.example",
        twilio_token="t",
        webhook_secret=SECRET,
    )
    return Client(application(context))


@pytest.mark.parametrize("moment", ["²", "9" * 5_000, "-1", "1e9", "٣", " 1", ""])
def test_a_time_stamp_that_is_none_is_refused(client: Client, moment: str) -> None:
    headers = {"X-Kordant-Timestamp": moment.encode(), "X-Kordant-Signature": b"x"}
    assert client.post("/callbacks/delivery", headers=headers, content=b"x").status_code == 403


def test_a_body_that_comes_too_slowly_is_answered_in_time() -> None:
    async def take(request: Request) -> Response:
        body = await read_body(request, at_most=10, within_s=0.05)
        return body if isinstance(body, Response) else PlainTextResponse("taken")

    async def never() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    client = Client(Starlette(routes=[Route("/", take, methods=["POST"])]))
    assert client.post("/", content=never()).status_code == 408
    assert client.post("/", content=b"a" * 11).status_code == 413
    assert client.post("/", content=b"a").text == "taken"


@pytest.mark.parametrize(("error", "code"), [(DatabaseUnavailable("Postgres is away."), 503), (KeyError("ann@x"), 500)])
def test_an_error_is_a_line_without_what_the_request_held(
    error: Exception, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: Request) -> Response:
        raise error

    with caplog.at_level(logging.WARNING):
        client = Client(Starlette(routes=[Route("/", fail)], middleware=ERRORS))
        assert client.get("/").status_code == code
    (record,) = caplog.records
    assert record.exc_info is None
    assert "ann@x" not in record.getMessage()


def _mutated(rng: random.Random, body: bytes) -> bytes:
    """`body` with a few bytes changed, cut, doubled or put in."""
    content = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        match rng.randrange(4):
            case 0:
                content[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
            case 1:
                del content[at:]
            case 2:
                content[at:at] = content[: rng.randint(0, 40)]
            case 3:
                content[at:at] = rng.choice([b"\0", b"\xed\xa0\x80", b"[" * 2000, b'"', b"\r\n\r\n", b"\xff"])
    return bytes(content)


def hostile_requests(client: Client, db: Engine, count: int, seed: int) -> dict[int, int]:
    """Send mutated callbacks, half of them signed as ours; how often each status was answered."""
    rng, answered = random.Random(seed), dict[int, int]()
    told = json.dumps({"message_id": "0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e", "status": "bounced"}).encode()
    bounced = (
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b--\r\n"
    )
    for _ in range(count):
        path, seedling = rng.choice(
            [
                ("/callbacks/delivery", told),
                ("/callbacks/bounce", bounced),
                ("/callbacks/twilio/x", b"MessageStatus=sent"),
            ]
        )
        body, now = _mutated(rng, seedling), str(int(time.time()))
        signature = receipts.webhook_signature(SECRET, now, body) if rng.random() < 0.5 else "x"
        headers: dict[str, Any] = {
            "X-Kordant-Timestamp": now if rng.random() < 0.9 else rng.choice(["²", "9" * 900, ""]).encode(),
            "X-Kordant-Signature": signature,
            "X-Twilio-Signature": "x",
        }
        status = client.post(path, headers=headers, content=body).status_code
        answered[status] = answered.get(status, 0) + 1
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.suppressions")).scalar() == 0
    return answered


def test_mutated_callbacks_are_answered_and_change_nothing(
    client: Client, db: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    answered = hostile_requests(client, db, 400, seed=1)
    assert max(answered) < 500, (answered, caplog.text)
    assert set(answered) >= {403, 422}


def test_a_query_that_is_no_text_is_refused_and_deep_json_is_no_receipt(db: Engine, keyring: Keyring) -> None:
    context = PagesContext(db=db, keyring=keyring, public_url=PUBLIC, mail_domain="kordant.example", twilio_token="t")
    assert raw_status(application(context), f"/callbacks/twilio/{'0' * 32}", b"\xb0") == 400
    with pytest.raises(receipts.NoReceipt):
        receipts.read_webhook(b"[" * 100_000)
