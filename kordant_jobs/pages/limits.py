"""Limits on requests without credentials: bytes, seconds, and one log line for an error.

Limits on concurrency and on the time of a connection are in `connections`.
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
"""Seconds within which a body must arrive: about a megabyte at 1 Mbit/s."""
AGAIN_S = 30
"""Seconds after which a client may try again (Retry-After)."""


async def read_body(request: Request, *, at_most: int, within_s: float = BODY_WITHIN_S) -> bytes | Response:
    """The body, or the error response if it is too large (413), too slow (408) or cut off (400); reading stops then."""

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
    """ASGI middleware that turns an error into a response and one log line, without a traceback or request content."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Answers 400 to a query string that is not UTF-8, 503 to a `KordantError` (such as an
        unreachable database) and 500 to any other error."""
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
"""For Starlette applications: it runs inside Starlette's own error middleware, which would log a traceback."""
