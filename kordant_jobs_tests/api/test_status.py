"""The short way of a status read gives what the ordinary one gives, and leaves to that one what it cannot answer."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.status import BatchedReads, StatusReads
from kordant_jobs.engine.control import operate
from kordant_jobs.errors import DatabaseUnavailable
from kordant_jobs_tests.api.conftest import ENTITY, Api

SCAN = {"job": "darkwatch.scan", "payload": {"subscription_ids": [ENTITY]}}
STATES = {
    "pending": "status = 'pending'",
    "dead": "status = 'dead', attempt = 4, cause = 'exception', error = 'boom', started_at = now(), ended_at = now()",
    "completed": "status = 'completed', started_at = now(), ended_at = now(), summary = '{\"found\": 3}'",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("role", ["operator", "service", "agent"])
def test_both_ways_answer_the_same(ask: Any, db: Engine, state: str, role: str) -> None:
    request_id = ask("service", "POST", "/requests", json=SCAN).json()["id"]
    with db.begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))  # no move is checked
        connection.execute(sa.text(f"UPDATE kordant.job_requests SET {STATES[state]}"))
    short, ordinary = (ask(role, "GET", f"/requests/{request_id}{query}") for query in ("", "?a=b"))
    assert short.json() == ordinary.json()
    assert short.json()["state"] == state
    for name in ("etag", "content-type", "cache-control", "x-content-type-options", "ratelimit-policy"):
        assert short.headers[name] == ordinary.headers[name], name


def test_a_lost_connection_and_a_refusal_go_the_ordinary_way(app: Any, callers: dict[str, Api], db: Engine) -> None:
    request_id = callers["service"]("POST", "/requests", json=SCAN).json()["id"]
    passed: list[str] = []

    async def ordinary(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["path"])
        await app(scope, receive, send)

    state = app.state
    short = StatusReads(ordinary, state.backend, state.tokens, state.quotas)
    asked = Api(short, callers["service"].token)
    assert asked("GET", f"/requests/{request_id}").status_code == 200
    assert passed == []
    with db.begin() as connection:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'EXECUTE kordant_status%'"
        assert connection.execute(sa.text(ended)).scalars().all()
    assert asked("GET", f"/requests/{request_id}").status_code == 200
    assert len(passed) == 1
    assert asked("GET", f"/requests/{request_id}").status_code == 200
    assert len(passed) == 1, "a new connection answers"
    assert Api(short, None)("GET", f"/requests/{request_id}").status_code == 401
    assert asked("GET", "/requests/5e0f8d4e-6a53-4f0e-9d3b-3d8f3f9c1c11").status_code == 404
    assert len(passed) == 3


def test_a_request_that_is_not_there_is_none(db: Engine) -> None:
    reads = operate.StatusReads(db, size=1)
    assert reads.get([uuid4(), uuid4()]) == {}
    reads.close()


def test_reads_that_come_meanwhile_are_asked_for_together_and_fail_together() -> None:
    asked: list[int] = []
    ids = [uuid4() for _ in range(5)]

    async def go() -> list[Any]:
        is_first = threading.Event()

        def get(some: Any) -> dict[Any, Any]:
            asked.append(len(some))
            if len(asked) == 1:
                is_first.wait(10)
            if len(asked) == 3:
                raise DatabaseUnavailable("gone")
            return {one: f"found {one}" for one in some if one != ids[1]}

        together: Any = BatchedReads(get)
        first = asyncio.create_task(together.read(ids[0]))
        await asyncio.sleep(0)
        meanwhile = [asyncio.create_task(together.read(one)) for one in (*ids, ids[2])]
        gone = asyncio.create_task(together.read(ids[3]))
        await asyncio.sleep(0)
        gone.cancel()
        is_first.set()
        found = [await first, *(await asyncio.gather(*meanwhile))]
        with pytest.raises(DatabaseUnavailable):
            await together.read(ids[0])
        assert await together.read(ids[0]) == f"found {ids[0]}"
        return found

    found = asyncio.run(go())
    assert asked == [1, 5, 1, 1]
    assert found == [f"found {ids[0]}", f"found {ids[0]}", None, *(f"found {one}" for one in (*ids[2:], ids[2]))]
