"""What somebody may try: guessed and stolen tokens, replays, bodies too large, too deep or no JSON, headers."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.app import Backend, application
from kordant_jobs.api.gate import BODY_BYTES, Quotas
from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access.principals import Principal, Role
from kordant_jobs.domain.access.tokens import new_token, read_token
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import ENTITY, Api, token_for

SCAN = {"job": "darkwatch_scan", "payload": {"subscription_ids": [ENTITY]}}


def test_a_token_that_is_not_ours_or_works_no_more_opens_nothing(
    app: Any, callers: dict[str, Api], db: Engine, keyring: Keyring
) -> None:
    good = callers["service"].token or ""
    flipped = good[:30] + ("a" if good[30] != "a" else "b") + good[31:]
    for token in (None, "", "x" * 500, flipped, new_token(Role.ADMIN)[1], good + "\x7f"):
        answer = Api(app, token)("GET", "/me")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    fresh = token_for(db, keyring, "service:b", Role.SERVICE, tenants=["t1"])
    now = datetime.now(UTC)
    with db.begin() as connection:
        read = read_token(fresh)
        assert read is not None
        people.revoke_token(connection, read.id, by="user:test", now=now)
    assert Api(app, fresh)("GET", "/me").status_code == 401


def test_a_disabled_person_takes_their_agents_along(
    app: Any, callers: dict[str, Api], db: Engine, keyring: Keyring
) -> None:
    with db.begin() as connection:
        people.disable_principal(connection, "user:admin", by="user:test", now=datetime.now(UTC))
    later = application(Backend(db=db, keyring=keyring))
    assert Api(later, callers["agent"].token)("GET", "/me").status_code == 401


def test_an_unknown_id_and_a_wrong_secret_cost_the_same(db: Engine, keyring: Keyring) -> None:
    known = read_token(token_for(db, keyring, "service:b", Role.SERVICE, tenants=["t1"]))
    assert known is not None
    wrong, _ = new_token(Role.SERVICE)
    took: dict[str, list[float]] = {known.id: [], wrong.id: []}
    with db.connect() as connection:
        for _ in range(100):
            for token_id, times in took.items():
                began = time.perf_counter()
                token = type(wrong)(id=token_id, secret=wrong.secret)
                assert people.verify(connection, keyring, token, now=datetime.now(UTC)) is None
                times.append(time.perf_counter() - began)
    one, other = map(statistics.median, took.values())
    assert 0.5 < one / other < 2


def test_tokens_are_kept_as_hashes_and_in_no_log(callers: dict[str, Api], db: Engine) -> None:
    token = callers["service"].token or ""
    callers["service"]("POST", "/requests", json=SCAN)
    secret = token.split("_")[2][:43]
    with db.connect() as connection:
        for table in ("api_tokens", "audit_log", "api_replies", "job_requests"):
            rows = connection.execute(sa.text(f"SELECT t::text FROM kordant.{table} t")).scalars()
            assert not any(secret in row for row in rows)


@pytest.mark.parametrize(("body", "status"), [
    (b'{"job": ', 400),
    (b"[" * 100_000, 400),
    (b'{"job": "darkwatch_scan", "payload": {"a": "\\u0000"}}', 422),
    (b'{"job": "\\ud800"}', 422),
    (b'{"job": "darkwatch_scan", "payload": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}", 422),
    (b'{"job": "darkwatch_scan", "payload": {"x": "' + b"a" * BODY_BYTES + b'"}}', 413),
    (b"\xff\xfe", 400),
])  # fmt: skip
def test_a_body_that_is_damaged_or_too_large_gets_an_error_and_nothing_more(
    callers: dict[str, Api], body: bytes, status: int
) -> None:
    answer = callers["admin"]("POST", "/requests", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_form_of_another_site_starts_nothing(app: Any, callers: dict[str, Api], db: Engine) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example", "Cookie": "a=b"}
    assert Api(app, None)("POST", "/requests", content=b"job=darkwatch_scan", headers=form).status_code == 401
    assert callers["admin"]("POST", "/requests", content=b"job=x", headers=form).status_code == 422
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.job_requests")).scalar_one() == 0


def test_no_get_changes_anything(app: Any) -> None:
    paths = app.openapi()["paths"]
    assert all("get" not in found for path, found in paths.items() if path.endswith(("/cancel", "/retry", "/run")))


def test_a_header_in_a_value_stays_a_value(callers: dict[str, Api]) -> None:
    odd = callers["admin"]("POST", "/requests", json={**SCAN, "entity_key": "a\r\nSet-Cookie: b=c"})
    assert "set-cookie" not in odd.headers
    bad_key = callers["admin"]("POST", "/requests", json=SCAN, headers={"Idempotency-Key": "a\tb"})
    assert bad_key.status_code == 422


def test_no_body_names_an_address_that_we_would_call(app: Any) -> None:
    schemas = app.openapi()["components"]["schemas"]
    names = {name for schema in schemas.values() for name in schema.get("properties", {})}
    assert not {one for one in names if "callback" in one or "webhook" in one}


def test_a_caller_that_asks_too_often_waits(db: Engine, keyring: Keyring, callers: dict[str, Api]) -> None:
    app = application(Backend(db=db, keyring=keyring, quotas=Quotas({"read": 3, "write": 1})))
    answers = [Api(app, callers["service"].token)("GET", "/me") for _ in range(6)]
    assert [one.status_code for one in answers[:3]] == [200, 200, 200]
    assert answers[5].status_code == 429, "the fourth is, too, unless a new minute began in between"
    assert int(answers[5].headers["retry-after"]) >= 1
    assert Api(app, callers["operator"].token)("GET", "/me").status_code == 200


def test_a_quota_is_of_any_sixty_seconds_and_is_free_again_later() -> None:
    quotas, who = Quotas({"read": 60, "write": 1}), Principal(id="service:a", role=Role.SERVICE, scopes=frozenset())

    def taken(at_s: float, calls: int) -> int:
        """How many of so many calls were let in."""
        done = 0
        for _ in range(calls):
            with suppress(Problem):
                quotas.take(who, "GET", at_s=at_s)
                done += 1
        return done

    assert taken(59, 100) == 60, "at the end of a minute"
    assert taken(61, 100) == 1, "the next minute has begun, and nearly all of them are of the last 60 s"
    assert taken(90, 100) == 29, "half of the minute before still counts"
    assert taken(90 + 120, 100) == 60
    assert "r=0;" in quotas.take(who, "POST", at_s=300)["RateLimit"]
    with pytest.raises(Problem) as told:
        quotas.take(who, "POST", at_s=305)
    assert told.value.headers["Retry-After"] == "56"


def test_the_same_key_at_once_is_one_request(app: Any, callers: dict[str, Api], db: Engine) -> None:
    headers = {"Authorization": f"Bearer {callers['service'].token}", "Idempotency-Key": "same"}

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            calls = [client.post("/api/jobs/requests", json=SCAN, headers=headers) for _ in range(6)]
            return list(await asyncio.gather(*calls))

    answers = asyncio.run(all_at_once())
    queued, others = ([one for one in answers if (one.status_code == 202) is wanted] for wanted in (True, False))
    assert len({one.json()["id"] for one in queued}) == 1
    assert {(one.status_code, one.json()["code"]) for one in others} <= {(409, "key_in_flight")}
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.job_requests")).scalar_one() == 1


def test_no_text_that_a_caller_wrote_is_in_the_audit_log(callers: dict[str, Api], db: Engine) -> None:
    canary = "jane.canary@example.com"
    made = callers["service"]("POST", "/requests", json=SCAN).json()["id"]
    event = {"specversion": "1.0", "id": canary, "source": canary, "type": "subscription.changed"}
    for role, method, path, body in (
        ("service", "POST", "/requests", {**SCAN, "payload": {"subscription_ids": [canary]}}),
        ("service", "POST", "/requests", {**SCAN, "dedupe": {"key": canary}}),
        ("admin", "POST", "/requests", {**SCAN, "entity_key": canary}),
        ("service", "POST", f"/requests/{made}/cancel", {"note": canary}),
        ("admin", "POST", "/schedules/notifications_send/all/pause", {"reason": canary}),
        ("admin", "POST", "/schedules/notifications_send/all/resume", {"note": canary}),
        ("service", "POST", "/events", {**event, "data": {"subscription_id": ENTITY}}),
        ("agent", "POST", "/change-sets", {"job": "notifications_send", "changes": {"cron": canary}}),
        ("agent", "POST", f"/requests/{canary}/cancel", {}),
        ("agent", "POST", "/requests", {"job": canary}),
    ):
        assert callers[role](method, path, json=body).status_code < 500, path
    version = callers["admin"]("GET", "/schedules/notifications_send/all").headers["etag"]
    change = {"changes": {"cron": "*/20 * * * *"}, "note": canary}
    headers = {"If-Match": version}
    assert callers["admin"]("PATCH", "/schedules/notifications_send/all", json=change, headers=headers).is_success
    with db.connect() as connection:
        entries = list(connection.execute(sa.text("SELECT entry FROM kordant.audit_log")).scalars())
    assert len(entries) > 10
    assert not [one for one in entries if canary in one]
