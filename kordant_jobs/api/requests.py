"""Operations on requests, one function for each. The HTTP routes, the console and the agents' tools all use them."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection

from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.problems import Problem, denied, invalid, not_found
from kordant_jobs.api.schemas import BulkAction, NewRequest, RequestChange
from kordant_jobs.catalog import BY_NAME, SYSTEM_CRITICAL, enqueue, reach_of
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.engine import JobRow, Payload, Priority
from kordant_jobs.engine.control import Filter, Request, RequestStatus, operate
from kordant_jobs.errors import PermanentError
from kordant_jobs.redaction import redact
from kordant_jobs.store.access.bounds import FIRST_TRIGGER, bound_of

OPEN = (RequestStatus.PENDING, RequestStatus.RUNNING)
STATUSES: dict[str, tuple[RequestStatus, ...]] = {
    "pending": (RequestStatus.PENDING,),
    "running": (RequestStatus.RUNNING,),
    "completed": (RequestStatus.COMPLETED,),
    "failed": (RequestStatus.DEAD, RequestStatus.EXPIRED),
    "cancelled": (RequestStatus.CANCELLED,),
}
"""The product's words for the state of a request, each with the states of the queue that it covers."""
WORDS = {state: word for word, states in STATUSES.items() for state in states}
HIGHEST_OF_SERVICES = Priority.HIGH
COUNT_SLACK = 10
"""The allowed difference between the expected and the actual count of a filter: 10, or 1 % if that is more."""
TEXT_MAX = 200


def job_named(name: str) -> JobRow:
    """The row of a job by its name or alias.

    Raises:
        Problem: there is no such job.
    """
    row = BY_NAME.get(name) or next((row for row in BY_NAME.values() if row.alias == name), None)
    if row is None:
        raise Problem("unknown_job", "there is no such job; GET /api/jobs/definitions lists them.")
    return row


def priority_of(word: str | None, default: Priority) -> Priority:
    """The priority that a word stands for; `default` for None."""
    return default if word is None else Priority[word.upper()]


def _untrusted(text: str | None) -> str:
    """A text of outside origin, shortened, without characters that are not printable."""
    return "".join(one for one in text or "" if one.isprintable())[:TEXT_MAX]


def shown(call: Call, request: Request) -> dict[str, Any]:
    """A request in the form of the API's responses, with what the caller may see."""
    row = BY_NAME.get(request.job)
    progress = request.progress
    percent = round(100 * progress.done / progress.total, 1) if progress.total else None
    run = None
    if request.run_id:
        is_operator = call.principal.role in {Role.ADMIN, Role.OPERATOR}
        url = f"{call.ui_url}/runs/{request.run_id}" if call.ui_url and is_operator else None
        run = {"run_id": request.run_id, "root_run_id": request.root_run_id, "url": url}
    return {
        "id": str(request.id),
        "job": request.job,
        "alias": row.alias if row else request.job,
        "status": WORDS[request.status],
        "state": request.status.value,
        "priority": request.priority.word,
        "attempt": request.attempt,
        "max_attempts": (row.retries.retries + 1) if row else request.attempt,
        "run_at": _moment(request.run_at),
        "created_at": _moment(request.created_at),
        "started_at": _moment(request.started_at),
        "ended_at": _moment(request.ended_at),
        "progress": {"done": progress.done, "total": progress.total, "percent": percent},
        "result": _result(call, request),
        "tenant": request.tenant,
        "entity_key": request.entity_key,
        "requested_by": request.requested_by,
        "run": run,
        "cancel_requested_at": _moment(request.cancel_requested_at),
        "acknowledged_at": _moment(request.acknowledged_at),
        "acknowledged_by": request.acknowledged_by,
    }


