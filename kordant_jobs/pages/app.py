"""The public pages and callbacks: unsubscribe, reports, Twilio's callbacks, bounces, webhooks, and a health check.

A Starlette application; `kordant-jobs notifications serve` runs it behind the proxy that terminates TLS.
"""

import hmac
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from html import escape
from urllib.parse import parse_qsl
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kordant_jobs.adapters.brokers.mailbox import MAIL_MAX
from kordant_jobs.adapters.sms.twilio import signature_of
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.domain.notifications.choices import DEFAULT_MODE, Category, Mode
from kordant_jobs.domain.notifications.receipts import Receipt
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.reports.retention import ExpiredLink, check_link
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.jobs.notifications_send import receipts
from kordant_jobs.jobs.notifications_send.unsubscribe import BadLink, Choice, read_token
from kordant_jobs.pages.hooks import MAIL_BODY_TIMEOUT_S, bank_routes, removal_routes
from kordant_jobs.pages.html import PRIVATE, page, preferred_locale
from kordant_jobs.pages.limits import BODY_WITHIN_S, ERRORS, read_body
from kordant_jobs.ports import ReportStorage
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import reports
from kordant_jobs.wording import Wording, wording

BODY_MAX = 1 << 20
"""The most bytes of a body; a bounce encloses the returned mail."""
_UNIX_TIME = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class PagesContext:
    """The resources that the pages use. A page whose secret or storage is not configured answers 404.

    `public_url` is the address at which the pages are reached from outside; Twilio includes it in its signature.
    """

    db: Engine
    keyring: Keyring
    public_url: str
    mail_domain: str
    report_storage: ReportStorage | None = None
    twilio_token: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    bank_secrets: Mapping[Provider, str] = field(default_factory=dict, repr=False)
    clock: Callable[[], float] = time.time


def application(context: PagesContext) -> Starlette:
    """The Starlette application with all public pages."""

    async def unsubscribe(request: Request) -> Response:
        try:
            choice = read_token(context.keyring, request.path_params["token"])
        except BadLink:
            locale = preferred_locale(request.headers.get("accept-language", ""))
            words = wording(locale)
            text = words.say("It was cut off or changed. Open it from the mail itself, or sign in to Kordant.")
            return page(locale, words.say("This link does not work."), text, status=404)
        if request.method != "POST":
            return _question(await run_in_threadpool(_locale, context, choice), choice)
        body = await read_body(request, at_most=BODY_MAX)
        if isinstance(body, Response):
            return body
        again = dict(parse_qsl(body.decode("utf-8", "replace"))).get("undo") == "yes"
        mode = DEFAULT_MODE[choice.channel] if again else Mode.OFF
        locale = await run_in_threadpool(_choose, context, choice, mode)
        return _again(locale, choice) if again else _done(locale, choice)

    async def report(request: Request) -> Response:
        if context.report_storage is None:
            return Response(status_code=404)
        return await run_in_threadpool(
            open_report,
            f"{request.url.path}?{request.url.query}",
            db=context.db,
            keyring=context.keyring,
            storage=context.report_storage,
            now=datetime.fromtimestamp(context.clock(), UTC),
            locale=preferred_locale(request.headers.get("accept-language", "")),
        )

    async def health(_: Request) -> Response:
        answers = await run_in_threadpool(_answers, context)
        return PlainTextResponse("ok" if answers else "no database", 200 if answers else 503)

    async def twilio(request: Request) -> Response:
        if context.twilio_token is None:
            return Response(status_code=404)
        body = await read_body(request, at_most=BODY_MAX)
        if isinstance(body, Response):
            return body
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        url = context.public_url.rstrip("/") + request.url.path
        url += f"?{request.url.query}" if request.url.query else ""
        signature = request.headers.get("x-twilio-signature", "")
        if not hmac.compare_digest(signature.encode(), signature_of(context.twilio_token, url, form).encode()):
            return Response(status_code=403)
        try:
            receipt = receipts.read_twilio(UUID(request.path_params["message"]), form)
        except ValueError:
            return Response(status_code=204)  # a status of a later version: nothing to repeat
        return await _take(context, receipt)

    async def delivery(request: Request) -> Response:
        body = await _signed(context, request)
        if isinstance(body, Response):
            return body
        try:
            return await _take(context, receipts.read_webhook(body))
        except receipts.NoReceipt:
            return PlainTextResponse("no receipt", 422)

    async def bounce(request: Request) -> Response:
        body = await _signed(context, request)
        if isinstance(body, Response):
            return body
        try:
            receipt = receipts.read_bounce(body, domain=context.mail_domain)
        except receipts.NoReceipt:
            return PlainTextResponse("no bounce of a mail of ours", 422)
        return await _take(context, receipt) if receipt else Response(status_code=204)

    return Starlette(
        routes=[
            Route("/unsubscribe/{token}", unsubscribe, methods=["GET", "POST"]),
            Route("/reports/{name}", report, methods=["GET"]),
            Route("/health", health, methods=["GET"]),
            Route("/callbacks/twilio/{message}", twilio, methods=["POST"]),
            Route("/callbacks/delivery", delivery, methods=["POST"]),
            Route("/callbacks/bounce", bounce, methods=["POST"]),
            *bank_routes(context.db, context.keyring, context.bank_secrets),
            *removal_routes(
                context.db,
                context.keyring,
                context.clock,
                partial(_signed, context, at_most=MAIL_MAX, within_s=MAIL_BODY_TIMEOUT_S),
            ),
        ],
        middleware=ERRORS,
    )


