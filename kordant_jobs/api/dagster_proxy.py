"""A proxy to Dagster's own UI below /dagster, for callers who have signed in to the console or send a token.

Dagster's webserver has no login; it answers only this proxy (`pages/ui_guard.py`). The policy decides on each call, and
a mutation is written to the audit log before it is forwarded. Our cookies and tokens are not forwarded.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import websockets
from graphql import OperationType
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.typing import Subprotocol

from kordant_jobs.api.asked import AuditedTransaction, Backend
from kordant_jobs.api.calls import Call
from kordant_jobs.api.problems import Problem, denied
from kordant_jobs.catalog import SYSTEM_CRITICAL
from kordant_jobs.domain.access.dagster_ui import MUTATIONS, TERMINATE, UNRECORDED, Mutation, NotAllowed, read
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.access.principals import Principal
from kordant_jobs.engine.control import operate
from kordant_jobs.pages.ui_guard import PREFIX, PROXY_HEADER, is_local

GRAPHQL = "/graphql"
WITHHELD = ("/logs", "/notebook", "/dagit", "/download_debug", "/report_asset", "/dagit_info")
"""Paths that are not offered: files of the machine, and ways to write other than GraphQL."""
BODY_BYTES = 256 << 10
ANSWER_S = 120.0
STILL_THERE_S = 15.0
"""Seconds between two checks that the session of an open WebSocket is still valid."""
PROTOCOL = Subprotocol("graphql-ws")
_PASSED_ON = ("accept", "accept-encoding", "accept-language", "content-type", "if-none-match", "if-modified-since",
              "idempotency-key", "user-agent")  # fmt: skip
_PASSED_BACK = ("content-type", "content-encoding", "content-security-policy", "etag", "last-modified", "vary",
                "content-disposition")  # fmt: skip
_QUERIES = frozenset({OperationType.QUERY, OperationType.MUTATION})
_SUBSCRIPTIONS = frozenset({OperationType.SUBSCRIPTION})


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """The caller. `by_cookie`: by a browser's session, else by a token."""

    principal: Principal
    by_cookie: bool


IdentifyCaller = Callable[[HTTPConnection], Awaitable[Entrant]]
"""Returns the caller of a connection, by their session or token. It raises a Problem, 401, without a valid one."""


