"""/api/jobs as a FastAPI application: each route reads its input, and calls one operation in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kordant_jobs.api import requests, schedules
from kordant_jobs.api import schemas as api
from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.gate import Gate, Quotas, Tokens
from kordant_jobs.api.problems import MEDIA_TYPE, STATUS, Problem
from kordant_jobs.api.watch import Hub, events
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.engine import Cause, Filter, RequestStatus
from kordant_jobs.pages.limits import OneLineErrors
from kordant_jobs.redaction import redact
from kordant_jobs.store.access import replies
from kordant_jobs.store.people.keyring import Keyring

log = logging.getLogger(__name__)

PREFIX = "/api/jobs"
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
    }
    for status in sorted({status for code, status in STATUS.items() if code != "internal"})
}
OF_STATUS = {status: code for code, status in STATUS.items()} | {404: "not_found", 400: "malformed_json"}


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What the application works on."""

    db: Engine
    keyring: Keyring
    ui_url: str | None = None
    quotas: Quotas | None = None


Work = Callable[[Connection, Call], Answer]


class Asked:
    """One call that was let in. `read` and `write` run its operation in a transaction."""

    def __init__(self, backend: Backend, call: Call, operation: str, body: bytes) -> None:
        self._backend, self.call, self._operation, self._body = backend, call, operation, body

    def read(self, work: Work, *, if_none_match: str | None = None) -> Response:
        """Answer with what `work` reads."""
        with self._transaction() as connection:
            answer = work(connection, self.call)
        if if_none_match is not None and answer.headers.get("ETag") == if_none_match:
            return Response(status_code=304, headers=answer.headers)
        return _response(answer)

    def write(self, work: Work, *, key: str | None) -> Response:
        """Do `work` once for its Idempotency-Key: the second time the first answer comes again."""
        if not key:
            raise Problem("key_missing", "send an Idempotency-Key header: a new one for each thing that you want done.")
        meant = replies.Key(principal_id=self.call.principal.id, operation=self._operation, key=key, body=self._body)
        with self._transaction() as connection:
            known = replies.claim(connection, meant, now=self.call.now)
            if known is None:
                answer = work(connection, self.call)
                replies.finish(connection, meant, answer.status, jsonable_encoder(answer.body))
                return _response(answer)
        if not known.same_body:
            raise Problem("key_reused", "this Idempotency-Key came with another body: use a new one.")
        return JSONResponse(known.body, known.status, {"Idempotency-Replayed": "true"})

    def change(self, work: Work) -> Response:
        """Do `work`, which an ETag makes safe to repeat."""
        with self._transaction() as connection:
            return _response(work(connection, self.call))

    def _transaction(self) -> _Transaction:
        return _Transaction(self._backend.db, self.call, self._operation)


class _Transaction:
    """A transaction; a denial in it rolls it back and is written to the audit log in one of its own."""

    def __init__(self, db: Engine, call: Call, operation: str) -> None:
        self._db, self._call, self._operation = db, call, operation
        self._begun = db.begin()

    def __enter__(self) -> Connection:
        return self._begun.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._begun.__exit__(kind, error, trace)
        if isinstance(error, Problem) and "rule" in error.more:
            with self._db.begin() as connection:
                self._call.record_denial(connection, self._operation, error.more["rule"])


def _response(answer: Answer) -> Response:
    return JSONResponse(jsonable_encoder(answer.body), answer.status, answer.headers)


async def _asked(request: Request) -> Asked:
    """Let a call in: its token is verified and its quota counted."""
    backend: Backend = request.app.state.backend
    principal = await request.app.state.tokens.principal(request.headers.get("authorization"))
    request.state.quota = request.app.state.quotas.take(principal, request.method)
    source = "mcp" if request.scope.get("kordant_source") == "mcp" else "api"
    call = Call(
        principal=principal, keyring=backend.keyring, now=datetime.now(UTC), source=source, ui_url=backend.ui_url
    )
    return Asked(backend, call, f"{request.method} {request.url.path}"[:300], await request.body())


