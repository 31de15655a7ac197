"""Checks every call: size and time of its body, rate of calls, and its token."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access import subscriber_tokens
from kordant_jobs.domain.access.principals import Principal
from kordant_jobs.domain.access.tokens import read_token
from kordant_jobs.pages.limits import read_body
from kordant_jobs.store.access import people
from kordant_jobs.store.access.people import Verified
from kordant_jobs.store.people.keyring import Keyring

BODY_BYTES = 1 << 20
REMEMBERED_S = 5.0
"""Seconds for which a verified token is cached; a revoked token works so long at most."""
REMEMBERED = 10_000
QUOTAS = {"read": 60_000, "write": 1200}
"""Calls per minute and principal."""
MINUTE_S = 60
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UNAUTHENTICATED = {"WWW-Authenticate": "Bearer"}


@dataclass
class Tokens:
    """Verifies tokens, and caches their principals for a few seconds."""

    db: Engine
    keyring: Keyring
    _known: OrderedDict[bytes, tuple[float, Verified]] = field(default_factory=OrderedDict)
    _used: dict[str, datetime] = field(default_factory=dict)

    async def principal(self, header: str | None) -> Principal:
        """The principal of an Authorization header.

        Raises:
            Problem: 401, the same for every reason.
        """
        scheme, _, text = (header or "").partition(" ")
        text = text.strip() if scheme.lower() == "bearer" else ""
        mark = self.keyring.sign("api-token-cache", text.encode("utf-8", "replace"))
        if (token := read_token(text)) is not None:
            return await self._remembered(
                mark, lambda connection, now: people.verify(connection, self.keyring, token, now=now)
            )
        key = self.keyring.subscriber_token_key.public_key()
        if (signed := subscriber_tokens.read(text, key, now=datetime.now(UTC))) is not None:
            return await self._remembered(mark, lambda connection, now: people.subscriber(connection, signed))
        raise _unknown()

    async def holder(self, token_id: str) -> Principal:
        """The principal who holds the token with this id, which the caller has verified (a session's cookie names it).

        Raises:
            Problem: 401, if the token has expired or was revoked.
        """
        mark = b"held:" + token_id.encode()
        return await self._remembered(mark, lambda connection, now: people.holder(connection, token_id, now=now))

    async def _remembered(self, mark: bytes, find: Callable[[Connection, datetime], Verified | None]) -> Principal:
        remembered = self._known.get(mark)
        now = datetime.now(UTC)
        if remembered and time.monotonic() < remembered[0] and remembered[1].expires_at > now:
            return remembered[1].principal

        def ask() -> Verified | None:
            with self.db.connect() as connection:
                return find(connection, now)

        verified = await run_in_threadpool(ask)
        if verified is None:
            raise _unknown()
        if verified.principal.token_id:
            self._used[verified.principal.token_id] = now
        self._known[mark] = (time.monotonic() + REMEMBERED_S, verified)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return verified.principal

    def note_uses(self) -> None:
        """Record in the database the last use of tokens since the previous call."""
        used, self._used = self._used, {}
        if used:
            with self.db.begin() as connection:
                people.note_uses(connection, used)


def _unknown() -> Problem:
    detail = "send a token that works as `Authorization: Bearer …`; `kordant-jobs tokens create` makes one."
    return Problem("unauthenticated", detail, headers=_UNAUTHENTICATED)


class Quotas:
    """Counts the calls of each principal in this process. With several workers each gets its share of the quotas.

    The method is a sliding window: the counter of this minute, plus that of the last minute in proportion to the part
    of it within the last 60 s. Storing the time of each of 60,000 calls would cost more than the calls.
    """

    def __init__(self, quotas: dict[str, int] | None = None, *, workers: int = 1) -> None:
        self._most = {name: max(1, most // workers) for name, most in (quotas or QUOTAS).items()}
        self._minute, self._now, self._last = 0, Counter[tuple[str, str]](), Counter[tuple[str, str]]()

    def take(self, principal: Principal, method: str, *, at_s: float | None = None) -> dict[str, str]:
        """Count one call. Returns the RateLimit headers, with the calls that are left.

        Raises:
            Problem: 429 with Retry-After, when the quota is used up.
        """
        name = "read" if method in SAFE else "write"
        most, key = self._most[name], (principal.id, name)
        minute, since_s = divmod(time.time() if at_s is None else at_s, MINUTE_S)
        if minute != self._minute:
            self._last = self._now if minute == self._minute + 1 else Counter()
            self._now, self._minute = Counter(), int(minute)
        of_last = self._last[key] * (1 - since_s / MINUTE_S)
        left = most - int(of_last) - self._now[key]
        reset_s = int(MINUTE_S - since_s) + 1
        headers = {
            "RateLimit-Policy": f'"{name}";q={most};w=60',
            "RateLimit": f'"{name}";r={max(0, left - 1)};t={reset_s}',
        }
        if left < 1:
            detail = "too many calls in a minute: wait, then go on slower."
            headers["Retry-After"] = str(reset_s)
            raise Problem("too_many_requests", detail, headers=headers, retry_after_s=reset_s)
        self._now[key] += 1
        return headers


class Gate:
    """ASGI middleware that reads each body whole, limited in bytes and seconds, before the application runs, and adds
    the headers of the caller's quota to responses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call to the application, or refuse its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = b""
        if scope["method"] not in SAFE:
            read = await read_body(Request(scope, receive), at_most=BODY_BYTES)
            if isinstance(read, Response):
                codes = {413: "too_large", 408: "busy"}
                detail = f"a body has at most {BODY_BYTES} bytes, and comes within seconds."
                await Problem(codes.get(read.status_code, "malformed_json"), detail).response()(scope, receive, send)
                return
            body = read
        sent = False

        async def once() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                quota = scope.get("state", {}).get("quota", {})
                extra = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **quota}
                own = {bytes(name).lower() for name, _ in message["headers"]}
                named = [(name.lower().encode(), value.encode()) for name, value in extra.items()]
                headers = [*message["headers"], *((name, value) for name, value in named if name not in own)]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, once, with_headers)
