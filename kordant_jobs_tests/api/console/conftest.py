"""The console as browsers of several people ask it, without a server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.console.visit import COOKIE
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.store.access import changes, people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import due_slots

BASE = "http://127.0.0.1:3090"


class Reader:
    """A browser without JavaScript: it keeps cookies and fills in forms, and follows nothing by itself."""

    def __init__(self, app: Any, *, language: str = "en") -> None:
        self.app = app
        self.cookies = httpx.Cookies()
        self._language = language

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Accept-Language": self._language, **more.pop("headers", {})}

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url=BASE, cookies=self.cookies) as client:
                answer = await client.request(method, path, headers=headers, **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(go())

    @property
    def session(self) -> str | None:
        """The cookie of a session, as it is sent to the console."""
        return self.cookies.get(COOKIE, path="/console")

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def code(self, path: str = "/console/sign-in") -> str:
        """The code of the forms on a page."""
        answer = self.get(path)
        if answer.is_redirect:
            answer = self.get(answer.headers["location"])
        found = re.search(r'name="form_code" value="([0-9a-f]+)"', answer.text)
        assert found, answer.text
        return found[1]

    def post(self, path: str, *, on: str = "/console/sign-in", **fields: str) -> httpx.Response:
        return self.ask("POST", path, data={"form_code": self.code(on), **fields})

    def sign_in(self, token: str) -> httpx.Response:
        return self.post("/console/sign-in", token=token, to="/console/")


def token_of(
    db: Engine, keyring: Keyring, principal: str, role: Role, scopes: tuple[TokenScope, ...], **more: Any
) -> str:
    with db.begin() as connection:
        people.save_principal(connection, principal, role, by="user:test", **more)
        return people.create_token(
            connection, keyring, principal, scopes, days=1, by="user:test", now=datetime.now(UTC)
        )


READ_ONLY = (TokenScope.JOBS_READ, TokenScope.SCHEDULES_READ, TokenScope.AUDIT_READ)


@pytest.fixture
def readers(db: Engine, keyring: Keyring, app: Any) -> dict[str, Reader]:
    """Signed in: an admin, an operator, an operator who may only look, and one of a single tenant."""
    everything = tuple(TokenScope)
    tokens = {
        "admin": token_of(db, keyring, "user:admin", Role.ADMIN, everything),
        "operator": token_of(db, keyring, "user:operator", Role.OPERATOR, everything),
        "reader": token_of(db, keyring, "user:reader", Role.OPERATOR, READ_ONLY),
        "scoped": token_of(db, keyring, "user:scoped", Role.OPERATOR, everything, tenants=["t1"]),
    }
    made = {name: Reader(app) for name in tokens}
    for name, token in tokens.items():
        assert made[name].sign_in(token).status_code == 303
        assert made[name].session
    return made


@pytest.fixture
def dead(db: Engine) -> Callable[..., list[UUID]]:
    """Makes requests that have died, with an attempt each."""

    def make(count: int, *, job: str = "darkwatch_scan", cause: str = "exception", tenant: str | None = None,
             error: str = "PermanentError: no such list", acknowledged: bool = False) -> list[UUID]:  # fmt: skip
        values = {
            "n": count,
            "job": job,
            "cause": cause,
            "tenant": tenant,
            "error": error,
            "acknowledged": acknowledged,
        }
        with db.begin() as connection:
            ids = connection.execute(sa.text("""
                INSERT INTO kordant.job_requests (id, job, payload, status, priority, run_at, turn_at, created_at,
                    requested_by, attempt, started_at, ended_at, cause, error, tenant, acknowledged_at, acknowledged_by)
                SELECT kordant.uuid7(), :job, '{"tiers": ["premium"]}', 'dead', 2, now(), now(), now(), 'user:operator',
                       4, now() - interval '2 seconds', now(), :cause, :error, :tenant,
                       CASE WHEN :acknowledged THEN now() END, CASE WHEN :acknowledged THEN 'user:x' END
                FROM generate_series(1, :n) RETURNING id"""), values).scalars().all()  # fmt: skip
            values["ids"] = list(ids)
            connection.execute(sa.text("""
                INSERT INTO kordant.job_attempts (request_id, attempt, lease_id, worker, started_at)
                SELECT id, 4, gen_random_uuid(), 'w', now() - interval '2 s' FROM unnest(CAST(:ids AS uuid[])) id
                """), values)  # fmt: skip
            connection.execute(sa.text("""
                UPDATE kordant.job_attempts SET ended_at = now(), outcome = 'failure', cause = :cause, error = :error,
                       cpu_s = 0.4 WHERE request_id = ANY(CAST(:ids AS uuid[]))"""), values)  # fmt: skip
        return list(ids)

    return make


@pytest.fixture
def change(db: Engine, app: Any) -> UUID:
    """A proposal of an agent's that waits for a person."""
    with db.begin() as connection:
        people.save_principal(connection, "user:owner", Role.OPERATOR, by="user:test")
        people.save_principal(connection, "agent:a", Role.AGENT, owner="user:owner", tenants=["t1"], by="user:test")
        made = changes.propose(
            connection, job="notifications_send", tier="all", base_version=1, changes={"cron": "*/20 * * * *"},
            by="agent:a", owner="user:owner", now=datetime.now(UTC),
        )  # fmt: skip
    return made.id


@pytest.fixture
def subscription(db: Engine, app: Any) -> UUID:
    """A premium subscription with its places."""
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.subscribers (id) VALUES (gen_random_uuid())"))
        made: UUID = connection.execute(sa.text(
            "INSERT INTO kordant.subscriptions (id, subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium' "
            "FROM kordant.subscribers RETURNING id")).scalar_one()  # fmt: skip
        due_slots.place(connection)
    return made