def _moment(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _result(call: Call, request: Request) -> dict[str, Any] | None:
    """The result of a request; its output and error text only for callers who may read output."""
    if request.status in OPEN:
        return None
    may_read = call.may(Action.READ_OUTPUT, request)
    took = request.ended_at - request.started_at if request.ended_at and request.started_at else None
    is_success = request.status is RequestStatus.COMPLETED
    return {
        "status": "failure" if not is_success else "partial" if request.partial else "success",
        "output": dict(request.summary) if may_read and request.summary is not None else None,
        "items_failed": request.items_failed,
        "duration_ms": None if took is None else int(took / timedelta(milliseconds=1)),
        "error": (
            {"cause": request.cause.value, "untrusted_text": _untrusted(request.error) if may_read else ""}
            if request.cause and not is_success
            else None
        ),
    }


def etag(body: dict[str, Any]) -> str:
    """The ETag of a response body."""
    return f'"{hashlib.blake2b(repr(sorted(body.items())).encode(), digest_size=12).hexdigest()}"'


def _of(connection: Connection, call: Call, request_id: UUID) -> Request:
    found = operate.find(connection, Filter(ids=(request_id,)))
    return _permitted(call, found[0] if found else None)


def _permitted(call: Call, found: Request | None) -> Request:
    if found is None:
        call.permit(Action.READ)
        raise not_found()
    call.permit_on(Action.READ, found)
    return found


def _answer(call: Call, request: Request, status: int = 200, **headers: str) -> Answer:
    body = shown(call, request)
    return Answer(body=body, status=status, headers={"ETag": etag(body), **headers})


def read(connection: Connection, call: Call, request_id: UUID) -> Answer:
    """One request, with its ETag."""
    return _answer(call, _of(connection, call, request_id))


def status_answer(call: Call, found: Request | None) -> Answer:
    """As `read`, for a request that was looked up already; None: there is none."""
    return _answer(call, _permitted(call, found))


def attempts(connection: Connection, call: Call, request_id: UUID) -> Answer:
    """Every attempt of a request."""
    request = _of(connection, call, request_id)
    call.permit_on(Action.READ, request)
    found = operate.inspect(connection, request_id).attempts
    names = ("attempt", "run_id", "started_at", "ended_at", "outcome", "cause")
    return Answer(body={"items": [{name: getattr(one, name) for name in names} for one in found]})


def scoped(call: Call, where: Filter) -> Filter:
    """The filter, limited to the caller's scope."""
    mine = call.principal
    return replace(
        where,
        tenants=None if mine.tenants is None else tuple(sorted(mine.tenants)),
        entities=None if mine.entities is None else tuple(sorted(mine.entities)),
    )


def _cursor_tail(call: Call, where: Filter, last: bytes) -> bytes:
    meant = hashlib.blake2b(repr(where).encode(), digest_size=8).digest()
    return meant + call.keyring.sign("cursor", last + meant + call.principal.id.encode())[:8]


def _after(call: Call, where: Filter, cursor: str) -> UUID:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        packed = b""
    if len(packed) != 32 or not hmac.compare_digest(packed[16:], _cursor_tail(call, where, packed[:16])):
        raise Problem("bad_cursor", "this cursor is of another list: begin again without one.")
    return UUID(bytes=packed[:16])


def list_requests(connection: Connection, call: Call, where: Filter, *, limit: int, cursor: str | None) -> Answer:
    """A page of requests, the newest first. New requests do not shift later pages."""
    call.permit(Action.READ)
    where = scoped(call, where)
    after = None if cursor is None else _after(call, where, cursor)
    found = operate.find(connection, where, limit=limit + 1, after=after)
    more = len(found) > limit
    tail = None
    if more:
        last = found[limit - 1].id.bytes
        tail = base64.urlsafe_b64encode(last + _cursor_tail(call, where, last)).rstrip(b"=").decode()
    return Answer(body={"items": [shown(call, one) for one in found[:limit]], "next_cursor": tail})


def _payload(row: JobRow, values: dict[str, Any]) -> Payload:
    try:
        return row.payload.model_validate(values)
    except ValidationError as error:
        raise invalid(error, "the payload is not what the job takes.", at="/payload") from None


def placed(call: Call, tenant: str | None, entity: str | None) -> tuple[str | None, str | None]:
    """The tenant and entity of a new request. A caller that has only one may leave it out.

    Raises:
        Problem: 404, if they are out of the caller's scope.
    """
    mine = call.principal
    if tenant is None and mine.tenants is not None and len(mine.tenants) == 1:
        (tenant,) = mine.tenants
    if entity is None and mine.entities is not None and len(mine.entities) == 1:
        (entity,) = mine.entities
    if not mine.covers(tenant, entity):
        raise not_found()
    return tenant, entity


def bounded(
    connection: Connection, call: Call, row: JobRow, priority: Priority, *, charge: bool, is_counted: bool = False
) -> int | None:
    """Check the limits of the caller's role or grant. With `charge` the request is counted; `is_counted`:
    it was counted before. Returns the requests
    that an agent's budgets still allow; None for other callers.

    Raises:
        Problem: a limit is exceeded, or a person must approve the agent's first request.
    """
    if call.principal.role is Role.SERVICE and priority < HIGHEST_OF_SERVICES:
        raise denied("service.priority_at_most_high")
    if call.principal.role is not Role.AGENT:
        return None
    bound = bound_of(
        connection, call.principal.id, row.name, priority, charge=charge, is_counted=is_counted, now=call.now
    )
    if bound.at is not None:
        wait_s = max(1, int((bound.at - call.now).total_seconds()) + 1)
        raise Problem(
            "budget_exhausted",
            f"the agent's grant is used up for now ({bound.rule}); try again after Retry-After.",
            headers={"Retry-After": str(wait_s)},
            rule=bound.rule,
            retry_after_s=wait_s,
        )
    if bound.rule == FIRST_TRIGGER:
        detail = "a person approves an agent's first request of a job: propose a change set of kind first_trigger."
        raise Problem("approval_required", detail, rule=bound.rule)
    if bound.rule is not None:
        raise denied(bound.rule)
    return bound.left


def create(connection: Connection, call: Call, body: NewRequest) -> Answer:
    """Queue a request. It can start when this transaction commits. A dry run only checks that it is allowed."""
    rule = call.permit(Action.TRIGGER)
    row = job_named(body.job)
    tenant, entity = placed(call, body.tenant, body.entity_key)
    payload = _payload(row, body.payload)
    if not call.principal.reaches(reach_of(payload)):
        raise denied("payload.reaches_beyond_scope")
    priority = priority_of(body.priority, row.priority)
    left = bounded(connection, call, row, priority, charge=not body.dry_run)
    if body.dry_run:
        call.record(connection, call.audit_entry("requests.trigger_dry_run", "job", row.name, rule=rule, tenant=tenant))
        return Answer(body={"would": "allow", "job": row.name, "priority": priority.word, "budget_left": left})
    try:
        request_id = enqueue(
            connection, payload, requested_by=call.principal.id, priority=priority, run_at=body.run_at,
            idempotency_key=body.dedupe.key if body.dedupe else None,
            window=timedelta(seconds=body.dedupe.window_s if body.dedupe else 1),
            entity_key=entity, tenant=tenant,
        )  # fmt: skip
    except PermanentError as error:
        if "idempotency key" in str(error):
            raise Problem("key_refused", str(error)) from None
        raise Problem("invalid", redact(str(error))) from None
    call.record(
        connection,
        call.audit_entry("requests.trigger", "request", str(request_id), rule=rule, tenant=tenant,
                   after={"job": row.name, "priority": priority.word}),
    )  # fmt: skip
    request = operate.find(connection, Filter(ids=(request_id,)))[0]
    return _answer(call, request, 202, Location=f"/api/jobs/requests/{request_id}")


def _wrong_state(request: Request, allowed: Sequence[RequestStatus]) -> Problem:
    return Problem("wrong_state", f"the request is {request.status}; this takes one that is {' or '.join(allowed)}.",
                   state=request.status.value, allowed=[one.value for one in allowed])  # fmt: skip


def change(connection: Connection, call: Call, request_id: UUID, body: RequestChange, if_match: str | None) -> Answer:
    """Change the priority or time of a pending request. `if_match` is the ETag that the caller read."""
    before = _of(connection, call, request_id)
    rule = call.permit_on(Action.REPRIORITISE, before)
    if if_match is None:
        raise Problem("precondition_required", "send the ETag that you read as If-Match.")
    if if_match != etag(shown(call, before)):
        raise Problem("precondition_failed", "the request has changed since you read it: read it again.")
    if before.status is not RequestStatus.PENDING:
        raise _wrong_state(before, (RequestStatus.PENDING,))
    priority = None if body.priority is None else priority_of(body.priority, before.priority)
    if priority is not None:
        bounded(connection, call, job_named(before.job), priority, charge=False, is_counted=True)
    if priority is not None or body.run_at is not None:
        operate.reprioritise(connection, Filter(ids=(request_id,)), priority=priority, run_at=body.run_at)
    after = operate.find(connection, Filter(ids=(request_id,)))[0]
    if after.status is not RequestStatus.PENDING:
        raise _wrong_state(after, (RequestStatus.PENDING,))
    call.record(
        connection,
        call.audit_entry("requests.reprioritise", "request", str(request_id), rule=rule, tenant=after.tenant,
                   before={"priority": before.priority.word, "run_at": before.run_at},
                   after={"priority": after.priority.word, "run_at": after.run_at}),
    )  # fmt: skip
    return _answer(call, after)


TAKES: dict[Action, tuple[RequestStatus, ...]] = {
    Action.CANCEL: OPEN,
    Action.RETRY: (RequestStatus.DEAD,),
    Action.ACKNOWLEDGE: (RequestStatus.DEAD,),
    Action.EXPIRE: (RequestStatus.DEAD,),
}
"""By action, the states of a request in which it is allowed."""


def _apply(connection: Connection, call: Call, action: Action, where: Filter, *, dry_run: bool = False) -> list[UUID]:
    if action is Action.CANCEL:
        return operate.cancel(connection, where, now=call.now, dry_run=dry_run)
    if action is Action.RETRY:
        return operate.replay(connection, where, now=call.now, dry_run=dry_run)
    if action is Action.ACKNOWLEDGE:
        return operate.acknowledge(connection, where, by=call.principal.id, now=call.now, dry_run=dry_run)
    return operate.expire(connection, where, dry_run=dry_run)


def act(connection: Connection, call: Call, request_id: UUID, action: Action) -> Answer:
    """Cancel, retry, acknowledge or expire one request."""
    before = _of(connection, call, request_id)
    rule = call.permit_on(action, before)
    if not _apply(connection, call, action, Filter(ids=(request_id,))):
        raise _wrong_state(before, TAKES[action])
    after = operate.find(connection, Filter(ids=(request_id,)))[0]
    call.record(
        connection,
        call.audit_entry(action.value, "request", str(request_id), rule=rule, tenant=after.tenant,
                   before={"state": before.status.value}, after={"state": after.status.value}),
    )  # fmt: skip
    return _answer(call, after, 202 if action is Action.CANCEL else 200)


BULK = {"replay": Action.RETRY, "acknowledge": Action.ACKNOWLEDGE, "expire": Action.EXPIRE}


def bulk(connection: Connection, call: Call, body: BulkAction) -> Answer:
    """Replay, acknowledge or expire many dead requests, in one transaction; a dry run only counts them."""
    rule = call.permit(Action.BULK)
    given = None if body.filter is None else body.filter.model_dump(exclude_none=True)
    if (body.ids is None) == (not given):
        raise Problem("invalid", "give either ids or a filter with at least one field.")
    if given and "job" in given:
        given["job"] = job_named(given["job"]).name
    where = scoped(call, Filter(ids=tuple(body.ids) if body.ids else None, **(given or {})))
    matched = _apply(connection, call, BULK[body.action], where, dry_run=True)
    if not body.dry_run:
        if given and body.expected_count is None:
            raise Problem("invalid", "a filter needs expected_count: ask with dry_run first.")
        slack = max(COUNT_SLACK, len(matched) // 100)
        if body.expected_count is not None and abs(body.expected_count - len(matched)) > slack:
            raise Problem("count_changed", "the filter matches another number now: ask with dry_run again.",
                          matched=len(matched))  # fmt: skip
    done = [] if body.dry_run else _apply(connection, call, BULK[body.action], where)
    name = f"requests.bulk_{body.action}" + ("_dry_run" if body.dry_run else "")
    call.record(connection, call.audit_entry(name, "requests", "bulk", rule=rule,
                                       after={"matched": len(matched), "done": len(done)}))  # fmt: skip
    samples = [str(one) for one in (done or matched)[:10]]
    return Answer(body={"action": body.action, "dry_run": body.dry_run, "matched": len(matched), "done": len(done),
                        "samples": samples})  # fmt: skip


def definitions(call: Call) -> Answer:
    """All jobs of the catalogue, with the schema of their payloads."""
    call.permit(Action.READ)
    return Answer(
        body={
            "items": [
                {
                    "job": row.name,
                    "alias": row.alias,
                    "purpose": row.purpose,
                    "started_by": row.started_by,
                    "priority": row.priority.word,
                    "timeout_ms": int(row.timeout_s * 1000),
                    "sla_ms": None if row.sla_s is None else int(row.sla_s * 1000),
                    "max_retries": row.retries.retries,
                    "retry_backoff": row.retries.backoff.value,
                    "concurrency": row.concurrency,
                    "critical": row.name in SYSTEM_CRITICAL,
                    "payload_schema": row.payload.model_json_schema(),
                }
                for row in BY_NAME.values()
            ]
        }
    )
