"""An agent proposes its first request of a job, or other bounds of its grant; a person's approval applies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.access.principals import Role
from kordant_jobs.engine import Priority
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import ENTITY, Api, token_for

Ask = Callable[..., httpx.Response]
SCAN = {"job": "darkwatch.scan", "payload": {"subscription_ids": [ENTITY]}}
FIRST = {"kind": "first_trigger", "job": "darkwatch_scan"}


@pytest.fixture
def asking(db: Engine, callers: Any) -> None:
    """The agent's grant asks a person first."""
    with db.begin() as connection:
        grant = people.Grant(job="darkwatch_scan", max_priority=Priority.NORMAL, requests_per_hour=50, ask_first=True)
        people.save_grant(connection, "agent:a", grant, by="user:test")


@pytest.fixture
def other_admin(db: Engine, keyring: Keyring, app: Any, callers: Any) -> Api:
    """An admin who does not own the agent."""
    return Api(app, token_for(db, keyring, "user:second", Role.ADMIN))


def proposed(ask: Ask, **body: Any) -> dict[str, Any]:
    answer = ask("agent", "POST", "/change-sets", json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def decided(by: Api, change: dict[str, Any], decision: str = "approve") -> httpx.Response:
    body = {"digest": change["digest"]} if decision == "approve" else {}
    return by("POST", f"/change-sets/{change['id']}/{decision}", json=body)


def grant_of(db: Engine, job: str = "darkwatch_scan") -> people.Grant | None:
    with db.connect() as connection:
        return people.grants(connection, "agent:a").get(job)


@pytest.mark.usefixtures("asking")
def test_an_agent_starts_a_job_once_a_person_has_approved_its_first_request(
    ask: Ask, callers: dict[str, Api], db: Engine
) -> None:
    for body in (SCAN, {**SCAN, "dry_run": True}):
        refused = ask("agent", "POST", "/requests", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "approval_required")
        assert refused.json()["rule"] == "agent.first_trigger"
    change = proposed(ask, **FIRST)
    assert (change["kind"], change["changes"], change["tier"]) == ("first_trigger", {"ask_first": False}, "agent:a")
    assert ask("agent", "POST", "/requests", json=SCAN).status_code == 403
    for role, rule in (("agent", "agent.never_decide"), ("admin", "changes.not_own")):
        assert decided(callers[role], change).json()["rule"] == rule
    assert decided(callers["operator"], change).json()["state"] == "applied"
    assert ask("agent", "POST", "/requests", json=SCAN).status_code == 202
    assert ask("agent", "POST", "/change-sets", json=FIRST).status_code == 409
    with db.connect() as connection:
        query = "SELECT entry::jsonb ->> 'actor' FROM kordant.audit_log WHERE action LIKE '%agent_grants%'"
        assert f"change_set:{change['id']}" in set(connection.execute(sa.text(query)).scalars())


@pytest.mark.usefixtures("asking")
def test_a_first_request_that_was_rejected_starts_nothing(ask: Ask, callers: dict[str, Api]) -> None:
    assert decided(callers["operator"], proposed(ask, **FIRST), "reject").json()["state"] == "rejected"
    assert ask("agent", "POST", "/requests", json=SCAN).json()["code"] == "approval_required"


def test_other_bounds_are_an_admins_to_approve(ask: Ask, callers: dict[str, Api], other_admin: Api, db: Engine) -> None:
    change = proposed(ask, kind="grant_change", job="darkwatch_scan",
                      changes={"max_priority": "high", "requests_per_day": 9})  # fmt: skip
    assert ask("agent", "POST", "/requests", json={**SCAN, "priority": "high"}).status_code == 403
    assert decided(callers["operator"], change).json()["rule"] == "operator.no_decide_schedules"
    assert decided(other_admin, change).json()["state"] == "applied"
    grant = grant_of(db)
    assert grant is not None
    assert (grant.max_priority, grant.requests_per_hour, grant.requests_per_day) == (Priority.HIGH, 50, 9)
    assert ask("agent", "POST", "/requests", json={**SCAN, "priority": "high"}).status_code == 202


def test_a_grant_that_has_changed_meanwhile_stays_as_it_is(ask: Ask, other_admin: Api, db: Engine) -> None:
    one = proposed(ask, kind="grant_change", job="darkwatch_scan", changes={"requests_per_hour": 5})
    two = proposed(ask, kind="grant_change", job="darkwatch_scan", changes={"requests_per_hour": 500})
    assert decided(other_admin, one).json()["state"] == "applied"
    assert decided(other_admin, two).json()["state"] == "conflicted"
    grant = grant_of(db)
    assert grant is not None
    assert grant.requests_per_hour == 5


def test_a_job_without_a_grant_is_asked_for(ask: Ask, other_admin: Api, db: Engine) -> None:
    assert ask("agent", "POST", "/change-sets", json={**FIRST, "job": "cleanup"}).json()["rule"] == (
        "agent.no_grant_of_job"
    )
    change = proposed(ask, kind="grant_change", job="reports_generate", changes={"requests_per_hour": 2})
    assert decided(other_admin, change).json()["state"] == "applied"
    grant = grant_of(db, "reports_generate")
    assert grant is not None
    assert (grant.requests_per_hour, grant.max_priority) == (2, Priority.NORMAL)


@pytest.mark.parametrize(("body", "status"), [
    ({"kind": "grant_change", "changes": {"requests_per_hour": 0}}, 422),
    ({"kind": "grant_change", "changes": {"agent_id": "agent:b"}}, 422),
    ({"kind": "grant_change", "changes": {"ask_first": False}}, 422),
    ({"kind": "grant_change", "changes": {}}, 422),
    ({"kind": "first_trigger", "changes": {"requests_per_hour": 9}}, 422),
    ({"kind": "gate", "changes": {"message": "x"}}, 422),
])  # fmt: skip
def test_a_proposal_holds_bounds_and_nothing_else(ask: Ask, body: dict[str, Any], status: int) -> None:
    assert ask("agent", "POST", "/change-sets", json={"job": "darkwatch_scan", **body}).status_code == status


def test_only_an_agent_proposes_for_itself(ask: Ask) -> None:
    body = {"kind": "grant_change", "job": "darkwatch_scan", "changes": {"requests_per_hour": 9}}
    assert ask("operator", "POST", "/change-sets", json=body).json()["rule"] == "grants.of_agents"
    assert ask("service", "POST", "/change-sets", json=body).status_code == 403
