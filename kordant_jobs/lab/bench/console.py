"""Response times and sizes of the console's pages with a million requests in the table.

Each page is asked through the whole application, its token looked up as in service; times are of the process that
answers, packing included. The mix: 96 % completed, 2 % waiting, 0.3 % dead, the rest cancelled and given up; beside
them two months of attempts by hour, a year of costs, three days of verdicts of 100,000 subscriptions, 200 proposals,
grants of 100 agents and 100,000 events. On a machine that has other work, the fastest of a page says more than its p95.
"""

import asyncio
import gzip
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.app import Backend, application
from kordant_jobs.api.console import app as console_app
from kordant_jobs.catalog import BY_NAME, CATALOG
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.engine.control import operate
from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.access import changes, people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.triggers import price_list

BASE = "http://127.0.0.1:3090"
SUBSCRIPTIONS = 100_000

_FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO kordant.job_requests (id, job, payload, status, priority, run_at, turn_at, created_at, requested_by,
    attempt, started_at, ended_at, cause, error, tenant, entity_key, acknowledged_at)
SELECT kordant.uuid7(), jobs[1 + (random() * random() * cardinality(jobs))::int % cardinality(jobs)], '{}', status,
    (random() * 3)::int, at, at, at, CASE WHEN i % 10 = 0 THEN 'agent:a' || (i % 100) ELSE 'user:u' || (i % 500) END, 1,
    CASE WHEN status <> 'pending' THEN at END, CASE WHEN status <> 'pending' THEN at + interval '2 s' END,
    CASE WHEN status = 'dead' THEN (ARRAY['exception', 'timeout', 'memory', 'killed'])[1 + i % 4] END,
    CASE WHEN status = 'dead' THEN 'TransientError: list ' || i % 40 || ' did not answer' END,
    't' || (i % 2000), (i % 100000)::text, CASE WHEN status = 'dead' AND i % 3 = 0 THEN at END
FROM generate_series(1, :n) i, LATERAL (SELECT random() * i * 0 + random() AS r) chance,
    LATERAL (SELECT CASE WHEN r < 0.96 THEN 'completed' WHEN r < 0.98 THEN 'pending' WHEN r < 0.983 THEN 'dead'
                         WHEN r < 0.999 THEN 'cancelled' ELSE 'expired' END AS status) state,
    LATERAL (SELECT now() - (:n - i) * interval '2 s' AS at) moment, (SELECT CAST(:jobs AS text[]) AS jobs) names;
INSERT INTO kordant.job_attempts (request_id, attempt, lease_id, worker, started_at, ended_at, outcome, cause, error)
SELECT id, 1, id, 'w', started_at, ended_at, CASE status WHEN 'dead' THEN 'failure' ELSE 'success' END, cause, error
FROM kordant.job_requests WHERE status IN ('completed', 'dead');
INSERT INTO kordant.attempt_hours (hour, job, outcome, cause, bucket, attempts, sum_ms, cpu_s)
SELECT date_trunc('hour', now()) - h * interval '1 hour', job, outcome, cause, bucket, 5, 9000, 4
FROM generate_series(1, 1440) h, unnest(CAST(:jobs AS text[])) job,
     (VALUES ('success', '', 4), ('success', '', 5), ('success', '', 6), ('success', '', 7), ('partial', '', 7),
             ('failure', 'exception', 5), ('failure', 'timeout', 10), ('lost', 'lost', 6)) k(outcome, cause, bucket);
INSERT INTO kordant.operator_alerts (id, rule, subject, state, value, since)
SELECT kordant.uuid7(), 'dead_letters', job, 'firing', 7, now() FROM unnest(CAST(:jobs AS text[])) job;
INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, :people);
INSERT INTO kordant.subscriptions (id, subscriber_id, tier)
SELECT gen_random_uuid(), id, (ARRAY['basic', 'plus', 'premium'])[1 + (random() * 2)::int] FROM kordant.subscribers;
INSERT INTO kordant.source_states (source, last_ok_at) SELECT unnest(CAST(:sources AS text[])), now();
SET LOCAL session_replication_role = origin;
INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, reason, exposures, new_exposures,
                                     covered_until)
SELECT id, source, (now() AT TIME ZONE 'UTC')::date - day, CASE WHEN r < 0.02 THEN 'unknown' ELSE 'clean' END,
       CASE WHEN r < 0.02 THEN 'timed_out' END, 0, 0, now()
FROM (SELECT id, random() AS r FROM kordant.subscriptions) s, unnest(CAST(:sources AS text[])) source,
     generate_series(0, 2) day;
