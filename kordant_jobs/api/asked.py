"""Accepts a call: verifies its token, counts its quota, and runs its operation in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Header, Path, Query
from pydantic_core import to_json, to_jsonable_python
from sqlalchemy import Connection, Engine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.gate import Quotas
from kordant_jobs.api.problems import MEDIA_TYPE, STATUS, Problem
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.ports import IdentityProvider
from kordant_jobs.store.access import isolation, replies
from kordant_jobs.store.people.keyring import Keyring

PREFIX = "/api/jobs"
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
    }
    for status in sorted({status for code, status in STATUS.items() if code != "internal"})
}


@dataclass(frozen=True, kw_only=True)
class OpenId:
    """The OpenID provider for sign-in, and the role for each value of a claim."""

    provider: IdentityProvider
    role_claim: str
    roles: Mapping[str, Role]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The resources that the application uses."""

    db: Engine
    keyring: Keyring
    ui_url: str | None = None
    ui_secret: str | None = None
    """The secret that Dagster's webserver expects; None: the API does not proxy a webserver."""
    is_isolated: bool = False
    """True when reads of callers with a scope use a database role that sees only rows in their scope."""
    public_url: str | None = None
    """The address at which people reach the API through a proxy."""
    quotas: Quotas | None = None
    openid: OpenId | None = None
    """The sign-in through an OpenID provider; None: people sign in with tokens only."""
    stack: Callable[[], Mapping[str, Any] | None] = lambda: None
    """Returns the state that `up` reports, None if it does not run here."""

    @property
    def public_host(self) -> str | None:
        """The Host header of requests that come through the proxy."""
        return urlsplit(self.public_url).netloc if self.public_url else None


Work = Callable[[Connection, Call], Answer]


class Asked:
    """One accepted call. `read`, `write` and `change` run its operation in a transaction."""

    def __init__(self, backend: Backend, call: Call, operation: str, body: bytes) -> None:
        self._backend, self.call, self._operation, self._body = backend, call, operation, body

    def read(self, work: Work, *, if_none_match: str | None = None) -> Response:
        """Run `work`, which only reads. Answers 304 if the ETag is that of `if_none_match`."""
        with self._transaction() as connection:
            if self._backend.is_isolated:
                isolation.confine(connection, self.call.principal)
            answer = work(connection, self.call)
        if if_none_match is not None and answer.headers.get("ETag") == if_none_match:
            return Response(status_code=304, headers=answer.headers)
        return _response(answer)

    def write(self, work: Work, *, key: str | None) -> Response:
        """Run `work` once for its Idempotency-Key; a repeated call gets the first response again.

        Raises:
            Problem: the key is missing, came with another body before, or its first call is under way.
        """
        if not key:
            raise Problem("key_missing", "send an Idempotency-Key header: a new one for each thing that you want done.")
        meant = replies.Key(principal_id=self.call.principal.id, operation=self._operation, key=key, body=self._body)
        with self._transaction() as connection:
            if not replies.lock(connection, meant):
                raise Problem(
                    "key_in_flight",
                    "a call with this Idempotency-Key is under way: repeat it in a second, for the answer of that one.",
                    headers={"Retry-After": "1"},
                )
            known = replies.claim(connection, meant, now=self.call.now)
            if known is None:
                answer = work(connection, self.call)
                replies.finish(connection, meant, answer.status, to_jsonable_python(answer.body))
                return _response(answer)
        if not known.same_body:
            raise Problem("key_reused", "this Idempotency-Key came with another body: use a new one.")
        return JSONResponse(known.body, known.status, {"Idempotency-Replayed": "true"})

    def change(self, work: Work) -> Response:
        """Run `work`, which needs no Idempotency-Key since it is safe to repeat."""
        with self._transaction() as connection:
            return _response(work(connection, self.call))

    def _transaction(self) -> AuditedTransaction:
        return AuditedTransaction(self._backend.db, self.call, self._operation)


class AuditedTransaction:
    """A transaction. A denial rolls it back, and is written to the audit log in a second transaction."""

    def __init__(self, db: Engine, call: Call, operation: str) -> None:
        self._db, self._call, self._operation = db, call, operation
        self._begun = db.begin()

    def __enter__(self) -> Connection:
        return self._begun.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._begun.__exit__(kind, error, trace)
        if isinstance(error, Problem) and "rule" in error.more:
            with self._db.begin() as connection:
                self._call.record_denial(connection, self._operation, error.more["rule"])


def _response(answer: Answer) -> Response:
    return Response(to_json(answer.body), answer.status, answer.headers, media_type="application/json")


async def _asked(request: Request) -> Asked:
    """Accept a call: verify its token and count it against its quota."""
    backend: Backend = request.app.state.backend
    principal = await request.app.state.tokens.principal(request.headers.get("authorization"))
    request.state.quota = request.app.state.quotas.take(principal, request.method)
    source = "mcp" if request.scope.get("kordant_source") == "mcp" else "api"
    call = Call(
        principal=principal, keyring=backend.keyring, now=datetime.now(UTC), source=source, ui_url=backend.ui_url
    )
    return Asked(backend, call, f"{request.method} {request.url.path}"[:300], await request.body())


In = Annotated[Asked, Depends(_asked)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[!-~ ]+$")]
IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=200)]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", max_length=200)]
Name = Annotated[str, Path(max_length=100, pattern=r"^[a-z_.]+$")]
Tier = Annotated[Literal["basic", "plus", "premium", "all"], Path()]
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
Cursor = Annotated[str | None, Query(max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]
