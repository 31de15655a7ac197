"""Requests and answers of the API."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from kordant_jobs.domain.access.change_sets import ChangeKind
from kordant_jobs.domain.access.subscriber_tokens import LONGEST_S
from kordant_jobs.domain.access.workflows import ExecutionStatus, StepStatus, WorkflowDefinition, WorkflowState
from kordant_jobs.engine import Cause, RequestStatus
from kordant_jobs.redaction import storable

PriorityWord = Literal["critical", "high", "normal", "low"]
StatusWord = Literal["pending", "running", "completed", "failed", "cancelled"]


DEEPEST = 20
"""Levels of a value that is sent: no payload has more than a few."""


def _kept(value: Any) -> Any:
    """`value`, if Postgres keeps every text in it."""
    level, depth = [value], 0
    while level:
        if (depth := depth + 1) > DEEPEST:
            raise ValueError(f"a value is nested deeper than {DEEPEST} levels")
        below: list[Any] = []
        for one in level:
            if isinstance(one, str) and storable(one) != one:
                raise ValueError("a text holds a NUL or half a character, which no database keeps")
            if isinstance(one, dict):
                below += [*one, *one.values()]
            elif isinstance(one, list | tuple):
                below += one
        level = below
    return value


Id = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_kept)]
Words = Annotated[str, Field(max_length=500), AfterValidator(_kept)]
Values = Annotated[dict[str, Any], AfterValidator(_kept)]
Moment = Annotated[AwareDatetime, Field(ge=datetime.fromisoformat("2000-01-01T00:00:00+00:00"),
                                        lt=datetime.fromisoformat("2200-01-01T00:00:00+00:00"))]  # fmt: skip


class Body(BaseModel):
    """Root of bodies: unknown fields are refused, and no error repeats a value."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class Dedupe(Body):
    """A key of the queue: within the window, one request of a caller and tenant."""

    key: Id
    window_s: int = Field(86_400, ge=1, le=604_800)


class RunNow(Body):
    """A request of the job that the path names."""

    payload: Values = Field(default_factory=dict)
    priority: PriorityWord | None = None
    run_at: Moment | None = None
    tenant: Id | None = None
    entity_key: Id | None = None
    dedupe: Dedupe | None = None
    dry_run: bool = False


class NewRequest(RunNow):
    """A request of a job, by its name or alias."""

    job: Id


class Note(Body):
    """Why."""

    note: Words = ""


class RequestChange(Body):
    """Another priority or time for a request that waits."""

    priority: PriorityWord | None = None
    run_at: Moment | None = None


class BulkFilter(Body):
    """The dead requests that are meant. At least one field."""

    job: Id | None = None
    tenant: Id | None = None
    cause: Cause | None = None
    ended_before: Moment | None = None
    ended_after: Moment | None = None
    acknowledged: bool | None = None


class BulkAction(Body):
    """An action on many dead requests: by ids, or by a filter that is not empty."""

    action: Literal["replay", "acknowledge", "expire"]
    ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)] | None = None
    filter: BulkFilter | None = None
    expected_count: int | None = Field(None, ge=0, description="What the dry run counted; needed with a filter.")
    dry_run: bool = False


class ScheduleChange(Body):
    """New values of a row of the price list."""

    changes: Annotated[Values, Field(min_length=1, max_length=20)]
    note: Words = ""


class Pause(Body):
    """Why a row pauses, and until when."""

    reason: Annotated[Words, Field(min_length=1)]
    until: Moment | None = None


class ScheduleDiff(Body):
    """Changes to try."""

    changes: Annotated[Values, Field(max_length=20)] = Field(default_factory=dict)
    days: int = Field(7, ge=1, le=31)


class Proposal(Body):
    """A change of a row of the price list, for a person to decide; of an agent also its first request of a job, without
    `changes`, or other bounds of its grant (`GrantChange`)."""

    kind: Literal["schedule_change", "first_trigger", "grant_change"] = "schedule_change"
    job: Id
    tier: Literal["basic", "plus", "premium", "all"] = "all"
    changes: Annotated[Values, Field(max_length=20)] = Field(default_factory=dict)
    dry_run: bool = False

    @model_validator(mode="after")
    def _names_changes(self) -> Self:
        if bool(self.changes) == (self.kind == "first_trigger"):
            raise ValueError("give changes, but none of a first_trigger")
        return self


