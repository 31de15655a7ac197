"""Workflows of agents and their executions in Postgres. The process that continues an execution holds its row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.agent_workflow import AgentWorkflow
from kordant_jobs.domain.access.change_sets import ChangeKind
from kordant_jobs.domain.access.workflows import ExecutionStatus, StepStatus, WorkflowDefinition, WorkflowState
from kordant_jobs.engine.control import Filter, RequestStatus, operate
from kordant_jobs.store.access import changes
from kordant_jobs.store.access.changes import ChangeSet
from kordant_jobs.store.access.tables import workflow_executions, workflow_steps, workflows

JOB = AgentWorkflow.job


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """One version of a workflow."""

    id: UUID
    agent_id: str
    name: str
    version: int
    definition: WorkflowDefinition
    digest: str
    state: WorkflowState
    change_id: UUID


@dataclass(frozen=True, kw_only=True)
class Execution:
    """The current state of an execution. `at_step` is the place of its next step."""

    id: UUID
    workflow_id: UUID
    digest: str
    agent_id: str
    started_by: str
    tenant: str | None
    entity_key: str | None
    inputs: Mapping[str, Any]
    status: ExecutionStatus
    at_step: int
    looks: int
    next_request_id: UUID | None
    """The request that continues it after a wait."""
    reason: str | None
    started_at: datetime
    ended_at: datetime | None


def _workflow(row: Mapping[str, Any]) -> Workflow:
    values = {name: row[name] for name in Workflow.__dataclass_fields__}
    return Workflow(
        **{
            **values,
            "definition": WorkflowDefinition.model_validate(row["definition"]),
            "state": WorkflowState(row["state"]),
        }
    )


def propose(
    connection: Connection,
    *,
    agent_id: str,
    owner: str | None,
    name: str,
    definition: WorkflowDefinition,
    now: datetime,
) -> tuple[Workflow, ChangeSet]:
    """Create a new version of an agent's workflow, with the change set that a person decides on."""
    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"workflow {agent_id} {name}"}
    )
    mine = sa.and_(workflows.c.agent_id == agent_id, workflows.c.name == name)
    last = connection.execute(sa.select(sa.func.max(workflows.c.version)).where(mine)).scalar() or 0
    workflow_id: UUID = uuid7()
    change = changes.propose(
        connection,
        kind=ChangeKind.WORKFLOW,
        job=JOB,
        tier=str(workflow_id),
        base_version=last + 1,
        changes={"name": name, "digest": definition.digest(), "definition": definition.model_dump(mode="json")},
        by=agent_id,
        owner=owner,
        now=now,
    )
    values = {
        "id": workflow_id,
        "agent_id": agent_id,
        "name": name,
        "version": last + 1,
        "definition": definition.model_dump(mode="json"),
        "digest": definition.digest(),
        "change_id": change.id,
    }
    row = connection.execute(sa.insert(workflows).values(values).returning(workflows)).mappings().one()
    return _workflow(dict(row)), change


def get(connection: Connection, workflow_id: UUID) -> Workflow | None:
    """One version of a workflow."""
    row = connection.execute(sa.select(workflows).where(workflows.c.id == workflow_id)).mappings().one_or_none()
    return None if row is None else _workflow(dict(row))


def listed(connection: Connection, *, agent_id: str | None, limit: int) -> Sequence[Workflow]:
    """Workflows, the newest first, of one agent or of all."""
    query = sa.select(workflows).order_by(workflows.c.id.desc()).limit(limit)
    if agent_id is not None:
        query = query.where(workflows.c.agent_id == agent_id)
    return [_workflow(dict(row)) for row in connection.execute(query).mappings()]


def approve(connection: Connection, workflow_id: UUID) -> None:
    """Approve a version; earlier versions with the same name are retired."""
    one = connection.execute(sa.select(workflows).where(workflows.c.id == workflow_id).with_for_update()).one()
    same = sa.and_(workflows.c.agent_id == one.agent_id, workflows.c.name == one.name)
    older = sa.update(workflows).where(same, workflows.c.version < one.version)
    connection.execute(older.values(state=WorkflowState.RETIRED))
    connection.execute(sa.update(workflows).where(workflows.c.id == one.id).values(state=WorkflowState.APPROVED))


def begin(
    connection: Connection,
    workflow: Workflow,
    *,
    inputs: Mapping[str, Any],
    started_by: str,
    tenant: str | None,
    entity_key: str | None,
) -> UUID:
    """Create an execution at its first step."""
    execution_id: UUID = uuid7()
    connection.execute(
        sa.insert(workflow_executions).values(
            id=execution_id,
            workflow_id=workflow.id,
            digest=workflow.digest,
            agent_id=workflow.agent_id,
            started_by=started_by,
            tenant=tenant,
            entity_key=entity_key,
            inputs=dict(inputs),
        )
    )
    return execution_id


def execution(connection: Connection, execution_id: UUID, *, lock: bool = False) -> Execution | None:
    """An execution; with `lock` no other process can continue it until this transaction ends."""
    query = sa.select(workflow_executions).where(workflow_executions.c.id == execution_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else Execution(**{**row, "status": ExecutionStatus(row["status"])})


def steps(connection: Connection, execution_id: UUID) -> Sequence[Any]:
    """The steps that it has reached, by place."""
    query = sa.select(workflow_steps).where(workflow_steps.c.execution_id == execution_id)
    return connection.execute(query.order_by(workflow_steps.c.place)).all()


def note(
    connection: Connection,
    execution_id: UUID,
    place: int,
    name: str,
    status: StepStatus,
    *,
    now: datetime,
    **facts: Any,
) -> None:
    """Write the status of a step."""
    values = {
        "name": name,
        "status": status,
        "ended_at": None if status is StepStatus.WAITING else now,
        **facts,
    }
    statement = insert(workflow_steps).values(execution_id=execution_id, place=place, started_at=now, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["execution_id", "place"], set_=values))


def move(connection: Connection, execution_id: UUID, **values: Any) -> None:
    """Change these fields of an execution."""
    connection.execute(sa.update(workflow_executions).where(workflow_executions.c.id == execution_id).values(values))


def check_again(connection: Connection, found: Execution, *, at: datetime) -> None:
    """Queue the continuation of an execution at a time, unless one is queued already."""
    if found.next_request_id is not None:
        waiting = operate.find(connection, Filter(ids=(found.next_request_id,)))
        if waiting and waiting[0].status is RequestStatus.PENDING:
            return
    next_request_id = enqueue(
        connection,
        AgentWorkflow(execution_id=found.id),
        requested_by=found.agent_id,
        run_at=at,
        entity_key=found.entity_key,
        tenant=found.tenant,
    )
    move(connection, found.id, looks=found.looks + 1, next_request_id=next_request_id)


def wake(connection: Connection, execution_id: UUID, *, now: datetime) -> None:
    """Continue a waiting execution at once: the decision that it waits for was made."""
    found = execution(connection, execution_id, lock=True)
    if found is not None and found.next_request_id is not None and found.status is ExecutionStatus.RUNNING:
        operate.reprioritise(connection, Filter(ids=(found.next_request_id,)), run_at=now)
