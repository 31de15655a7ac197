"""The tools for agents (MCP). Each calls /api/jobs with the agent's own token, and so has no further rights.

Descriptions are constants. Results hold ids, numbers and words from fixed lists; a text of outside origin is in a field
named `untrusted_text`. Only people approve, over HTTP: no tool can.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

import httpx
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from mcp.types import ToolAnnotations
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from kordant_jobs.api import schemas as api
from kordant_jobs.api.gate import Tokens
from kordant_jobs.api.problems import Problem

PATH = "/mcp"
WELL_KNOWN = "/.well-known/oauth-protected-resource"
NAME = "kordant-jobs"

Found = dict[str, Any]


class Asker(Protocol):
    """Makes one call of the API in the agent's name."""

    async def __call__(
        self, method: str, path: str, *, body: Any = None, params: Any = None, key: str | None = None
    ) -> Found:
        """The answer.

        Raises:
            ToolError: the API refused; its text is JSON with code, rule, detail and retry_after_s.
        """


async def ask(
    client: httpx.AsyncClient, token: str, method: str, path: str, *, body: Any, params: Any, key: str | None
) -> Found:
    """Make one call of the API with a token; see `Asker`."""
    headers = {"Authorization": f"Bearer {token}", **({"Idempotency-Key": key} if key else {})}
    given = {name: value for name, value in (params or {}).items() if value is not None}
    answer = await client.request(method, f"/api/jobs{path}", json=body, params=given, headers=headers)
    found: Found = answer.json()
    if answer.is_success:
        return found
    details = {name: found.get(name) for name in ("code", "rule", "detail", "retry_after_s", "errors", "state")}
    raise ToolError(json.dumps({name: value for name, value in details.items() if value is not None}))


class JobOfMine(BaseModel):
    """A job, and whether the agent may start it."""

    job: str
    purpose: str
    may_trigger: bool
    max_priority: api.PriorityWord | None
    payload_schema: dict[str, Any]


class Jobs(BaseModel):
    """All jobs of the catalogue. `may_trigger` is false for those that the agent may not start."""

    jobs: list[JobOfMine]


class OneRequest(BaseModel):
    """The current state of a request."""

    request: api.RequestOut


class TriggerResult(BaseModel):
    """A request that was queued, or the result of a dry run."""

    request: api.RequestOut | api.WouldBe


class OneChange(BaseModel):
    """The current state of a proposal, and the page on which a person decides on it."""

    change_set: api.ChangeSetOut
    approval_url: str


class Budgets(BaseModel):
    """The budgets of the agent."""

    budgets: list[api.Budget]


LONGEST_WAIT_S = 20
CHECK_EVERY_S = 0.5


