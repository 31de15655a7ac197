"""The application with a caller of each role, as the world outside asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.app import Backend, application
from kordant_jobs.catalog import CATALOG
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import operate
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers import price_list

TENANT, ENTITY = "t1", "5e0f8d4e-6a53-4f0e-9d3b-3d8f3f9c1c11"
"""The entity is a subscription of SUBSCRIBER."""
SUBSCRIBER = "0f4d1a6e-2b7c-4c58-8a55-6f0f1a1d7b10"
BASE = "/api/jobs"


class Api:
    """Asks the application in the name of one caller."""

    def __init__(self, app: Any, token: str | None) -> None:
        self.app, self.token = app, token

    def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if method == "POST":
            headers["Idempotency-Key"] = uuid4().hex
        headers |= more.pop("headers", {})

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3090") as client:
                return await client.request(method, BASE + path, headers=headers, **more)

        return asyncio.run(ask())


def token_for(db: Engine, keyring: Keyring, principal: str, role: Role, **more: Any) -> str:
    """A new token with every scope for a new principal."""
    with db.begin() as connection:
        people.save_principal(connection, principal, role, by="user:test", **more)
        return people.create_token(
            connection, keyring, principal, tuple(TokenScope), days=1, by="user:test", now=datetime.now(UTC)
        )


def subscribe(db: Engine, subscriber_id: str, *subscription_ids: str) -> None:
    """A subscriber with these subscriptions."""
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.subscribers (id) VALUES (:id)"), {"id": subscriber_id})
        adding = "INSERT INTO kordant.subscriptions (id, subscriber_id, tier) VALUES (:own, :id, 'plus')"
        for own in subscription_ids:
            connection.execute(sa.text(adding), {"own": own, "id": subscriber_id})


@pytest.fixture
def app(db: Engine, keyring: Keyring) -> Any:
    with db.begin() as connection:
        operate.sync_catalogue(connection, CATALOG)
        price_list.ensure(connection)
    return application(Backend(db=db, keyring=keyring))


@pytest.fixture
def callers(db: Engine, keyring: Keyring, app: Any) -> dict[str, Api]:
    """A caller of each role; the service and the agent have one tenant and one entity, the agent two grants; the
    entity is the subscriber's subscription."""
    scope = {"tenants": [TENANT], "entities": [ENTITY]}
    made = {
        "admin": token_for(db, keyring, "user:admin", Role.ADMIN),
        "operator": token_for(db, keyring, "user:operator", Role.OPERATOR),
        "service": token_for(db, keyring, "service:app", Role.SERVICE, **scope),
        "agent": token_for(db, keyring, "agent:a", Role.AGENT, owner="user:admin", **scope),
    }
    with db.begin() as connection:
        for job in ("darkwatch_scan", "subscription_changed"):
            grant = people.Grant(job=job, max_priority=Priority.NORMAL, requests_per_hour=50)
            people.save_grant(connection, "agent:a", grant, by="user:test")
    asking = {role: Api(app, token) for role, token in made.items()}
    subscribe(db, SUBSCRIBER, ENTITY)
    token = asking["service"]("POST", "/tokens/subscriber", json={"subscriber_id": SUBSCRIBER}).json()["token"]
    return {**asking, "subscriber": Api(app, token)}


@pytest.fixture
def ask(callers: dict[str, Api]) -> Callable[..., httpx.Response]:
    def by(role: str, method: str, path: str, **more: Any) -> httpx.Response:
        return callers[role](method, path, **more)

    return by
