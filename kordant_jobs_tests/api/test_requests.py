"""Requests over HTTP: queued once, shown to whom they belong, changed by those who may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.catalog import enqueue_named
from kordant_jobs.engine import Priority
from kordant_jobs.store.access import people, replies
from kordant_jobs.store.access.tables import api_replies
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import ENTITY, TENANT, Api

SCAN: dict[str, Any] = {"job": "darkwatch.scan", "payload": {"subscription_ids": [ENTITY]}}
LATER = datetime(2190, 1, 1, tzinfo=UTC)


def count(db: Engine) -> int:
    with db.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM kordant.job_requests")).scalar_one())


def test_a_request_is_queued_and_its_status_read(ask: Any) -> None:
    made = ask("service", "POST", "/requests", json=SCAN)
    assert made.status_code == 202, made.text
    body = made.json()
    assert (body["job"], body["status"], body["tenant"], body["entity_key"]) == (
        "darkwatch_scan", "pending", TENANT, ENTITY)  # fmt: skip
    assert made.headers["location"] == f"/api/jobs/requests/{body['id']}"
    read = ask("service", "GET", f"/requests/{body['id']}")
    assert read.json() == body
    assert read.headers["ratelimit-policy"].startswith('"read";q=')
    again = ask("service", "GET", f"/requests/{body['id']}", headers={"If-None-Match": read.headers["etag"]})
    assert again.status_code == 304


def test_one_key_is_one_request_and_another_body_is_refused(ask: Any, db: Engine) -> None:
    key = {"Idempotency-Key": "k1"}
    first = ask("service", "POST", "/requests", json=SCAN, headers=key)
    second = ask("service", "POST", "/requests", json=SCAN, headers=key)
    assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
    assert second.headers["idempotency-replayed"] == "true"
    other = ask("service", "POST", "/requests", json={**SCAN, "priority": "low"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert ask("operator", "POST", "/requests", json=SCAN, headers=key).json()["id"] != first.json()["id"]
    assert count(db) == 2


def test_a_key_whose_first_call_is_under_way_is_refused_until_it_ends(ask: Any, db: Engine) -> None:
    first = ask("service", "POST", "/requests", json=SCAN, headers={"Idempotency-Key": "k1"})
    with db.connect() as connection:
        row = connection.execute(sa.select(api_replies.c.principal_id, api_replies.c.operation)).one()
    key = replies.Key(principal_id=row.principal_id, operation=row.operation, key="k1", body=b"")
    with db.connect() as other, other.begin():
        assert replies.lock(other, key)
        busy = ask("service", "POST", "/requests", json=SCAN, headers={"Idempotency-Key": "k1"})
        assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (409, "key_in_flight", "1")
        assert ask("service", "POST", "/requests", json=SCAN, headers={"Idempotency-Key": "k2"}).status_code == 202
    again = ask("service", "POST", "/requests", json=SCAN, headers={"Idempotency-Key": "k1"})
    assert again.json()["id"] == first.json()["id"]


def test_a_field_that_is_wrong_is_named_and_its_value_is_not_repeated(ask: Any) -> None:
    wrong = ask(
        "admin", "POST", "/requests", json={"job": "darkwatch_scan", "payload": {"tiers": ["jane@example.com"]}}
    )
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["pointer"] == "/payload/tiers/0"
    assert "jane" not in wrong.text


def test_unknown_fields_change_nothing(ask: Any, db: Engine) -> None:
    for field in ("requested_by", "id", "status", "attempt"):
        assert ask("service", "POST", "/requests", json={**SCAN, field: "x"}).status_code == 422
    assert count(db) == 0


def test_pages_hold_each_request_once_while_others_come(ask: Any) -> None:
    made = {ask("service", "POST", "/requests", json=SCAN).json()["id"] for _ in range(7)}
    seen: list[str] = []
    cursor = None
    while True:
        page = ask("service", "GET", "/requests", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["id"] for one in page["items"]]
        ask("service", "POST", "/requests", json=SCAN)
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(seen) == len(set(seen)) == 7
    assert set(seen) == made


def test_a_cursor_of_another_caller_or_filter_is_refused(ask: Any) -> None:
    for _ in range(3):
        ask("service", "POST", "/requests", json=SCAN)
    cursor = ask("service", "GET", "/requests", params={"limit": 1}).json()["next_cursor"]
    for role, more in (("agent", {}), ("service", {"status": "pending"})):
        answer = ask(role, "GET", "/requests", params={"limit": 1, "cursor": cursor, **more})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


def test_a_waiting_request_is_changed_only_by_who_read_it_as_it_is(ask: Any) -> None:
    made = ask("service", "POST", "/requests", json=SCAN)
    path, tag = f"/requests/{made.json()['id']}", made.headers["etag"]
    assert ask("service", "PATCH", path, json={"priority": "low"}).status_code == 428
    done = ask("service", "PATCH", path, json={"priority": "low"}, headers={"If-Match": tag})
    assert (done.status_code, done.json()["priority"]) == (200, "low")
    assert ask("service", "PATCH", path, json={"priority": "high"}, headers={"If-Match": tag}).status_code == 412


def test_a_cancelled_request_takes_no_further_cancel(ask: Any) -> None:
    path = f"/requests/{ask('service', 'POST', '/requests', json=SCAN).json()['id']}/cancel"
    assert ask("service", "POST", path, json={}).json()["state"] == "cancelled"
    again = ask("service", "POST", path, json={})
    assert (again.status_code, again.json()["state"]) == (409, "cancelled")


def dead(db: Engine, **values: Any) -> None:
    """Every waiting request is dead."""
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.job_requests SET status = 'dead', ended_at = now(), attempt = 4,"
                                   " cause = 'exception', error = 'boom'"))  # fmt: skip


def test_dead_requests_are_counted_first_and_replayed_in_bulk(ask: Any, db: Engine) -> None:
    for _ in range(3):
        ask("service", "POST", "/requests", json=SCAN)
    dead(db)
    what = {"action": "replay", "filter": {"job": "darkwatch.scan"}}
    assert ask("operator", "POST", "/bulk-actions", json={**what, "filter": {}}).status_code == 422
    assert ask("operator", "POST", "/bulk-actions", json=what).status_code == 422
    dry = ask("operator", "POST", "/bulk-actions", json={**what, "dry_run": True}).json()
    assert (dry["matched"], dry["done"]) == (3, 0)
    changed = ask("operator", "POST", "/bulk-actions", json={**what, "expected_count": 100})
    assert changed.json()["code"] == "count_changed"
    done = ask("operator", "POST", "/bulk-actions", json={**what, "expected_count": 3}).json()
    assert done["done"] == 3
    listed = ask("operator", "GET", "/requests", params={"status": "pending"}).json()["items"]
    assert len(listed) == 3


def test_each_change_and_each_denial_is_in_the_audit_log(ask: Any, db: Engine, keyring: Keyring) -> None:
    request_id = ask("agent", "POST", "/requests", json=SCAN).json()["id"]
    denied = ask("agent", "POST", f"/requests/{request_id}/expire", json={})
    assert (denied.status_code, denied.json()["rule"]) == (403, "default.deny")
    ask("operator", "POST", f"/requests/{request_id}/cancel", json={})
    with db.connect() as connection:
        found = [entry for _, entry in log.entries(connection, limit=3)]
        assert log.check(connection, keyring).holds
    assert [(one["actor"], one["action"], one["outcome"]) for one in found] == [
        ("user:operator", "requests.cancel", "allowed"),
        ("agent:a", "denied", "denied"),
        ("agent:a", "requests.trigger", "allowed"),
    ]
    assert found[2]["on_behalf_of"] == "user:admin"
    assert found[0]["before"] == {"state": "pending"}


def test_an_agent_keeps_to_its_grant(ask: Any, db: Engine) -> None:
    rules = {
        "agent.no_grant_of_job": {"job": "reports_generate", "payload": {"subscription_ids": [ENTITY]}},
        "agent.priority_above_grant": {**SCAN, "priority": "high"},
        "payload.reaches_beyond_scope": {"job": "darkwatch_scan", "payload": {}},
    }
    for rule, body in rules.items():
        answer = ask("agent", "POST", "/requests", json=body)
        assert (answer.status_code, answer.json()["rule"]) == (403, rule)
    assert ask("agent", "POST", "/requests", json={**SCAN, "tenant": "t2"}).status_code == 404
    assert ask("agent", "POST", "/requests", json={**SCAN, "dry_run": True}).json()["would"] == "allow"
    assert count(db) == 0


def test_an_agents_budget_ends(ask: Any, db: Engine) -> None:
    codes = [ask("agent", "POST", "/requests", json=SCAN).status_code for _ in range(52)]
    assert codes.count(202) in {50, 51}
    last = ask("agent", "POST", "/requests", json=SCAN)
    assert (last.status_code, last.json()["rule"]) == (429, "agent.requests_per_hour")
    assert int(last.headers["retry-after"]) >= 1
    assert count(db) in {50, 51}


def granted(db: Engine, **bounds: Any) -> None:
    with db.begin() as connection:
        grant = people.Grant(job="darkwatch_scan", max_priority=Priority.NORMAL, requests_per_hour=50, **bounds)
        people.save_grant(connection, "agent:a", grant, by="user:test")


def test_cpu_time_of_a_day_stops_the_next_request_and_is_shared_by_those_of_one_run(
    ask: Any, db: Engine, keyring: Keyring
) -> None:
    def ran(cpu_s: float, hours_ago: float, others: int = 0) -> None:
        """A run of a request of the agent's, and of so many of others."""
        lease = uuid4()
        with db.begin() as connection:
            for by in ("agent:a", *["service:x"] * others):
                made = enqueue_named(connection, "darkwatch_scan", SCAN["payload"], requested_by=by, run_at=LATER)
                connection.execute(sa.text("""
                    INSERT INTO kordant.job_attempts (request_id, attempt, lease_id, worker, started_at, ended_at,
                        outcome, cpu_s)
                    VALUES (:id, 1, :lease, 'w', now(), now() - make_interval(secs => :s), 'success', :cpu_s)"""),
                    {"id": made, "lease": lease, "s": hours_ago * 3600, "cpu_s": cpu_s})  # fmt: skip

    granted(db, cpu_s_per_day=100)
    ran(500, hours_ago=25)
    ran(60, hours_ago=20)
    ran(90, hours_ago=1, others=2)
    assert ask("agent", "POST", "/requests", json=SCAN).status_code == 202, "60 + 90 / 3 of 100 are spent"
    ran(10, hours_ago=0)
    refused = ask("agent", "POST", "/requests", json=SCAN)
    assert (refused.status_code, refused.json()["rule"]) == (429, "agent.cpu_s_per_day")
    assert int(refused.headers["retry-after"]) == pytest.approx(4 * 3600, abs=60), "when the run of 20 hours ago goes"
    assert ask("agent", "POST", "/requests", json={**SCAN, "dry_run": True}).status_code == 429
    assert ask("agent", "GET", "/me").json()["budgets"][0]["cpu_s_per_day"] == 100