async def _signed(
    context: PagesContext, request: Request, *, at_most: int = BODY_MAX, within_s: float = BODY_WITHIN_S
) -> bytes | Response:
    """The body, if its signature is valid and recent; otherwise the refusal."""
    if context.webhook_secret is None:
        return Response(status_code=404)
    body = await read_body(request, at_most=at_most, within_s=within_s)
    if isinstance(body, Response):
        return body
    moment = request.headers.get("x-kordant-timestamp", "")
    wanted = receipts.webhook_signature(context.webhook_secret, moment, body)
    whole = _UNIX_TIME.fullmatch(moment) is not None
    fresh = whole and abs(context.clock() - int(moment)) <= receipts.WEBHOOK_AGE_MAX_S
    given = request.headers.get("x-kordant-signature", "")
    if not fresh or not hmac.compare_digest(given.encode(), wanted.encode()):
        return Response(status_code=403)
    return body


async def _take(context: PagesContext, receipt: Receipt) -> Response:
    def write() -> None:
        with context.db.begin() as connection:
            receipts.take(connection, context.keyring, receipt)

    await run_in_threadpool(write)
    return Response(status_code=204)


def _answers(context: PagesContext) -> bool:
    """True when the database answers."""
    try:
        with context.db.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    except sa.exc.SQLAlchemyError:
        return False
    return True


def _locale(context: PagesContext, choice: Choice) -> Locale:
    with context.db.connect() as connection:
        return notification_choices.locale_of(connection, choice.subscriber_id)


def _choose(context: PagesContext, choice: Choice, mode: Mode) -> Locale:
    with context.db.begin() as connection:
        locale = notification_choices.locale_of(connection, choice.subscriber_id)
        if notification_choices.is_known(connection, choice.subscriber_id):
            notification_choices.choose(
                connection,
                choice.subscriber_id,
                category=choice.category,
                channel=choice.channel,
                mode=mode,
                by="unsubscribe link",
            )
        return locale


def _category_word(words: Wording, category: Category) -> str:
    return {
        Category.BREACH: words.say("stolen data"),
        Category.HOME_TITLE: words.say("your home's title"),
        Category.VOICE: words.say("your voice"),
        Category.REMOVAL: words.say("data brokers"),
        Category.REPORT: words.say("reports"),
        Category.FINANCE: words.say("your bank accounts"),
    }[category]


def _form(name: str, label: str) -> str:
    return f'<form method="post"><button type="submit" name="{name}" value="yes">{escape(label)}</button></form>'


def _question(locale: Locale, choice: Choice) -> Response:
    words = wording(locale)
    title = words.say("No more mails about %(category)s?", category=_category_word(words, choice.category))
    text = words.say("Other mails from Kordant are not affected. You can change this later.")
    return page(locale, title, text, _form("confirm", words.say("Yes, no more of these")))


def _done(locale: Locale, choice: Choice) -> Response:
    words = wording(locale)
    text = words.say(
        "You will get no more mails about %(category)s. Other mails from Kordant are not affected.",
        category=_category_word(words, choice.category),
    )
    return page(locale, words.say("Done."), text, _form("undo", words.say("Undo: send them again")))


def _again(locale: Locale, choice: Choice) -> Response:
    words = wording(locale)
    text = words.say("You get mails about %(category)s again.", category=_category_word(words, choice.category))
    return page(locale, words.say("Done."), text)


log = logging.getLogger(__name__)

AGAIN_S = 60
"""Seconds after which the reader may try again while the report storage does not answer (Retry-After)."""


def open_report(
    link: str, *, db: Engine, keyring: Keyring, storage: ReportStorage, now: datetime, locale: Locale
) -> Response:
    """The PDF of `link` (path and query), or a page with the reason why there is none. The page is in the language of
    the report, or in `locale` if no report was found."""
    try:
        report_id = check_link(link, now=now, key=keyring.report_link_key)
    except ExpiredLink:
        return _expired(locale)
    except PermanentError:
        return _no_link(locale)
    with db.connect() as connection:
        found = reports.place_of(connection, report_id)
    if found is None:
        return _gone(locale)
    try:
        content = storage.get(found.storage_key)
    except (PermanentError, TransientError) as error:
        log.warning("report %s cannot be opened: %s", report_id, error)
        return _not_now(Locale(found.locale))
    name = f"kordant-{found.period_start_on.isoformat()}.pdf"
    headers = {**PRIVATE, "Content-Disposition": f'inline; filename="{name}"', "Content-Language": found.locale}
    return Response(content, media_type="application/pdf", headers=headers)


def _no_link(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("It was cut off or changed. Open it from the mail itself, or sign in to Kordant.")
    return page(locale, words.say("This link does not work."), text, status=404)


def _expired(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("Sign in to Kordant to read the report.")
    return page(locale, words.say("This link has expired."), text, status=410)


def _gone(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("Its time was over, or it was deleted with your data.")
    return page(locale, words.say("This report is no longer kept."), text, status=410)


def _not_now(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("Please try again in a few minutes.")
    title = words.say("The report cannot be opened at the moment.")
    return page(locale, title, text, status=503, **{"Retry-After": str(AGAIN_S)})