class DagsterProxy:
    """An ASGI application, mounted at /dagster, that forwards the calls that the policy allows."""

    def __init__(self, backend: Backend, who: IdentifyCaller, *, sign_in: str) -> None:
        self._backend, self._who, self._sign_in = backend, who, sign_in
        self._http: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or serve a WebSocket."""
        if scope["type"] == "websocket":
            await self._socket(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except Problem as problem:
            wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
            if problem.code == "unauthenticated" and wants_page:
                to = {"to": request.url.path + (f"?{request.url.query}" if request.url.query else "")}
                answer = RedirectResponse(f"{self._sign_in}?{urlencode(to)}", 303)
            else:
                answer = problem.response()
        await answer(scope, receive, send)

    # HTTP

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"].removeprefix(PREFIX) or "/"
        _from_here(request, self._backend.public_host)
        entrant = await self._who(request)
        call = Call(principal=entrant.principal, keyring=self._backend.keyring, now=datetime.now(UTC), source="dagster")
        if request.method == "POST" and path == GRAPHQL:
            if entrant.by_cookie:
                _from_our_page(request.headers)
            body = await request.body()
            await run_in_threadpool(self._judge, call, body, request.headers.get("content-type", ""))
            return await self._pass_on(request, body)
        if request.method not in {"GET", "HEAD"} or path == GRAPHQL or path.startswith(WITHHELD):
            raise Problem("not_found", "this part of Dagster's UI is not offered here.")
        await run_in_threadpool(
            self._permit, call, "dagster.read", lambda _: call.permit(Action.UI_READ, call.of_all())
        )
        return await self._pass_on(request, None)

    def _permit(self, call: Call, operation: str, work: Callable[[Any], object]) -> None:
        """Run `work`, which asks the policy, in a transaction that writes a denial to the audit log."""
        with AuditedTransaction(self._backend.db, call, operation) as connection:
            work(connection)

    def _judge(self, call: Call, body: bytes, kind: str) -> None:
        """Check a GraphQL call with the policy and record its mutations.

        Raises:
            Problem: the call is invalid, or the policy refuses it.
        """
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise Problem("unsupported_media_type", "GraphQL is sent as application/json.")
        if len(body) > BODY_BYTES:
            raise Problem("too_large", f"a call of Dagster's UI has at most {BODY_BYTES} bytes.")
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise NotAllowed("a call is one object: batches are not taken.")
            mutations = read(asked.get("query"), asked.get("variables"), kinds=_QUERIES)
        except (ValueError, RecursionError) as error:
            detail = str(error) if isinstance(error, NotAllowed) else "the body is no JSON."
            raise Problem("invalid", detail) from None
        name = f"dagster.{mutations[0].field}"[:100] if mutations else "dagster.read"

        def work(connection: Any) -> None:
            call.permit(Action.UI_READ, call.of_all())
            for mutation in mutations:
                self._permit_mutation(connection, call, mutation)

        self._permit(call, name, work)

    def _permit_mutation(self, connection: Any, call: Call, mutation: Mutation) -> None:
        action = MUTATIONS.get(mutation.field)
        if action is None:
            raise denied("dagster.mutation_not_offered")
        rule = call.permit(action, call.of_all())
        if mutation.field in TERMINATE:
            if not mutation.run_ids:
                raise denied("dagster.run_not_named")
            for job in operate.jobs_of_runs(connection, mutation.run_ids):
                call.permit(Action.CANCEL, call.of_all(), critical=job in SYSTEM_CRITICAL)
        if mutation.field not in UNRECORDED:
            named = mutation.named
            target = next((named[one] for one in ("runId", "runIds", "jobName", "pipelineName", "scheduleName",
                                                  "sensorName", "backfillId") if one in named), "-")  # fmt: skip
            entry = call.audit_entry(f"dagster.{mutation.field}", "dagster", target[:200], rule=rule, after=named)
            call.record(connection, entry)

    async def _pass_on(self, request: Request, body: bytes | None) -> Response:
        base = self._where()
        if self._http is None:
            self._http = httpx.AsyncClient(trust_env=False, timeout=ANSWER_S)
        raw = request.scope.get("raw_path") or request.scope["path"].encode()
        url = httpx.URL(base).copy_with(raw_path=raw.partition(b"?")[0] + _query(request))
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        asked = self._http.build_request(request.method, url, headers=headers | self._proof(), content=body)
        try:
            answer = await self._http.send(asked, stream=True)
        except httpx.HTTPError:
            raise _away() from None
        headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        headers |= {"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"}
        headers["Cache-Control"] = "no-cache" if "etag" in headers else "no-store"

        async def content() -> AsyncIterator[bytes]:
            try:
                async for part in answer.aiter_raw():
                    yield part
            finally:
                await answer.aclose()

        return StreamingResponse(content(), answer.status_code, headers)

    async def close(self) -> None:
        """Close the connections to Dagster's webserver."""
        if self._http is not None:
            await self._http.aclose()

    def _where(self) -> str:
        """The address of Dagster's webserver, as `up` reports it."""
        where = (self._backend.stack() or {}).get("dagster")
        if not where or self._backend.ui_secret is None:
            raise _away()
        return str(where)

    def _proof(self) -> dict[str, str]:
        return {PROXY_HEADER: self._backend.ui_secret or ""}

    # WebSockets: logs of runs, as they are written

    async def _socket(self, socket: WebSocket) -> None:
        try:
            _from_here(socket, self._backend.public_host)
            if "origin" in socket.headers:
                _from_our_page(socket.headers)
            entrant = await self._who(socket)
            if entrant.by_cookie and "origin" not in socket.headers:
                raise denied("dagster.same_origin")
            call = Call(principal=entrant.principal, keyring=self._backend.keyring, now=datetime.now(UTC))
            call.permit(Action.UI_READ, call.of_all())
            if PROTOCOL not in socket.scope["subprotocols"] or socket.scope["path"] != PREFIX + GRAPHQL:
                raise Problem("not_found", "there is one WebSocket, of graphql-ws.")
            where = "ws" + self._where().removeprefix("http") + GRAPHQL
            inner = await websockets.connect(where, subprotocols=[PROTOCOL], additional_headers=self._proof(),
                                             max_size=None, proxy=None)  # fmt: skip
        except (Problem, OSError, websockets.WebSocketException):
            await socket.close(1008)
            return
        await socket.accept(PROTOCOL)
        tasks = [asyncio.create_task(one) for one in (_inwards(socket, inner), _outwards(socket, inner),
                                                      self._while_signed_in(socket))]  # fmt: skip
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await inner.close()
            with suppress(RuntimeError):
                await socket.close(1008)

    async def _while_signed_in(self, socket: WebSocket) -> None:
        """Return when the session or token is no longer valid."""
        with suppress(Problem):
            while True:
                await asyncio.sleep(STILL_THERE_S)
                await self._who(socket)


async def _inwards(socket: WebSocket, inner: websockets.ClientConnection) -> None:
    """Forward the browser's messages: only subscriptions are allowed. Returns at any other operation."""
    with suppress(WebSocketDisconnect, websockets.ConnectionClosed):
        while True:
            text = await socket.receive_text()
            try:
                message = json.loads(text) if len(text) <= BODY_BYTES else {}
                if message["type"] == "start":
                    payload = message["payload"]
                    read(payload.get("query"), payload.get("variables"), kinds=_SUBSCRIPTIONS)
                elif message["type"] not in {"connection_init", "stop", "connection_terminate"}:
                    return
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return
            await inner.send(json.dumps(message))


async def _outwards(socket: WebSocket, inner: websockets.ClientConnection) -> None:
    with suppress(WebSocketDisconnect, websockets.ConnectionClosed, RuntimeError):
        async for message in inner:
            await socket.send_text(message if isinstance(message, str) else message.decode())


def _query(request: Request) -> bytes:
    raw: bytes = request.scope["query_string"]
    return b"?" + raw if raw else b""


def _away() -> Problem:
    return Problem("busy", "Dagster's UI does not answer: is `kordant-jobs up` running?", headers={"Retry-After": "5"})


def _from_here(connection: HTTPConnection, public_host: str | None) -> None:
    """Refuse a foreign Host header, as DNS rebinding sends one."""
    host = connection.headers.get("host", "")
    if not is_local(host) and host != public_host:
        raise denied("dagster.host")


def _from_our_page(headers: Headers) -> None:
    """Refuse a request that a page of another site made the browser send."""
    origin = urlsplit(headers.get("origin", ""))
    if origin.scheme not in {"http", "https"} or origin.netloc != headers.get("host"):
        raise denied("dagster.same_origin")
