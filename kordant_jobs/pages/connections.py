"""Time limits on connections of clients: to send a request's head and its body, and to read the response.

uvicorn itself limits only the time between two requests. The uvicorn options that all our servers share are here, too.
`limit_concurrency` is the number of requests that a server handles at once; further requests get 503.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kordant_jobs.pages.limits import BODY_WITHIN_S

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
