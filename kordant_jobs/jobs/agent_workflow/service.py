"""Continues an execution of a workflow: one transaction for each step with its effect. Every limit is checked again
before each step.

A step that waits ends the run; a later request continues it. So a wait holds no process, and after a kill the next run
continues at the interrupted step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from kordant_jobs.catalog import BY_NAME, enqueue, reach_of
from kordant_jobs.catalog.agent_workflow import AgentWorkflow
from kordant_jobs.domain.access.audit import Entry, Outcome
from kordant_jobs.domain.access.change_sets import ChangeKind, ChangeState
from kordant_jobs.domain.access.policy import Action, Owner, decide
from kordant_jobs.domain.access.principals import Principal
from kordant_jobs.domain.access.workflows import (
    Await,
    Check,
    Decide,
    ExecutionStatus,
    Gate,
    Propose,
    Step,
    StepStatus,
    Stop,
    Trigger,
    WorkflowState,
    goes_to,
    next_check_s,
    resolved,
)
from kordant_jobs.domain.schedules.rows import row_from
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import Filter, Request, RequestStatus, operate
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.access import bounds, changes, people, workflows
from kordant_jobs.store.access.workflows import Execution, Workflow
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import config as scheduler_config

JOB = AgentWorkflow.job
ENDED = {RequestStatus.COMPLETED, RequestStatus.DEAD, RequestStatus.CANCELLED, RequestStatus.EXPIRED}


@dataclass(frozen=True, kw_only=True)
class Advanced:
    """The result of a run: how far the execution got."""

    steps: int = 0
    status: ExecutionStatus = ExecutionStatus.RUNNING
    reason: str | None = None
    messages: tuple[str, ...] = ()
    """Messages for operators."""


@dataclass(frozen=True, kw_only=True)
class Refused(Exception):
    """A rule does not allow the step."""

    rule: str


@dataclass(frozen=True, kw_only=True)
class _Done:
    """The result of a step. `goto` names another next step; `until` is set when it waits."""

    output: Mapping[str, Any] = field(default_factory=dict)
    goto: str | None = None
    waits: bool = False
    ends: ExecutionStatus | None = None
    message: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def advance(execution_id: UUID, *, db: Engine, keyring: Keyring, now: datetime) -> Advanced:
    """Continue an execution until it ends or waits. One that has ended stays unchanged.

    Raises:
        PermanentError: there is no such execution.
    """
    done: int = 0
    messages: list[str] = []
    while True:
        with db.begin() as connection:
            found = workflows.execution(connection, execution_id, lock=True)
            if found is None:
                raise PermanentError(f"there is no execution {execution_id} of a workflow.")
            if found.status is not ExecutionStatus.RUNNING:
                return Advanced(steps=done, status=found.status, reason=found.reason, messages=tuple(messages))
            came = _One(connection, keyring, found, now).step()
            if came.waits:
                workflows.check_again(connection, found, at=now + timedelta(seconds=next_check_s(found.looks)))
                return Advanced(steps=done, messages=tuple(messages))
        done += 1
        if came.message:
            messages.append(came.message)


class _One:
    """One step of an execution, in one transaction."""

    def __init__(self, connection: Connection, keyring: Keyring, found: Execution, now: datetime) -> None:
        self.connection, self.keyring, self.execution, self.now = connection, keyring, found, now
        workflow = workflows.get(connection, found.workflow_id)
        if workflow is None:
            raise PermanentError(f"the workflow of execution {found.id} is gone.")
        self.workflow: Workflow = workflow
        self.rows = {row.name: row for row in workflows.steps(connection, found.id)}

    def step(self) -> _Done:
        """Do the next step; after the last one the execution ends."""
        steps = self.workflow.definition.steps
        step = steps[self.execution.at_step]
        try:
            agent = self._allowed()
            came = self._do(agent, step)
        except Refused as refused:
            self._note(step, StepStatus.DENIED, rule=refused.rule)
            self._record("workflow.step_denied", Outcome.DENIED, rule=refused.rule)
            self._end(ExecutionStatus.DENIED, refused.rule)
            return _Done()
        except PermanentError as error:
            self._note(step, StepStatus.FAILED, rule=str(error)[:200])
            self._end(ExecutionStatus.FAILED, f"step {step.name}")
            return _Done()
        self._note(step, StepStatus.WAITING if came.waits else StepStatus.DONE, output=dict(came.output), **came.facts)
        if came.waits:
            return came
        if came.ends is not None:
            self._end(came.ends)
            return came
        if self.execution.at_step + 1 == len(steps):
            self._end(ExecutionStatus.COMPLETED)
            return came
        names = [one.name for one in steps]
        place = names.index(came.goto) if came.goto else self.execution.at_step + 1
        for skipped in range(self.execution.at_step + 1, place):
            workflows.note(
                self.connection, self.execution.id, skipped, names[skipped], StepStatus.SKIPPED, now=self.now
            )
        workflows.move(self.connection, self.execution.id, at_step=place, looks=0)
        return came

    def _allowed(self) -> Principal:
        """The agent with its current rights.

        Raises:
            Refused: it is disabled, or the workflow is not the approved one any more.
        """
        if self.workflow.state is not WorkflowState.APPROVED:
            raise Refused(rule="workflow.not_approved")
        if self.workflow.definition.digest() != self.execution.digest:
            raise Refused(rule="workflow.definition_changed")
        agent = people.principal(self.connection, self.execution.agent_id)
        if agent is None:
            raise Refused(rule="agent.disabled")
        if not agent.covers(self.execution.tenant, self.execution.entity_key):
            raise Refused(rule="agent.out_of_scope")
        return agent

    def _do(self, agent: Principal, step: Step) -> _Done:
        if isinstance(step, Trigger):
            return self._trigger(agent, step)
        if isinstance(step, Await | Check):
            return self._look(step)
        if isinstance(step, Decide):
            return self._decide(step)
        if isinstance(step, Propose):
            return self._propose(agent, step)
        if isinstance(step, Gate):
            return self._gate(agent, step)
        if isinstance(step, Stop):
            return _Done(ends=ExecutionStatus(step.status))
        self._record("workflow.notify", after={"step": step.name})
        return _Done(message=f"workflow {self.workflow.name} of {agent.id}: {step.message}")

    def _values(self, value: Any) -> Any:
        return resolved(value, self.execution.inputs, {name: row.output for name, row in self.rows.items()})

    def _trigger(self, agent: Principal, step: Trigger) -> _Done:
        row = BY_NAME.get(step.job)
        if row is None or step.job == JOB:
            raise PermanentError(f"{step.job} is no job that a workflow starts")
        self._permit(agent, Action.TRIGGER)
        try:
            payload = row.payload.model_validate(self._values(step.payload))
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, one["loc"])) or "payload" for one in error.errors())
            raise PermanentError(f"the payload of {step.job} is wrong: {fields}") from None
        if not agent.reaches(reach_of(payload)):
            raise Refused(rule="payload.reaches_beyond_scope")
        priority = Priority[step.priority.upper()] if step.priority else row.priority
        bound = bounds.bound_of(self.connection, agent.id, row.name, priority, charge=True, now=self.now)
        if bound.at is not None:
            return _Done(waits=True)
        if bound.rule is not None:
            raise Refused(rule=bound.rule)
        request_id = enqueue(
            self.connection,
            payload,
            requested_by=agent.id,
            priority=priority,
            idempotency_key=f"wf:{self.execution.id}:{step.name}",
            entity_key=self.execution.entity_key,
            tenant=self.execution.tenant,
        )
        self._record("workflow.trigger", after={"job": row.name, "request": str(request_id)})
        return _Done(output={"request_id": str(request_id)}, facts={"request_id": request_id})

    def _permit(self, agent: Principal, action: Action) -> None:
        decision = decide(agent, action, Owner.SCOPE)
        if not decision.allowed:
            raise Refused(rule=decision.rule)

    def _look(self, step: Await | Check) -> _Done:
        request_id = self.rows[step.step].request_id if step.step in self.rows else None
        if request_id is None:
            return _Done(output={"status": "not_started"})
        found = operate.find(self.connection, Filter(ids=(request_id,)))
        if not found:
            return _Done(output={"status": "gone"})
        request: Request = found[0]
        said = {"status": request.status.value, "items_failed": request.items_failed, "attempts": request.attempt}
        if isinstance(step, Check) or request.status in ENDED:
            return _Done(output=said)
        if self._waited(step.name) >= step.timeout_s:
            return _Done(output={**said, "status": "timed_out"})
        return _Done(waits=True)

    def _waited(self, name: str) -> float:
        row = self.rows.get(name)
        return 0.0 if row is None else (self.now - row.started_at).total_seconds()

    def _decide(self, step: Decide) -> _Done:
        value = self._values(step.on)
        goto = goes_to(step, value)
        return _Done(output={"value": value if isinstance(value, str | int | float | bool) else None}, goto=goto)

    def _propose(self, agent: Principal, step: Propose) -> _Done:
        self._permit(agent, Action.PROPOSE)
        before = scheduler_config.get(self.connection, (step.job, step.tier))
        if before is None:
            raise PermanentError(f"there is no row {step.job}:{step.tier}")
        wanted = self._values(dict(step.changes))
        try:
            row_from({**before.row.to_json(), **wanted})
        except (PermanentError, TypeError, ValueError):
            raise PermanentError(f"what is proposed for {step.job}:{step.tier} is no valid row") from None
        made = changes.propose(
            self.connection,
            job=step.job,
            tier=step.tier,
            base_version=before.version,
            changes=wanted,
            by=agent.id,
            owner=agent.on_behalf_of,
            now=self.now,
        )
        self._record("workflow.propose", after={"change_set": str(made.id), "digest": made.digest})
        return _Done(output={"change_id": str(made.id)}, facts={"change_id": made.id})

    def _gate(self, agent: Principal, step: Gate) -> _Done:
        row = self.rows.get(step.name)
        if row is None:
            made = changes.propose(
                self.connection,
                kind=ChangeKind.GATE,
                job=JOB,
                tier=str(self.execution.id),
                base_version=self.execution.at_step,
                changes={"workflow": self.workflow.name, "step": step.name, "message": step.message},
                by=agent.id,
                owner=agent.on_behalf_of,
                now=self.now,
                waits=timedelta(seconds=step.timeout_s),
            )
            self._record("workflow.gate", after={"change_set": str(made.id)})
            return _Done(waits=True, facts={"change_id": made.id})
        changes.expire(self.connection, now=self.now)
        found = changes.get(self.connection, row.change_id)
        if found is None or found.state is ChangeState.PROPOSED:
            return _Done(waits=True)
        if found.state is not ChangeState.APPLIED:
            raise Refused(rule=f"gate.{found.state}")
        return _Done(output={"approved": True})

    def _note(self, step: Step, status: StepStatus, **facts: Any) -> None:
        workflows.note(
            self.connection, self.execution.id, self.execution.at_step, step.name, status, now=self.now, **facts
        )

    def _end(self, status: ExecutionStatus, reason: str | None = None) -> None:
        workflows.move(self.connection, self.execution.id, status=status, reason=reason, ended_at=self.now)
        self._record("workflow.ended", after={"status": status.value})

    def _record(self, action: str, outcome: Outcome = Outcome.ALLOWED, **more: Any) -> None:
        log.record(
            self.connection,
            self.keyring,
            Entry(
                actor=self.execution.agent_id,
                role="agent",
                source="workflow",
                action=action,
                target_kind="execution",
                target_id=str(self.execution.id),
                tenant=self.execution.tenant,
                outcome=outcome,
                **more,
            ),
        )