class GrantChange(Body):
    """Bounds of a grant that change. None: not bounded by that."""

    max_priority: PriorityWord = "normal"
    requests_per_hour: Annotated[int, Field(ge=1, le=100_000)] = 60
    requests_per_day: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    concurrent: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cpu_s_per_day: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    expires_at: Moment | None = None


class Approval(Body):
    """The digest of what was read: an approval is of that and of nothing else."""

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CloudEvent(Body):
    """An event, as CloudEvents 1.0 writes it in JSON. `type` is its topic, `subject` the entity that it is about."""

    specversion: Literal["1.0"]
    id: Id
    source: Id
    type: Annotated[str, Field(pattern="^[a-z][a-z_.]{0,99}$")]
    data: Values
    subject: Id | None = None
    tenant: Id | None = None
    time: Moment | None = None
    datacontenttype: Literal["application/json"] | None = None


class Published(BaseModel):
    """The result of an event: requests, or the execution of a workflow."""

    event: str
    topic: str
    requests: list[UUID]
    execution: UUID | None


class TopicOut(BaseModel):
    """A topic: what its events carry and start, and whether the caller may publish them."""

    topic: str
    purpose: str
    starts: list[str]
    may_publish: bool
    data_schema: dict[str, Any]


class Topics(BaseModel):
    """The topics."""

    items: list[TopicOut]


class Progress(BaseModel):
    """The progress of a request."""

    done: int
    total: int
    percent: float | None


class Run(BaseModel):
    """The Dagster run of the last attempt."""

    run_id: str
    root_run_id: str | None
    url: str | None


class ResultError(BaseModel):
    """Why the last attempt failed: a word, and one line that others wrote."""

    cause: Cause
    untrusted_text: str


class Result(BaseModel):
    """The result of a request."""

    status: Literal["success", "partial", "failure"]
    output: dict[str, Any] | None
    items_failed: int
    duration_ms: int | None
    error: ResultError | None


class RequestOut(BaseModel):
    """A request as it stands."""

    id: UUID
    job: str
    alias: str
    status: StatusWord
    state: RequestStatus
    priority: PriorityWord
    attempt: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: Progress
    result: Result | None
    tenant: str | None
    entity_key: str | None
    requested_by: str
    run: Run | None
    cancel_requested_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


class Page(BaseModel):
    """Requests, the newest first, and where to go on."""

    items: list[RequestOut]
    next_cursor: str | None


class Attempt(BaseModel):
    """One attempt of a request."""

    attempt: int
    run_id: str | None
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    cause: str | None


class Attempts(BaseModel):
    """Every attempt of a request."""

    items: list[Attempt]


class WouldBe(BaseModel):
    """The result of a dry run."""

    would: Literal["allow"]
    job: str
    priority: PriorityWord
    budget_left: int | None


class BulkOut(BaseModel):
    """The result of a bulk action, or of its dry run."""

    action: str
    dry_run: bool
    matched: int
    done: int
    samples: list[UUID]


class Definition(BaseModel):
    """A job."""

    job: str
    alias: str
    purpose: str
    started_by: str
    priority: PriorityWord
    timeout_ms: int
    sla_ms: int | None
    max_retries: int
    retry_backoff: str
    concurrency: int
    critical: bool
    payload_schema: dict[str, Any]


class Definitions(BaseModel):
    """The catalogue."""

    items: list[Definition]


class ScheduleOut(BaseModel):
    """A row of the price list."""

    job: str
    tier: str
    name: str
    version: int
    values: dict[str, Any]
    paused: str | None
    changed_at: datetime
    changed_by: str


class Schedules(BaseModel):
    """The price list."""

    items: list[ScheduleOut]


class ScheduleVersion(BaseModel):
    """The row from a moment on; without values it was deleted then."""

    version: int
    changed_at: datetime
    changed_by: str
    note: str | None
    values: dict[str, Any] | None


