"""The pages and callbacks that the world outside reaches: unsubscribing, Twilio's callbacks, bounces, webhooks.

A Starlette application; `kordant-jobs notifications serve` runs it behind the proxy that ends TLS.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from uuid import UUID

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from kordant_jobs.adapters.sms.twilio import signature_of
from kordant_jobs.domain.notifications import Mode
from kordant_jobs.domain.receipts import Receipt
from kordant_jobs.domain.subscriptions import Locale
from kordant_jobs.jobs.notifications_send import receipts
from kordant_jobs.jobs.notifications_send.unsubscribe import BadLink, Choice, read_token
from kordant_jobs.store import notification_choices
from kordant_jobs.store.keyring import Keyring
from kordant_jobs.wording import wording

BODY_MAX = 1 << 20
"""Bytes; a bounce encloses the mail that came back."""


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:3em auto;padding:0 1em}"
    "button{font:inherit;padding:.6em 1em}"
)


@dataclass(frozen=True, kw_only=True)
class Doors:
    """What the application works with. A door without its secret is closed: it answers 404.

    `public_url` is the address under which the world reaches it: Twilio signs it.
    """

    db: Engine
    keyring: Keyring
    public_url: str
    mail_domain: str
    twilio_token: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.time


def application(doors: Doors) -> Starlette:
    """The application."""

    async def unsubscribe(request: Request) -> Response:
        try:
            choice = read_token(doors.keyring, request.path_params["token"])
        except BadLink:
            return HTMLResponse(_page(Locale.EN, "404", "This link is not ours, or was cut off."), 404)
        act = request.method == "POST"
        locale = await run_in_threadpool(_unsubscribe if act else _locale, doors, choice)
        return HTMLResponse(_done(locale) if act else _question(locale))

    async def twilio(request: Request) -> Response:
        if doors.twilio_token is None:
            return Response(status_code=404)
        form = {name: str(value) for name, value in (await request.form()).items()}
        url = doors.public_url.rstrip("/") + request.url.path
        url += f"?{request.url.query}" if request.url.query else ""
        signature = request.headers.get("x-twilio-signature", "")
        if not hmac.compare_digest(signature.encode(), signature_of(doors.twilio_token, url, form).encode()):
            return Response(status_code=403)
        try:
            receipt = receipts.read_twilio(UUID(request.path_params["message"]), form)
        except ValueError:
            return Response(status_code=204)  # a status of a later version: nothing to repeat
        return await _take(doors, receipt)

    async def delivery(request: Request) -> Response:
        body = await _signed(doors, request)
        if isinstance(body, Response):
            return body
        try:
            return await _take(doors, receipts.read_webhook(body))
        except receipts.NoReceipt:
            return PlainTextResponse("no receipt", 422)

    async def bounce(request: Request) -> Response:
        body = await _signed(doors, request)
        if isinstance(body, Response):
            return body
        try:
            receipt = receipts.read_bounce(body, domain=doors.mail_domain)
        except receipts.NoReceipt:
            return PlainTextResponse("no bounce of a mail of ours", 422)
        return await _take(doors, receipt) if receipt else Response(status_code=204)

    return Starlette(
        routes=[
            Route("/unsubscribe/{token}", unsubscribe, methods=["GET", "POST"]),
            Route("/callbacks/twilio/{message}", twilio, methods=["POST"]),
            Route("/callbacks/delivery", delivery, methods=["POST"]),
            Route("/callbacks/bounce", bounce, methods=["POST"]),
        ]
    )


async def _signed(doors: Doors, request: Request) -> bytes | Response:
    """The body, when its signature is ours and fresh."""
    if doors.webhook_secret is None:
        return Response(status_code=404)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            return Response(status_code=413)
    moment = request.headers.get("x-kordant-timestamp", "")
    wanted = receipts.webhook_signature(doors.webhook_secret, moment, body)
    fresh = moment.isdigit() and abs(doors.clock() - int(moment)) <= receipts.WEBHOOK_AGE_MAX_S
    given = request.headers.get("x-kordant-signature", "")
    if not fresh or not hmac.compare_digest(given.encode(), wanted.encode()):
        return Response(status_code=403)
    return body


async def _take(doors: Doors, receipt: Receipt) -> Response:
    def write() -> None:
        with doors.db.begin() as connection:
            receipts.take(connection, doors.keyring, receipt)

    await run_in_threadpool(write)
    return Response(status_code=204)


def _locale(doors: Doors, choice: Choice) -> Locale:
    with doors.db.connect() as connection:
        return notification_choices.locale_of(connection, choice.subscriber_id)


def _unsubscribe(doors: Doors, choice: Choice) -> Locale:
    with doors.db.begin() as connection:
        locale = notification_choices.locale_of(connection, choice.subscriber_id)
        if notification_choices.is_known(connection, choice.subscriber_id):
            notification_choices.choose(
                connection,
                choice.subscriber_id,
                category=choice.category,
                channel=choice.channel,
                mode=Mode.OFF,
                by="unsubscribe link",
            )
        return locale


def _question(locale: Locale) -> str:
    words = wording(locale)
    button = escape(words.say("Yes, no more of these"))
    form = f'<form method="post"><button type="submit" name="confirm" value="yes">{button}</button></form>'
    return _page(locale, words.say("No more mails of this kind?"), words.say("You can change this later."), form)


def _done(locale: Locale) -> str:
    words = wording(locale)
    return _page(locale, words.say("Done."), words.say("You will get no more mails of this kind."))


def _page(locale: Locale, title: str, text: str, form: str = "") -> str:
    return (
        f'<!doctype html><html lang="{locale}"><meta charset="utf-8"><meta name="robots" content="noindex">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<main><h1>{escape(title)}</h1><p>{escape(text)}</p>{form}</main></html>"
    )