In = Annotated[Asked, Depends(_asked)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[!-~ ]+$")]
IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=200)]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", max_length=200)]
Name = Annotated[str, Path(max_length=100, pattern=r"^[a-z_.]+$")]
Tier = Annotated[Literal["basic", "plus", "premium", "all"], Path()]
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
Cursor = Annotated[str | None, Query(max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]

router = APIRouter(prefix=PREFIX, responses=DOCUMENTED)


@router.get("/me", response_model=api.Me)
def get_me(asked: In) -> Response:
    """Who asks, with which scopes and grants."""
    return asked.read(schedules.me)


@router.get("/definitions", response_model=api.Definitions)
def list_definitions(asked: In) -> Response:
    """The jobs that there are, with the schema of each one's payload."""
    return asked.read(lambda _, call: requests.definitions(call))


@router.post("/definitions/{job}/run", response_model=api.RequestOut | api.WouldBe, status_code=202)
def run_job_now(asked: In, job: Name, body: api.RunNow, key: Key = None) -> Response:
    """Start a job now: `scheduler.runJobNow`. It takes no schedule's place."""
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
    """The request, again at each change, until it ends or the time is over."""
    return await events(request.app.state.hub, asked.call, request_id, timeout_s=timeout_s)


@router.patch("/requests/{request_id}", response_model=api.RequestOut)
def change_request(asked: In, request_id: UUID, body: api.RequestChange, if_match: IfMatch = None) -> Response:
    """Give a waiting request another priority or time."""
    return asked.change(lambda connection, call: requests.change(connection, call, request_id, body, if_match))


def _act(asked: Asked, request_id: UUID, action: Action, key: str | None) -> Response:
    return asked.write(lambda connection, call: requests.act(connection, call, request_id, action), key=key)


@router.post("/requests/{request_id}/cancel", response_model=api.RequestOut, status_code=202)
def cancel_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Cancel what waits; ask what runs to stop."""
    return _act(asked, request_id, Action.CANCEL, key)


@router.post("/requests/{request_id}/retry", response_model=api.RequestOut)
def retry_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Queue a dead request again."""
    return _act(asked, request_id, Action.RETRY, key)


@router.post("/requests/{request_id}/acknowledge", response_model=api.RequestOut)
def acknowledge_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Say that a dead request was seen."""
    return _act(asked, request_id, Action.ACKNOWLEDGE, key)


@router.post("/requests/{request_id}/expire", response_model=api.RequestOut)
def expire_request(asked: In, request_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Give a dead request up for good."""
    return _act(asked, request_id, Action.EXPIRE, key)


@router.post("/bulk-actions", response_model=api.BulkOut)
def bulk_action(asked: In, body: api.BulkAction, key: Key = None) -> Response:
    """Replay, acknowledge or expire many dead requests; a dry run counts them."""
    return asked.write(lambda connection, call: requests.bulk(connection, call, body), key=key)


@router.get("/schedules", response_model=api.Schedules)
def list_schedules(asked: In) -> Response:
    """The price list."""
    return asked.read(schedules.list_rows)


@router.get("/schedules/{job}/{tier}", response_model=api.ScheduleOut)
def get_schedule(asked: In, job: Name, tier: Tier) -> Response:
    """One row of the price list."""
    return asked.read(lambda connection, call: schedules.read(connection, call, job, tier))


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
    """Have a paused row go on."""
    return asked.write(lambda connection, call: schedules.resume(connection, call, (job, tier)), key=key)


@router.post("/schedules/{job}/{tier}/diff", response_model=api.DiffOut)
def diff_schedule(asked: In, job: Name, tier: Tier, body: api.ScheduleDiff) -> Response:
    """What a change would do; with no changes, what the row will start. Nothing is written."""
    return asked.change(lambda connection, call: schedules.diff(connection, call, (job, tier), body))


@router.post(
    "/change-sets", response_model=api.ChangeSetOut, status_code=202, responses={200: {"model": api.ChangeSetOut}}
)
def propose_change(asked: In, body: api.Proposal, key: Key = None) -> Response:
    """Propose a change of the price list, for a person to decide."""
    return asked.write(lambda connection, call: schedules.propose(connection, call, body), key=key)


@router.get("/change-sets", response_model=api.ChangeSets)
def list_change_sets(asked: In) -> Response:
    """Proposals; an agent's own."""
    return asked.read(schedules.list_changes)


@router.get("/change-sets/{change_id}", response_model=api.ChangeSetOut)
def get_change_set(asked: In, change_id: UUID) -> Response:
    """One proposal."""
    return asked.read(lambda connection, call: schedules.read_change(connection, call, change_id))


@router.post("/change-sets/{change_id}/approve", response_model=api.ChangeSetOut)
def approve_change_set(asked: In, change_id: UUID, body: api.Approval, key: Key = None) -> Response:
    """Approve a proposal by its digest; it is applied at once, or `conflicted` when its base has changed."""
    return asked.write(lambda connection, call: schedules.approve(connection, call, change_id, body), key=key)


@router.post("/change-sets/{change_id}/reject", response_model=api.ChangeSetOut)
def reject_change_set(asked: In, change_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Reject a proposal."""
    return asked.write(lambda connection, call: schedules.reject(connection, call, change_id), key=key)


@router.post("/change-sets/{change_id}/withdraw", response_model=api.ChangeSetOut)
def withdraw_change_set(asked: In, change_id: UUID, body: api.Note, key: Key = None) -> Response:
    """Take a proposal of one's own back."""
    return asked.write(lambda connection, call: schedules.withdraw(connection, call, change_id), key=key)


@router.get("/audit", response_model=api.AuditPage)
def read_audit(
    asked: In,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Entries of the audit log, the newest first: all for an admin, one's own for others."""
    return asked.read(lambda connection, call: schedules.audit(connection, call, before=before, limit=limit))


def _invalid(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return Problem("malformed_json", "the body is no JSON.")
    is_cursor = any(tuple(one["loc"]) == ("query", "cursor") for one in found)
    errors = [
        {
            "pointer": "/" + "/".join(map(str, one["loc"][1:])),
            "in": str(one["loc"][0]),
            "detail": redact(str(one["msg"])),
        }
        for one in found[:20]
    ]
    if is_cursor:
        return Problem("bad_cursor", "this is no cursor of ours: begin without one.", errors=errors)
    return Problem("invalid", "what was sent is not what this takes.", errors=errors)


async def _on_problem(_: Request, error: Any) -> Response:
    answer: Response = error.response()
    return answer


async def _on_invalid(_: Request, error: Any) -> Response:
    return _invalid(error).response()


async def _on_http(_: Request, error: Any) -> Response:
    code = OF_STATUS.get(error.status_code, "invalid")
    detail = "there is nothing here." if code == "not_found" else "this cannot be read or is not offered here."
    return Problem(code, detail, headers=error.headers).response()


async def _on_database(_: Request, error: Any) -> Response:
    log.warning("the database refused: %s", type(error).__name__)
    detail = "the database is away: the same call may work in a few seconds."
    return Problem("database_unavailable", detail, headers={"Retry-After": "5"}).response()


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI file, with the form of problems and of tokens."""
        if self.openapi_schema is None:
            schema = super().openapi()
            schema["components"]["schemas"]["ProblemOut"] = api.ProblemOut.model_json_schema()
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            self.openapi_schema = schema
        return self.openapi_schema


def application(
    backend: Backend, *, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None
) -> FastAPI:
    """The application on this database."""
    app = _Api(title="Kordant jobs", version="1", docs_url=None, redoc_url=None,
                  openapi_url=f"{PREFIX}/openapi.json", lifespan=lifespan)  # fmt: skip
    app.state.backend = backend
    app.state.tokens = Tokens(backend.db, backend.keyring)
    app.state.quotas = backend.quotas or Quotas()
    app.state.hub = Hub(backend.db)
    app.include_router(router)
    app.add_api_route("/livez", lambda: {"alive": True}, methods=["GET"], include_in_schema=False)

    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(OperationalError, _on_database)
    app.add_middleware(OneLineErrors)
    app.add_middleware(Gate)
    return app
