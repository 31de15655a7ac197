"""The routes of /api/jobs. Each reads its input and calls one operation."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from kordant_jobs.api import requests, schedules, subscribers, topics, workflows
from kordant_jobs.api import schemas as api
from kordant_jobs.api.asked import DOCUMENTED, PREFIX, Asked, Cursor, IfMatch, IfNoneMatch, In, Key, Name, Text, Tier
from kordant_jobs.api.watch import events
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.engine.control import Cause, Filter, RequestStatus

router = APIRouter(prefix=PREFIX, responses=DOCUMENTED)


@router.get("/me", response_model=api.Me)
def get_me(asked: In) -> Response:
    """The caller, with its scopes and an agent's grants."""
    return asked.read(schedules.me)


@router.post("/tokens/subscriber", response_model=api.SubscriberTokenOut)
def issue_subscriber_token(asked: In, body: api.SubscriberTokenWanted) -> Response:
    """Issue a short-lived token for a subscriber, with which they read their own requests and protection."""
    return asked.change(lambda connection, call: subscribers.issue_token(connection, call, body))


@router.get("/protection", response_model=api.Protection)
def get_protection(asked: In) -> Response:
    """A subscriber's own subscriptions, with the last verdict of each source and the receipts."""
    return asked.read(subscribers.protection)


@router.get("/definitions", response_model=api.Definitions)
def list_definitions(asked: In) -> Response:
    """All jobs, with the schema of their payloads."""
    return asked.read(lambda _, call: requests.definitions(call))


@router.post("/definitions/{job}/run", response_model=api.RequestOut | api.WouldBe, status_code=202)
def run_job_now(asked: In, job: Name, body: api.RunNow, key: Key = None) -> Response:
    """Start a job now: `scheduler.runJobNow`. Its scheduled runs are not affected."""
    full = api.NewRequest(job=job, **{name: getattr(body, name) for name in type(body).model_fields})
    return asked.write(lambda connection, call: requests.create(connection, call, full), key=key)


@router.post("/requests", response_model=api.RequestOut | api.WouldBe, status_code=202)
def enqueue(asked: In, body: api.NewRequest, key: Key = None) -> Response:
    """Queue a request of a job."""
    return asked.write(lambda connection, call: requests.create(connection, call, body), key=key)


@router.get("/requests", response_model=api.Page)
def list_requests(
    asked: In,
    job: Text = None,
    status: api.StatusWord | None = None,
    state: RequestStatus | None = None,
    cause: Cause | None = None,
    priority: api.PriorityWord | None = None,
    tenant: Text = None,
    entity_key: Text = None,
    requested_by: Text = None,
    created_after: api.Moment | None = None,
    created_before: api.Moment | None = None,
    acknowledged: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
) -> Response:
    """Requests in the caller's scope, the newest first."""
    states = (state,) if state else requests.STATUSES[status] if status else None
    where = Filter(
        job=None if job is None else requests.job_named(job).name, statuses=states, cause=cause,
        priority=None if priority is None else requests.priority_of(priority, requests.HIGHEST_OF_SERVICES),
        tenant=tenant, entity_key=entity_key, requested_by=requested_by, created_after=created_after,
        created_before=created_before, acknowledged=acknowledged,
    )  # fmt: skip
    return asked.read(
        lambda connection, call: requests.list_requests(connection, call, where, limit=limit, cursor=cursor)
    )


