"""The observer of fuzzed agents sees what an agent may not do, whoever let it pass; and a short run finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.catalog import CATALOG, enqueue_named
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import operate
from kordant_jobs.lab.fuzz.agents import fuzz_agents
from kordant_jobs.lab.fuzz.callers import Who
from kordant_jobs.lab.fuzz.observer import Observer
from kordant_jobs.postgres import database
from kordant_jobs.store.access.people import Grant
from kordant_jobs.triggers import price_list
from kordant_jobs_tests.databases import copy_of, database_at

ENTITY = str(uuid4())
GRANTS = {
    job: Grant(job=job, max_priority=Priority.NORMAL, requests_per_hour=4)
    for job in ("darkwatch_scan", "subscription_changed")
}
AGENT = Who(id="agent:a", token="", tenants=frozenset({"t1"}), entities=frozenset({ENTITY}), grants=GRANTS)


@pytest.fixture(scope="module")
def observed(admin_url: str, template: str) -> Iterator[Engine]:
    """A database of this module's own, since its tables get triggers."""
    with copy_of(admin_url, template) as name:
        engine = database.create_engine(database_at(admin_url, name))
        with engine.begin() as connection:
            operate.sync_catalogue(connection, CATALOG)
            price_list.ensure(connection)
        yield engine
        engine.dispose()


def test_each_thing_that_an_agent_may_not_do_is_seen(observed: Engine) -> None:
    observer = Observer(observed)

    def queued(job: str = "darkwatch_scan", *, by: str = AGENT.id, tenant: str = "t1", entity: str = ENTITY,
               about: str = ENTITY, priority: Priority = Priority.NORMAL) -> str:  # fmt: skip
        with observed.begin() as connection:
            made = enqueue_named(
                connection, job, {"subscription_ids": [about]}, requested_by=by, tenant=tenant, entity_key=entity,
                priority=priority, run_at=datetime(2190, 1, 1, tzinfo=UTC),
            )  # fmt: skip
        return str(made)

    def done(statement: str, request_id: str | None = None) -> list[str]:
        with observed.begin() as connection:
            connection.execute(sa.text(statement), {"id": request_id} if request_id else {})
        return observer.judge(AGENT)

    mine = queued()
    assert observer.judge(AGENT) == []
    for wrong in (
        {"by": "service:x"}, {"tenant": "t2"}, {"entity": str(uuid4())}, {"about": str(uuid4())},
        {"priority": Priority.HIGH}, {"job": "hometitle_scan"},
    ):  # fmt: skip
        queued(**wrong)
        assert len(observer.judge(AGENT)) == 1, wrong
    theirs, critical = queued(by="service:x"), queued("subscription_changed")
    observer.judge(AGENT)
    cancelled = "UPDATE kordant.job_requests SET status = 'cancelled', ended_at = now() WHERE id = :id"
    assert done("UPDATE kordant.job_requests SET priority = 3 WHERE id = :id", mine) == []
    for statement, request_id in (
        (cancelled, theirs), (cancelled, critical),
        ("UPDATE kordant.job_requests SET priority = 0 WHERE id = :id", mine),
        ("UPDATE kordant.job_requests SET tenant = 't2' WHERE id = :id", mine),
        ("DELETE FROM kordant.job_requests WHERE id = :id", mine),
        ("UPDATE kordant.scheduler_config SET enabled = false WHERE job = 'notifications_send'", None),
        ("INSERT INTO kordant.principals (id, role) VALUES ('user:evil', 'admin')", None),
        ("""INSERT INTO kordant.change_sets (id, job, tier, base_version, changes, digest, state, proposed_by,
            expires_at, decided_by) VALUES (gen_random_uuid(), 'a', 'all', 1, '{}', '', 'applied', 'agent:a', now(),
            'agent:a')""", None),
    ):  # fmt: skip
        assert done(statement, request_id), statement
    for _ in range(20):
        queued(entity=ENTITY)
    assert any("budget" in one for one in observer.judge(AGENT))
    observer.close()


@pytest.mark.long
def test_a_few_hundred_calls_of_agents_break_nothing(tmp_path: Path) -> None:
    found = fuzz_agents(300, 7, folder=tmp_path)
    assert found.violations == []
    assert found.calls == 300
    assert found.answers["202"] > 5
    assert found.changes["job_requests.insert"] > 5
