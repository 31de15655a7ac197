"""A visit to the console: the reader and their language, and how pages are rendered or refused."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import psycopg2.errors
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kordant_jobs.api.asked import AuditedTransaction, Backend
from kordant_jobs.api.calls import Call
from kordant_jobs.api.console import HOME
from kordant_jobs.api.console import session as sessions
from kordant_jobs.api.console.filters import ENVIRONMENT, percent
from kordant_jobs.api.console.words import done_word, word
from kordant_jobs.api.gate import Quotas, Tokens
from kordant_jobs.api.problems import Problem, not_found
from kordant_jobs.api.watch import RequestWatcher
from kordant_jobs.domain.access.policy import Action, Owner, decide
from kordant_jobs.domain.access.principals import Principal, Role
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.observability.doctor import Result
from kordant_jobs.pages.html import preferred_locale
from kordant_jobs.pages.ui_guard import PREFIX
from kordant_jobs.wording import Wording, wording

SIGN_IN = f"{HOME}sign-in"
PEOPLE = frozenset({Role.ADMIN, Role.OPERATOR})
"""The roles that may sign in. Services and agents use the API; only people approve."""
STATEMENT_S = 2
CACHED_S = 60.0
PLACES = (HOME.rstrip("/"), PREFIX)
"""The paths to which a session's cookie is sent: the console and Dagster's UI. Not `/`, since other ports of the host
would get the cookie."""
COOKIE, FORM_COOKIE, LANGUAGE_COOKIE = "kordant_console", "kordant_console_form", "kordant_console_language"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store, private",
}


@dataclass(frozen=True, kw_only=True)
class Console:
    """The resources that the pages use. `watcher` feeds the streams of requests; `cache` is the cache of
    `Visit.cached`."""

    backend: Backend
    tokens: Tokens
    quotas: Quotas
    watcher: RequestWatcher
    cache: dict[str, tuple[float, object, Any]] = field(default_factory=dict)
    examined: list[tuple[datetime, Sequence[Result]]] = field(default_factory=list)
    """The doctor's last results in this process, with their time; empty before the first examination."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One call of a page. `call` None: the reader has not signed in. `key`: the cookie to which its forms are bound."""

    console: Console
    request: Request
    call: Call | None
    words: Wording
    key: str
    form: Mapping[str, str]
    session: sessions.Session | None = None

    @property
    def is_fresh(self) -> bool:
        """True when the sign-in is recent enough for a decision on a proposal."""
        return self.session is not None and self.session.is_fresh(datetime.now(UTC))

    @property
    def who(self) -> Call:
        """The call in the name of the signed-in reader.

        Raises:
            Problem: the reader has not signed in.
        """
        if self.call is None:
            raise Problem("unauthenticated", "sign in first.")
        return self.call

    def asked(self, name: str) -> str | None:
        """A value of the URL's query; None if it is empty or missing."""
        value = self.request.query_params.get(name, "").strip().replace("\x00", "")[:200]
        return value or None

    def cached(self, name: str, make: Callable[[], Any], *, of: object = None, for_s: float = CACHED_S) -> Any:
        """The result of `make`, cached under `name` for `for_s` seconds as long as `of` is equal. For sums over many
        rows, which need not be newer."""
        known = self.console.cache.get(name)
        if known is None or known[1] != of or time.monotonic() > known[0]:
            known = self.console.cache[name] = (time.monotonic() + for_s, of, make())
        return known[2]

    def may(self, action: Action) -> bool:
        """True when the policy allows the reader this action; other actions are not offered."""
        return self.call is not None and decide(self.call.principal, action, self.call.of_all()).allowed

    def page(self, template: str, title: str, *, status: int = 200, **values: Any) -> Response:
        """A page from a template; values are escaped."""
        words = self.words
        done = self.asked("done")
        count = self.asked("count")
        notice = done_word(words, done) if done else ""
        if notice and count and count.isdecimal():
            notice += f" {words.count('%(number)s request', '%(number)s requests', int(count))}."
        text = ENVIRONMENT.get_template(template).render(
            **values,
            title=title,
            notice=notice,
            locale=words.locale,
            other=next(one for one in Locale if one is not words.locale),
            say=words.say,
            number=words.number,
            count_of=lambda number: words.count("%(number)s request", "%(number)s requests", number),
            percent=partial(percent, words),
            word=partial(word, words),
            may=self.may,
            Action=Action,
            principal=self.call.principal if self.call else None,
            form_code=sessions.form_code(self.console.backend.keyring, self.key),
            navigation=self._navigation(),
            here=self.request.url.path,
            whole_url=_local(self.request),
        )
        answer = HTMLResponse(text, status, HEADERS)
        if self.call is None:
            self.set_cookie(answer, FORM_COOKIE, self.key)
        return answer

    def go(self, path: str, **query: Any) -> Response:
        """Redirect the browser to a page of the console, as after a form."""
        words = {name: value for name, value in query.items() if value is not None}
        return RedirectResponse(f"{path}?{urlencode(words)}" if words else path, 303, HEADERS)

    def begin_session(self, answer: Response, token_id: str, *, since: datetime | None = None) -> None:
        """Start a session of a token: set its cookie. `since`: the time of the sign-in, if not now."""
        session = sessions.begin(token_id, now=datetime.now(UTC), since=since)
        for place in PLACES:
            value, lasts = sessions.seal(self.console.backend.keyring, session), int(sessions.LASTS.total_seconds())
            self.set_cookie(answer, COOKIE, value, max_age=lasts, path=place)

    def set_language(self, locale: Locale, path: str) -> Response:
        """Set the reader's language in a cookie, and redirect to `path`."""
        answer = self.go(path)
        self.set_cookie(answer, LANGUAGE_COOKIE, locale.value, max_age=400 * 86_400)
        return answer

    def sign_out(self) -> Response:
        """Delete the cookies of the session, and redirect to the sign-in."""
        answer = self.go(SIGN_IN)
        for place in PLACES:
            answer.delete_cookie(COOKIE, path=place)
        return answer

    def set_cookie(
        self, answer: Response, name: str, value: str, *, max_age: int | None = None, path: str = PLACES[0],
        same_site: Literal["strict", "lax"] = "strict",
    ) -> None:  # fmt: skip
        """Set a cookie that scripts cannot read."""
        is_secure = self.request.url.scheme == "https"
        answer.set_cookie(name, value, max_age=max_age, path=path, httponly=True, samesite=same_site, secure=is_secure)

    def _navigation(self) -> Sequence[tuple[str, str]]:
        say = self.words.say
        pages = (
            ("", say("Health"), Action.SYSTEM_READ),
            ("requests", say("Requests"), Action.READ),
            ("dead", say("Dead letters"), Action.READ),
            ("performance", say("Performance"), Action.SYSTEM_READ),
            ("approvals", say("Approvals"), Action.READ_CHANGE),
            ("agents", say("Agents"), Action.SYSTEM_READ),
            ("schedules", say("Schedules"), Action.SCHEDULE_READ),
            ("alerts", say("Alerts"), Action.SYSTEM_READ),
            ("sources", say("Sources"), Action.SYSTEM_READ),
            ("subscriptions", say("Subscriptions"), Action.SUBSCRIPTION_READ),
            ("audit", say("Audit log"), Action.AUDIT_READ),
            ("doctor", say("Doctor"), Action.SYSTEM_READ),
        )
        is_own = {Action.AUDIT_READ}
        return [
            (f"{HOME}{path}", label)
            for path, label, action in pages
            if self.call is not None
            and (decide(self.call.principal, action, Owner.OWN).allowed if action in is_own else self.may(action))
        ]


