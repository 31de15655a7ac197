"""Thirty healthy days, with the noise that healthy days have, raise no alert; a fault on the day after does.

The database's clock is the simulation's: its own `now()` stands before Postgres's, so that every query of every rule
runs as it is, through `evaluate`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.catalog import CATALOG
from kordant_jobs.observability.alerting import MEASURES, evaluate
from kordant_jobs.postgres import database
from kordant_jobs_tests.observability.alerts import Heard

pytestmark = pytest.mark.long

JOBS = [row.name for row in CATALOG]
STEP_H = 2
"""Hours between two evaluations, each at a moment of its own."""
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
FAILS = 0.002
"""A healthy job's share of failed attempts; the objective allows five times that."""

USUAL = [(2, 5, 12, 30, 60, 8, 3, 20, 4, 10, 1)[place % 11] for place in range(len(JOBS))]
"""Attempts of each job in an hour: rare ones and frequent ones."""

WORLD = """
CREATE SCHEMA sim;
CREATE TABLE sim.clock (at timestamptz);
INSERT INTO sim.clock VALUES ('2026-11-01+00');
CREATE FUNCTION sim.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM sim.clock';
CREATE SCHEMA IF NOT EXISTS dagster;
CREATE TABLE dagster.daemon_heartbeats (daemon_type text, daemon_id text, timestamp timestamp);
INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, 100);
INSERT INTO kordant.subscriptions (id, subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium'
FROM kordant.subscribers;
INSERT INTO kordant.reports (id, subscription_id, kind, period_start_on, period_end_on, figures, figures_sha256,
content_sha256, storage_key, pages) SELECT gen_random_uuid(), id, 'weekly', '2026-01-01', '2026-01-08', '{}', '', '',
'k', 1 FROM kordant.subscriptions LIMIT 1;
INSERT INTO kordant.notification_outbox (id, report_id, subscription_id, category, channel, due_at)
SELECT gen_random_uuid(), id, subscription_id, 'report', 'email', now() FROM kordant.reports;
INSERT INTO kordant.source_states (source, last_ok_at) VALUES ('hibp', '2026-11-01+00');
"""

HOUR = """
UPDATE sim.clock SET at = :at;
DELETE FROM kordant.job_requests
WHERE created_at < CAST(:at AS timestamptz) - interval '2 hours' OR status = 'pending';
INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, created_at, requested_by, status,
                                  ended_at, acknowledged_at)
SELECT gen_random_uuid(), job, '{}', 2, ended - took, ended, :at, by, status, ended, ended FROM (
    SELECT job, by, status, CAST(:at AS timestamptz) - random() * interval '1 hour' AS ended,
           random() * interval '40 seconds' AS took
    FROM unnest(CAST(:jobs AS text[])) job, generate_series(1, 5),
         (VALUES ('schedule:x', 'completed')) v (by, status)
    UNION ALL SELECT 'agent_workflow', 'agent:a', CASE WHEN n < :agent_dead THEN 'dead' ELSE 'completed' END,
           CAST(:at AS timestamptz) - random() * interval '1 hour', interval '1 second' FROM generate_series(0, 5) n
) ended;
INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, created_at, requested_by)
SELECT gen_random_uuid(), :burst_job, '{}', 2, CAST(:at AS timestamptz) - random() * :burst_s * interval '1 second',
       :at, :at, 'schedule:x' FROM generate_series(1, :burst);
INSERT INTO kordant.attempt_deltas (at, job, outcome, cause, bucket, attempts, sum_ms, cpu_s)
SELECT CAST(:at AS timestamptz) - random() * interval '1 hour', job, CASE WHEN failed THEN 'failure' ELSE 'success' END,
       CASE WHEN failed THEN 'exception' ELSE '' END, 5, 1, 900, 1
FROM (SELECT job, random() < :fails AS failed FROM unnest(CAST(:jobs AS text[]), CAST(:counts AS int[])) j (job, count),
      LATERAL generate_series(1, count)) made;
DELETE FROM kordant.attempt_deltas WHERE at < CAST(:at AS timestamptz) - interval '8 hours';
DELETE FROM dagster.daemon_heartbeats;
INSERT INTO dagster.daemon_heartbeats SELECT part, 'a', CAST(:at AS timestamptz) AT TIME ZONE 'UTC'
    - random() * most * interval '1 second' FROM (VALUES ('SENSOR', 40), ('SCHEDULER', 40), ('KORDANT_DISPATCH', 40),
    ('KORDANT_RETENTION', 800)) v (part, most);
UPDATE kordant.source_states SET last_ok_at = CAST(:at AS timestamptz) - :source_s * interval '1 second',
    open_until = CASE WHEN :source_s > 60 THEN CAST(:at AS timestamptz) + interval '5 minutes' END;
UPDATE kordant.notification_outbox SET due_at = CAST(:at AS timestamptz) - :mail_s * interval '1 second';
DELETE FROM kordant.channel_pauses;
INSERT INTO kordant.channel_pauses (channel, pauses, paused_until, reason)
SELECT 'sms', 1, CAST(:at AS timestamptz) + interval '5 minutes', 'away' WHERE :paused;
"""

