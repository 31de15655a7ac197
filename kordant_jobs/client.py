"""A typed client of /api/jobs: each call sends a token, checks the answer's shape, and may be repeated safely.

    with Client("http://127.0.0.1:3090", token) as jobs:
        made = jobs.enqueue("darkwatch_scan", {"subscription_ids": [subscription_id]})
        ended = jobs.wait(made.id, timeout_s=600)

What the API refuses is an `ApiProblem`. A call that is answered 429, 503 or `key_in_flight` is repeated after its
Retry-After, with the same Idempotency-Key, so that nothing is done twice.
"""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel

from kordant_jobs.api import schemas as api
from kordant_jobs.errors import KordantError

Shape = TypeVar("Shape", bound=BaseModel)
PriorityWord = Literal["critical", "high", "normal", "low"]
BulkWord = Literal["replay", "acknowledge", "expire"]

REPEATED = frozenset({429, 503})
IN_FLIGHT = "key_in_flight"
"""The code of a 409: an earlier try of this call is under way."""
LONGEST_WAIT_S = 60.0
"""The longest Retry-After that the client waits for; a longer one is left to the caller."""
STREAM_S = 300
"""The longest time for which the API keeps one stream of events open."""
OPEN = frozenset({"pending", "running"})
TAGS = 1000
"""The number of ETags remembered, for `change`."""