def an_id(text: str) -> UUID:
    """The id in a path or a form.

    Raises:
        Problem: 404, the text is not an id.
    """
    try:
        return UUID(text)
    except ValueError:
        raise not_found() from None


View = Callable[[Connection, Visit], Response | Callable[[], Response]]
"""A function that answers a call within its transaction, or returns a function that answers after it."""


def _local(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def local_path(text: str | None) -> str:
    """The path, if it is one of the console or of Dagster's UI; else that of the first page (no open redirects).

    >>> local_path("/console/dead?job=a"), local_path("//evil.example/console/"), local_path("/console/../api")
    ('/console/dead?job=a', '/console/', '/console/')
    """
    text = text or ""
    is_path = text.startswith((HOME, f"{PREFIX}/")) and not any(bad in text for bad in ("\\", "..", "\r", "\n"))
    return text if is_path else HOME


def call_of(console: Console, principal: Principal, now: datetime) -> Call:
    """A call of the console in a principal's name."""
    backend = console.backend
    return Call(principal=principal, keyring=backend.keyring, now=now, source="console", ui_url=backend.ui_url)


async def signed_in(console: Console, connection: HTTPConnection) -> Principal | None:
    """The person of the browser's session, None without a valid one. Their token is looked up, with a short cache."""
    return await _person_of(console, _session_of(console, connection))


async def _person_of(console: Console, session: sessions.Session | None) -> Principal | None:
    if session is None:
        return None
    try:
        principal = await console.tokens.holder(session.token_id)
    except Problem:
        return None
    return principal if principal.role in PEOPLE else None


def _session_of(console: Console, connection: HTTPConnection) -> sessions.Session | None:
    cookie = connection.cookies.get(COOKIE, "")
    return sessions.opened(console.backend.keyring, cookie, now=datetime.now(UTC)) if cookie else None


async def enter(console: Console, request: Request) -> Visit:
    """Make the visit of a request: the reader by their session, their language, and the form. Without a sign-in its
    `call` is None.

    Raises:
        Problem: too many calls in a minute.
    """
    call, cookie, session = None, request.cookies.get(COOKIE, ""), _session_of(console, request)
    if (principal := await _person_of(console, session)) is not None:
        request.state.quota = console.quotas.take(principal, request.method)
        call = call_of(console, principal, datetime.now(UTC))
    language = request.cookies.get(LANGUAGE_COOKIE)
    locale = (
        Locale(language) if language in set(Locale) else preferred_locale(request.headers.get("accept-language", ""))
    )
    form: dict[str, str] = {}
    if request.method == "POST":
        form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    key = cookie if call else request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(16)
    return Visit(
        console=console, request=request, call=call, words=wording(locale), key=key, form=form, session=session
    )


def _is_ours(visit: Visit) -> bool:
    """True when the form comes from a page of this console in this browser (against CSRF)."""
    headers = visit.request.headers
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return False
    if site is not None and site not in {"same-origin", "none"}:
        return False
    return sessions.is_form_code(visit.console.backend.keyring, visit.key, visit.form.get("form_code", ""))


async def serve(console: Console, request: Request, view: View, *, open_to_all: bool = False) -> Response:
    """Answer one call: check sign-in and form code, run the view in one transaction, and show a page for errors."""
    visit = await enter(console, request)
    if visit.call is None and not open_to_all:
        return visit.go(SIGN_IN, to=_local(request) if request.method == "GET" else None)
    if request.method == "POST" and not _is_ours(visit):
        detail = visit.words.say("This form came from another page, or its session is over. Open the page again.")
        return refused(visit, Problem("forbidden", detail))
    try:
        return await run_in_threadpool(_run, visit, view)
    except Problem as problem:
        return refused(visit, problem)
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg2.errors.QueryCanceled):
            raise
        return visit.page("narrow.html", visit.words.say("Too much to look through"), status=503)


def _run(visit: Visit, view: View) -> Response:
    db = visit.console.backend.db
    operation = f"{visit.request.method} {visit.request.url.path}"[:300]
    begun = AuditedTransaction(db, visit.call, operation) if visit.call else db.begin()
    with begun as connection:
        if visit.request.method == "GET":  # a form does as much as was asked for, however long that takes
            connection.execute(sa.text(f"SET LOCAL statement_timeout = '{STATEMENT_S}s'"))
        answer = view(connection, visit)
    return answer if isinstance(answer, Response) else answer()


def refused(visit: Visit, problem: Problem) -> Response:
    """The page that says that an action was not done, and why."""
    answer = visit.page("problem.html", visit.words.say("This was not done"), status=problem.status, problem=problem)
    answer.headers.update(problem.headers)
    return answer
