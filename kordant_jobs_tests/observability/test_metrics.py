"""What /metrics says is what the tables say: after kills, after folding, after the rows have gone."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.api.measured import Calls
from kordant_jobs.catalog import CATALOG, enqueue
from kordant_jobs.catalog.cleanup import Cleanup
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.catalog.notifications_send import NotificationsSend
from kordant_jobs.catalog.subscription_changed import SubscriptionChanged
from kordant_jobs.cli.jobs import jobs_app
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import Cause, attempt_counts, operate
from kordant_jobs.engine.requests import Outcome
from kordant_jobs.lab.engine import FakeClock, Fault, drain
from kordant_jobs.observability import metrics
from kordant_jobs.observability.alerting import measured
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import Api, app, callers
from kordant_jobs_tests.jobs.people import subscribe

__all__ = ["app", "callers"]


def read(db: Engine) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels."""
    text = metrics.render(db).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (other, own), value in found.items() if other == f"background_jobs_{name}" and wanted <= own)


def work(db: Engine, requests: int, seed: int) -> None:
    """Requests of two jobs, of which some attempts fail or are lost."""
    rng, clock = random.Random(seed), FakeClock(datetime.now(UTC) - timedelta(minutes=30))
    with db.begin() as connection:
        for number in range(requests):
            payload = NotificationsSend() if number % 3 else Cleanup()
            enqueue(connection, payload, requested_by=f"test-{number}", now=clock.now())

    def may_fail(_: Any) -> None:
        if rng.random() < 0.2:
            raise ValueError("this one failed")

    drain(db, {"notifications_send": may_fail, "cleanup": may_fail}, clock)


def test_counters_are_the_tables_truth(db: Engine) -> None:
    work(db, 60, seed=1)
    found = read(db)
    with db.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT r.job, a.outcome, coalesce(a.cause, ''), count(*), sum(extract(epoch FROM a.ended_at - "
                "a.started_at) * 1000) FROM kordant.job_attempts a JOIN kordant.job_requests r ON r.id = a.request_id "
                "WHERE a.outcome IS NOT NULL GROUP BY 1, 2, 3"
            )
        ).all()
    assert {row[1] for row in rows} == {"success", "failure"}
    for job, outcome, cause, count, ms in rows:
        assert of(found, "executions_total", job_name=job, outcome=outcome, cause=cause) == count
        assert of(found, "execution_time_ms_count", job_name=job, outcome=outcome) >= count
        assert of(found, "execution_time_ms_sum", job_name=job, outcome=outcome) >= float(ms) - 1e-6
    assert sum(row[3] for row in rows) == of(found, "executions_total")
    good = sum(row[3] for row in rows if row[0] == "cleanup" and row[1] == "success")
    every = sum(row[3] for row in rows if row[0] == "cleanup")
    assert of(found, "execution_success_rate", job_name="cleanup", window="1h") == pytest.approx(good / every)


def test_counters_never_fall_when_history_is_folded_or_pruned(db: Engine) -> None:
    work(db, 30, seed=2)
    before = read(db)
    with db.begin() as connection:
        assert attempt_counts.fold(connection) == 0  # the last hours are kept exact
        connection.execute(sa.text("UPDATE kordant.attempt_deltas SET at = at - interval '9 hours'"))
        assert attempt_counts.fold(connection) > 0
        assert attempt_counts.fold(connection) == 0
    later = datetime.now(UTC) + timedelta(days=400)
    operate.prune(db, now=later, keep=operate.RetentionDays(done_days=1, dead_days=1, tick_days=1))
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.job_attempts")).scalar_one() == 0
    after = read(db)
    for key, value in before.items():
        if key[0].endswith(("_total", "_count", "_sum", "_bucket")):
            assert after[key] == pytest.approx(value), key
    work(db, 30, seed=3)
    assert of(read(db), "executions_total") > of(before, "executions_total")


