"""A subscriber's token opens their own requests and protection, and nothing else, in the database too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.app import Backend, application
from kordant_jobs.catalog import enqueue_named
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.domain.access.subscriber_tokens import AUDIENCE, TYPE
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import ENTITY, SUBSCRIBER, TENANT, Api, subscribe, token_for


def known_of(db: Engine, subscription_id: str) -> None:
    """A verdict of a source and a receipt."""
    with db.begin() as connection:
        connection.execute(
            sa.text("""
            INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, reason, exposures,
                new_exposures, covered_until)
            VALUES (:id, 'hibp', '2026-11-28', 'unknown', 'source_down', 0, 0, now())"""),
            {"id": subscription_id},
        )
        connection.execute(sa.text("""
            INSERT INTO kordant.scan_receipts (id, subscription_id, number, kind, period_start_on, period_end_on,
                figures_sha256, receipt) VALUES (gen_random_uuid(), :id, 1, 'monthly', '2026-10-01', '2026-11-01',
                '\\x00', 'a.signed.line')"""), {"id": subscription_id})  # fmt: skip


def test_a_subscriber_sees_their_own_protection_with_what_is_unknown_said_so(
    callers: dict[str, Api], db: Engine
) -> None:
    other = str(uuid4())
    subscribe(db, str(uuid4()), other)
    for one in (ENTITY, other):
        known_of(db, one)
    [found] = callers["subscriber"]("GET", "/protection").json()["items"]
    assert found["subscription_id"] == ENTITY
    assert found["receipts"] == ["a.signed.line"]
    [verdict] = found["verdicts"]
    assert (verdict["verdict"], verdict["reason"]) == ("unknown", "source_down")
    assert callers["admin"]("GET", "/protection").status_code == 404, "operators have the console"
    for role in ("service", "agent"):
        assert callers[role]("GET", "/protection").status_code == 403


def test_only_a_service_that_serves_the_subscriber_is_given_a_token(
    callers: dict[str, Api], db: Engine, keyring: Keyring, app: Any
) -> None:
    wanted = {"subscriber_id": SUBSCRIBER}
    for role in ("admin", "operator", "agent", "subscriber"):
        answer = callers[role]("POST", "/tokens/subscriber", json=wanted)
        assert (answer.status_code, answer.json()["rule"]) == (403, "others.no_subscriber_token")
    elsewhere = token_for(db, keyring, "service:b", Role.SERVICE, tenants=[TENANT], entities=[str(uuid4())])
    unknown = {"subscriber_id": str(uuid4())}
    for caller, body in ((Api(app, elsewhere), wanted), (callers["service"], unknown)):
        answer = caller("POST", "/tokens/subscriber", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for ttl_s in (59, 901):
        assert callers["service"]("POST", "/tokens/subscriber", json={**wanted, "ttl_s": ttl_s}).status_code == 422


def test_a_token_opens_what_the_service_serves_of_the_subscriber(callers: dict[str, Api], db: Engine) -> None:
    other, mine = str(uuid4()), callers["subscriber"]
    with db.begin() as connection:
        adding = "INSERT INTO kordant.subscriptions (id, subscriber_id, tier) VALUES (:own, :id, 'basic')"
        connection.execute(sa.text(adding), {"own": other, "id": SUBSCRIBER})
        ids = [
            enqueue_named(connection, "darkwatch_scan", {"subscription_ids": [one]}, requested_by="service:x",
                          tenant=tenant, entity_key=one, run_at=datetime(2190, 1, 1, tzinfo=UTC))
            for one, tenant in ((ENTITY, TENANT), (ENTITY, "t9"), (other, TENANT))
        ]  # fmt: skip
    assert mine("GET", "/me").json()["entities"] == [ENTITY]
    assert [one["id"] for one in mine("GET", "/requests").json()["items"]] == [str(ids[0])]
    assert [mine("GET", f"/requests/{one}").status_code for one in ids] == [200, 404, 404]
    assert mine("GET", f"/requests/{ids[0]}").json()["result"] is None
    assert mine("POST", "/requests", json={"job": "darkwatch_scan", "payload": {}}).status_code == 403


def test_a_token_ends_with_its_time_its_service_and_what_it_is_of(
    callers: dict[str, Api], db: Engine, keyring: Keyring
) -> None:
    def status() -> int:
        fresh = application(Backend(db=db, keyring=keyring))  # remembers no token
        return Api(fresh, callers["subscriber"].token)("GET", "/me").status_code

    assert status() == 200
    forgotten = "UPDATE kordant.subscribers SET forgotten_at = {} WHERE id = :id"
    for value, expected in (("now()", 401), ("NULL", 200)):
        with db.begin() as connection:
            connection.execute(sa.text(forgotten.format(value)), {"id": SUBSCRIBER})
        assert status() == expected
    with db.begin() as connection:
        people.disable_principal(connection, "service:app", by="user:test", now=datetime.now(UTC))
    assert status() == 401


def test_a_token_that_is_forged_changed_or_of_another_kind_opens_nothing(
    app: Any, callers: dict[str, Api], keyring: Keyring
) -> None:
    key, now = keyring.subscriber_token_key, datetime.now(UTC)
    claims = {"aud": AUDIENCE, "sub": SUBSCRIBER, "act": "service:app", "exp": int(now.timestamp()) + 600}
    head = {"typ": TYPE}
    good = jwt.encode(claims, key, algorithm="EdDSA", headers=head)
    assert Api(app, good)("GET", "/me").status_code == 200
    public = key.public_key().public_bytes_raw()
    signature = good.rpartition(".")[2]
    forged = [
        jwt.encode(claims, None, algorithm="none", headers=head),  # type: ignore[arg-type]
        jwt.encode(claims, public, algorithm="HS256", headers=head),
        jwt.encode(claims, keyring.receipt_key, algorithm="EdDSA", headers=head),
        jwt.encode(claims, key, algorithm="EdDSA"),
        jwt.encode({**claims, "sub": str(uuid4())}, key, algorithm="EdDSA", headers=head).rpartition(".")[0]
        + f".{signature}",
        *(
            jwt.encode({**claims, name: value}, key, algorithm="EdDSA", headers=head)
            for name, value in (("aud", "another"), ("exp", int(now.timestamp()) - 1), ("act", "user:admin"),
                                ("act", 7), ("sub", "x"), ("sub", str(uuid4())), ("exp", "soon"))
        ),
    ]  # fmt: skip
    for text in forged:
        assert Api(app, text)("GET", "/me").status_code == 401, text