def test_a_dry_run_says_what_is_left_and_refuses_what_the_call_would_be_refused(ask: Any, db: Engine) -> None:
    granted(db, requests_per_day=2)
    dry = {**SCAN, "dry_run": True}
    assert [ask("agent", "POST", "/requests", json=dry).json()["budget_left"] for _ in range(2)] == [2, 2]
    made = ask("agent", "POST", "/requests", json=SCAN).json()["id"]
    assert ask("agent", "POST", "/requests", json=dry).json()["budget_left"] == 1
    assert ask("agent", "POST", "/requests", json=SCAN).status_code == 202
    refused = ask("agent", "POST", "/requests", json=dry)
    assert (refused.status_code, refused.json()["rule"]) == (429, "agent.requests_per_day")
    etag = ask("agent", "GET", f"/requests/{made}").headers["etag"]
    lower = ask("agent", "PATCH", f"/requests/{made}", json={"priority": "low"}, headers={"If-Match": etag})
    assert lower.status_code == 200, "it was counted when it was made"


def test_a_grant_bounds_the_day_the_open_requests_and_its_own_time(ask: Any, db: Engine) -> None:
    granted(db, requests_per_day=2)
    assert [ask("agent", "POST", "/requests", json=SCAN).status_code for _ in range(3)] == [202, 202, 429]
    granted(db, concurrent=2)
    refused = ask("agent", "POST", "/requests", json=SCAN)
    assert (refused.status_code, refused.json()["rule"]) == (429, "agent.concurrent")
    one = ask("agent", "GET", "/requests", params={"limit": 1}).json()["items"][0]["id"]
    ask("agent", "POST", f"/requests/{one}/cancel", json={})
    assert ask("agent", "POST", "/requests", json=SCAN).status_code == 202
    granted(db, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    ended = ask("agent", "POST", "/requests", json=SCAN)
    assert (ended.status_code, ended.json()["rule"]) == (403, "agent.grant_expired")
    (budget, _) = ask("agent", "GET", "/me").json()["budgets"]
    assert (budget["requests_per_day"], budget["expires_at"] is None) == (None, False)


def test_a_stream_tells_a_change_and_ends_with_the_request(callers: dict[str, Api]) -> None:
    service = callers["service"]
    request_id = service("POST", "/requests", json=SCAN).json()["id"]
    bye = service("GET", f"/requests/{request_id}/events", params={"timeout_s": 1})
    assert [line for line in bye.text.splitlines() if line.startswith("event")] == ["event: snapshot", "event: bye"]
    service("POST", f"/requests/{request_id}/cancel", json={})
    ended = service("GET", f"/requests/{request_id}/events", params={"timeout_s": 30})
    assert [line for line in ended.text.splitlines() if line.startswith("event")] == ["event: snapshot", "event: end"]