@router.get("/requests/{request_id}", response_model=api.RequestOut)
def get_job_status(asked: In, request_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
    """One request: `scheduler.getJobStatus`."""
    return asked.read(lambda connection, call: requests.read(connection, call, request_id), if_none_match=if_none_match)


@router.get("/requests/{request_id}/attempts", response_model=api.Attempts)
def list_attempts(asked: In, request_id: UUID) -> Response:
    """Every attempt of a request."""
    return asked.read(lambda connection, call: requests.attempts(connection, call, request_id))


@router.get("/requests/{request_id}/events", response_class=Response, responses={
    200: {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
})  # fmt: skip
async def watch_request(
    request: Request, asked: In, request_id: UUID, timeout_s: Annotated[float, Query(ge=1, le=300)] = 60
) -> Response:
    """Stream the request at each change, until it ends or after `timeout_s`."""
    return await events(request.app.state.watcher, asked.call, request_id, timeout_s=timeout_s)


@router.patch("/requests/{request_id}", response_model=api.RequestOut)
def change_request(asked: In, request_id: UUID, body: api.RequestChange, if_match: IfMatch = None) -> Response:
    """Change the priority or time of a pending request."""
    return asked.change(lambda connection, call: requests.change(connection, call, request_id, body, if_match))


def _act(asked: Asked, request_id: UUID, action: Action, key: str | None) -> Response:
    return asked.write(lambda connection, call: requests.act(connection, call, request_id, action), key=key)


@router.post("/requests/{request_id}/cancel", response_model=api.RequestOut, status_code=202)
def cancel_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Cancel a pending request, or ask a running one to stop."""
    return _act(asked, request_id, Action.CANCEL, key)


@router.post("/requests/{request_id}/retry", response_model=api.RequestOut)
def retry_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Queue a dead request again."""
    return _act(asked, request_id, Action.RETRY, key)


@router.post("/requests/{request_id}/acknowledge", response_model=api.RequestOut)
def acknowledge_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Mark a dead request as seen."""
    return _act(asked, request_id, Action.ACKNOWLEDGE, key)


@router.post("/requests/{request_id}/expire", response_model=api.RequestOut)
def expire_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Give up a dead request for good."""
    return _act(asked, request_id, Action.EXPIRE, key)


@router.post("/bulk-actions", response_model=api.BulkOut)
def bulk_action(asked: In, body: api.BulkAction, key: Key = None) -> Response:
    """Replay, acknowledge or expire many dead requests; a dry run counts them."""
    return asked.write(lambda connection, call: requests.bulk(connection, call, body), key=key)


@router.get("/topics", response_model=api.Topics)
def list_topics(asked: In) -> Response:
    """The topics of events, with the jobs that each starts."""
    return asked.read(lambda _, call: topics.list_topics(call))


@router.post("/events", response_model=api.Published, status_code=202)
def publish_event(asked: In, body: api.CloudEvent) -> Response:
    """Publish an event, which starts the jobs of its topic, once for each source and id."""
    return asked.change(lambda connection, call: topics.receive(connection, call, body))


@router.get("/schedules", response_model=api.Schedules)
def list_schedules(asked: In) -> Response:
    """The price list."""
    return asked.read(schedules.list_rows)


@router.get("/schedules/{job}/{tier}", response_model=api.ScheduleOut)
def get_schedule(asked: In, job: Name, tier: Tier) -> Response:
    """One row of the price list."""
    return asked.read(lambda connection, call: schedules.read(connection, call, job, tier))


@router.get("/schedules/{job}/{tier}/history", response_model=api.ScheduleHistory)
def list_schedule_versions(
    asked: In, job: Name, tier: Tier, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Response:  # fmt: skip
    """The versions of a row, the newest first, with their authors."""
    return asked.read(lambda connection, call: schedules.history(connection, call, job, tier, limit=limit))


@router.patch("/schedules/{job}/{tier}", response_model=api.ScheduleOut)
def change_schedule(asked: In, job: Name, tier: Tier, body: api.ScheduleChange, if_match: IfMatch = None) -> Response:
    """Change a row of the price list."""
    return asked.change(lambda connection, call: schedules.change(connection, call, (job, tier), body, if_match))


@router.post("/schedules/{job}/{tier}/pause", response_model=api.ScheduleOut)
def pause_schedule(asked: In, job: Name, tier: Tier, body: api.Pause, key: Key = None) -> Response:
    """Pause a row."""
    return asked.write(lambda connection, call: schedules.pause(connection, call, (job, tier), body), key=key)


@router.post("/schedules/{job}/{tier}/resume", response_model=api.ScheduleOut)
def resume_schedule(asked: In, job: Name, tier: Tier, body: api.Note, key: Key = None) -> Response:
    """Resume a paused row."""
    return asked.write(lambda connection, call: schedules.resume(connection, call, (job, tier)), key=key)


@router.post("/schedules/{job}/{tier}/diff", response_model=api.DiffOut)
def diff_schedule(asked: In, job: Name, tier: Tier, body: api.ScheduleDiff) -> Response:
    """The effect of a change on a row's runs, or without changes its next runs. Nothing is written."""
    return asked.change(lambda connection, call: schedules.diff(connection, call, (job, tier), body))


@router.post(
    "/change-sets", response_model=api.ChangeSetOut, status_code=202, responses={200: {"model": api.ChangeSetOut}}
)
def propose_change(asked: In, body: api.Proposal, key: Key = None) -> Response:
    """Propose a change of the price list, or of an agent's own grant, for a person to decide."""
    return asked.write(lambda connection, call: schedules.propose(connection, call, body), key=key)


@router.get("/change-sets", response_model=api.ChangeSets)
def list_change_sets(asked: In) -> Response:
    """Proposals, the newest first; an agent sees only its own."""
    return asked.read(schedules.list_changes)


@router.get("/change-sets/{change_id}", response_model=api.ChangeSetOut)
def get_change_set(asked: In, change_id: UUID) -> Response:
    """One proposal."""
    return asked.read(lambda connection, call: schedules.read_change(connection, call, change_id))


@router.post("/change-sets/{change_id}/approve", response_model=api.ChangeSetOut)
def approve_change_set(asked: In, change_id: UUID, body: api.Approval, key: Key = None) -> Response:
    """Approve a proposal by its digest. It is applied at once, or is `conflicted` if its base has changed."""
    return asked.write(lambda connection, call: schedules.approve(connection, call, change_id, body), key=key)


@router.post("/change-sets/{change_id}/reject", response_model=api.ChangeSetOut)
def reject_change_set(asked: In, change_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Reject a proposal."""
    return asked.write(lambda connection, call: schedules.reject(connection, call, change_id), key=key)


@router.post("/change-sets/{change_id}/withdraw", response_model=api.ChangeSetOut)
def withdraw_change_set(asked: In, change_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Withdraw one's own proposal."""
    return asked.write(lambda connection, call: schedules.withdraw(connection, call, change_id), key=key)


@router.get("/audit", response_model=api.AuditPage)
def read_audit(
    asked: In,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Entries of the audit log, the newest first. An admin sees all, others see their own."""
    return asked.read(lambda connection, call: schedules.audit(connection, call, before=before, limit=limit))


@router.post("/workflows", response_model=api.WorkflowProposed, status_code=202)
def propose_workflow(asked: In, body: api.NewWorkflow, key: Key = None) -> Response:
    """Propose a version of one's own workflow. It can be executed after a person has approved it."""
    return asked.write(lambda connection, call: workflows.propose(connection, call, body), key=key)


@router.get("/workflows", response_model=api.Workflows)
def list_workflows(asked: In) -> Response:
    """Workflows, the newest first; an agent sees only its own."""
    return asked.read(workflows.list_workflows)


@router.get("/workflows/{workflow_id}", response_model=api.WorkflowOut)
def get_workflow(asked: In, workflow_id: UUID) -> Response:
    """One version of a workflow, with its steps."""
    return asked.read(lambda connection, call: workflows.read(connection, call, workflow_id))


@router.post("/workflows/{workflow_id}/executions", response_model=api.ExecutionOut, status_code=202)
def execute_workflow(asked: In, workflow_id: UUID, body: api.NewExecution, key: Key = None) -> Response:
    """Execute an approved workflow: `agent.schedule.triggered`."""
    return asked.write(lambda connection, call: workflows.execute(connection, call, workflow_id, body), key=key)


@router.get("/executions/{execution_id}", response_model=api.ExecutionOut)
def get_execution(asked: In, execution_id: UUID) -> Response:
    """The progress of an execution, step by step."""
    return asked.read(lambda connection, call: workflows.read_execution(connection, call, execution_id))
