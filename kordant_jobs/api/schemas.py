"""The bodies of the API's requests and responses."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from kordant_jobs.domain.access.change_sets import ChangeKind
from kordant_jobs.domain.access.subscriber_tokens import LONGEST_S
from kordant_jobs.domain.access.workflows import ExecutionStatus, StepStatus, WorkflowDefinition, WorkflowState
from kordant_jobs.engine.control import Cause, RequestStatus
from kordant_jobs.redaction import storable

PriorityWord = Literal["critical", "high", "normal", "low"]
StatusWord = Literal["pending", "running", "completed", "failed", "cancelled"]


DEEPEST = 20
"""The most levels of nesting in a value that is sent; payloads have only a few."""


def _kept(value: Any) -> Any:
    """`value`, if Postgres can store every text in it.

    Raises:
        ValueError: a text cannot be stored, or the value is nested too deep.
    """
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
    """Base of request bodies: unknown fields are refused, and no error repeats a value."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class Dedupe(Body):
    """A key of the queue: within the window a caller and tenant get one request for it."""

    key: Id
    window_s: int = Field(86_400, ge=1, le=604_800)


class RunNow(Body):
    """A new request of the job in the path."""

    payload: Values = Field(default_factory=dict)
    priority: PriorityWord | None = None
    run_at: Moment | None = None
    tenant: Id | None = None
    entity_key: Id | None = None
    dedupe: Dedupe | None = None
    dry_run: bool = False


class NewRequest(RunNow):
    """A new request of a job, given by name or alias."""

    job: Id


class Note(Body):
    """A reason, which may be empty."""

    note: Words = ""


class RequestChange(Body):
    """The new priority or time of a pending request."""

    priority: PriorityWord | None = None
    run_at: Moment | None = None


class BulkFilter(Body):
    """The dead requests to act on, by at least one field."""

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
    """The reason for a pause, and its end; no end: until it is resumed."""

    reason: Annotated[Words, Field(min_length=1)]
    until: Moment | None = None


class ScheduleDiff(Body):
    """Changes to simulate, and the number of days."""

    changes: Annotated[Values, Field(max_length=20)] = Field(default_factory=dict)
    days: int = Field(7, ge=1, le=31)


class Proposal(Body):
    """A proposed change of a row of the price list, for a person to decide. An agent can also propose its first request
    of a job (without `changes`) or other limits of its grant (`GrantChange`)."""

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
    """Changed limits of a grant. None: no limit."""

    max_priority: PriorityWord = "normal"
    requests_per_hour: Annotated[int, Field(ge=1, le=100_000)] = 60
    requests_per_day: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    concurrent: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cpu_s_per_day: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    expires_at: Moment | None = None


class Approval(Body):
    """The digest of the proposal that the person read: only that content is approved."""

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CloudEvent(Body):
    """An event in the JSON format of CloudEvents 1.0. `type` is its topic, `subject` the entity that it is about."""

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
    """The result of an event: the requests, or the execution of a workflow, that it started."""

    event: str
    topic: str
    requests: list[UUID]
    execution: UUID | None


class TopicOut(BaseModel):
    """A topic: the data of its events, the jobs that they start, and whether the caller may publish them."""

    topic: str
    purpose: str
    starts: list[str]
    may_publish: bool
    data_schema: dict[str, Any]


class Topics(BaseModel):
    """All topics."""

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
    """The cause of the last failure, and one line of text of outside origin."""

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
    """The current state of a request."""

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
    """A page of requests, the newest first. `next_cursor`: of the next page; None: this is the last."""

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
    """A job of the catalogue."""

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
    """All jobs of the catalogue."""

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
    """All rows of the price list."""

    items: list[ScheduleOut]


class ScheduleVersion(BaseModel):
    """One version of a row, valid from `changed_at`. When `values` is empty, the row was deleted."""

    version: int
    changed_at: datetime
    changed_by: str
    note: str | None
    values: dict[str, Any] | None


class ScheduleHistory(BaseModel):
    """Versions of a row, the newest first."""

    items: list[ScheduleVersion]


class Planned(BaseModel):
    """One future run."""

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
    """The current state of a proposal. `tier` is an id for other kinds: of the workflow, of the execution (for a gate),
    or of the agent (for a grant)."""

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
    """The grant of an agent for one job, with its limits. None: no limit."""

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
    """The caller: role, scopes, and an agent's grants."""

    id: str
    role: str
    scopes: list[str]
    tenants: list[str] | None
    entities: list[str] | None
    budgets: list[Budget]


class SubscriberTokenWanted(Body):
    """The wish for a token of a subscriber that is valid for `ttl_s` seconds."""

    subscriber_id: UUID
    ttl_s: int = Field(LONGEST_S, ge=60, le=LONGEST_S)


class SubscriberTokenOut(BaseModel):
    """A subscriber's token. It is not stored on the server."""

    token: str
    expires_at: AwareDatetime


class SourceVerdict(BaseModel):
    """The last verdict of one source on a subscription. `reason`: why the verdict is unknown."""

    source: str
    verdict: str
    reason: str | None
    checked_on: date
    exposures: int


class OwnSubscription(BaseModel):
    """One of the caller's subscriptions, with its signed receipts, the newest last."""

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
    """Entries of the audit log, the newest first. `next_before`: where the next page begins; None: this is the last."""

    items: list[AuditEntry]
    next_before: int | None


class ProblemOut(BaseModel):
    """A problem (RFC 9457): an error response."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str


class NewWorkflow(Body):
    """A new version of one of the caller's workflows."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
    definition: WorkflowDefinition


class NewExecution(Body):
    """The inputs of an execution, and the tenant and entity that it is for."""

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
    """A proposed version of a workflow, and the change set that a person decides on."""

    workflow: WorkflowOut
    change_set: ChangeSetOut


class Workflows(BaseModel):
    """Workflows, the newest first."""

    items: list[WorkflowOut]


class StepOut(BaseModel):
    """A step that an execution has reached."""

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
    """An execution with its steps."""

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
