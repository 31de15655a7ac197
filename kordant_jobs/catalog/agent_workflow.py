"""agent_workflow in the catalogue: its payload and limits. It has no schedule."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from kordant_jobs.engine import JobRow, Payload, Priority


class AgentWorkflow(Payload):
    """Continue one execution of an agent's workflow, until it has to wait or ends."""

    job: ClassVar[str] = "agent_workflow"
    op: ClassVar[str] = "advance"

    execution_id: UUID = Field(description="The execution, as POST /api/jobs/workflows/{id}/executions answers it.")


ROW = JobRow(
    name="agent_workflow",
    alias="agent.workflow",
    purpose="the steps of an agent's approved workflow, each within its grant; waits hold no process",
    started_by="an agent or service over the API; by itself, after a wait",
    payload=AgentWorkflow,
    priority=Priority.NORMAL,
    timeout_s=300,
    sla_s=3600,
    cpu_s=120,
    memory_mb=512,
    concurrency=4,
)
