"""Limits on requests without credentials: bytes, seconds, connections at once, and one log line for an error."""

import asyncio
import logging
from typing import Any

import uvicorn
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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


KEEP_ALIVE_S = 5
AT_ONCE = 64
"""The number of requests that the pages handle at the same time."""


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 that closes the connection of a client that is too slow, without a response."""

    head_within_s = 10.0
    """Seconds from the connection, or from the first byte of a later request, to the end of the head."""
    body_within_s = BODY_WITHIN_S + 5.0
    """Seconds from there to the end of the body. The application gives up sooner, and can answer 408."""
    read_within_s = 30.0
    """Seconds that a client has to read one full socket buffer (48 KiB): 13 kbit/s is fast enough."""

    _arriving: asyncio.TimerHandle | None = None
    _leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn calls it
        """Start the time limit for the first head."""
        super().connection_made(transport)
        self._arrives_within(self.head_within_s)

    def data_received(self, data: bytes) -> None:
        """Start the time limit for the head that these bytes begin, unless a request is in progress."""
        if self._arriving is None and (self.cycle is None or self.cycle.response_complete):
            self._arrives_within(self.head_within_s)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Start the time limit for the body."""
        self._arrives_within(self.body_within_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the time limit: the whole request has arrived."""
        self._arrives_within(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Stop the time limit: the connection becomes a WebSocket."""
        self._arrives_within(None)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Start the time limit for the client to read: the send buffer is full."""
        super().pause_writing()
        self._leaving = self._leaving or self.loop.call_later(self.read_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the time limit: the client has read, and the buffer has room."""
        super().resume_writing()
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        self._arrives_within(None)
        self._read()
        super().connection_lost(exc)

    def _arrives_within(self, seconds: float | None) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
        self._arriving = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

    def _read(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._leaving = None


OPTIONS: dict[str, Any] = {
    "http": BoundedHttp,
    "log_level": "warning",
    "access_log": False,
    "timeout_keep_alive": KEEP_ALIVE_S,
    "server_header": False,
}
"""The uvicorn options of every server."""


def serve(app: ASGIApp, *, port: int, host: str = "127.0.0.1") -> None:
    """Serve pages on the loopback address, or another, until SIGTERM or Ctrl-C."""
    uvicorn.run(app, host=host, port=port, limit_concurrency=AT_ONCE, **OPTIONS)
