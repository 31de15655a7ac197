"""/api/jobs as a FastAPI application: its routes, and the responses to errors."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from typing import Any

import sqlalchemy.exc
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from kordant_jobs.api import schemas as api
from kordant_jobs.api.asked import PREFIX, Backend
from kordant_jobs.api.console.app import application as console_application
from kordant_jobs.api.console.live import Changes
from kordant_jobs.api.console.visit import SIGN_IN, Console, signed_in
from kordant_jobs.api.dagster_proxy import DagsterProxy, Entrant
from kordant_jobs.api.gate import Gate, Quotas, Tokens
from kordant_jobs.api.measured import Calls, Measured
from kordant_jobs.api.problems import STATUS, Problem, denied
from kordant_jobs.api.routes import router
from kordant_jobs.api.status import StatusReads
from kordant_jobs.api.watch import RequestWatcher
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.domain.reports.receipts import key_set
from kordant_jobs.observability import metrics
from kordant_jobs.pages.limits import OneLineErrors
from kordant_jobs.pages.ui_guard import PREFIX as PATH_OF_UI
from kordant_jobs.redaction import redact

__all__ = ["Backend", "application", "router"]

log = logging.getLogger(__name__)

OF_STATUS = {status: code for code, status in STATUS.items()} | {404: "not_found", 400: "malformed_json"}


def _invalid(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return Problem("malformed_json", "the body is no JSON.")
    is_cursor = any(tuple(one["loc"]) == ("query", "cursor") for one in found)
    errors = [
        {
            "pointer": "/" + "/".join(map(str, one["loc"][1:])),
            "in": str(one["loc"][0]),
            "detail": redact(str(one["msg"])),
        }
        for one in found[:20]
    ]
    if is_cursor:
        return Problem("bad_cursor", "this is no cursor of ours: begin without one.", errors=errors)
    return Problem("invalid", "what was sent is not what this takes.", errors=errors)


async def _metrics(request: Request) -> Response:
    """The metrics for Prometheus. Callers on this machine need no token; others need an admin's or operator's."""
    host = request.client.host if request.client else ""
    if not (host and ip_address(host).is_loopback and "x-forwarded-for" not in request.headers):
        principal = await request.app.state.tokens.principal(request.headers.get("authorization"))
        if principal.role not in {Role.ADMIN, Role.OPERATOR}:
            raise denied("metrics.operators")
    found = await run_in_threadpool(metrics.render, request.app.state.backend.db)
    return Response(found, media_type=metrics.CONTENT_TYPE)


async def _keys(request: Request) -> Response:
    """The public key with which every holder of a receipt can verify it."""
    key = request.app.state.backend.keyring.receipt_key.public_key()
    return JSONResponse(key_set([key]), headers={"Cache-Control": "public, max-age=3600"})


async def _on_problem(_: Request, error: Any) -> Response:
    answer: Response = error.response()
    return answer


async def _on_invalid(_: Request, error: Any) -> Response:
    return _invalid(error).response()


async def _on_http(_: Request, error: Any) -> Response:
    code = OF_STATUS.get(error.status_code, "invalid")
    detail = "there is nothing here." if code == "not_found" else "this cannot be read or is not offered here."
    return Problem(code, detail, headers=error.headers).response()


async def _on_database(_: Request, error: Any) -> Response:
    log.warning("the database refused: %s", type(error).__name__)
    detail = "the database is away: the same call may work in a few seconds."
    return Problem("database_unavailable", detail, headers={"Retry-After": "5"}).response()


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the schema of problems and the token scheme."""
        if self.openapi_schema is None:
            schema = super().openapi()
            schema["components"]["schemas"]["ProblemOut"] = api.ProblemOut.model_json_schema()
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            self.openapi_schema = schema
        return self.openapi_schema


def application(
    backend: Backend, *, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None
) -> FastAPI:
    """The application: the API, the console, Dagster's UI, metrics and health."""
    app = _Api(title="Kordant jobs", version="1", docs_url=None, redoc_url=None,
                  openapi_url=f"{PREFIX}/openapi.json", lifespan=lifespan)  # fmt: skip
    app.state.backend = backend
    app.state.tokens = Tokens(backend.db, backend.keyring)
    app.state.quotas = backend.quotas or Quotas()
    app.state.watcher = RequestWatcher(backend.db)
    app.router.routes.extend(router.routes)  # `include_router` builds every model of every route again
    app.add_api_route("/livez", lambda: {"alive": True}, methods=["GET"], include_in_schema=False)
    app.add_api_route("/metrics", _metrics, methods=["GET"], include_in_schema=False)
    app.add_api_route("/.well-known/jwks.json", _keys, methods=["GET"], include_in_schema=False)

    app.state.changes = Changes(backend.db)
    console = Console(backend=backend, tokens=app.state.tokens, quotas=app.state.quotas, watcher=app.state.watcher)
    on_error: dict[Any, Any] = {
        Problem: _on_problem, OperationalError: _on_database, sqlalchemy.exc.TimeoutError: _on_database
    }  # fmt: skip
    app.mount("/console", console_application(console, app.state.changes, on_error=on_error))

    async def who(connection: HTTPConnection) -> Entrant:
        header = connection.headers.get("authorization")
        principal = await (app.state.tokens.principal(header) if header else signed_in(console, connection))
        if principal is None:
            raise Problem("unauthenticated", "sign in to the console, or send a token.")
        app.state.quotas.take(principal, "GET")
        return Entrant(principal=principal, by_cookie=header is None)

    app.state.proxy = DagsterProxy(backend, who, sign_in=SIGN_IN)
    app.mount(PATH_OF_UI, app.state.proxy)
    for kind, handler in on_error.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(OneLineErrors)
    app.add_middleware(Gate)
    app.add_middleware(StatusReads, backend=backend, tokens=app.state.tokens, quotas=app.state.quotas)
    app.state.calls = Calls()
    app.add_middleware(Measured, calls=app.state.calls)
    return app
