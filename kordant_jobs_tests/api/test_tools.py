"""A client of the official SDK calls the tools over streamable HTTP, against a server in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from sqlalchemy import Engine

from kordant_jobs.cli.readiness import free_port
from kordant_jobs.settings import Settings
from kordant_jobs_tests.api.conftest import ENTITY, Api

TOOLS = [
    "list_jobs", "trigger_job", "check_status", "list_requests", "cancel_request", "propose_change", "get_change_set",
    "withdraw_change_set", "simulate_schedule", "get_budget",
]  # fmt: skip


@pytest.fixture
def url(callers: dict[str, Api], settings: Settings) -> Iterator[str]:
    port = free_port(3790)
    process = subprocess.Popen(
        [sys.executable, "-m", "kordant_jobs.cli", "api", "serve", "--port", str(port)],
        stderr=subprocess.PIPE,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(base + "/livez", trust_env=False)
                break
            except httpx.ConnectError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.1)
        yield base
    finally:
        process.terminate()
        assert process.wait(20) is not None


def text_of(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        result.content[0].text.partition("{")[1] + result.content[0].text.partition("{")[2]
    )
    return found


def test_an_agent_triggers_watches_and_proposes_and_a_person_approves(
    url: str, callers: dict[str, Api], db: Engine
) -> None:
    async def session() -> None:
        headers = {"Authorization": f"Bearer {callers['agent'].token}"}
        async with (
            httpx.AsyncClient(trust_env=False) as plain,
            _client(url, headers) as client,
        ):
            assert (await plain.post(url + "/mcp", json={})).status_code == 401
            listed = (await client.list_tools()).tools
            assert [one.name for one in listed] == TOOLS
            assert all(one.input_schema["additionalProperties"] is False for one in listed)
            schemas = {one.name: one.output_schema or {} for one in listed}
            assert schemas["check_status"]["$defs"]["RequestOut"]["properties"]["status"]["enum"]
            assert all(schema.get("properties") for schema in schemas.values()), "typed, not any object"

            scan = {"job": "darkwatch_scan", "payload": {"subscription_ids": [ENTITY]}, "idempotency_key": "a"}
            made = (await client.call_tool("trigger_job", scan)).structured_content
            again = (await client.call_tool("trigger_job", scan)).structured_content
            assert made is not None
            assert again is not None
            assert made["request"]["id"] == again["request"]["id"]
            seen = (await client.call_tool("check_status", {"request_id": made["request"]["id"]})).structured_content
            assert seen is not None
            assert seen["request"]["status"] == "pending"
            cancelling = asyncio.create_task(_cancelled(callers["operator"], made["request"]["id"]))
            waits = {"request_id": made["request"]["id"], "wait_s": 20}
            ended = (await client.call_tool("check_status", waits)).structured_content
            assert ended is not None
            assert ended["request"]["status"] == "cancelled"
            await cancelling
            too_long = await client.call_tool("check_status", {**waits, "wait_s": 21})
            assert too_long.is_error

            for arguments, rule in (
                ({**scan, "priority": "critical", "idempotency_key": "b"}, "agent.priority_above_grant"),
                ({**scan, "job": "reports_generate", "idempotency_key": "c"}, "agent.no_grant_of_job"),
            ):
                refused = await client.call_tool("trigger_job", arguments)
                assert refused.is_error
                assert text_of(refused)["rule"] == rule
            unknown = await client.call_tool(
                "check_status", {"request_id": made["request"]["id"], "entity": "jane@example.com"}
            )
            assert unknown.is_error
            assert "jane" not in str(unknown.content)

            wider = {"kind": "grant_change", "job": "reports_generate", "changes": {"requests_per_hour": 2}}
            asked = (await client.call_tool("propose_change", {**wider, "idempotency_key": "e"})).structured_content
            assert asked is not None
            assert (asked["change_set"]["kind"], asked["change_set"]["tier"]) == ("grant_change", "agent:a")

            change = {"job": "notifications_send", "changes": {"cron": "*/30 * * * *"}, "idempotency_key": "d"}
            proposed = (await client.call_tool("propose_change", change)).structured_content
            assert proposed
            assert proposed["approval_url"] == f"{url}/console/approvals/{proposed['change_set']['id']}"
            path, digest = f"/change-sets/{proposed['change_set']['id']}", proposed["change_set"]["digest"]
            own = await asyncio.to_thread(callers["agent"], "POST", path + "/approve", json={"digest": digest})
            assert (own.status_code, own.json()["rule"]) == (403, "agent.never_decide")
            self_made = await asyncio.to_thread(callers["admin"], "POST", path + "/approve", json={"digest": digest})
            assert self_made.json()["rule"] == "changes.not_own"
            other = Api(callers["admin"].app, _second_admin(db, callers))
            wrong = await asyncio.to_thread(other, "POST", path + "/approve", json={"digest": "0" * 64})
            assert wrong.status_code == 412
            done = await asyncio.to_thread(other, "POST", path + "/approve", json={"digest": digest})
            assert done.json()["state"] == "applied", done.text
            which = {"change_set_id": proposed["change_set"]["id"]}
            state = (await client.call_tool("get_change_set", which)).structured_content
            assert state is not None
            assert state["change_set"]["state"] == "applied"

    asyncio.run(session())
    with db.connect() as connection:
        changed = connection.execute(
            sa.text("SELECT cron, changed_by FROM kordant.scheduler_config WHERE job = 'notifications_send'")
        ).one()
        sources = set(
            connection.execute(
                sa.text("SELECT entry::jsonb ->> 'source' FROM kordant.audit_log WHERE actor = 'agent:a'")
            ).scalars()
        )
    assert changed.cron == "*/30 * * * *"
    assert changed.changed_by.startswith("change_set:")
    assert "mcp" in sources


async def _cancelled(operator: Api, request_id: str) -> None:
    answer = await asyncio.to_thread(operator, "POST", f"/requests/{request_id}/cancel", json={})
    assert answer.status_code == 202


def _second_admin(db: Engine, callers: dict[str, Api]) -> str:
    from kordant_jobs.domain.access.principals import Role
    from kordant_jobs_tests.api.conftest import token_for

    return token_for(db, callers["admin"].app.state.backend.keyring, "user:second", Role.ADMIN)


def _client(url: str, headers: dict[str, str]) -> Client:
    import httpx2

    return Client(
        streamable_http_client(url + "/mcp", http_client=httpx2.AsyncClient(headers=headers, trust_env=False))
    )
