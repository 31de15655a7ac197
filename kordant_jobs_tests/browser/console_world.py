"""A database with something to see on every page of the console, and the console on it, served by a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
import uvicorn
from sqlalchemy import Engine

from kordant_jobs.api.app import Backend, application
from kordant_jobs.api.asked import OpenId
from kordant_jobs.catalog import CATALOG
from kordant_jobs.domain.access.change_sets import ChangeKind
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.engine.control import operate
from kordant_jobs.store.access import changes, people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.triggers import price_list

_REQUESTS = """
INSERT INTO kordant.job_requests (id, job, payload, status, priority, run_at, turn_at, created_at, requested_by,
                                  attempt, started_at, ended_at, cause, error, progress_done, progress_total, summary)
SELECT kordant.uuid7(), job, '{"tiers": ["premium"]}', status, 2, at, at, at, 'user:operator',
       CASE status WHEN 'pending' THEN 0 WHEN 'dead' THEN 4 ELSE 1 END,
       CASE WHEN status <> 'pending' THEN at END,
       CASE WHEN status NOT IN ('pending') THEN at + interval '3 seconds' END,
       CASE status WHEN 'dead' THEN 'exception' END,
       CASE status WHEN 'dead' THEN 'PermanentError: the list of brokers has no column named url' END,
       120, CASE status WHEN 'completed' THEN 120 ELSE 0 END,
       CASE status WHEN 'completed' THEN '{"scanned": 120, "exposed": 3}'::jsonb END
FROM (VALUES ('darkwatch_scan', 'completed', 40), ('darkwatch_scan', 'dead', 3), ('reports_generate', 'completed', 12),
             ('notifications_send', 'completed', 30), ('notifications_send', 'pending', 7),
             ('removebrokers_process', 'dead', 12)) kinds(job, status, n),
     generate_series(1, n) i, LATERAL (SELECT now() - i * interval '7 minutes' AS at) moment
"""
_ATTEMPTS = """
INSERT INTO kordant.job_attempts (request_id, attempt, lease_id, run_id, worker, started_at, ended_at, outcome, cause,
                                  error, cpu_s, peak_memory_mb)
SELECT id, a, gen_random_uuid(), gen_random_uuid()::text, 'w', started_at, ended_at,
       CASE status WHEN 'dead' THEN 'failure' ELSE 'success' END, cause, error, 0.4, 181
FROM kordant.job_requests, generate_series(1, greatest(attempt, 0)) a WHERE status IN ('dead', 'completed')
"""
_HISTORY = """
INSERT INTO kordant.attempt_hours (hour, job, outcome, cause, bucket, attempts, sum_ms, cpu_s)
SELECT date_trunc('hour', now()) - w * interval '7 days', job, outcome, '', bucket, 40 + 3 * w, 90000 + 1000 * w, 12 + w
FROM generate_series(0, 7) w, unnest(ARRAY['darkwatch_scan', 'reports_generate', 'notifications_send']) job,
     (VALUES ('success', 5), ('success', 7), ('failure', 8)) kinds(outcome, bucket)
"""
_ALERTS = """
INSERT INTO kordant.operator_alerts (id, rule, subject, state, value, since, told_at)
VALUES (kordant.uuid7(), 'dead_letters', 'removebrokers_process', 'firing', 12, now() - interval '2 hours', now()),
       (kordant.uuid7(), 'failure_rate_high', 'darkwatch_scan', 'firing', 21.5, now() - interval '9 minutes', now())
"""
_PEOPLE = """
INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, 5);
INSERT INTO kordant.subscriptions (id, subscriber_id, tier)
SELECT gen_random_uuid(), id, (ARRAY['basic', 'plus', 'premium'])[1 + row_number() OVER () % 3]
FROM kordant.subscribers;
INSERT INTO kordant.source_states (source, failures, last_reason, open_until, last_ok_at, last_failed_at)
VALUES ('hibp', 6, 'circuit_open', now() + interval '10 minutes', now() - interval '2 hours', now()),
       ('leakcheck', 0, NULL, NULL, now(), NULL)
"""


_GRANT = """
INSERT INTO kordant.agent_grants (agent_id, job, max_priority, requests_per_hour, granted_by, ask_first)
VALUES ('agent:planner', 'darkwatch_scan', 2, 10, 'user:owner', true)
"""


def fill(db: Engine, keyring: Keyring) -> str:
    """Fill it. Returns an admin's token."""
    now = datetime.now(UTC)
    with db.begin() as connection:
        operate.sync_catalogue(connection, CATALOG)
        price_list.ensure(connection)
        for statements in (_REQUESTS, _ATTEMPTS, _HISTORY, _ALERTS, _PEOPLE):
            for statement in statements.split(";\n"):
                connection.execute(sa.text(statement))
        due_slots.place(connection)
        changes.propose(connection, job="notifications_send", tier="all", base_version=1,
                        changes={"cron": "*/20 * * * *"}, by="agent:planner", owner="user:owner", now=now)  # fmt: skip
        people.save_principal(connection, "user:owner", Role.OPERATOR, by="user:test")
        people.save_principal(
            connection, "agent:planner", Role.AGENT, owner="user:owner", tenants=["any"], by="user:test"
        )
        connection.execute(sa.text(_GRANT))
        for kind, job, version, change in (
            (ChangeKind.GRANT, "reports_generate", 0, {"requests_per_hour": 20, "max_priority": "high"}),
            (ChangeKind.FIRST_TRIGGER, "darkwatch_scan", 1, {"ask_first": False}),
        ):
            changes.propose(connection, job=job, tier="agent:planner", base_version=version, changes=change,
                            by="agent:planner", owner="user:owner", now=now, kind=kind)  # fmt: skip
        price_list.pause(connection, ("reports_generate", "plus"), reason="new layout", until=now + timedelta(days=1),
                         by="user:operator")  # fmt: skip
        people.save_principal(connection, "user:admin", Role.ADMIN, by="user:test")
        return people.create_token(
            connection, keyring, "user:admin", tuple(TokenScope), days=1, by="user:test", now=now
        )


@contextmanager
def served(db: Engine, keyring: Keyring, *, openid: OpenId | None = None) -> Iterator[str]:
    """The console on a port of its own; its address."""
    app = application(Backend(db=db, keyring=keyring, ui_url="http://127.0.0.1:3000", openid=openid))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/console/"
    finally:
        app.state.watcher.close()
        server.should_exit = True
        thread.join(10)
