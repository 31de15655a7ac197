"""A database of its own with a caller of each role, for fuzzing the API."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.app import Backend, application
from kordant_jobs.api.gate import Quotas
from kordant_jobs.catalog import CATALOG
from kordant_jobs.domain.access import subscriber_tokens
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.domain.access.subscriber_tokens import SubscriberToken
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import operate
from kordant_jobs.postgres.database import create_engine
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.access import isolation, people
from kordant_jobs.store.access.people import Grant
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers import price_list

MANY = 10**9
"""As good as no bound."""
BY = "user:fuzz"


@dataclass(frozen=True, kw_only=True)
class Who:
    """A caller, and what it was given: the observer judges by this, not by the policy."""

    id: str
    token: str
    tenants: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()
    grants: Mapping[str, Grant] | None = None
    """Of an agent, those that count now."""


@contextmanager
def world(folder: Path) -> Iterator[tuple[Engine, Any, dict[str, Who]]]:
    """The database, the application on it, and its callers by role; agents also by their id."""
    with EmbeddedPostgres(folder / "postgres") as postgres:
        db = create_engine(postgres.url("postgres"))
        with db.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(
                sa.text("ALTER SYSTEM SET synchronous_commit = off")
            )  # it goes away: no wait for the disk
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        migrate.upgrade(db)
        keyring = Keyring(secrets.token_bytes(32))
        with db.begin() as connection:
            keyring.check(connection)
            operate.sync_catalogue(connection, CATALOG)
            price_list.ensure(connection)
            isolation.harden(connection)
        quotas = Quotas({"read": MANY, "write": MANY})
        app = application(Backend(db=db, keyring=keyring, quotas=quotas, is_isolated=True))
        yield db, app, _callers(db, keyring)
        db.dispose()


def _callers(db: Engine, keyring: Keyring) -> dict[str, Who]:
    scopes = {"service": ("t1", str(uuid4())), "agent:b": ("t2", str(uuid4()))}
    scopes["agent:a"] = scopes["agent:c"] = scopes["service"]
    grants = {
        "agent:a": (_grant("darkwatch_scan", MANY), _grant("subscription_changed", MANY)),
        "agent:b": (_grant("hometitle_scan", 20, max_priority=Priority.LOW, concurrent=5),
                    _grant("darkwatch_scan", MANY, requests_per_day=15)),
        "agent:c": (_grant("darkwatch_scan", MANY, expires_at=datetime(2026, 1, 1, tzinfo=UTC)),
                    _grant("hometitle_scan", MANY, ask_first=True)),
    }  # fmt: skip
    subscriber_id, found = uuid4(), {}
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.subscribers (id) VALUES (:id)"), {"id": subscriber_id})
        adding = "INSERT INTO kordant.subscriptions (id, subscriber_id, tier) VALUES (:own, :id, 'plus')"
        connection.execute(sa.text(adding), {"own": UUID(scopes["service"][1]), "id": subscriber_id})
        for name, role in (("admin", Role.ADMIN), ("operator", Role.OPERATOR), ("service", Role.SERVICE),
                           *((agent, Role.AGENT) for agent in grants)):  # fmt: skip
            own = f"user:{name}" if role in {Role.ADMIN, Role.OPERATOR} else name if ":" in name else f"service:{name}"
            tenant, entity = scopes.get(name, (None, None))
            owner = "user:operator" if role is Role.AGENT else None
            people.save_principal(connection, own, role, tenants=[tenant] if tenant else None,
                                  entities=[entity] if entity else None, owner=owner, by=BY)  # fmt: skip
            token = people.create_token(
                connection, keyring, own, tuple(TokenScope), days=1, by=BY, now=datetime.now(UTC)
            )
            for one in grants.get(name, ()):
                people.save_grant(connection, name, one, by=BY)
            counting = {one.job: one for one in grants.get(name, ()) if not one.ask_first and one.expires_at is None}
            found[name] = Who(id=own, token=token, tenants=frozenset([tenant] if tenant else []), grants=counting,
                              entities=frozenset([entity] if entity else []))  # fmt: skip
    until = datetime.now(UTC) + timedelta(days=1)  # longer than one that is asked for, so that a long run ends
    token = subscriber_tokens.sign(
        SubscriberToken(subscriber_id=subscriber_id, service_id="service:service", expires_at=until),
        keyring.subscriber_token_key,
    )
    who = Who(id=f"subscriber:{subscriber_id}", token=token, tenants=frozenset({"t1"}),
              entities=frozenset({scopes["service"][1]}))  # fmt: skip
    return {**found, "agent": found["agent:a"], "subscriber": who}


def _grant(job: str, per_hour: int, *, max_priority: Priority = Priority.NORMAL, **more: Any) -> Grant:
    return Grant(job=job, max_priority=max_priority, requests_per_hour=per_hour, **more)
