"""The client against the API behind a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kordant_jobs.api import schemas
from kordant_jobs.client import ApiProblem, Client
from kordant_jobs_tests.api.conftest import ENTITY, Api
from kordant_jobs_tests.api.served import served

PAYLOAD = {"subscription_ids": [ENTITY]}


@pytest.fixture
def url(app: Any) -> Iterator[str]:
    with served(app) as where:
        yield where


def test_a_request_is_queued_watched_changed_and_cancelled(url: str, callers: dict[str, Api]) -> None:
    with Client(url, callers["service"].token or "") as jobs:
        assert jobs.me().id == "service:app"
        assert jobs.would_enqueue("darkwatch.scan", PAYLOAD).would == "allow"
        made = jobs.enqueue("darkwatch.scan", PAYLOAD, key="once")
        assert jobs.enqueue("darkwatch.scan", PAYLOAD, key="once").id == made.id
        assert jobs.change(made.id, priority="low").priority == "low"
        seen: list[str] = []
        watcher = threading.Thread(target=lambda: seen.append(jobs.wait(made.id, timeout_s=20).status))
        watcher.start()
        with Client(url, callers["operator"].token or "") as operator:
            operator.cancel(made.id, "not needed")
        watcher.join(20)
        assert seen == ["cancelled"]
        assert [one.id for one in jobs.find(status="cancelled", limit=1)] == [made.id]
        assert jobs.attempts(made.id) == []
        with pytest.raises(TimeoutError):
            jobs.wait(jobs.enqueue("darkwatch.scan", PAYLOAD).id, timeout_s=1)


def test_a_refusal_names_its_rule_and_what_is_wrong(url: str, callers: dict[str, Api]) -> None:
    with Client(url, callers["agent"].token or "") as jobs:
        with pytest.raises(ApiProblem, match="no_grant_of_job") as refused:
            jobs.enqueue("reports_generate", PAYLOAD)
        assert (refused.value.status, refused.value.rule) == (403, "agent.no_grant_of_job")
        with pytest.raises(ApiProblem) as wrong:
            jobs.enqueue("darkwatch_scan", {"tiers": ["gold"]})
        assert wrong.value.errors[0]["pointer"] == "/payload/tiers/0"
        with pytest.raises(ApiProblem, match="404"):
            jobs.get(uuid4())


def test_a_change_by_another_since_the_last_read_is_not_overwritten(url: str, callers: dict[str, Api]) -> None:
    with Client(url, callers["service"].token or "") as one, Client(url, callers["operator"].token or "") as other:
        request_id = one.enqueue("darkwatch_scan", PAYLOAD).id
        one.get(request_id)
        other.change(request_id, priority="low")
        with pytest.raises(ApiProblem) as refused:
            one.change(request_id, priority="high")
        assert refused.value.code == "precondition_failed"


def test_dead_requests_and_schedules_are_operated(url: str, callers: dict[str, Api]) -> None:
    with Client(url, callers["admin"].token or "") as admin, Client(url, callers["agent"].token or "") as agent:
        assert admin.bulk("replay", schemas.BulkFilter(job="darkwatch.scan"), dry_run=True).matched == 0
        row = admin.schedule("notifications_send")
        assert (
            admin.change_schedule("notifications_send", "all", {"cron": "*/20 * * * *"}, "x").version == row.version + 1
        )
        assert [one.version for one in admin.schedule_history("notifications_send")][:2] == [2, 1]
        assert all(one.note is None for one in agent.schedule_history("notifications_send"))
        assert admin.diff_schedule("notifications_send", "all", {"cron": "*/30 * * * *"}).runs_after
        assert admin.pause_schedule("notifications_send", "all", "a test").paused
        assert admin.resume_schedule("notifications_send", "all").paused is None
        proposed = agent.propose("notifications_send", "all", {"cron": "*/30 * * * *"})
        with pytest.raises(ApiProblem, match="never_decide"):
            agent.approve(proposed)
        assert agent.withdraw(proposed.id).state == "withdrawn"
        assert admin.change_set(proposed.id).state == "withdrawn"
        assert len(admin.schedules()) > 10
        assert len(admin.definitions()) > 10
        assert admin.audit(limit=5).items


@pytest.mark.parametrize(("status", "code"), [(503, "busy"), (409, "key_in_flight")])
def test_a_call_that_was_asked_to_wait_is_made_again_with_the_same_key(status: int, code: str) -> None:
    keys: list[str] = []

    def answer(request: Any) -> Response:
        keys.append(request.headers["idempotency-key"])
        return JSONResponse({"code": code, "detail": "later"}, status, {"Retry-After": "0"})

    with (
        served(Starlette(routes=[Route("/api/jobs/requests", answer, methods=["POST"])])) as where,
        Client(where, "x") as jobs,
        pytest.raises(ApiProblem, match=f"{status} {code}: later"),
    ):
        jobs.enqueue("darkwatch_scan", PAYLOAD)
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_an_address_that_is_not_the_apis_is_reported() -> None:
    with (
        served(Starlette(routes=[Route("/{rest:path}", lambda _: Response("hello", 404))])) as where,
        Client(where, "x") as jobs,
        pytest.raises(ApiProblem, match="is this the API's address"),
    ):
        jobs.me()
