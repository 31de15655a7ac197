"""agent_workflow in Dagster: one op."""

from datetime import datetime

from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.agent_workflow import AgentWorkflow
from kordant_jobs.domain.access.workflows import ExecutionStatus
from kordant_jobs.engine.job_shapes import Report, Summary, one_op_job
from kordant_jobs.jobs.agent_workflow import service
from kordant_jobs.store.people.keyring import Keyring


def advance(payload: AgentWorkflow, report: Report, now: datetime, db: Engine, keyring: Keyring) -> Summary:
    """Continue an execution until it ends or waits."""
    came = service.advance(payload.execution_id, db=db, keyring=keyring, now=now)
    for text in came.messages:
        report.warn(text)
    if came.status is not ExecutionStatus.RUNNING:
        report.info(f"the execution has ended: {came.status}" + (f" ({came.reason})" if came.reason else ""))
    failed = came.status in {ExecutionStatus.DENIED, ExecutionStatus.FAILED}
    return Summary(
        {"steps": came.steps, "waits": int(came.status is ExecutionStatus.RUNNING)}, items_failed=int(failed)
    )


JOBS = one_op_job(BY_NAME[service.JOB], service="agents", run=advance)
"""The Dagster job of agents' workflows."""
