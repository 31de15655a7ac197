"""Time limits on connections of clients: to send a request's head, its body, and to read the answer.

uvicorn limits only the time between two requests. Its options that every server of ours shares stand here, too. Its
`limit_concurrency` is how many are served at once: what is more gets 503.
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
"""Requests of pages that are served at the same time."""


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 that cuts a connection whose client is too slow. Whatever is late, nothing is answered."""

    head_within_s = 10.0
    """From the connection, or the first byte of a later request, to the end of the head."""
    body_within_s = BODY_WITHIN_S + 5.0
    """From there to the end of the body. The application, which can answer 408, gives up sooner."""
    read_within_s = 30.0
    """To read what fills the buffer of the socket: 48 KiB, so that 13 kbit/s is fast enough."""

    _arriving: asyncio.TimerHandle | None = None
    _leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._arrives_within(self.head_within_s)

    def data_received(self, data: bytes) -> None:
        """Wait for the head that these bytes may begin, unless a request is under way."""
        if self._arriving is None and (self.cycle is None or self.cycle.response_complete):
            self._arrives_within(self.head_within_s)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Wait for the body."""
        self._arrives_within(self.body_within_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._arrives_within(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """From here on the connection is a WebSocket's."""
        self._arrives_within(None)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """The client has to read first."""
        super().pause_writing()
        self._leaving = self._leaving or self.loop.call_later(self.read_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives the connection."""
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
"""Of uvicorn, for each server."""


def serve(app: ASGIApp, *, port: int, host: str = "127.0.0.1") -> None:
    """Serve pages on the loopback address, or another, until SIGTERM or Ctrl-C."""
    uvicorn.run(app, host=host, port=port, limit_concurrency=AT_ONCE, **OPTIONS)