class ScheduleHistory(BaseModel):
    """Versions of a row, the newest first."""

    items: list[ScheduleVersion]


class Planned(BaseModel):
    """One start that is to come."""

    name: str
    job: str
    starts_at: datetime


class DiffOut(BaseModel):
    """The effect of a change. Nothing was written."""

    schedule: str
    changed: dict[str, list[Any]]
    runs_before: int
    runs_after: int
    next_after: list[Planned]


class ChangeSetOut(BaseModel):
    """A proposal as it stands. Of a workflow `tier` is its id; of a gate, the execution's; of a grant, the agent's."""

    id: UUID
    kind: ChangeKind
    job: str
    tier: str
    base_version: int
    changes: dict[str, Any]
    digest: str
    state: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None


class ChangeSets(BaseModel):
    """Proposals, the newest first."""

    items: list[ChangeSetOut]


class Budget(BaseModel):
    """The jobs that an agent may start."""

    job: str
    max_priority: PriorityWord
    requests_per_hour: int
    requests_per_day: int | None = None
    concurrent: int | None = None
    cpu_s_per_day: int | None = None
    expires_at: datetime | None = None
    ask_first: bool = False
    """True when a person has to approve the first request: propose a first_trigger."""


class Me(BaseModel):
    """The caller."""

    id: str
    role: str
    scopes: list[str]
    tenants: list[str] | None
    entities: list[str] | None
    budgets: list[Budget]


class SubscriberTokenWanted(Body):
    """A token for a subscriber, for so many seconds."""

    subscriber_id: UUID
    ttl_s: int = Field(LONGEST_S, ge=60, le=LONGEST_S)


class SubscriberTokenOut(BaseModel):
    """A subscriber's token. It is kept nowhere."""

    token: str
    expires_at: AwareDatetime


class SourceVerdict(BaseModel):
    """The last verdict of one source on a subscription. `reason`: why it is unknown."""

    source: str
    verdict: str
    reason: str | None
    checked_on: date
    exposures: int


class OwnSubscription(BaseModel):
    """A subscription of the caller's, with its signed receipts, the newest last."""

    subscription_id: UUID
    tier: str
    status: str
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    verdicts: list[SourceVerdict]
    receipts: list[str]


class Protection(BaseModel):
    """The caller's subscriptions."""

    items: list[OwnSubscription]


class AuditEntry(BaseModel):
    """One entry of the audit log."""

    seq: int
    entry: dict[str, Any]


class AuditPage(BaseModel):
    """Entries, the newest first."""

    items: list[AuditEntry]
    next_before: int | None


class ProblemOut(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str


class NewWorkflow(Body):
    """A version of a workflow of the caller's."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
    definition: WorkflowDefinition


class NewExecution(Body):
    """With what a workflow is carried out, and for whom."""

    inputs: Values = Field(default_factory=dict)
    tenant: Id | None = None
    entity_key: Id | None = None


class WorkflowOut(BaseModel):
    """One version of a workflow."""

    id: UUID
    agent_id: str
    name: str
    version: int
    definition: dict[str, Any]
    digest: str
    state: WorkflowState
    change_id: UUID


class WorkflowProposed(BaseModel):
    """A proposed version, and what a person decides."""

    workflow: WorkflowOut
    change_set: ChangeSetOut


class Workflows(BaseModel):
    """Workflows, the newest first."""

    items: list[WorkflowOut]


class StepOut(BaseModel):
    """A step that an execution came to."""

    place: int
    name: str
    status: StepStatus
    output: dict[str, Any]
    request_id: UUID | None
    change_id: UUID | None
    rule: str | None
    started_at: datetime
    ended_at: datetime | None


class ExecutionOut(BaseModel):
    """An execution, step by step."""

    id: UUID
    workflow_id: UUID
    agent_id: str
    started_by: str
    tenant: str | None
    entity_key: str | None
    status: ExecutionStatus
    reason: str | None
    started_at: datetime
    ended_at: datetime | None
    steps: list[StepOut]
