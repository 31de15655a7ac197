"""A query that forgot its WHERE sees nothing of others: the database itself keeps callers apart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import ProgrammingError

from kordant_jobs.api.app import Backend, application
from kordant_jobs.catalog import CATALOG, enqueue_named
from kordant_jobs.domain.access import subscriber_tokens
from kordant_jobs.domain.access.principals import Principal, Role
from kordant_jobs.domain.access.subscriber_tokens import SubscriberToken
from kordant_jobs.engine.control import operate
from kordant_jobs.postgres import database
from kordant_jobs.store.access import isolation
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers import price_list
from kordant_jobs_tests.api.conftest import ENTITY, SUBSCRIBER, TENANT, Api, subscribe, token_for
from kordant_jobs_tests.databases import copy_of, database_at

OTHER = str(uuid4())
CALLERS = {
    "tenant": (Principal(id="service:a", role=Role.SERVICE, scopes=frozenset(), tenants=frozenset({TENANT})), 2),
    "both": (Principal(id="service:a", role=Role.SERVICE, scopes=frozenset(), tenants=frozenset({TENANT}),
                       entities=frozenset({ENTITY})), 1),
    "entity": (Principal(id="service:a", role=Role.SERVICE, scopes=frozenset(), entities=frozenset({ENTITY})), 2),
    "another": (Principal(id="service:b", role=Role.SERVICE, scopes=frozenset(), tenants=frozenset({"t8"})), 0),
    "subscriber": (Principal(id="subscriber:x", role=Role.SUBSCRIBER, scopes=frozenset(), tenants=frozenset({TENANT}),
                             entities=frozenset({ENTITY})), 1),
    "of any tenant": (Principal(id="subscriber:x", role=Role.SUBSCRIBER, scopes=frozenset(),
                                entities=frozenset({ENTITY})), 2),
    "of nothing": (Principal(id="subscriber:x", role=Role.SUBSCRIBER, scopes=frozenset(), tenants=frozenset({TENANT}),
                             entities=frozenset()), 0),
    "all": (Principal(id="user:o", role=Role.OPERATOR, scopes=frozenset()), 4),
}  # fmt: skip


@pytest.fixture(scope="module")
def hardened(admin_url: str, template: str) -> Iterator[Engine]:
    """A database of this module's own, since its tables change: with a request of each kind of owner."""
    with copy_of(admin_url, template) as name:
        engine = database.create_engine(database_at(admin_url, name))
        with engine.begin() as connection:
            operate.sync_catalogue(connection, CATALOG)
            price_list.ensure(connection)
            isolation.harden(connection)
            isolation.harden(connection)
            assert isolation.is_hardened(connection)
            for tenant, entity in ((TENANT, ENTITY), (TENANT, OTHER), ("t9", ENTITY), (None, None)):
                enqueue_named(connection, "darkwatch_scan", {"subscription_ids": [ENTITY]}, requested_by="service:x",
                              tenant=tenant, entity_key=entity, run_at=datetime(2190, 1, 1, tzinfo=UTC))  # fmt: skip
        yield engine
        engine.dispose()


def count(connection: Connection, table: str) -> int:
    return int(connection.execute(sa.text(f"SELECT count(*) FROM kordant.{table}")).scalar_one())


@pytest.mark.parametrize("who", CALLERS)
def test_a_query_without_a_where_sees_a_callers_rows_only(hardened: Engine, who: str) -> None:
    principal, expected = CALLERS[who]
    with hardened.begin() as connection:
        isolation.confine(connection, principal)
        assert count(connection, "job_requests") == expected
    with hardened.begin() as connection:
        assert count(connection, "job_requests") == 4, "the next transaction reads as before"


def test_a_confined_caller_reads_no_table_of_subscribers_and_writes_nothing(hardened: Engine) -> None:
    for statement in (
        "SELECT * FROM kordant.subscribers", "SELECT * FROM kordant.exposures", "SELECT * FROM kordant.api_tokens",
        "SELECT * FROM kordant.keyring_check", "DELETE FROM kordant.job_requests",
        "UPDATE kordant.principals SET role = 'admin'",
    ):  # fmt: skip
        for who in ("both", "subscriber"):
            with hardened.connect() as connection:
                isolation.confine(connection, CALLERS[who][0])
                with pytest.raises(ProgrammingError, match="permission denied"):
                    connection.execute(sa.text(statement))


def test_what_a_read_leaves_behind_is_written_and_the_caller_stays_confined(hardened: Engine) -> None:
    with hardened.connect() as connection:
        isolation.confine(connection, CALLERS["tenant"][0])
        with isolation.released(connection):
            connection.execute(sa.text("UPDATE kordant.job_catalogue SET alias = alias"))
        assert count(connection, "job_requests") == 2


def test_every_read_of_the_api_works_confined_and_tells_the_same(hardened: Engine, keyring: Keyring) -> None:
    scope = {"tenants": [TENANT], "entities": [ENTITY]}
    tokens = [
        token_for(hardened, keyring, "service:app", Role.SERVICE, **scope),
        token_for(hardened, keyring, "agent:a", Role.AGENT, owner="user:o", **scope),
        token_for(hardened, keyring, "service:all", Role.SERVICE, tenants=["any"], entities=[ENTITY]),
    ]
    plain, confined = (application(Backend(db=hardened, keyring=keyring, is_isolated=on)) for on in (False, True))
    paths = ["/me", "/definitions", "/topics", "/schedules", "/schedules/darkwatch_scan/basic",
             "/schedules/darkwatch_scan/basic/history", "/workflows",
             "/change-sets", "/requests", "/requests?status=pending&job=darkwatch_scan", "/protection",
             *(f"/{name}/{OTHER}" for name in ("workflows", "change-sets", "executions", "requests"))]  # fmt: skip
    subscribe(hardened, SUBSCRIBER, ENTITY)
    wanted = SubscriberToken(subscriber_id=UUID(SUBSCRIBER), service_id="service:app",
                             expires_at=datetime.now(UTC) + timedelta(minutes=5))  # fmt: skip
    tokens.append(subscriber_tokens.sign(wanted, keyring.subscriber_token_key))
    for token in tokens:
        one = Api(plain, token)("GET", "/requests").json()["items"][0]["id"]
        for path in (*paths, f"/requests/{one}?a=b", f"/requests/{one}/attempts"):
            found: list[Any] = [Api(app, token)("GET", path) for app in (plain, confined)]
            assert found[0].status_code == found[1].status_code, (path, found[1].text)
            assert found[0].json() == found[1].json(), path
        assert Api(confined, token)("GET", "/audit").status_code in {200, 403}
