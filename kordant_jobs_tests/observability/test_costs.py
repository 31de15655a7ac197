"""What jobs cost by week and tier: shared fairly, kept when the attempts have gone, and never smaller than before."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.jobs import jobs_app
from kordant_jobs.observability import history
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe


def spent(db: Engine, job: str, payload: dict[str, Any], cpu_s: float, *, requests: int = 1, days_ago: int = 0) -> None:
    """A run that served so many requests, and ended well."""
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "WITH made AS (INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, "
                "created_at, requested_by, status, ended_at) SELECT gen_random_uuid(), :job, CAST(:payload AS jsonb), "
                "2, now(), now(), now(), 'test', 'completed', now() - make_interval(days => :ago) "
                "FROM generate_series(1, :requests) RETURNING id), lease AS (SELECT gen_random_uuid() AS id) "
                "INSERT INTO kordant.job_attempts (request_id, attempt, lease_id, worker, started_at, ended_at, "
                "outcome, cpu_s) SELECT made.id, 1, lease.id, 't', now(), now(), 'success', :cpu_s FROM made, lease"
            ),
            {"job": job, "payload": json.dumps(payload), "cpu_s": cpu_s, "requests": requests, "ago": days_ago},
        )


@pytest.fixture
def served(db: Engine, keyring: Keyring) -> list[str]:
    """Three premium subscriptions and one basic; their ids."""
    tiers = ("premium", "premium", "premium", "basic")
    return [str(subscribe(db, keyring, contact=f"a{n}@x.example", tier=tier).subscription_id)
            for n, tier in enumerate(tiers)]  # fmt: skip


def found(db: Engine) -> dict[tuple[str, str], tuple[float, int]]:
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.cost_weeks SET rolled_at = now() - interval '2 hours'"))
    history.keep_costs(db)
    with db.connect() as connection:
        rows = connection.execute(sa.text("SELECT job, tier, sum(cpu_s), max(subscriptions) FROM kordant.cost_weeks "
                                          "GROUP BY 1, 2")).all()  # fmt: skip
    return {(row[0], row[1]): (round(row[2], 6), row[3]) for row in rows}


def test_a_run_is_shared_by_what_its_request_names(db: Engine, served: list[str]) -> None:
    spent(db, "darkwatch_scan", {"tiers": ["premium"], "subscription_ids": None}, 6)
    spent(db, "darkwatch_scan", {"tiers": [], "subscription_ids": [served[0], served[3]]}, 10)
    spent(db, "notifications_send", {"limit": 1}, 8, requests=4)  # a run of four requests is counted once
    spent(db, "bank_sync", {"also_due": True}, 3)
    day = {"partition": {"job": "darkwatch_scan_premium", "key": "2026-11-01"}, "payload": {"tiers": ["premium"]}}
    spent(db, "darkwatch_scan", day, 1)
    assert found(db) == {
        ("darkwatch_scan", "premium"): (12.0, 3),
        ("darkwatch_scan", "basic"): (5.0, 1),
        ("notifications_send", "premium"): (6.0, 3),
        ("notifications_send", "basic"): (2.0, 1),
        ("bank_sync", ""): (3.0, 0),
    }


def test_a_roll_up_repeats_nothing_and_outlives_the_attempts(db: Engine, served: list[str]) -> None:
    spent(db, "darkwatch_scan", {"tiers": ["premium"]}, 6)
    before = found(db)
    assert found(db) == before
    spent(db, "darkwatch_scan", {"tiers": ["premium"]}, 1)
    history.keep_costs(db)  # within the hour: nothing is done
    assert found(db)["darkwatch_scan", "premium"] == (7.0, 3)
    with db.begin() as connection:
        connection.execute(sa.text("DELETE FROM kordant.job_requests"))
    assert found(db)["darkwatch_scan", "premium"] == (7.0, 3)


def test_weeks_are_kept_apart(db: Engine, served: list[str]) -> None:
    for ago in (0, 8):
        spent(db, "cleanup", {}, 2, days_ago=ago)
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.cost_weeks "
                                   "(week_of, job, tier, cpu_s, subscriptions, rolled_at) "
                                   "SELECT date_trunc('week', now() - interval '8 days'), 'x', '', 1, 0, "
                                   "now() - interval '8 days'"))  # fmt: skip
    found(db)
    with db.connect() as connection:
        weeks = connection.execute(sa.text("SELECT week_of, cpu_s FROM kordant.cost_weeks WHERE job = 'cleanup' "
                                           "ORDER BY 1")).all()  # fmt: skip
    assert [row[1] for row in weeks] == [2.0, 2.0]
    assert len({row[0] for row in weeks}) == 2


@pytest.mark.usefixtures("settings")
def test_the_commands_show_cost_and_trends(db: Engine, served: list[str]) -> None:
    spent(db, "darkwatch_scan", {"tiers": ["premium"]}, 6)
    rows = json.loads(CliRunner().invoke(jobs_app, ["cost", "--json"]).stdout)
    assert [(one["job"], one["tier"], one["cpu_s"], one["per_subscription_s"]) for one in rows] == [
        ("darkwatch_scan", "premium", 6.0, 2.0)
    ]
    assert "CPU s each" in CliRunner().invoke(jobs_app, ["cost"]).stdout
    delta = ("INSERT INTO kordant.attempt_deltas (at, job, outcome, cause, bucket, attempts, sum_ms, cpu_s) "
             "SELECT now() - make_interval(days => ago), job, outcome, '', bucket, n, 10, 1 FROM (VALUES "
             "(0, 'slow', 'success', 8, 10), (7, 'slow', 'success', 4, 10), (0, 'bad', 'failure', 1, 5), "
             "(0, 'bad', 'success', 1, 5)) v (ago, job, outcome, bucket, n)")  # fmt: skip
    with db.begin() as connection:
        connection.execute(sa.text(delta))
    slow = json.loads(CliRunner().invoke(jobs_app, ["trends", "--json"]).stdout)
    assert [one["job"] for one in slow] == ["slow", "bad"]
    assert slow[0]["p95_ms"] > 10 * slow[0]["p95_before_ms"]
    failing = json.loads(CliRunner().invoke(jobs_app, ["trends", "--by", "failing", "--json"]).stdout)
    assert [(one["job"], one["failed_share"], one["failed_before"]) for one in failing] == [
        ("bad", 0.5, None), ("slow", 0.0, 0.0)
    ]  # fmt: skip
    assert "50.0%" in CliRunner().invoke(jobs_app, ["trends"]).stdout
