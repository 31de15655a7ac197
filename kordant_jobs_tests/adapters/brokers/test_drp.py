from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kordant_jobs.adapters.brokers.drp import (
    DrpAgent,
    agent_document,
    read_businesses,
    read_status,
    sign,
)
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.lab.removals.protocol import Refused, open_signed
from kordant_jobs.ports import RightsError

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
VERIFY = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
NOW = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
GOOD = {
    "agent-id": "AA", "business-id": "b-1", "issued-at": "2026-03-01T12:00:00.000+00:00",
    "expires-at": "2026-03-01T12:10:00.000+00:00", "drp.version": "1.0",
}  # fmt: skip
BUSINESS = {"id": "b-1", "api_base": "https://b.example/drp", "supported_verifications": ["email"]}


def opened(body: bytes, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"verify_key": VERIFY, "agent_id": "AA", "business_id": "b-1", "now": NOW, **more}
    return open_signed(body, **given)


def failing_step(body: bytes, **more: Any) -> str:
    with pytest.raises(Refused) as refused:
        opened(body, **more)
    return refused.value.step


def test_a_signed_message_is_the_signature_and_the_json_in_base64() -> None:
    raw = base64.b64decode(sign(KEY, GOOD))
    KEY.public_key().verify(raw[:64], raw[64:])
    assert json.loads(raw[64:]) == GOOD
    assert opened(sign(KEY, GOOD)) == GOOD


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ({"agent-id": "OTHER"}, "agent-id"),
        ({"business-id": "other"}, "business-id"),
        ({"issued-at": "2026-03-01T12:05:01+00:00"}, "issued-at"),
        ({"expires-at": "2026-03-01T12:05:00+00:00"}, "expires-at"),
        ({"expires-at": None}, "expires-at"),
        ({"agent-id": "OTHER", "business-id": "other", "expires-at": "2020-01-01T00:00:00Z"}, "agent-id"),
        ({"business-id": "other", "expires-at": "2020-01-01T00:00:00Z"}, "business-id"),
    ],
)
def test_what_is_expired_or_meant_for_another_is_refused_in_the_specifications_order(
    change: dict[str, Any], step: str
) -> None:
    assert failing_step(sign(KEY, {**GOOD, **change})) == step


def test_signature_comes_before_everything_that_it_signs() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
    assert failing_step(sign(other, {**GOOD, "business-id": "other"})) == "signature"
    raw = bytearray(base64.b64decode(sign(KEY, GOOD)))
    raw[3] ^= 1
    assert failing_step(base64.b64encode(raw)) == "signature"
    assert failing_step(b"not base64 at all!") == "base64"


def test_a_replayed_message_is_refused() -> None:
    seen: set[bytes] = set()
    body = sign(KEY, GOOD)
    opened(body, seen=seen)
    assert failing_step(body, seen=seen) == "replayed"


@pytest.fixture
def answers() -> list[httpx.Response]:
    return []


@pytest.fixture
def asked() -> list[httpx.Request]:
    return []


@pytest.fixture
def agent(answers: list[httpx.Response], asked: list[httpx.Request]) -> Iterator[DrpAgent]:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answers.pop(0)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        yield DrpAgent("AA", KEY, clock=lambda: NOW, client=client, callback=lambda one: f"https://us.example/{one}")


