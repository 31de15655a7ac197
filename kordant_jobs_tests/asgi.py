"""Asks an ASGI application as the world outside would, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

PUBLIC = "https://alerts.kordant.example"


class Client:
    """Sends requests to an application that stands at `PUBLIC`."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app=app)

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=PUBLIC) as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self._ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self._ask("POST", path, **more)
