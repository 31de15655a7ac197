"""Limits on a request without credentials: bytes, seconds, a line of the log.

How many are served at once, and how long a client may hold a connection, is `connections`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kordant_jobs.errors import KordantError

log = logging.getLogger(__name__)

BODY_WITHIN_S = 10.0
"""Seconds that a body may take: a megabyte at 1 Mbit/s."""
AGAIN_S = 30


async def read_body(request: Request, *, at_most: int, within_s: float = BODY_WITHIN_S) -> bytes | Response:
    """The body, or the answer to one that is too large (413) or too slow (408). Of these no more is read."""

    async def read() -> bytes | Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > at_most:
                return PlainTextResponse(f"at most {at_most} bytes", 413)
        return bytes(body)

    try:
        return await asyncio.wait_for(read(), within_s)
    except TimeoutError:
        return PlainTextResponse("the body came too slowly", 408, headers={"connection": "close"})
    except ClientDisconnect:
        return Response(status_code=400)


def _is_text(query: bytes) -> bool:
    try:
        query.decode()
    except UnicodeDecodeError:
        return False
    return True


class OneLineErrors:
    """ASGI middleware: an error is an answer and one line of the log, without a traceback or what the request held."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 400 to an address that is no text, 503 for errors of ours (the database is away),
        500 for others."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not _is_text(scope["query_string"]):
            await PlainTextResponse("the query is no text", 400)(scope, receive, send)
            return
        begun = False

        async def noting(message: Any) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - said in one line; the text could hold what the request held
            code = 503 if isinstance(error, KordantError) else 500
            log.warning("%s %s: %s", scope["method"], code, error if code == 503 else type(error).__name__)
            if not begun:
                answer = PlainTextResponse("not now", code, headers={"retry-after": str(AGAIN_S)})
                await answer(scope, receive, send)


ERRORS = [Middleware(OneLineErrors)]
"""For Starlette applications: below its own middleware, which would log a traceback."""
