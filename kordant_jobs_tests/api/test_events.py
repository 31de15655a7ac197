"""Events by topic: each starts what listens to it, once, and for nobody but those in the sender's scope."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.access.principals import Role
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import ENTITY, TENANT, Api, token_for


def event(topic: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "e1", "source": "/app", "type": topic, "data": data, **more}


CHANGED = event("subscription.changed", {"subscription_id": ENTITY})


def queued(db: Engine) -> list[tuple[Any, ...]]:
    query = "SELECT job, payload, tenant, requested_by, merge_key IS NOT NULL FROM kordant.job_requests ORDER BY id"
    with db.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_an_event_starts_its_job_once_for_its_source_and_id(ask: Any, db: Engine) -> None:
    first = ask("service", "POST", "/events", json=CHANGED)
    assert first.status_code == 202, first.text
    again = ask("service", "POST", "/events", json={**CHANGED, "time": "2026-12-01T09:00:00Z"})
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert queued(db) == [
        ("subscription_changed", {"subscription_ids": [ENTITY]}, TENANT, "service:app", False)
    ]  # fmt: skip
    other = ask("service", "POST", "/events", json={**CHANGED, "data": {"subscription_id": str(uuid4())}})
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert ask("operator", "POST", "/events", json=CHANGED).json()["requests"] != first.json()["requests"]
    assert len(queued(db)) == 2


def test_many_events_of_an_entity_become_one_refresh(ask: Any, db: Engine) -> None:
    for number, topic in enumerate(("sync.completed", "transaction.created", "transaction.created")):
        sent = event(topic, {"entity_id": ENTITY}, id=f"e{number}")
        assert ask("service", "POST", "/events", json=sent).status_code == 202
    assert queued(db) == [("insights_refresh", {"entity_ids": [ENTITY], "force": False}, TENANT, "service:app", True)]


def test_an_event_reaches_no_one_out_of_the_senders_scope(ask: Any, db: Engine) -> None:
    for sent, status in (
        (event("subscription.changed", {"subscription_id": str(uuid4())}), 403),
        (event("transaction.created", {"entity_id": str(uuid4())}), 403),
        (event("breach.published", {"breach": "Adobe"}), 403),
        ({**CHANGED, "tenant": "t9"}, 404),
        ({**CHANGED, "subject": str(uuid4())}, 404),
    ):
        answer = ask("service", "POST", "/events", json=sent)
        assert answer.status_code == status, answer.text
    assert queued(db) == []
    assert ask("operator", "POST", "/events", json=event("breach.published", {"breach": "Adobe"})).status_code == 202
    ((job, payload, *_),) = queued(db)
    assert (job, payload["tiers"], payload["subscription_ids"]) == ("darkwatch_scan", ["premium"], None)


def test_agents_publish_nothing_and_services_what_they_were_granted(
    app: Any, ask: Any, db: Engine, keyring: Keyring
) -> None:
    assert ask("agent", "POST", "/events", json=CHANGED).json()["rule"] == "agent.no_events"
    token = token_for(db, keyring, "service:bank", Role.SERVICE, tenants=["any"], topics=["sync.completed"])
    bank = Api(app, token)
    assert bank("POST", "/events", json=CHANGED).json()["rule"] == "service.topic_not_granted"
    assert bank("POST", "/events", json=event("sync.completed", {"entity_id": ENTITY})).status_code == 202
    may = {one["topic"] for one in bank("GET", "/topics").json()["items"] if one["may_publish"]}
    assert may == {"sync.completed"}
    assert not any(one["may_publish"] for one in ask("agent", "GET", "/topics").json()["items"])


def test_what_is_wrong_with_an_event_is_named_without_its_value(ask: Any, db: Engine) -> None:
    assert ask("service", "POST", "/events", json=event("no.such_topic", {})).json()["code"] == "unknown_topic"
    wrong = ask("service", "POST", "/events", json=event("subscription.changed", {"subscription_id": "jane@x.example"}))
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/data/subscription_id")
    assert "jane" not in wrong.text
    extra = ask("service", "POST", "/events", json=event("sync.completed", {"entity_id": ENTITY, "x": 1}))
    assert extra.status_code == 422
    assert queued(db) == []


def test_each_topic_says_what_it_carries_and_starts(ask: Any) -> None:
    found = {one["topic"]: one for one in ask("service", "GET", "/topics").json()["items"]}
    assert found["transaction.created"]["starts"] == ["insights_refresh"]
    assert found["agent.schedule.triggered"]["starts"] == ["agent_workflow"]
    assert set(found["subscription.changed"]["data_schema"]["properties"]) == {"subscription_id"}
