"""Asks an ASGI application as the world outside would, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

PUBLIC = "https://alerts.kordant.example"


class Client:
    """Sends requests to an application that stands at `base_url`."""

    def __init__(self, app: Any, *, base_url: str = PUBLIC) -> None:
        self._transport = httpx.ASGITransport(app=app)
        self._base_url = base_url

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=self._base_url) as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self._ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self._ask("POST", path, **more)


def open_websocket(app: Any, path: str, headers: dict[str, str]) -> str:
    """The type of an application's first answer to a WebSocket that is opened: `websocket.accept` or `….close`."""
    scope = {
        "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "subprotocols": [],
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if not sent else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return str(sent[0]["type"])


def raw_status(app: Any, path: str, query: bytes) -> int:
    """The status of a call whose query is these bytes, which no client would send."""
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
             "path": path, "raw_path": path.encode(), "root_path": "", "query_string": query, "headers": [],
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # fmt: skip

    async def call() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await app(scope, receive, send)

    asyncio.run(call())
    return int(sent[0]["status"])