class ApiProblem(KordantError):
    """The API's refusal (RFC 9457): `code`, `status`, and where it gives them `rule`, `retry_after_s` and `errors`."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after_s: float | None) -> None:
        super().__init__(f"the API answered {status} {body.get('code', '')}: {body.get('detail', 'no reason given')}")
        self.status, self.code, self.rule = status, str(body.get("code", "")), body.get("rule")
        self.retry_after_s, self.errors, self.body = retry_after_s, body.get("errors", []), dict(body)


class Client:
    """Calls the API at `url` with a token. `times`: the most attempts of a call that is answered 429 or 503."""

    def __init__(self, url: str, token: str, *, timeout_s: float = 30.0, times: int = 3) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url.rstrip("/") + "/api/jobs", headers=headers, timeout=timeout_s)
        self._times = times
        self._tags: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    # Requests

    def enqueue(
        self,
        job: str,
        payload: Mapping[str, Any],
        *,
        priority: PriorityWord | None = None,
        run_at: datetime | None = None,
        tenant: str | None = None,
        entity_key: str | None = None,
        dedupe: api.Dedupe | None = None,
        key: str | None = None,
    ) -> api.RequestOut:
        """Queue a request of a job, by its name or alias. `key`: an Idempotency-Key of the caller's own."""
        body = api.NewRequest(
            job=job, payload=dict(payload), priority=priority, run_at=run_at, tenant=tenant, entity_key=entity_key,
            dedupe=dedupe,
        )  # fmt: skip
        return self._post(api.RequestOut, "/requests", body, key=key)

    def would_enqueue(self, job: str, payload: Mapping[str, Any], **more: Any) -> api.WouldBe:
        """The effect that `enqueue` with the same arguments would have. Nothing is queued."""
        return self._post(api.WouldBe, "/requests", api.NewRequest(job=job, payload=payload, dry_run=True, **more))

    def run_now(self, job: str, payload: Mapping[str, Any] | None = None, *, key: str | None = None) -> api.RequestOut:
        """Start a job now (`scheduler.runJobNow`)."""
        return self._post(api.RequestOut, f"/definitions/{job}/run", api.RunNow(payload=dict(payload or {})), key=key)

    def get(self, request_id: UUID) -> api.RequestOut:
        """One request (`scheduler.getJobStatus`)."""
        return self._get(api.RequestOut, f"/requests/{request_id}")

    def find(self, **where: Any) -> Iterator[api.RequestOut]:
        """Requests in scope, the newest first, over all pages. `where`: the filters of GET /requests."""
        asked = {name: value for name, value in where.items() if value is not None}
        cursor = None
        while True:
            page = self._get(api.Page, "/requests", **asked, **({"cursor": cursor} if cursor else {}))
            yield from page.items
            if (cursor := page.next_cursor) is None:
                return

    def attempts(self, request_id: UUID) -> list[api.Attempt]:
        """Every attempt of a request."""
        return self._get(api.Attempts, f"/requests/{request_id}/attempts").items

    def change(
        self, request_id: UUID, *, priority: PriorityWord | None = None, run_at: datetime | None = None
    ) -> api.RequestOut:
        """Change the priority or time of a waiting request, unless it has changed since this client read it last."""
        body = api.RequestChange(priority=priority, run_at=run_at)
        return self._change(api.RequestOut, f"/requests/{request_id}", body)

    def cancel(self, request_id: UUID, note: str = "") -> api.RequestOut:
        """Cancel a waiting request; ask a running one to stop."""
        return self._act(request_id, "cancel", note)

    def retry(self, request_id: UUID, note: str = "") -> api.RequestOut:
        """Queue a dead request again."""
        return self._act(request_id, "retry", note)

    def acknowledge(self, request_id: UUID, note: str = "") -> api.RequestOut:
        """Record that a dead request was seen."""
        return self._act(request_id, "acknowledge", note)

    def expire(self, request_id: UUID, note: str = "") -> api.RequestOut:
        """Give up a dead request for good."""
        return self._act(request_id, "expire", note)

    def bulk(
        self, action: BulkWord, where: api.BulkFilter, *, expected_count: int | None = None, dry_run: bool = False
    ) -> api.BulkOut:
        """Replay, acknowledge or expire dead requests. First call it with `dry_run`, then pass its `matched` as
        `expected_count`."""
        body = api.BulkAction(action=action, filter=where, expected_count=expected_count, dry_run=dry_run)
        return self._post(api.BulkOut, "/bulk-actions", body)

    def watch(self, request_id: UUID, *, timeout_s: float = 60.0) -> Iterator[api.RequestOut]:
        """The request now, and again at each change, until it has ended or the time is over."""
        params = {"timeout_s": max(1.0, min(timeout_s, STREAM_S))}
        path = f"/requests/{request_id}/events"
        with self._http.stream("GET", path, params=params, timeout=STREAM_S) as answer:
            if not answer.is_success:
                answer.read()
                raise _problem(answer)
            event = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event != "bye":
                    yield api.RequestOut.model_validate_json(value)

    def wait(self, request_id: UUID, *, timeout_s: float) -> api.RequestOut:
        """The request once it has ended.

        Raises:
            TimeoutError: it had not by then.
        """
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            for seen in self.watch(request_id, timeout_s=left_s):
                if seen.status not in OPEN:
                    return seen
        raise TimeoutError(f"the request {request_id} had not ended after {timeout_s:g} s.")

    # Events, jobs, schedules, proposals

    def topics(self) -> list[api.TopicOut]:
        """The topics of events, with the jobs that each starts."""
        return self._get(api.Topics, "/topics").items

    def publish(
        self, topic: str, data: Mapping[str, Any], *, source: str, event_id: str, subject: str | None = None,
        tenant: str | None = None,
    ) -> api.Published:  # fmt: skip
        """Publish an event. The same source and id within 7 days start nothing more."""
        body = api.CloudEvent(specversion="1.0", id=event_id, source=source, type=topic, data=dict(data),
                              subject=subject, tenant=tenant)  # fmt: skip
        return self._post(api.Published, "/events", body)

    def me(self) -> api.Me:
        """The caller, with its scopes and grants."""
        return self._get(api.Me, "/me")

    def definitions(self) -> list[api.Definition]:
        """All jobs."""
        return self._get(api.Definitions, "/definitions").items

    def schedules(self) -> list[api.ScheduleOut]:
        """The price list."""
        return self._get(api.Schedules, "/schedules").items

    def schedule(self, job: str, tier: str = "all") -> api.ScheduleOut:
        """One row of the price list."""
        return self._get(api.ScheduleOut, f"/schedules/{job}/{tier}")

    def schedule_history(self, job: str, tier: str = "all") -> list[api.ScheduleVersion]:
        """The earlier versions of a row, the newest first."""
        return self._get(api.ScheduleHistory, f"/schedules/{job}/{tier}/history").items

    def change_schedule(self, job: str, tier: str, changes: Mapping[str, Any], note: str = "") -> api.ScheduleOut:
        """Change a row, unless it has changed since this client read it last."""
        body = api.ScheduleChange(changes=dict(changes), note=note)
        return self._change(api.ScheduleOut, f"/schedules/{job}/{tier}", body)

    def pause_schedule(self, job: str, tier: str, reason: str, until: datetime | None = None) -> api.ScheduleOut:
        """Pause a row."""
        return self._post(api.ScheduleOut, f"/schedules/{job}/{tier}/pause", api.Pause(reason=reason, until=until))

    def resume_schedule(self, job: str, tier: str) -> api.ScheduleOut:
        """Resume a paused row."""
        return self._post(api.ScheduleOut, f"/schedules/{job}/{tier}/resume", api.Note())

    def diff_schedule(self, job: str, tier: str, changes: Mapping[str, Any], days: int = 7) -> api.DiffOut:
        """The effect that a change of a row would have. Nothing is written."""
        body = api.ScheduleDiff(changes=dict(changes), days=days)
        return self._post(api.DiffOut, f"/schedules/{job}/{tier}/diff", body)

    def propose(self, job: str, tier: Literal["basic", "plus", "premium", "all"], changes: Mapping[str, Any]) -> (
        api.ChangeSetOut
    ):  # fmt: skip
        """Propose a change of a row, for a person to decide."""
        return self._post(api.ChangeSetOut, "/change-sets", api.Proposal(job=job, tier=tier, changes=dict(changes)))

    def propose_first_trigger(self, job: str) -> api.ChangeSetOut:
        """As an agent, ask a person to approve the first request of a job that the agent has a grant for."""
        return self._post(api.ChangeSetOut, "/change-sets", api.Proposal(kind="first_trigger", job=job))

    def propose_grant(self, job: str, changes: Mapping[str, Any]) -> api.ChangeSetOut:
        """As an agent, ask a person for a grant of a job, or for other limits of it (fields of `api.GrantChange`)."""
        return self._post(api.ChangeSetOut, "/change-sets",
                          api.Proposal(kind="grant_change", job=job, changes=dict(changes)))  # fmt: skip

    def change_sets(self) -> list[api.ChangeSetOut]:
        """Proposals, the newest first."""
        return self._get(api.ChangeSets, "/change-sets").items

    def change_set(self, change_id: UUID) -> api.ChangeSetOut:
        """One proposal."""
        return self._get(api.ChangeSetOut, f"/change-sets/{change_id}")

    def approve(self, change: api.ChangeSetOut) -> api.ChangeSetOut:
        """Approve a proposal as it was read, identified by its digest."""
        return self._post(api.ChangeSetOut, f"/change-sets/{change.id}/approve", api.Approval(digest=change.digest))

    def reject(self, change_id: UUID, note: str = "") -> api.ChangeSetOut:
        """Reject a proposal."""
        return self._post(api.ChangeSetOut, f"/change-sets/{change_id}/reject", api.Note(note=note))

    def withdraw(self, change_id: UUID) -> api.ChangeSetOut:
        """Withdraw one's own proposal."""
        return self._post(api.ChangeSetOut, f"/change-sets/{change_id}/withdraw", api.Note())

    def audit(self, *, before: int | None = None, limit: int = 50) -> api.AuditPage:
        """Entries of the audit log, the newest first."""
        return self._get(api.AuditPage, "/audit", limit=limit, **({"before": before} if before else {}))

    # How a call is made

    def _act(self, request_id: UUID, action: str, note: str) -> api.RequestOut:
        return self._post(api.RequestOut, f"/requests/{request_id}/{action}", api.Note(note=note))

    def _get(self, shape: type[Shape], path: str, **params: Any) -> Shape:
        return shape.model_validate_json(self._ask("GET", path, params=params).content)

    def _post(self, shape: type[Shape], path: str, body: BaseModel, *, key: str | None = None) -> Shape:
        headers = {"Idempotency-Key": key or uuid4().hex}
        return shape.model_validate_json(self._ask("POST", path, body=body, headers=headers).content)

    def _change(self, shape: type[Shape], path: str, body: BaseModel) -> Shape:
        if path not in self._tags:
            self._ask("GET", path)
        headers = {"If-Match": self._tags.pop(path)}
        return shape.model_validate_json(self._ask("PATCH", path, body=body, headers=headers).content)

    def _ask(self, method: str, path: str, *, body: BaseModel | None = None, **more: Any) -> httpx.Response:
        if body is not None:
            more["content"] = body.model_dump_json(exclude_unset=True)
            more["headers"] = {**more.get("headers", {}), "Content-Type": "application/json"}
        for left in reversed(range(self._times)):
            answer = self._http.request(method, path, **more)
            if answer.is_success:
                self._remember(method, path, answer.headers.get("etag"))
                return answer
            problem = _problem(answer)
            wait_s = problem.retry_after_s
            is_repeated = answer.status_code in REPEATED or problem.code == IN_FLIGHT
            if not left or not is_repeated or wait_s is None or wait_s > LONGEST_WAIT_S:
                raise problem
            time.sleep(wait_s)
        raise AssertionError("a call is made at least once")

    def _remember(self, method: str, path: str, tag: str | None) -> None:
        """Remember the ETag of what was read; our own action invalidates the ETags of earlier reads."""
        if method == "POST":
            self._tags.pop(path.rpartition("/")[0], None)
        elif tag is not None:
            self._tags[path] = tag
            if len(self._tags) > TAGS:
                del self._tags[next(iter(self._tags))]


def _problem(answer: httpx.Response) -> ApiProblem:
    try:
        body = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = {"detail": "the answer is no JSON: is this the API's address?"}
    wait = answer.headers.get("retry-after", "")
    return ApiProblem(answer.status_code, body, float(wait) if wait.isdecimal() else None)
