"""Endpoints that other services call, and the 'done' link of removal requests.

Data brokers: status callbacks of the Data Rights Protocol, replies posted by a mail service. Bank data providers:
POST /hooks/banks/{provider}, with a shared secret in a header (x-kordant-secret, or Authorization: Bearer), which is
compared in constant time. Have I Been Pwned: range notifications.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from html import escape

from pydantic import SecretStr
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.errors import KordantError, PermanentError
from kordant_jobs.jobs.bank_sync.hooks import NoWebhook, take_webhook
from kordant_jobs.jobs.darkwatch_scan.range_notifications import (
    MAX_BYTES,
    Accepted,
    NotificationRefused,
    accept_range_notification,
)
from kordant_jobs.jobs.removebrokers_process import asking, intake
from kordant_jobs.pages.html import page, preferred_locale
from kordant_jobs.pages.limits import ERRORS, read_body
from kordant_jobs.postgres.database import saying_what_failed
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.wording import wording

MAIL_BODY_TIMEOUT_S = 60.0
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


BODY_MAX = 1 << 20


def bank_routes(db: Engine, keyring: Keyring, secrets: Mapping[Provider, str]) -> list[Route]:
    """The routes. Answers: 404 for a provider without a configured secret, 401 for a wrong secret, 422 for a body that
    is not a webhook of this provider, and 200 once the webhook is stored, so that the provider does not send it
    again."""

    def take(provider: Provider, body: bytes) -> bool:
        with db.begin() as connection:
            return take_webhook(connection, keyring, provider, body, now=datetime.now(UTC))

    async def hook(request: Request) -> Response:
        named = request.path_params["provider"]
        secret = secrets.get(Provider(named)) if named in set(Provider) else None
        if not secret:
            return Response(status_code=404)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-kordant-secret") or bearer
        if not hmac.compare_digest(given.encode(), secret.encode()):
            return Response(status_code=401)
        body = await read_body(request, at_most=BODY_MAX)
        if isinstance(body, Response):
            return body
        try:
            news = await run_in_threadpool(take, Provider(named), body)
        except NoWebhook:
            return JSONResponse({"error": "this is no webhook of this provider."}, status_code=422)
        return JSONResponse({"news": news})

    return [Route("/hooks/banks/{provider}", hook, methods=["POST"])]


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