def test_what_was_counted_is_the_same_after_folding(db: Engine) -> None:
    work(db, 40, seed=6)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.attempt_deltas SELECT at - make_interval(mins => 47 * n), job, outcome, cause, "
                "bucket, attempts, sum_ms, cpu_s FROM kordant.attempt_deltas, generate_series(1, 40) n"
            )
        )
    now = datetime.now(UTC)

    def counted() -> list[list[attempt_counts.AttemptCount]]:
        with db.connect() as connection:
            spans = [attempt_counts.between(connection, now - timedelta(hours=hours), now) for hours in (1, 6, 24)]
        return [
            [replace(one, sum_ms=round(one.sum_ms, 3), cpu_s=round(one.cpu_s, 6)) for one in span] for span in spans
        ]

    before = counted()
    whole = len(before[-1])
    with db.begin() as connection:
        assert attempt_counts.fold(connection) > 0
    assert counted()[:2] == before[:2]
    assert len(counted()[-1]) == whole
    for past, present in zip(before[-1], counted()[-1], strict=True):
        assert present.attempts >= past.attempts  # a span of a day begins with its hour once that is folded


def test_the_queue_is_measured_by_job_and_priority(db: Engine) -> None:
    now = datetime.now(UTC)
    with db.begin() as connection:
        operate.sync_catalogue(connection, CATALOG)
        for _ in range(3):
            enqueue(connection, Cleanup(), requested_by="test", run_at=now - timedelta(seconds=90))
        enqueue(connection, Cleanup(), requested_by="test", run_at=now + timedelta(hours=1))
    found = read(db)
    assert of(found, "queue_depth", job_name="cleanup", priority="low") == 3
    assert of(found, "queue_later", job_name="cleanup") == 1
    assert 90 <= of(found, "queue_oldest_seconds", job_name="cleanup") < 300


def test_labels_are_closed_words_and_few(db: Engine) -> None:
    work(db, 200, seed=4)  # each request of another caller
    found = read(db)
    assert len(found) < 600
    assert not any("test-" in value for _, labels in found for _, value in labels)


def test_who_is_elsewhere_needs_an_operators_token(app: Any, callers: dict[str, Api], db: Engine) -> None:
    import asyncio

    async def ask(host: str, token: str | None, **headers: str) -> int:
        transport = httpx.ASGITransport(app=app, client=(host, 1))
        given = headers | ({"Authorization": f"Bearer {token}"} if token else {})
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3090") as client:
            return (await client.get("/metrics", headers=given)).status_code

    assert asyncio.run(ask("127.0.0.1", None)) == 200
    assert asyncio.run(ask("10.0.0.7", None)) == 401
    assert asyncio.run(ask("127.0.0.1", None, **{"X-Forwarded-For": "10.0.0.7"})) == 401
    assert asyncio.run(ask("10.0.0.7", callers["agent"].token)) == 403
    assert asyncio.run(ask("10.0.0.7", callers["operator"].token)) == 200