DAY = """
INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, reason, exposures, new_exposures,
                                     covered_until)
SELECT id, 'hibp', CAST(:day AS date), CASE WHEN n <= :unknown THEN 'unknown' ELSE 'clean' END,
       CASE WHEN n <= :unknown THEN 'timed_out' END, 0, 0, :at
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM kordant.subscriptions) s;
"""

CLEANUP = """
INSERT INTO kordant.cleanup_reports (id, plan_id, clock, dry_run, digest, figures)
VALUES (gen_random_uuid(), gen_random_uuid(), :at, false, '', '{}');
"""


@pytest.fixture
def simulated(db: Engine, database_url: str) -> Iterator[Engine]:
    """The database, whose `now()` is `sim.clock`."""
    do(db, WORLD)
    made = database.create_engine(database_url)

    @sa.event.listens_for(made, "connect")
    def _own_clock(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = sim, pg_catalog; SET synchronous_commit = off")
        connection.commit()

    yield made
    made.dispose()


def do(db: Engine, script: str, **values: Any) -> None:
    with db.begin() as connection:
        for one in script.split(";\n"):
            if one.strip():
                connection.execute(sa.text(one), {name: value for name, value in values.items() if f":{name}" in one})


def hour(rng: random.Random, at: datetime) -> dict[str, Any]:
    """What an hour of a healthy day brings. At night the schedules come all at once."""
    is_night = at.hour == 2
    return {
        "at": at,
        "jobs": JOBS,
        "counts": [max(0, round(rng.gauss(most, most / 3))) * (4 if is_night else 1) for most in USUAL],
        "fails": FAILS,
        "burst_job": "darkwatch_scan" if is_night else rng.choice(JOBS),
        "burst": rng.choice((0, 3, 40)) if not is_night else 1500,
        "burst_s": 50 if not is_night else 500,
        "agent_dead": rng.choice((0, 0, 0, 1)),
        "source_s": rng.choice((5, 20, 900)) if rng.random() < 0.05 else 10,
        "mail_s": rng.random() * 300,
        "paused": rng.random() < 0.02,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_healthy_days_raise_nothing_and_a_fault_on_the_next_day_does(db: Engine, simulated: Engine) -> None:
    rng, heard = random.Random(18), Heard()
    with db.begin() as connection:
        connection.execute(sa.text("SELECT setseed(0.18)"))
    for number in range(0, 30 * 24, STEP_H):
        at = BEGAN + timedelta(hours=number, minutes=rng.randrange(60), seconds=rng.randrange(60))
        if number % 24 == 0:
            do(db, DAY, day=at.date(), unknown=rng.randrange(5), at=at)
            if number % (7 * 24) == 0:
                do(db, CLEANUP, at=at)
        do(db, HOUR, **hour(rng, at))
        assert evaluate(simulated, heard).began == (), at
    do(db, HOUR, **(hour(rng, at + timedelta(hours=1)) | {"fails": 0.5, "burst": 0}))
    do(db, "UPDATE kordant.source_states SET open_until = 'infinity', last_ok_at = '2026-11-01'")
    told = {rule for rule, _ in evaluate(simulated, heard).began}
    assert {"failure_rate_high", "failure_rate_slow", "source_stale"} <= told


def test_the_simulation_measures_every_rule(db: Engine, simulated: Engine) -> None:
    """No rule is left out for want of something to measure: each has a value at some time of a day, or is of faults."""
    of_faults = {"execution_timeout", "dead_letters", "dumps_unread", "county_unknown", "failure_rate_high"} | {
        "failure_rate_slow",
        "standby_missing",
        "audit_broken",
    }
    rng, seen = random.Random(1), set[str]()
    for day in range(-8, 0):
        do(db, DAY, day=(BEGAN + timedelta(days=day)).date(), unknown=2, at=BEGAN)
    do(db, CLEANUP + DAY, day=BEGAN.date(), unknown=2, at=BEGAN)
    for number in range(24):
        shown = hour(rng, BEGAN + timedelta(hours=number)) | {"source_s": 900, "paused": True, "burst": 40}
        do(db, HOUR, **shown)
        with simulated.begin() as connection:
            for rules, measure in MEASURES.items():
                assert rules
                seen |= {rule for rule, _, _ in measure(connection, shown["at"])}
    assert {rule for rules in MEASURES for rule in rules} - of_faults <= seen