def test_what_is_sent_is_strict(agent: DrpAgent, answers: list[httpx.Response], asked: list[httpx.Request]) -> None:
    answers.append(httpx.Response(200, json={"request_id": "r-1", "status": "open"}))
    claims = {"exercise": "deletion", "name": "Pat", "email": "p@x.org"}
    status = agent.exercise(BUSINESS, "t0", claims, request_id=UUID(int=1))
    assert (status.request_id, status.state) == ("r-1", "open")
    [request] = asked
    assert request.headers["authorization"] == "Bearer t0"
    assert request.headers["content-type"] == "text/plain"
    message = opened(request.content)
    assert message["agent-request-id"] == str(UUID(int=1))
    assert message["status_callback"].endswith(str(UUID(int=1)))
    lasts = datetime.fromisoformat(message["expires-at"]) - datetime.fromisoformat(message["issued-at"])
    assert lasts == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("first", "forbidden"),
    [
        (httpx.Response(403), True),  # as the specification says
        (httpx.Response(500, text="<html>error</html>"), True),  # as the reference implementation does
        (httpx.Response(401), True),
        (httpx.Response(400, json={"code": "400", "message": "no", "fatal": True}), False),
    ],
)
def test_refusals_of_both_kinds_are_distinguished(
    agent: DrpAgent, answers: list[httpx.Response], first: httpx.Response, forbidden: bool
) -> None:
    answers.append(first)
    with pytest.raises(RightsError) as error:
        agent.status(BUSINESS, "t0", "r-1")
    assert error.value.forbidden == forbidden
    assert error.value.fatal == (not forbidden)


def test_a_path_that_fails_without_a_slash_is_tried_with_one(
    agent: DrpAgent, answers: list[httpx.Response], asked: list[httpx.Request]
) -> None:
    answers += [httpx.Response(500), httpx.Response(200, json={"request_id": "r-1", "status": "revoked"})]
    assert agent.revoke(BUSINESS, "t0", "r-1", "withdrawn").state == "revoked"
    assert [one.url.path for one in asked] == ["/drp/v1/data-rights-request/r-1", "/drp/v1/data-rights-request/r-1/"]
    assert {"agent-id", "business-id", "issued-at", "expires-at", "reason"} <= set(opened(asked[1].content))


@pytest.mark.parametrize(
    "raw", [None, [], {}, {"status": "open"}, {"request_id": "1"}, {"request_id": "1", "status": 3}]
)
def test_an_answer_without_a_status_is_no_answer(raw: object) -> None:
    with pytest.raises(SourceUnavailable):
        read_status(raw)


@pytest.mark.parametrize("reason", ["Ann Example is no customer", {"a": 1}, 5, ""])
def test_a_reason_that_is_no_code_is_left_out(reason: object) -> None:
    assert read_status({"request_id": "1", "status": "denied", "reason": reason}).reason is None


def test_an_answer_without_end_is_cut_off(agent: DrpAgent, answers: list[httpx.Response]) -> None:
    answers.append(httpx.Response(200, content=b" " * (1 << 20)))
    with pytest.raises(SourceUnavailable):
        agent.status(BUSINESS, "t0", "r-1")


def test_a_directory_is_read_leniently_and_what_is_left_out_has_its_reason() -> None:
    entries = [
        {"id": "ok_staging_001", "api_base": "https://a.example", "supported_actions": ["deletion"], "more": 1},
        {"id": "NO_HTTPS", "api_base": "http://a.example", "supported_actions": ["deletion"]},
        {"id": "NO_ACTION", "api_base": "https://a.example", "supported_actions": ["fax"]},
        {"name": "no id"},
        7,
    ]
    good, bad = read_businesses(json.dumps(entries).encode())
    assert [one["id"] for one in good] == ["ok_staging_001"]
    assert [name for name, _ in bad] == ["NO_HTTPS", "NO_ACTION", "", ""]


@pytest.mark.parametrize(("agent_id", "web_url"), [("kordant", "https://us.example"), ("AA", "http://us.example")])
def test_an_entry_that_a_directory_does_not_take_is_not_written(agent_id: str, web_url: str) -> None:
    with pytest.raises(SettingsError):
        agent_document(agent_id, KEY, name="Kordant", web_url=web_url, contact="a@us.example")


def test_what_we_publish_is_the_key_that_opens_what_we_sign() -> None:
    entry = agent_document("AA", KEY, name="Kordant", web_url="https://us.example", contact="a@us.example")
    assert entry["id"] == "AA"
    assert opened(sign(KEY, GOOD), verify_key=entry["verify_key"]) == GOOD