INSERT INTO kordant.cost_weeks (week_of, job, tier, cpu_s, subscriptions)
SELECT date_trunc('week', now() AT TIME ZONE 'UTC')::date - 7 * week, job, tier, 5000, 30000
FROM generate_series(0, 51) week, unnest(CAST(:jobs AS text[])) job, unnest(ARRAY['', 'basic', 'plus', 'premium']) tier;
INSERT INTO kordant.principals (id, role, owner)
SELECT 'agent:a' || i, 'agent', 'user:o' FROM generate_series(1, 100) i;
INSERT INTO kordant.agent_grants (agent_id, job, max_priority, requests_per_hour, granted_by)
SELECT id, job, 2, 60, 'user:o' FROM kordant.principals, unnest(CAST(:jobs AS text[])) job WHERE role = 'agent';
INSERT INTO kordant.received_events (principal_id, source, id, topic, body_hash)
SELECT 'service:e', 's', 'e' || i, 'subscription.changed', '' FROM generate_series(1, 100000) i
"""


def _paths(db: Engine) -> list[str]:
    """Every page, and the list of requests by every filter that its form has."""
    ones = {
        "requests": "SELECT id FROM kordant.job_requests WHERE status = 'dead' LIMIT 1",
        "approvals": "SELECT id FROM kordant.change_sets LIMIT 1",
        "subscriptions": "SELECT id FROM kordant.subscriptions LIMIT 1",
        "agents": "SELECT id FROM kordant.principals WHERE id = 'agent:a10'",
    }
    with db.connect() as connection:
        found = {name: connection.execute(sa.text(query)).scalar_one() for name, query in ones.items()}
    rare = "cleanup"
    filters = [
        *(f"state={state}" for state in ("pending", "running", "completed", "dead", "cancelled", "expired")),
        *(f"cause={cause}" for cause in ("timeout", "cpu")),
        f"job={rare}", f"job={rare}&state=expired", "job=darkwatch_scan&state=dead&cause=memory",
        "by=user:u7", "by=nobody", "tenant=t9", "entity=77", "tenant=t9&state=dead", "by=user:u7&job=cleanup",
    ]  # fmt: skip
    pages = [
        "", "requests", *(f"requests?{one}" for one in filters), "dead", "dead?job=darkwatch_scan",
        "dead/replay?job=darkwatch_scan&cause=timeout", "performance", "approvals", "schedules",
        "schedules/darkwatch_scan/premium", "alerts", "sources", "subscriptions", "subscriptions?tier=plus", "audit",
        "agents", "doctor",
    ]  # fmt: skip
    return [*pages, *(f"{name}/{one}" for name, one in found.items())]


def measure(*, requests: int, times: int) -> list[Figure]:
    """Fill, ask each page so often, and give the slowest page's p95 and the largest page's weight."""
    with world(requests) as (db, keyring, token):
        paths = _paths(db)
        took, sizes = asyncio.run(_ask(db, keyring, token, paths, times))
    own_files = sum(len(gzip.compress((console_app.STATIC / name).read_bytes())) for name in console_app.FILES)
    p95 = {path: statistics.quantiles(some, n=20)[18] * 1000 for path, some in took.items()}
    slowest, largest = sorted(paths, key=p95.__getitem__)[::-1], max(paths, key=sizes.__getitem__)
    shown = [Figure(key=f"/{path}"[:60], value=p95[path], unit="ms", goal=None) for path in slowest]
    return [
        Figure(key="page_server_p95_ms", value=p95[slowest[0]], unit="ms", goal=50.0),
        Figure(key="page_server_fastest_ms", value=max(map(min, took.values())) * 1000, unit="ms", goal=None),
        Figure(key="page_kb", value=(sizes[largest] + own_files) / 1000, unit="kB", goal=60.0),
        *shown,
    ]


async def _ask(
    db: Engine, keyring: Keyring, token: str, paths: Sequence[str], times: int
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each page, and its packed bytes. The pages come in turn, so that none is always warm."""
    transport = httpx.ASGITransport(app=application(Backend(db=db, keyring=keyring)))
    took: dict[str, list[float]] = {path: [] for path in paths}
    sizes: dict[str, int] = {}
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        page = await client.get("/console/sign-in")
        code = re.findall(r'name="form_code" value="([0-9a-f]+)"', page.text)[0]
        await client.post("/console/sign-in", data={"form_code": code, "token": token, "to": "/console/"})
        for turn in range(times + 1):
            for path in paths:
                began = time.perf_counter()
                request = client.build_request("GET", f"/console/{path}")
                answer = await client.send(request, stream=True)
                packed = b"".join([part async for part in answer.aiter_raw()])
                if turn:
                    took[path].append(time.perf_counter() - began)
                assert answer.status_code == 200, (path, answer.status_code)  # noqa: S101 - a bench of errors is none
                sizes[path] = len(packed)
    return took, sizes


@contextmanager
def world(requests: int, *, master: bytes | None = None) -> Iterator[tuple[Engine, Keyring, str]]:
    """A database with this number of requests, its keyring, and an admin's token."""
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder, EmbeddedPostgres(Path(folder)) as postgres:
        db, keyring, now = database.create_engine(postgres.url()), Keyring(master or os.urandom(32)), datetime.now(UTC)
        migrate.upgrade(db)
        with db.begin() as connection:
            keyring.check(connection)
            operate.sync_catalogue(connection, CATALOG)
            price_list.ensure(connection)
            people.save_principal(connection, "user:bench", Role.ADMIN, by="bench")
            token = people.create_token(connection, keyring, "user:bench", tuple(TokenScope), days=1, by="b", now=now)
            for place in range(200):
                changes.propose(connection, job="notifications_send", tier="all", base_version=1,
                                changes={"cron": "*/20 * * * *"}, by=f"agent:a{place}", owner="user:o",
                                now=now)  # fmt: skip
        with db.begin() as connection:
            for statement in _FILL.split(";\n"):
                values = {
                    "n": requests,
                    "jobs": sorted(BY_NAME),
                    "people": SUBSCRIPTIONS,
                    "sources": [one.value for one in Source],
                }
                connection.execute(sa.text(statement), values)
        with db.begin() as connection:
            due_slots.place(connection)
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
        try:
            yield db, keyring, token
        finally:
            db.dispose()
