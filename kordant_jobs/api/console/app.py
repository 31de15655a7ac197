"""The console as an application below /console/: its routes, signing in and out, and its two static files."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from kordant_jobs.api.console import (
    HOME,
    agents,
    alerts,
    approvals,
    dead,
    health,
    openid,
    performance,
    requests,
    schedules,
    subscriptions,
    system,
)
from kordant_jobs.api.console.live import Changes
from kordant_jobs.api.console.visit import (
    PEOPLE,
    SIGN_IN,
    Console,
    View,
    Visit,
    call_of,
    enter,
    local_path,
    refused,
    serve,
)
from kordant_jobs.api.problems import Problem, not_found
from kordant_jobs.api.watch import events
from kordant_jobs.domain.access.tokens import read_token
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.store.access import people

STATIC = Path(__file__).with_name("static")
FILES = {"console.css": "text/css", "console.js": "text/javascript"}
WATCHED_S = 300.0


def _ask_to_sign_in(_: Connection, visit: Visit) -> Response:
    if visit.call is not None and not visit.asked("again"):
        return visit.go(HOME)
    return _sign_in_page(visit, local_path(visit.asked("to")))


def _sign_in_page(visit: Visit, to: str, *, status: int = 200) -> Response:
    is_again = visit.call is not None
    query = {"to": to} | ({"again": "1"} if is_again else {})
    openid_url = f"{openid.START}?{urlencode(query)}" if visit.console.backend.openid else None
    title = visit.words.say("Sign in again") if is_again else visit.words.say("Sign in")
    return visit.page("sign_in.html", title, status=status, to=to, is_wrong=status == 401, is_again=is_again,
                      openid_url=openid_url)  # fmt: skip


def _sign_in(connection: Connection, visit: Visit) -> Response:
    """Start a session for a person's token. The response is the same for every fault of the token."""
    keyring, to = visit.console.backend.keyring, local_path(visit.form.get("to"))
    token = read_token(visit.form.get("token", "").strip())
    now = datetime.now(UTC)
    verified = None if token is None else people.verify(connection, keyring, token, now=now)
    if token is None or verified is None or verified.principal.role not in PEOPLE:
        return _sign_in_page(visit, to, status=401)
    call = call_of(visit.console, verified.principal, now)
    call.record(connection, call.audit_entry("console.sign_in", "console", "console"))
    answer = visit.go(to)
    visit.begin_session(answer, token.id)
    return answer


def _sign_out(connection: Connection, visit: Visit) -> Response:
    people.end_session(connection, visit.who.principal.token_id, made_by=openid.BY, now=datetime.now(UTC))
    visit.who.record(connection, visit.who.audit_entry("console.sign_out", "console", "console"))
    return visit.sign_out()


def _set_language(_: Connection, visit: Visit) -> Response:
    wanted = visit.form.get("language")
    locale = Locale(wanted) if wanted in set(Locale) else visit.words.locale
    return visit.set_language(locale, local_path(visit.form.get("to")))


def _nothing_here(_: Connection, visit: Visit) -> Response:
    raise not_found()


PAGES: tuple[tuple[str, View, View | None], ...] = (
    ("/", health.show, None),
    ("/requests", requests.show_list, None),
    ("/requests/{request_id}", requests.show_one, None),
    ("/requests/{request_id}/{action}", requests.ask, requests.handle_form),
    ("/dead", dead.show, None),
    ("/dead/{action}", dead.ask, dead.handle_form),
    ("/performance", performance.show, None),
    ("/approvals", approvals.show_list, None),
    ("/approvals/{change_id}", approvals.show_one, approvals.handle_form),
    ("/agents", agents.show_list, None),
    ("/agents/{agent_id}", agents.show_one, None),
    ("/schedules", schedules.show_list, None),
    ("/schedules/{job}/{tier}", schedules.show_one, schedules.handle_form),
    ("/alerts", alerts.show, alerts.handle_form),
    ("/sources", system.show_sources, None),
    ("/subscriptions", subscriptions.show_list, None),
    ("/subscriptions/{subscription_id}", subscriptions.show_one, None),
    ("/audit", system.show_audit, None),
    ("/doctor", system.show_doctor, system.examine_now),
)
"""Every page: its path, the view that shows it, and the view that handles its form."""


def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        return Response(status_code=404)
    return FileResponse(STATIC / name, media_type=FILES[name], headers={"Cache-Control": "no-cache"})


def application(console: Console, changes: Changes, *, on_error: Mapping[Any, Any]) -> Starlette:
    """The application, to be mounted at /console. `on_error`: by exception, the handler of errors outside a page."""

    def by(view: View, form: View | None = None, *, open_to_all: bool = False) -> Callable[..., Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            chosen = form if form is not None and request.method == "POST" else view
            return await serve(console, request, chosen, open_to_all=open_to_all)

        return endpoint

    async def by_openid(request: Request) -> Response:
        """Sign in through the OpenID provider, outside any transaction, since it waits for the provider."""
        visit = await enter(console, request)
        is_back = request.url.path == openid.BACK
        try:
            answer = await run_in_threadpool(openid.come_back if is_back else openid.leave, visit)
        except Problem as problem:
            answer = refused(visit, problem)
        if is_back:  # an answer of the provider counts once
            answer.delete_cookie(openid.COOKIE, path=SIGN_IN)
        return answer

    async def watch(request: Request) -> Response:
        visit = await enter(console, request)
        return changes.stream() if visit.call is not None else Response(status_code=204)

    async def watch_one(request: Request) -> Response:
        visit = await enter(console, request)
        if visit.call is None:
            return Response(status_code=204)
        try:
            request_id = UUID(request.path_params["request_id"])
            return await events(console.watcher, visit.call, request_id, timeout_s=WATCHED_S)
        except (ValueError, Problem):
            return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/static/{name}", _file),
            Route("/sign-in", by(_ask_to_sign_in, _sign_in, open_to_all=True), methods=["GET", "POST"]),
            Route(openid.START.removeprefix("/console"), by_openid),
            Route(openid.BACK.removeprefix("/console"), by_openid),
            Route("/sign-out", by(_nothing_here, _sign_out), methods=["POST"]),
            Route("/language", by(_nothing_here, _set_language, open_to_all=True), methods=["POST"]),
            Route("/changes", watch),
            Route("/requests/{request_id}/events", watch_one),
            *(
                Route(path, by(view, form), methods=["GET"] if form is None else ["GET", "POST"])
                for path, view, form in PAGES
            ),
            Route("/{rest:path}", by(_nothing_here)),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=1000)],
        exception_handlers=on_error,
    )
