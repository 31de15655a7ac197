"""Operations on workflows of agents: propose a version, execute an approved one, and read its progress."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.problems import Problem, denied, not_found
from kordant_jobs.api.requests import bounded, placed
from kordant_jobs.api.schedules import change_shown
from kordant_jobs.api.schemas import NewExecution, NewWorkflow
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.access.policy import Action, Owner
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.domain.access.workflows import WorkflowState
from kordant_jobs.store.access import people, workflows
from kordant_jobs.store.access.workflows import JOB, Execution, Workflow


def _shown(one: Workflow) -> dict[str, Any]:
    return {**vars(one), "definition": one.definition.model_dump(mode="json"), "state": one.state.value}


def propose(connection: Connection, call: Call, body: NewWorkflow) -> Answer:
    """Save a draft of a workflow, and propose it for a person to approve."""
    rule = call.permit(Action.PROPOSE)
    if call.principal.role is not Role.AGENT:
        raise denied("workflow.of_agents")
    made, change = workflows.propose(
        connection,
        agent_id=call.principal.id,
        owner=call.principal.on_behalf_of,
        name=body.name,
        definition=body.definition,
        now=call.now,
    )
    call.record(connection, call.audit_entry("workflows.propose", "workflow", str(made.id), rule=rule,
                                       after={"digest": made.digest, "version": made.version}))  # fmt: skip
    return Answer(body={"workflow": _shown(made), "change_set": change_shown(change)}, status=202)


def _owner(call: Call, agent_id: str) -> Owner:
    if call.principal.id == agent_id:
        return Owner.OWN
    return Owner.OTHER if call.principal.role is Role.AGENT else Owner.SCOPE


def _of(connection: Connection, call: Call, workflow_id: UUID) -> Workflow:
    if call.principal.role is not Role.SERVICE:
        call.permit(Action.READ_CHANGE, Owner.OWN)
    found = workflows.get(connection, workflow_id)
    if found is None:
        raise not_found()
    if call.principal.role is not Role.SERVICE:
        call.permit(Action.READ_CHANGE, _owner(call, found.agent_id))
    return found


def list_workflows(connection: Connection, call: Call) -> Answer:
    """Workflows, the newest first; an agent sees only its own."""
    call.permit(Action.READ_CHANGE, Owner.OWN)
    mine = call.principal.id if call.principal.role is Role.AGENT else None
    return Answer(body={"items": [_shown(one) for one in workflows.listed(connection, agent_id=mine, limit=100)]})


def read(connection: Connection, call: Call, workflow_id: UUID) -> Answer:
    """One version of a workflow."""
    return Answer(body=_shown(_of(connection, call, workflow_id)))


def execute(connection: Connection, call: Call, workflow_id: UUID, body: NewExecution) -> Answer:
    """Start an execution and queue its first run. It acts in the agent's name and within its grants, even if another
    caller starts it."""
    rule = call.permit(Action.TRIGGER)
    found = _of(connection, call, workflow_id)
    tenant, entity = placed(call, body.tenant, body.entity_key)
    agent = people.principal(connection, found.agent_id)
    if agent is None or not agent.covers(tenant, entity):
        raise denied("agent.disabled" if agent is None else "agent.out_of_scope")
    if found.state is not WorkflowState.APPROVED:
        raise Problem("wrong_state", f"the workflow is {found.state}; a person approves it first.",
                      state=found.state.value, allowed=["approved"])  # fmt: skip
    if faults := found.definition.faults_of(body.inputs):
        errors = [{"pointer": "/inputs", "detail": text} for text in faults[:20]]
        raise Problem("invalid", "the inputs are not what the workflow takes.", errors=errors)
    row = BY_NAME[JOB]
    bounded(connection, call, row, row.priority, charge=True)
    execution_id = workflows.begin(connection, found, inputs=body.inputs, started_by=call.principal.id,
                                   tenant=tenant, entity_key=entity)  # fmt: skip
    begun = workflows.execution(connection, execution_id, lock=True)
    if begun is None:
        raise not_found()
    workflows.check_again(connection, begun, at=call.now)
    call.record(connection, call.audit_entry("workflows.execute", "execution", str(execution_id), rule=rule,
                                             tenant=tenant, after={"workflow": str(found.id)}))  # fmt: skip
    return Answer(body=_execution_shown(connection, begun), status=202)


def _execution_shown(connection: Connection, one: Execution) -> dict[str, Any]:
    values = asdict(one)
    hidden = {"digest", "inputs", "at_step", "looks", "next_request_id"}
    steps = [
        {name: value for name, value in row._mapping.items() if name != "execution_id"}
        for row in workflows.steps(connection, one.id)
    ]
    shown = {name: value for name, value in values.items() if name not in hidden}
    return {**shown, "status": one.status.value, "steps": steps}


def read_execution(connection: Connection, call: Call, execution_id: UUID) -> Answer:
    """The progress of an execution. One that is out of the caller's scope counts as not found."""
    if call.principal.role is Role.SUBSCRIBER:
        raise denied("subscriber.no_executions")
    found = workflows.execution(connection, execution_id)
    if found is None or not call.principal.covers(found.tenant, found.entity_key):
        call.permit(Action.READ, Owner.OWN)
        raise not_found()
    call.permit(Action.READ, _owner(call, found.agent_id))
    return Answer(body=_execution_shown(connection, found))
