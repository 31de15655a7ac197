"""An agent's workflow from its proposal to its end: bounds before each step, waits without a process, kills."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.domain.access.workflows import ExecutionStatus
from kordant_jobs.engine import Priority
from kordant_jobs.jobs.agent_workflow import service
from kordant_jobs.jobs.agent_workflow.job import JOBS
from kordant_jobs.store.access import people, workflows
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import ENTITY, TENANT, app, ask, callers

__all__ = ["app", "ask", "callers"]

Ask = Callable[..., httpx.Response]
SCAN = {"type": "trigger", "name": "scan", "job": "darkwatch_scan", "payload": {"subscription_ids": ["${inputs.who}"]}}
WAIT = {"type": "await", "name": "wait", "step": "scan", "timeout_s": 600}
FAILED = {
    "type": "decide",
    "name": "failed",
    "on": "${steps.wait.output.status}",
    "cases": [{"op": "ne", "value": "completed", "goto": "tell"}],
    "otherwise": "end",
}
TELL = {"type": "notify", "name": "tell", "message": "the scan did not end well"}
END = {"type": "stop", "name": "end"}
GATE = {"type": "gate", "name": "ask", "message": "may I?"}


@pytest.fixture(autouse=True)
def grant(db: Engine, callers: Any) -> None:
    with db.begin() as connection:
        one = people.Grant(job="agent_workflow", max_priority=Priority.NORMAL, requests_per_hour=50)
        people.save_grant(connection, "agent:a", one, by="user:test")


def approved(ask: Ask, *steps: Any, inputs: dict[str, str] | None = None) -> str:
    """The id of a workflow that a person has approved."""
    definition = {"inputs": inputs or {"who": "text"}, "steps": list(steps)}
    made = ask("agent", "POST", "/workflows", json={"name": "care", "definition": definition})
    assert made.status_code == 202, made.text
    change = made.json()["change_set"]
    assert change["kind"] == "workflow"
    decided = ask("operator", "POST", f"/change-sets/{change['id']}/approve", json={"digest": change["digest"]})
    assert decided.json()["state"] == "applied"
    return str(made.json()["workflow"]["id"])


def begun(ask: Ask, workflow: str, **inputs: Any) -> UUID:
    body = {"inputs": inputs or {"who": ENTITY}}
    answer = ask("agent", "POST", f"/workflows/{workflow}/executions", json=body)
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


def shown(ask: Ask, execution: UUID) -> Any:
    answer = ask("agent", "GET", f"/executions/{execution}")
    assert answer.status_code == 200
    return answer.json()


def take_on(db: Engine, keyring: Keyring, execution: UUID, after_s: float = 0) -> service.Advanced:
    return service.advance(execution, db=db, keyring=keyring, now=datetime.now(UTC) + timedelta(seconds=after_s))


def requests_of(db: Engine, job: str) -> list[Any]:
    with db.connect() as connection:
        query = (
            "SELECT id, status, requested_by, priority, payload FROM kordant.job_requests WHERE job = :job ORDER BY id"
        )
        return list(connection.execute(sa.text(query), {"job": job}))


def ends(db: Engine, request_id: UUID, status: str) -> None:
    with db.begin() as connection:
        for word in ("running", status) if status != "cancelled" else (status,):
            connection.execute(
                sa.text(
                    "UPDATE kordant.job_requests SET status = :to, lease_id = CASE WHEN :to = 'running' THEN id END, "
                    "ended_at = CASE WHEN :to = 'running' THEN NULL ELSE now() END WHERE id = :id"
                ),
                {"to": word, "id": request_id},
            )


def test_it_triggers_waits_decides_and_ends(ask: Ask, db: Engine, keyring: Keyring) -> None:
    execution = begun(ask, approved(ask, SCAN, WAIT, FAILED, TELL, END))
    came = take_on(db, keyring, execution)
    assert (came.steps, came.status) == (1, ExecutionStatus.RUNNING)
    (scan,) = requests_of(db, "darkwatch_scan")
    assert (scan.requested_by, scan.payload["subscription_ids"]) == ("agent:a", [ENTITY])
    assert len(requests_of(db, "agent_workflow")) == 1  # the first look serves: it still waits
    ends(db, scan.id, "completed")
    came = take_on(db, keyring, execution)
    assert came.status is ExecutionStatus.COMPLETED
    steps = shown(ask, execution)["steps"]
    assert [(one["name"], one["status"]) for one in steps] == [
        ("scan", "done"), ("wait", "done"), ("failed", "done"), ("tell", "skipped"), ("end", "done"),
    ]  # fmt: skip
    assert steps[1]["output"]["status"] == "completed"
    with db.connect() as connection:
        assert log.check(connection, keyring).holds


def test_a_scan_that_failed_is_reported(ask: Ask, db: Engine, keyring: Keyring) -> None:
    execution = begun(ask, approved(ask, SCAN, WAIT, FAILED, TELL, END))
    take_on(db, keyring, execution)
    ends(db, requests_of(db, "darkwatch_scan")[0].id, "dead")
    assert "did not end well" in take_on(db, keyring, execution).messages[0]


def test_it_waits_no_longer_than_it_says(ask: Ask, db: Engine, keyring: Keyring) -> None:
    execution = begun(ask, approved(ask, SCAN, WAIT, END))
    take_on(db, keyring, execution)
    assert take_on(db, keyring, execution, after_s=599).status is ExecutionStatus.RUNNING
    assert take_on(db, keyring, execution, after_s=602).status is ExecutionStatus.COMPLETED
    assert shown(ask, execution)["steps"][1]["output"]["status"] == "timed_out"


def test_killed_within_a_step_it_goes_on_there_and_does_nothing_twice(
    ask: Ask, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = {**SCAN, "name": "scan_again"}
    execution = begun(ask, approved(ask, SCAN, second, END))
    noted = workflows.note

    def killed(connection: Connection, execution_id: UUID, place: int, *more: Any, **facts: Any) -> None:
        if place == 1:
            raise SystemExit("killed")
        noted(connection, execution_id, place, *more, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(workflows, "note", killed)
        with pytest.raises(SystemExit):
            take_on(db, keyring, execution)
    assert len(requests_of(db, "darkwatch_scan")) == 1
    assert [one["status"] for one in shown(ask, execution)["steps"]] == ["done"]
    assert take_on(db, keyring, execution).status is ExecutionStatus.COMPLETED
    assert len(requests_of(db, "darkwatch_scan")) == 2
    assert take_on(db, keyring, execution).steps == 0
    assert len(requests_of(db, "darkwatch_scan")) == 2


@pytest.mark.parametrize("says", ["approve", "reject", "nothing"])
def test_a_gate_waits_for_a_person_and_silence_is_a_no(ask: Ask, db: Engine, keyring: Keyring, says: str) -> None:
    execution = begun(ask, approved(ask, GATE, SCAN, END))
    assert take_on(db, keyring, execution).status is ExecutionStatus.RUNNING
    change_id = shown(ask, execution)["steps"][0]["change_id"]
    change = ask("admin", "GET", f"/change-sets/{change_id}").json()
    assert (change["kind"], change["changes"]["message"]) == ("gate", "may I?")
    assert (
        ask("agent", "POST", f"/change-sets/{change_id}/approve", json={"digest": change["digest"]}).status_code == 403
    )
    if says != "nothing":
        body = {"digest": change["digest"]} if says == "approve" else {}
        assert ask("operator", "POST", f"/change-sets/{change_id}/{says}", json=body).status_code == 200
    came = take_on(db, keyring, execution, after_s=0 if says != "nothing" else 73 * 3600)
    if says == "approve":
        assert came.status is ExecutionStatus.COMPLETED
        assert len(requests_of(db, "darkwatch_scan")) == 1
    else:
        word = {"reject": "rejected", "nothing": "expired"}[says]
        assert (came.status, came.reason) == (ExecutionStatus.DENIED, f"gate.{word}")
        assert requests_of(db, "darkwatch_scan") == []


def test_a_decision_wakes_what_waits_for_it(ask: Ask, db: Engine, keyring: Keyring) -> None:
    execution = begun(ask, approved(ask, GATE, END))
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.job_requests SET run_at = '2100-01-01'"))
    take_on(db, keyring, execution)
    change_id = shown(ask, execution)["steps"][0]["change_id"]
    digest = ask("admin", "GET", f"/change-sets/{change_id}").json()["digest"]
    ask("operator", "POST", f"/change-sets/{change_id}/approve", json={"digest": digest})
    with db.connect() as connection:
        soon = connection.execute(sa.text("SELECT min(run_at) <= now() FROM kordant.job_requests")).scalar_one()
    assert soon


def test_every_bound_is_checked_before_each_step(ask: Ask, db: Engine, keyring: Keyring) -> None:
    workflow = approved(ask, SCAN, END)
    other = {"who": "11111111-1111-4111-8111-111111111111"}
    assert take_on(db, keyring, begun(ask, workflow, **other)).reason == "payload.reaches_beyond_scope"
    high = approved(ask, {**SCAN, "priority": "critical"}, END)
    assert take_on(db, keyring, begun(ask, high)).reason == "agent.priority_above_grant"
    execution = begun(ask, high)
    approved(ask, SCAN, END)  # a newer version retires this one
    assert take_on(db, keyring, execution).reason == "workflow.not_approved"
    newest = approved(ask, SCAN, END)
    execution = begun(ask, newest)
    with db.begin() as connection:
        people.end_grant(connection, "agent:a", "darkwatch_scan", by="user:test")
    assert take_on(db, keyring, execution).reason == "agent.no_grant_of_job"
    execution = begun(ask, newest)
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.principals SET disabled_at = now() WHERE id = 'user:admin'"))
    assert take_on(db, keyring, execution).reason == "agent.disabled"
    assert requests_of(db, "darkwatch_scan") == []


def test_a_changed_definition_is_not_carried_out(ask: Ask, db: Engine, keyring: Keyring) -> None:
    execution = begun(ask, approved(ask, SCAN, END))
    with db.begin() as connection:
        connection.execute(
            sa.text("UPDATE kordant.workflows SET definition = jsonb_set(definition, '{steps,0,job}', '\"cleanup\"')")
        )
    assert take_on(db, keyring, execution).reason == "workflow.definition_changed"


def test_what_is_not_approved_or_not_mine_is_not_begun(ask: Ask, db: Engine, keyring: Keyring, callers: Any) -> None:
    definition = {"inputs": {"who": "text"}, "steps": [SCAN, END]}
    made = ask("agent", "POST", "/workflows", json={"name": "care", "definition": definition}).json()
    path = f"/workflows/{made['workflow']['id']}/executions"
    assert ask("agent", "POST", path, json={"inputs": {"who": ENTITY}}).status_code == 409
    change = made["change_set"]
    assert (
        ask("admin", "POST", f"/change-sets/{change['id']}/approve", json={"digest": change["digest"]}).json()["rule"]
        == "changes.not_own"
    )  # the agent's own person
    ask("operator", "POST", f"/change-sets/{change['id']}/approve", json={"digest": change["digest"]})
    assert ask("agent", "POST", path, json={"inputs": {"who": 3}}).json()["errors"][0]["pointer"] == "/inputs"
    assert ask("agent", "POST", path, json={"inputs": {"who": ENTITY}, "entity_key": "other"}).status_code == 404
    assert ask("service", "POST", path, json={"inputs": {"who": ENTITY}}).status_code == 202
    raw = {"job": "agent_workflow", "payload": {"execution_id": made["workflow"]["id"]}}
    assert ask("agent", "POST", "/requests", json=raw).json()["rule"] == "payload.reaches_beyond_scope"


@pytest.mark.parametrize(
    "steps",
    [
        [{**SCAN, "payload": {"x": "a ${inputs.who}"}}],
        [{**SCAN, "payload": {"x": "${inputs.nobody}"}}],
        [{**SCAN, "payload": {"x": "${steps.later.output.y}"}}, {**END, "name": "later"}],
        [{**SCAN, "payload": {"${inputs.who": 1}}],
        [SCAN, SCAN],
        [{**WAIT, "step": "nothing"}],
        [SCAN, WAIT, {**FAILED, "otherwise": "scan"}],
        [{"type": "shell", "name": "x", "command": "rm"}],
        [{**END, "more": 1}],
        [],
        [{**END, "name": f"s{number}"} for number in range(51)],
    ],
)
def test_a_definition_that_is_more_than_typed_steps_is_refused(ask: Ask, steps: Any) -> None:
    body = {"name": "care", "definition": {"inputs": {"who": "text"}, "steps": steps}}
    answer = ask("agent", "POST", "/workflows", json=body)
    assert answer.status_code == 422, answer.text


def test_it_runs_as_a_job(ask: Ask, db: Engine, keyring: Keyring) -> None:
    execution = begun(ask, approved(ask, SCAN, END))
    done = JOBS.plain.execute_in_process(
        run_config={"ops": {"advance": {"config": {"execution_id": str(execution)}}}},
        resources={"db": db, "keyring": keyring},
    )
    assert done.success
    assert shown(ask, execution)["status"] == "completed"
    assert shown(ask, execution)["tenant"] == TENANT
