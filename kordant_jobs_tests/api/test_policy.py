"""The policy, cell by cell over HTTP: role × action × whose × critical or not × state, against a table written by hand.

The table is the issue's words, not the code's rules: a rule that says more or less than it is a failure.
"""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from starlette.routing import Route

from kordant_jobs.api.app import router
from kordant_jobs.catalog import enqueue_named
from kordant_jobs.domain.access.policy import NEEDS, RULES, Action
from kordant_jobs.domain.access.principals import Role
from kordant_jobs_tests.api.conftest import ENTITY, SUBSCRIBER, TENANT, Api

ROLES = ("admin", "operator", "service", "agent", "subscriber")
CALLER = {"admin": "user:admin", "operator": "user:operator", "service": "service:app", "agent": "agent:a",
          "subscriber": f"subscriber:{SUBSCRIBER}"}  # fmt: skip
OWNERS = ("own", "same", "other")
JOBS = {False: "darkwatch_scan", True: "subscription_changed"}
STATES = {"cancel": "pending", "retry": "dead", "acknowledge": "dead", "expire": "dead", "change": "pending"}
ACTIONS = ("read", *STATES)


def expected(role: str, action: str, owner: str, critical: bool) -> int:
    """The status that the issue asks for."""
    if role in {"service", "agent", "subscriber"} and owner == "other":
        return 404
    if action == "read":
        return 200
    if role == "subscriber":
        return 403
    if role == "admin":
        return 202 if action == "cancel" else 200
    if action == "cancel":
        allowed = {"operator": not critical, "service": owner == "own", "agent": owner == "own" and not critical}[role]
        return 202 if allowed else 403
    if action == "change":
        return 200 if role == "operator" or owner == "own" else 403
    allowed = {"operator": True, "service": owner == "own", "agent": False}[role]
    return 200 if allowed else 403


