"""Role × action × owner × critical × state, each cell asked over HTTP and with the tools of agents (MCP).

A cell of the tools answers as the same cell over HTTP, with the same rule, and a refusal by either changes no row. What
a role may do at all is `test_policy`'s table, which is written by hand.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
import sqlalchemy as sa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from sqlalchemy import Engine

from kordant_jobs.api.tools import beside, http_tools
from kordant_jobs.catalog import enqueue_named
from kordant_jobs_tests.api.conftest import ENTITY, TENANT, Api
from kordant_jobs_tests.api.test_policy import CALLER, JOBS, OWNERS, ROLES, expected

WAYS = {
    "pending": (), "running": ("running",), "completed": ("running", "completed"), "dead": ("running", "dead"),
    "cancelled": ("cancelled",), "expired": ("running", "dead", "expired"),
}  # fmt: skip
"""The moves that lead to each state."""
STATES = tuple(WAYS)
MOVE = sa.text("""
    UPDATE kordant.job_requests SET status = :state, lease_id = CASE :state WHEN 'running' THEN id END,
           ended_at = CASE :state WHEN 'running' THEN NULL ELSE now() END WHERE id = :id""")
OPEN = frozenset({"pending", "running"})
TOOLS = {"read": "check_status", "cancel": "cancel_request"}
"""The actions that are tools, too. The others have no tool, so that no agent is offered them."""
ACTIONS = ("read", "cancel", "retry", "acknowledge", "expire", "change")
TAKES = {"read": frozenset(STATES), "cancel": OPEN, "change": frozenset({"pending"})}

Cell = tuple[str, str, bool, str]
Answered = tuple[int, str | None, str | None]
"""Status, code and rule."""


def in_state(db: Engine, cells: list[Cell], role: str) -> list[UUID]:
    """A request for each cell, in its state."""
    made = []
    with db.begin() as connection:
        for _, owner, is_critical, state in cells:
            by = CALLER[role] if owner != "same" else "service:somebody-else"
            tenant, entity = ("t9", str(uuid4())) if owner == "other" else (TENANT, ENTITY)
            made.append(enqueue_named(
                connection, JOBS[is_critical], {"subscription_ids": [entity]}, requested_by=by, tenant=tenant,
                entity_key=entity, run_at=datetime(2190, 1, 1, tzinfo=UTC),
            ))  # fmt: skip
            for word in WAYS[state]:
                connection.execute(MOVE, {"state": word, "id": made[-1]})
    return made


def rows(db: Engine) -> dict[UUID, tuple[Any, ...]]:
    query = "SELECT id, status, priority, run_at, acknowledged_by, cancel_requested_at FROM kordant.job_requests"
    with db.connect() as connection:
        return {row.id: tuple(row) for row in connection.execute(sa.text(query))}


def wanted(role: str, cell: Cell) -> int:
    """The status that the policy's table asks for, and 409 in a state that does not take the action."""
    action, owner, is_critical, state = cell
    status = expected(role, action, owner, is_critical)
    return status if status >= 400 or state in TAKES.get(action, {"dead"}) else 409


def by_http(ask: Api, action: str, request_id: UUID) -> Answered:
    path = f"/requests/{request_id}"
    if action in {"read", "change"}:
        answer = ask("GET", path)
        if action == "change" and answer.is_success:
            answer = ask("PATCH", path, json={"priority": "low"}, headers={"If-Match": answer.headers["etag"]})
    else:
        answer = ask("POST", f"{path}/{action}", json={})
    found = answer.json()
    return answer.status_code, found.get("code"), found.get("rule")


async def by_tools(app: Any, token: str, calls: list[tuple[str, UUID]]) -> list[Answered]:
    """The same over MCP, of one client: 200 stands for what the tool did."""
    url = "http://127.0.0.1:3090"
    server = http_tools(app, app.state.tokens, url=url)
    whole = beside(app, server.streamable_http_app(stateless_http=True, json_response=True))
    found: list[Answered] = []
    transport = httpx2.ASGITransport(app=whole)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        server.session_manager.run(),
        httpx2.AsyncClient(transport=transport, headers=headers, base_url=url) as http,
        Client(streamable_http_client(url + "/mcp", http_client=http)) as client,
    ):
        for action, request_id in calls:
            result: Any = await client.call_tool(TOOLS[action], {"request_id": str(request_id)})
            if not result.is_error:
                found.append((200, None, None))
                continue
            text = result.content[0].text
            told = json.loads(text[text.index("{") :])
            found.append((0, told.get("code"), told.get("rule")))
    return found


@pytest.mark.parametrize("role", ROLES)
def test_each_cell_in_each_state_answers_alike_over_http_and_mcp(
    callers: dict[str, Api], app: Any, db: Engine, role: str
) -> None:
    cells = list(itertools.product(ACTIONS, OWNERS, (False, True), STATES))
    first = in_state(db, cells, role)
    before = rows(db)
    answers = [by_http(callers[role], cell[0], one) for cell, one in zip(cells, first, strict=True)]
    after = rows(db)
    wrong = [
        (cell, answer, wanted(role, cell))
        for cell, answer in zip(cells, answers, strict=True)
        if answer[0] != wanted(role, cell) or (answer[0] == 403) != (answer[2] is not None)
    ]
    assert wrong == []
    refused = [one for one, answer in zip(first, answers, strict=True) if answer[0] >= 400]
    assert {one: after[one] for one in refused} == {one: before[one] for one in refused}

    offered = [(cell, answer) for cell, answer in zip(cells, answers, strict=True) if cell[0] in TOOLS]
    second = in_state(db, [cell for cell, _ in offered], role)
    before = rows(db)
    calls = [(cell[0], one) for (cell, _), one in zip(offered, second, strict=True)]
    told = asyncio.run(by_tools(app, callers[role].token or "", calls))
    after = rows(db)
    differ = [
        (cell, answer, other)
        for (cell, answer), other in zip(offered, told, strict=True)
        if answer[1:] != other[1:] or (answer[0] < 400) != (other[0] == 200)
    ]
    assert differ == []
    refused = [one for one, other in zip(second, told, strict=True) if other[0] != 200]
    assert {one: after[one] for one in refused} == {one: before[one] for one in refused}
