"""Where brokers and the product call about removal requests: status callbacks of the Data Rights Protocol, replies that
a mail service posts, and 'the form is filled in'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kordant_jobs.jobs.removebrokers_process import asking, intake
from kordant_jobs.pages.limits import read_body
from kordant_jobs.store.people.keyring import Keyring

STATUS_MAX = 1 << 18
"""Bytes of a status callback, which are not even read as JSON."""


def removal_routes(
    db: Engine,
    keyring: Keyring,
    clock: Callable[[], float],
    signed: Callable[[Request], Awaitable[bytes | Response]],
) -> list[Route]:
    """The routes. `signed` gives a body whose signature is ours, or the refusal."""

    def now() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    async def status(request: Request) -> Response:
        body = await read_body(request, at_most=STATUS_MAX)  # not signed: it only says that the status is worth asking
        if isinstance(body, Response):
            return body
        named = request.path_params
        known = await run_in_threadpool(asking.status_called, db, keyring, named["request"], named["token"])
        return Response(status_code=200 if known else 404)

    async def mail(request: Request) -> Response:
        body = await signed(request)
        if isinstance(body, Response):
            return body
        taken = await run_in_threadpool(intake.take_mail, body, db=db, keyring=keyring, now=now())
        return Response(status_code=204) if taken else PlainTextResponse("no reply to a request of ours", 422)

    async def done(request: Request) -> Response:
        named = request.path_params
        state = await run_in_threadpool(asking.done_by_link, db, keyring, named["request"], named["token"], now=now())
        return PlainTextResponse(state.value) if state else Response(status_code=404)

    return [
        Route("/callbacks/removals/mail", mail, methods=["POST"]),
        Route("/callbacks/removals/{request}/{token}", status, methods=["POST"]),
        Route("/removals/{request}/done/{token}", done, methods=["POST"]),
    ]