@pytest.mark.usefixtures("settings")
def test_weeks_are_shown_with_percentiles_and_cost(db: Engine) -> None:
    work(db, 30, seed=5)
    result = CliRunner().invoke(jobs_app, ["history", "--weeks", "2", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {one["job"] for one in rows} == {"cleanup", "notifications_send"}
    for one in rows:
        assert 0 < one["ended_well"] <= one["attempts"]
        assert one["p50_ms"] is not None
    assert "week of" in CliRunner().invoke(jobs_app, ["history", "--job", "cleanup"]).stdout


def test_a_channel_is_late_by_what_may_go_out_alone(db: Engine, keyring: Keyring) -> None:
    subscribe(db, keyring)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.reports (id, subscription_id, kind, period_start_on, period_end_on, figures, "
                "figures_sha256, content_sha256, storage_key, pages) SELECT gen_random_uuid(), id, 'weekly', "
                "'2026-01-01', '2026-01-08', '{}', '', '', 'k', 1 FROM kordant.subscriptions; "
                "INSERT INTO kordant.notification_outbox (id, report_id, subscription_id, category, channel, status, "
                "due_at) SELECT gen_random_uuid(), id, subscription_id, 'report', channel, status, "
                "now() - interval '2 hours' FROM kordant.reports, "
                "(VALUES ('email', 'queued'), ('sms', 'deferred'), ('web_push', 'queued')) v(channel, status); "
                "INSERT INTO kordant.channel_pauses (channel, pauses, paused_until, reason) "
                "VALUES ('web_push', 1, now() + interval '1 hour', 'away')"
            )
        )
    found = read(db)
    with db.connect() as connection:
        late = {key[1] for key in measured(connection, now=datetime.now(UTC))[0] if key[0] == "outbox_late"}
    assert late == {"email"}
    by_channel = {one: of(found, "outbox_oldest_seconds", channel=one) for one in ("email", "sms", "web_push")}
    assert by_channel["email"] >= 7200
    assert (by_channel["sms"], by_channel["web_push"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_a_thousand_mixed_requests_with_kills_every_counter_is_the_tables(db: Engine) -> None:
    """Failures, workers killed and hosts lost in the middle; priorities, delays and retries mixed."""
    rng, clock = random.Random(18), FakeClock(datetime.now(UTC) - timedelta(hours=3))
    payloads = {
        "notifications_send": NotificationsSend(),
        "cleanup": Cleanup(),
        "darkwatch_scan": DarkwatchScan(),
        "subscription_changed": SubscriptionChanged(subscription_ids=(uuid4(),)),
    }
    with db.begin() as connection:
        operate.sync_catalogue(connection, CATALOG)
        for number in range(1000):
            later = timedelta(seconds=rng.choice((0, 0, 0, 30, 600, -7200)))
            enqueue(connection, payloads[rng.choice(list(payloads))], requested_by=f"test-{number}",
                    priority=rng.choice(list(Priority)), run_at=clock.now() + later, now=clock.now())  # fmt: skip

    def may_fail(_: Any) -> None:
        clock.advance(rng.choice((0.02, 0.3, 4)))
        if rng.random() < 0.1:
            raise ValueError("this one failed")

    kills = (
        Fault(cause=Cause.KILLED),
        Fault(silent=True),
        Fault(cause=Cause.TIMEOUT),
        Fault(silent=True, after_work=True),
    )
    faults = {name: [rng.choice(kills) if rng.random() < 0.2 else None for _ in range(400)] for name in payloads}
    drain(db, dict.fromkeys(payloads, may_fail), clock, faults=faults)
    found = read(db)
    with db.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT r.job, a.outcome, coalesce(a.cause, ''), count(*), sum(extract(epoch FROM a.ended_at - "
                "a.started_at) * 1000)::float8 FROM kordant.job_attempts a JOIN kordant.job_requests r "
                "ON r.id = a.request_id WHERE a.outcome IS NOT NULL GROUP BY 1, 2, 3"
            )
        ).all()
        starts = connection.execute(
            sa.text("SELECT r.job, count(*) FROM kordant.job_attempts a JOIN kordant.job_requests r "
                    "ON r.id = a.request_id GROUP BY 1")
        ).all()  # fmt: skip
        late = connection.execute(
            sa.text("SELECT r.job, count(*) FROM kordant.job_requests r JOIN kordant.job_catalogue c ON c.name = r.job "
                    "WHERE r.status = 'completed' AND r.ended_at - r.run_at > make_interval(secs => c.sla_s) "
                    "GROUP BY 1")
        ).all()  # fmt: skip
        dead = connection.execute(
            sa.text("SELECT job, count(*) FROM kordant.job_requests WHERE status = 'dead' GROUP BY 1")
        ).all()
    assert {row[1] for row in rows} == {"success", "failure", "lost"}
    assert {row[2] for row in rows} >= {"killed", "lost", "timeout", "exception"}
    for job, outcome, cause, count, _ in rows:
        assert of(found, "executions_total", job_name=job, outcome=outcome, cause=cause) == count
    assert of(found, "executions_total") == sum(row[3] for row in rows) > 1000
    for job, outcome in {(row[0], row[1]) for row in rows}:
        alike = [row for row in rows if row[:2] == (job, outcome)]
        assert of(found, "execution_time_ms_count", job_name=job, outcome=outcome) == sum(row[3] for row in alike)
        assert of(found, "execution_time_ms_sum", job_name=job, outcome=outcome) == pytest.approx(
            sum(row[4] for row in alike)
        )
    for name, expected in (("start_lag_seconds_count", starts), ("sla_breaches_total", late), ("dead", dead)):
        for job, count in expected:
            assert of(found, name, job_name=job) == count, name
    assert of(found, "sla_breaches_total") == sum(count for _, count in late) > 0
    assert of(found, "queue_depth") == of(found, "running") == of(found, "leases") == 0


def test_series_are_bounded_however_many_subscriptions_there_are(db: Engine) -> None:
    """Every word that a label may have, and ten thousand subscriptions with requests and verdicts of their own."""
    fill = """
        INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, :n);
        INSERT INTO kordant.subscriptions (id, subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium'
        FROM kordant.subscribers;
        INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, created_at, requested_by, tenant,
            entity_key) SELECT gen_random_uuid(), 'darkwatch_scan', '{}', 2, now(), now(), now(), 'service:' || id,
            id::text, id::text FROM kordant.subscriptions;
        INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, reason, exposures,
            new_exposures, covered_until) SELECT id, 'hibp', (now() AT TIME ZONE 'UTC')::date, 'unknown', 'timed_out',
            0, 0, now() FROM kordant.subscriptions"""

    def series(subscriptions: int) -> int:
        with db.begin() as connection:
            connection.execute(sa.text("TRUNCATE kordant.job_requests, kordant.subscribers CASCADE"))
            for one in fill.split(";"):
                connection.execute(sa.text(one), {"n": subscriptions} if ":n" in one else {})
        return len(read(db))

    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.attempt_totals SELECT job, outcome, cause, bucket, 1, 1, 1 FROM "
                "unnest(CAST(:jobs AS text[])) job, unnest(CAST(:outcomes AS text[])) outcome, "
                "unnest(CAST(:causes AS text[])) cause, generate_series(0, 14) bucket"
            ),
            {"jobs": [row.name for row in CATALOG], "outcomes": list(Outcome), "causes": ["", *Cause]},
        )
    few = series(10)
    assert series(10_000) == few
    assert few < 20_000


def test_calls_are_counted_by_route_and_refusals_by_rule(app: Any, callers: dict[str, Api], db: Engine) -> None:
    for _ in range(3):
        assert callers["operator"]("GET", f"/requests/{uuid4()}").status_code == 404
    assert callers["operator"]("GET", "/definitions").status_code == 200
    assert callers["admin"]("GET", "/ann@example.com").status_code == 404
    assert callers["agent"]("POST", "/schedules/cleanup/all/pause", json={"reason": "x"}).status_code == 403
    app.state.calls.flush(db)
    app.state.calls.flush(db)
    found = read(db)
    route = "/api/jobs/requests/{request_id}"
    assert of(found, "http_requests_total", route=route, status="404", method="GET") == 3
    assert of(found, "http_seconds_count", route=route) == 3
    assert of(found, "http_requests_total", route="/api/jobs/definitions", status="200") == 1
    assert of(found, "policy_denials_total", role="agent") == 1
    assert not any("ann@" in value for _, labels in found for _, value in labels)
    (build,) = [dict(labels) for name, labels in found if name == "background_jobs_build_info"]
    assert set(build) == {"version", "dagster"}


def test_calls_that_could_not_be_written_are_counted_the_next_time(db: Engine) -> None:
    calls = Calls()
    calls.note("GET", "/x", 200, 0.01)
    with db.begin() as connection:
        connection.execute(sa.text("ALTER TABLE kordant.http_counts RENAME TO away"))
    with pytest.raises(sa.exc.ProgrammingError):
        calls.flush(db)
    with db.begin() as connection:
        connection.execute(sa.text("ALTER TABLE kordant.away RENAME TO http_counts"))
    calls.note("GET", "/x", 200, 0.01)
    calls.flush(db)
    assert of(read(db), "http_requests_total", route="/x") == 2
