"""The endpoint to which range notifications are pushed: one route that calls `accept_range_notification`."""

from __future__ import annotations

from pydantic import SecretStr
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.darkwatch_scan.range_notifications import (
    MAX_BYTES,
    Accepted,
    NotificationRefused,
    accept_range_notification,
)
from kordant_jobs.pages.limits import ERRORS, read_body
from kordant_jobs.postgres.database import saying_what_failed
from kordant_jobs.store.people.keyring import Keyring

PATH = "/hooks/hibp/range"


def range_webhook(db: Engine, keyring: Keyring, secret: SecretStr | None) -> Starlette:
    """An ASGI app with `POST /hooks/hibp/range`. Answers: 200 accepted; 400, 401 or 413 refused; 429 if it cannot be
    queued now, so that the sender pushes it again."""

    def take(headers: dict[str, str], body: bytes) -> Accepted:
        with saying_what_failed(), db.begin() as connection:
            return accept_range_notification(connection, headers, body, keyring=keyring, secret=secret)

    async def receive(request: Request) -> Response:
        body = await read_body(request, at_most=MAX_BYTES)
        if isinstance(body, Response):
            return body
        try:
            taken = await run_in_threadpool(take, dict(request.headers), body)
        except NotificationRefused as refused:
            return JSONResponse({"error": str(refused)}, status_code=refused.status)
        except KordantError:
            return JSONResponse({"error": "it could not be queued."}, status_code=429, headers={"retry-after": "30"})
        return JSONResponse({"queued": taken.request_id is not None})

    return Starlette(routes=[Route(PATH, receive, methods=["POST"])], middleware=ERRORS)
