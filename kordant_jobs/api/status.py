"""A fast path for the status of a request, the most frequent call: it is answered without FastAPI.

The operation and the policy are those of the route (`requests.read`). Reads that arrive while a query is in progress
wait for it and are then batched: one thread and one round trip to Postgres for all of them. Every other case (another
call, a refusal, an error) is passed to the application.
"""

import asyncio
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from kordant_jobs.api import requests
from kordant_jobs.api.asked import PREFIX, Backend
from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.gate import Quotas, Tokens
from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access.principals import Principal
from kordant_jobs.engine.control import Request, operate
from kordant_jobs.errors import DatabaseUnavailable

_PATH = re.compile(re.escape(PREFIX) + "/requests/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
_ROUTE = SimpleNamespace(path=f"{PREFIX}/requests/{{request_id}}")
_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"))  # fmt: skip


class BatchedReads:
    """Looks up requests. Reads that arrive during a query are batched into the next one."""

    def __init__(self, get: Callable[[Collection[UUID]], dict[UUID, Request]]) -> None:
        self._get = get
        self._waiting: dict[UUID, list[asyncio.Future[Request | None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def read(self, request_id: UUID) -> Request | None:
        """The request; None: there is no such request.

        Raises:
            DatabaseUnavailable: the database cannot be read.
        """
        future: asyncio.Future[Request | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(request_id, []).append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read_all())
        return await future

    async def _read_all(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, {}
            error: Exception | None = None
            found: dict[UUID, Request] = {}
            try:
                found = await run_in_threadpool(self._get, tuple(taken))
            except Exception as raised:  # noqa: BLE001 - each caller that waits gets it
                error = raised
            for request_id, futures in taken.items():
                for future in futures:
                    if future.done():  # its client has gone
                        continue
                    if error is not None:
                        future.set_exception(error)
                    else:
                        future.set_result(found.get(request_id))


class StatusReads:
    """ASGI middleware that answers `GET /api/jobs/requests/{id}`, and passes other calls to the application."""

    def __init__(self, app: ASGIApp, backend: Backend, tokens: Tokens, quotas: Quotas) -> None:
        self._app, self._backend, self._tokens, self._quotas = app, backend, tokens, quotas
        self._reads = BatchedReads(operate.StatusReads(backend.db, size=2).get)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the call, or pass it to the application."""
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            found = _PATH.fullmatch(scope["path"])
            if found is not None:
                scope["route"] = _ROUTE  # by which calls are counted
                if await self._is_answered(scope, send, UUID(found[1])):
                    return
        await self._app(scope, receive, send)

    async def _is_answered(self, scope: Scope, send: Send, request_id: UUID) -> bool:
        given = dict(scope["headers"])
        try:
            principal = await self._tokens.principal(given.get(b"authorization", b"").decode("latin-1"))
            answer = self._answer(principal, await self._reads.read(request_id))
            quota = self._quotas.take(principal, "GET")
        except (Problem, DatabaseUnavailable, SQLAlchemyError):
            return False
        tag = answer.headers["ETag"].encode()
        body = b"" if given.get(b"if-none-match") == tag else to_json(answer.body)
        headers = [*_HEADERS, (b"etag", tag), *((name.lower().encode(), one.encode()) for name, one in quota.items())]
        if body:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200 if body else 304, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    def _answer(self, principal: Principal, found: Request | None) -> Answer:
        call = Call(principal=principal, keyring=self._backend.keyring, now=datetime.now(UTC),
                    ui_url=self._backend.ui_url)  # fmt: skip
        return requests.status_answer(call, found)
