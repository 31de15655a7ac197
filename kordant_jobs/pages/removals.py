"""Receives news about removal requests: status callbacks of the Data Rights Protocol, replies posted by a mail service,
and the 'done' link with which a subscriber confirms that they did what a broker asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from html import escape

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.removebrokers_process import asking, intake
from kordant_jobs.pages.html import page, preferred_locale
from kordant_jobs.pages.limits import read_body
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.wording import wording

MAIL_WITHIN_S = 60.0
"""Seconds that a mail may take: `MAIL_MAX` bytes at 1 Mbit/s."""
STATUS_MAX = 1 << 18
"""The most bytes of a status callback; its content is ignored."""


def removal_routes(
    db: Engine,
    keyring: Keyring,
    clock: Callable[[], float],
    signed: Callable[[Request], Awaitable[bytes | Response]],
) -> list[Route]:
    """The routes. `signed` returns the body if its signature is valid, else the refusal."""

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
        taken = await run_in_threadpool(intake.process_mail, body, db=db, keyring=keyring, now=now())
        return Response(status_code=204) if taken else PlainTextResponse("no reply to a request of ours", 422)

    async def done(request: Request) -> Response:
        named = request.path_params["request"], request.path_params["token"]
        for_person = "text/html" in request.headers.get("accept", "")
        locale = preferred_locale(request.headers.get("accept-language", ""))
        words = wording(locale)
        if not asking.names_a_form(keyring, *named):
            text = words.say("It was cut off or changed. Open it from the mail itself, or sign in to Kordant.")
            return page(locale, words.say("This link does not work."), text, status=404)
        if request.method == "GET":  # what scans mails opens links: only the button says it
            said = words.say("Yes, it is done")
            button = f'<form method="post"><button>{escape(said)}</button></form>'
            text = words.say("Did you do what the data broker asked for? Then its time to answer begins.")
            return page(locale, words.say("Your request to a data broker"), text, button)
        try:
            state = await run_in_threadpool(asking.done_by_link, db, keyring, *named, now=now())
        except PermanentError:  # the request moved on, or is gone
            text = words.say("Nothing more is asked of you here.")
            return page(locale, words.say("Your request to a data broker"), text, status=409)
        if for_person:
            text = words.say("Thank you. We take it from here.")
            return page(locale, words.say("Your request to a data broker"), text)
        return PlainTextResponse(state.value) if state else Response(status_code=404)

    return [
        Route("/callbacks/removals/mail", mail, methods=["POST"]),
        Route("/callbacks/removals/{request}/{token}", status, methods=["POST"]),
        Route("/removals/{request}/done/{token}", done, methods=["GET", "POST"]),
    ]