def _tools(asker: Asker, *, url: str) -> list[Tool]:
    """The tools. `url`: the address at which people reach the console."""

    def change(found: Found) -> OneChange:
        approval_url = f"{url.rstrip('/')}/console/approvals/{found['id']}"
        return OneChange.model_validate({"change_set": found, "approval_url": approval_url})

    async def list_jobs() -> Jobs:
        """List all jobs, whether you may start each, and up to which priority."""
        grants = {one["job"]: one for one in (await asker("GET", "/me"))["budgets"]}
        jobs = (await asker("GET", "/definitions"))["items"]
        return Jobs(
            jobs=[
                JobOfMine(
                    job=one["job"],
                    purpose=one["purpose"],
                    may_trigger=one["job"] in grants,
                    max_priority=grants.get(one["job"], {}).get("max_priority"),
                    payload_schema=one["payload_schema"],
                )
                for one in jobs
            ]
        )

    async def trigger_job(
        job: str,
        payload: dict[str, Any],
        idempotency_key: str,
        priority: Literal["critical", "high", "normal", "low"] | None = None,
        run_at: str | None = None,
        entity_key: str | None = None,
        dry_run: bool = False,
    ) -> TriggerResult:
        """Start a job, once for each idempotency_key. dry_run only checks whether you may."""
        body = {"job": job, "payload": payload, "priority": priority, "run_at": run_at, "entity_key": entity_key,
                "dry_run": dry_run}  # fmt: skip
        return TriggerResult.model_validate(
            {"request": await asker("POST", "/requests", body=body, key=idempotency_key)}
        )

    async def check_status(
        request_id: UUID, wait_s: Annotated[int, Field(ge=0, le=LONGEST_WAIT_S)] = 0
    ) -> OneRequest:  # fmt: skip
        """The state of a request. wait_s: the most seconds to wait for its end."""
        until = time.monotonic() + wait_s
        while True:
            found = await asker("GET", f"/requests/{request_id}")
            if found["status"] not in {"pending", "running"} or time.monotonic() >= until:
                return OneRequest.model_validate({"request": found})
            await asyncio.sleep(CHECK_EVERY_S)

    async def list_requests(
        status: Literal["pending", "running", "completed", "failed", "cancelled"] | None = None,
        job: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> api.Page:
        """Requests in your scope, the newest first, at most 50."""
        params = {"status": status, "job": job, "limit": min(limit, 50), "cursor": cursor}
        return api.Page.model_validate(await asker("GET", "/requests", params=params))

    async def cancel_request(request_id: UUID, reason: str = "") -> OneRequest:
        """Cancel one of your own requests."""
        found = await asker("POST", f"/requests/{request_id}/cancel", body={"note": reason}, key=f"cancel:{request_id}")
        return OneRequest.model_validate({"request": found})

    async def propose_change(
        job: str,
        idempotency_key: str,
        changes: dict[str, Any] | None = None,
        kind: Literal["schedule_change", "first_trigger", "grant_change"] = "schedule_change",
        tier: Literal["basic", "plus", "premium", "all"] = "all",
        dry_run: bool = False,
    ) -> OneChange:
        """Propose a change of a schedule, your first request of a job (without changes), or other limits of your grant.
        A person decides; nothing changes before that."""
        body = {"kind": kind, "job": job, "tier": tier, "changes": changes or {}, "dry_run": dry_run}
        return change(await asker("POST", "/change-sets", body=body, key=idempotency_key))

    async def get_change_set(change_set_id: UUID) -> OneChange:
        """The state of one of your proposals."""
        return change(await asker("GET", f"/change-sets/{change_set_id}"))

    async def withdraw_change_set(change_set_id: UUID) -> OneChange:
        """Withdraw one of your proposals."""
        found = await asker("POST", f"/change-sets/{change_set_id}/withdraw", body={}, key=f"withdraw:{change_set_id}")
        return change(found)

    async def simulate_schedule(
        job: str,
        tier: Literal["basic", "plus", "premium", "all"] = "all",
        changes: dict[str, Any] | None = None,
        days: int = 7,
    ) -> api.DiffOut:
        """The runs of a schedule in the next days, with or without changes. Nothing is written."""
        body = {"changes": changes or {}, "days": days}
        return api.DiffOut.model_validate(await asker("POST", f"/schedules/{job}/{tier}/diff", body=body))

    async def get_budget() -> Budgets:
        """The jobs that you may start, and the limits of each grant."""
        return Budgets(budgets=(await asker("GET", "/me"))["budgets"])

    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    writes = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    ends = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    listed: list[tuple[Callable[..., Awaitable[BaseModel]], ToolAnnotations]] = [
        (list_jobs, reads),
        (trigger_job, writes),
        (check_status, reads),
        (list_requests, reads),
        (cancel_request, ends),
        (propose_change, writes),
        (get_change_set, reads),
        (withdraw_change_set, ends),
        (simulate_schedule, reads),
        (get_budget, reads),
    ]
    return [_strict(Tool.from_function(function, annotations=hints)) for function, hints in listed]


def _strict(tool: Tool) -> Tool:
    """The tool, changed to refuse unknown arguments and to repeat no value in errors."""
    loose = tool.fn_metadata.arg_model
    config = ConfigDict(**{**loose.model_config, "extra": "forbid", "hide_input_in_errors": True})
    strict: type[ArgModelBase] = type(loose.__name__, (loose,), {"model_config": config, "__module__": __name__})
    metadata = tool.fn_metadata.model_copy(update={"arg_model": strict})
    return tool.model_copy(update={"fn_metadata": metadata, "parameters": strict.model_json_schema(by_alias=True)})


class _Verifier:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def verify_token(self, token: str) -> AccessToken | None:
        """The holder of a valid token; None for any other text."""
        try:
            principal = await self._tokens.principal(f"Bearer {token}")
        except Problem:
            return None
        return AccessToken(token=token, client_id=principal.id, scopes=sorted(principal.scopes))


def http_tools(app: ASGIApp, tokens: Tokens, *, url: str, public_url: str | None = None) -> MCPServer[Any]:
    """The tools over streamable HTTP. Each call goes to `app` with its own token. `public_url`: the address at which
    people reach the console, if it is not `url`."""

    async def marked(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "kordant_source": "mcp"}, receive, send)

    async def asker(method: str, path: str, *, body: Any = None, params: Any = None, key: str | None = None) -> Found:
        access = get_access_token()
        if access is None:
            raise ToolError(json.dumps({"code": "unauthenticated"}))
        transport = httpx.ASGITransport(app=marked, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            return await ask(client, access.token, method, path, body=body, params=params, key=key)

    auth = AuthSettings(
        issuer_url=AnyHttpUrl(url), resource_server_url=AnyHttpUrl(url + PATH), required_scopes=["jobs:read"],
        validate_token_resource=False,
    )  # fmt: skip
    return MCPServer(
        NAME,
        tools=_tools(asker, url=public_url or url),
        token_verifier=_Verifier(tokens),
        auth=auth,
        log_level="WARNING",
    )


def stdio_tools(api_url: str, token: str) -> MCPServer[Any]:
    """The tools for a local agent (stdio). Each call goes to the API at `api_url` with this token."""

    async def asker(method: str, path: str, *, body: Any = None, params: Any = None, key: str | None = None) -> Found:
        async with httpx.AsyncClient(base_url=api_url, timeout=30, trust_env=False) as client:
            return await ask(client, token, method, path, body=body, params=params, key=key)

    return MCPServer(NAME, tools=_tools(asker, url=api_url), log_level="WARNING")


def beside(app: ASGIApp, tools: ASGIApp) -> ASGIApp:
    """An application that routes /mcp to the tools, and other paths to `app`."""

    async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_tools = scope["type"] == "http" and (path == PATH or path.startswith(WELL_KNOWN))
        await (tools if is_tools else app)(scope, receive, send)

    return by_path
