"""Receives webhooks of bank data providers: POST /hooks/banks/{provider}. A provider sends a shared secret in a header
(x-kordant-secret, or Authorization: Bearer), which is compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.jobs.bank_sync.hooks import NoWebhook, take_webhook
from kordant_jobs.pages.limits import read_body
from kordant_jobs.store.people.keyring import Keyring

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
