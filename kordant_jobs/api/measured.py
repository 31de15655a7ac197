"""Measures every call: counts by route and status, durations, and a span if tracing is on.

Counts stay in this process until `Calls.flush` adds them to the table that `/metrics` reads.
"""

import threading
import time
from bisect import bisect_left

from sqlalchemy import Engine
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kordant_jobs import tracing
from kordant_jobs.store.operators import counts
from kordant_jobs.store.operators.counts import HTTP_S, HttpCount

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "_other"
"""OpenTelemetry's name for an unknown method; also used for a path without a route."""


class Calls:
    """Counts of the calls that this process answered and has not written to the database yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, int, int], tuple[int, float]] = {}

    def note(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count one call."""
        key = (method, route, status, bisect_left(HTTP_S, took_s))
        with self._lock:
            number, sum_s = self._counts.get(key, (0, 0.0))
            self._counts[key] = (number + 1, sum_s + took_s)

    def flush(self, db: Engine) -> None:
        """Add the counts to the table. If that fails, they are kept for the next time, and the error is raised."""
        with self._lock:
            taken, self._counts = self._counts, {}
        found = [
            HttpCount(method=method, route=route, status=status, bucket=bucket, calls=number, sum_s=sum_s)
            for (method, route, status, bucket), (number, sum_s) in taken.items()
        ]
        try:
            if found:
                with db.begin() as connection:
                    counts.add_calls(connection, found)
        except Exception:
            with self._lock:
                for key, (number, sum_s) in taken.items():
                    more, longer = self._counts.get(key, (0, 0.0))
                    self._counts[key] = (number + more, sum_s + longer)
            raise


def route_of(scope: Scope) -> str:
    """The template of the route that answered: `/api/jobs/requests/{request_id}`."""
    path = getattr(scope.get("route"), "path", None)
    return f"{scope.get('root_path', '')}{path}" if path else OTHER


class Measured:
    """ASGI middleware that measures each call; it is the outermost one."""

    def __init__(self, app: ASGIApp, calls: Calls) -> None:
        self._app, self._calls = app, calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call to the application, and count it with its status and duration."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER
        status, began = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        parent = Headers(scope=scope).get("traceparent")
        with tracing.span(method, tracing.SERVER, {"http.request.method": method}, parent=parent) as span:
            try:
                await self._app(scope, receive, noting)
            finally:
                route = route_of(scope)
                self._calls.note(method, route, status, time.perf_counter() - began)
                if span is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attributes({"http.route": route, "http.response.status_code": status})