def queued(db: Engine, role: str, owner: str, critical: bool, state: str) -> UUID:
    """A request of the wanted owner and state."""
    by = CALLER[role] if owner != "same" else "service:somebody-else"
    tenant, entity = ("t9", str(uuid4())) if owner == "other" else (TENANT, ENTITY)
    with db.begin() as connection:
        made = enqueue_named(
            connection, JOBS[critical], {"subscription_ids": [entity]}, requested_by=by, tenant=tenant,
            entity_key=entity, run_at=datetime(2190, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        if state == "dead":
            statement = "UPDATE kordant.job_requests SET status = 'dead', ended_at = now() WHERE id = :id"
            connection.execute(sa.text(statement), {"id": made})
    return made


def status_of(db: Engine, request_id: UUID) -> Any:
    with db.connect() as connection:
        statement = "SELECT status, priority, acknowledged_by FROM kordant.job_requests WHERE id = :id"
        return tuple(connection.execute(sa.text(statement), {"id": request_id}).one())


@pytest.mark.parametrize("role", ROLES)
def test_each_cell_answers_as_the_table_says_and_a_refusal_changes_nothing(
    callers: dict[str, Api], db: Engine, role: str
) -> None:
    ask = callers[role]
    wrong: list[tuple[Any, ...]] = []
    for action in ACTIONS:
        for owner in OWNERS:
            for critical in (False, True):
                request_id = queued(db, role, owner, critical, STATES.get(action, "pending"))
                before = status_of(db, request_id)
                if action in {"read", "change"}:
                    answer = ask("GET", f"/requests/{request_id}")
                    if action == "change" and answer.status_code == 200:
                        headers = {"If-Match": answer.headers["etag"]}
                        answer = ask("PATCH", f"/requests/{request_id}", json={"priority": "low"}, headers=headers)
                else:
                    answer = ask("POST", f"/requests/{request_id}/{action}", json={})
                want = expected(role, action, owner, critical)
                if answer.status_code != want:
                    wrong.append((action, owner, critical, answer.status_code, want))
                if want >= 400 and status_of(db, request_id) != before:
                    wrong.append((action, owner, critical, "changed"))
                if answer.status_code == 403:
                    assert answer.json()["rule"]
    assert not wrong


WRITES: dict[str, tuple[str, str, Any]] = {
    "bulk": ("POST", "/bulk-actions", {"action": "replay", "filter": {"job": "darkwatch_scan"}, "dry_run": True}),
    "schedule_write": ("PATCH", "/schedules/notifications_send/all", {"changes": {"cron": "*/20 * * * *"}}),
    "pause": ("POST", "/schedules/notifications_send/all/pause", {"reason": "new layout"}),
    "schedule_read": ("GET", "/schedules/notifications_send/all", None),
    "propose": ("POST", "/change-sets", {"job": "notifications_send", "changes": {"cron": "*/20 * * * *"}}),
    "audit": ("GET", "/audit", None),
}
ALLOWED = {
    "bulk": {"admin", "operator"},
    "schedule_write": {"admin"},
    "pause": {"admin", "operator"},
    "schedule_read": {"admin", "operator", "service", "agent"},
    "propose": {"admin", "operator", "agent"},
    "audit": {"admin", "operator", "agent"},
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", WRITES)
def test_what_is_of_no_request_is_for_those_named(callers: dict[str, Api], role: str, what: str) -> None:
    method, path, body = WRITES[what]
    headers = {"If-Match": callers["admin"]("GET", path).headers["etag"]} if method == "PATCH" else {}
    answer = callers[role](method, path, json=body, headers=headers)
    assert (answer.status_code < 300) == (role in ALLOWED[what]), answer.text


def test_no_one_but_an_admin_reads_what_others_did(callers: dict[str, Api]) -> None:
    callers["operator"]("GET", "/audit")
    for role in ("operator", "agent"):
        entries = callers[role]("GET", "/audit").json()["items"]
        assert {one["entry"]["actor"] for one in entries} <= {CALLER[role]}


def test_ids_and_filters_of_a_bulk_action_reach_nothing_out_of_scope(callers: dict[str, Api], db: Engine) -> None:
    foreign = queued(db, "service", "other", False, "dead")
    for role in ("service", "agent", "subscriber"):
        for what in ({"ids": [str(foreign)]}, {"filter": {"tenant": "t9"}, "expected_count": 1}):
            assert callers[role]("POST", "/bulk-actions", json={"action": "expire", **what}).status_code == 403
    assert status_of(db, foreign)[0] == "dead"


def test_lists_hold_only_what_is_in_scope(callers: dict[str, Api], db: Engine) -> None:
    mine = {str(queued(db, "service", owner, False, "pending")) for owner in ("own", "same")}
    queued(db, "service", "other", False, "pending")
    for role in ("service", "agent", "subscriber"):
        for params in ({}, {"tenant": "t9"}, {"requested_by": "service:app"}):
            listed = {one["id"] for one in callers[role]("GET", "/requests", params=params).json()["items"]}
            assert listed <= mine
    assert len(callers["operator"]("GET", "/requests").json()["items"]) == 3


def test_every_route_asks_for_a_token(app: Any) -> None:
    stranger = Api(app, None)
    for route in router.routes:
        assert isinstance(route, Route)
        path = route.path.removeprefix("/api/jobs").format(
            job="darkwatch_scan",
            tier="basic",
            **dict.fromkeys(("request_id", "change_id", "workflow_id", "execution_id"), uuid4()),
        )
        for method in route.methods or ():
            assert stranger(method, path, json={}).status_code == 401, route.path


def test_every_action_has_a_rule_for_a_role_and_a_scope() -> None:
    assert set(NEEDS) == set(Action)
    for action in Action:
        assert any(rule.actions is None or action in rule.actions for rule in RULES)
    assert {rule.role for rule in RULES} - {None} == set(Role)


def test_fuzzed_calls_of_an_agent_leave_all_but_its_own_as_it_was(callers: dict[str, Api], db: Engine) -> None:
    chance = random.Random(1)
    owned = [queued(db, "agent", "own", False, state) for state in ("pending", "dead")]
    kinds = itertools.product(("same", "other"), (False, True), ("pending", "dead"))
    foreign = [queued(db, "agent", owner, is_critical, state) for owner, is_critical, state in kinds]
    critical = queued(db, "agent", "own", True, "pending")
    with db.connect() as connection:
        schedules = connection.execute(sa.text("SELECT * FROM kordant.scheduler_config ORDER BY 1, 2")).all()
    before = {one: status_of(db, one) for one in [*foreign, critical]}
    for _ in range(250):
        target = chance.choice([*owned, *foreign, critical])
        method, path, body = chance.choice([
            ("POST", f"/requests/{target}/{chance.choice(['cancel', 'retry', 'acknowledge', 'expire'])}", {}),
            ("PATCH", f"/requests/{target}", {"priority": chance.choice(["critical", "high"])}),
            ("POST", "/requests", {"job": chance.choice(["bank_sync", "notifications_send", "reports_generate"]),
                                   "payload": {}, "priority": "critical", "tenant": chance.choice(["t1", "t9"])}),
            ("POST", "/bulk-actions", {"action": "expire", "ids": [str(target)]}),
            ("POST", "/schedules/notifications_send/all/pause", {"reason": "x"}),
            ("PATCH", "/schedules/notifications_send/all", {"changes": {"enabled": False}}),
        ])  # fmt: skip
        headers = {"If-Match": chance.choice(['"v1"', '"v2"', "*"])} if method == "PATCH" else {}
        assert callers["agent"](method, path, json=body, headers=headers).status_code < 500
    assert {one: status_of(db, one) for one in before} == before
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM kordant.scheduler_config ORDER BY 1, 2")).all() == schedules
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.job_requests")).scalar_one() == 11
