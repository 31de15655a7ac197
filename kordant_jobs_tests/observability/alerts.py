"""Causes of alerts, and a target that hears of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Engine

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass
class Heard:
    """Operators who note what they are told; those in `down` are not reached."""

    targets: int = 1
    down: set[int] = field(default_factory=set)
    told: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.targets

    def notify(self, place: int, title: str, text: str, *, urgent: bool) -> bool:
        assert text
        if place in self.down:
            return False
        self.told.append((place, title))
        return True


def attempts(db: Engine, job: str, outcome: str, count: int, *, minutes_ago: float = 1, cause: str = "") -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.attempt_deltas (at, job, outcome, cause, bucket, attempts, sum_ms, cpu_s) "
                "VALUES (now() - make_interval(secs => :ago), :job, :outcome, :cause, 3, :count, 10, 1)"
            ),
            {"ago": minutes_ago * 60, "job": job, "outcome": outcome, "cause": cause, "count": count},
        )


def run(db: Engine, *statements: str) -> None:
    with db.begin() as connection:
        for one in statements:
            connection.execute(sa.text(one))


REQUEST = (
    "INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, created_at, requested_by, status, "
    "ended_at, acknowledged_at) SELECT gen_random_uuid(), 'cleanup', '{}', 3, now() - interval '20 min', now(), now(), "
)

ATTEMPTS = (
    "INSERT INTO kordant.attempt_deltas (at, job, outcome, cause, bucket, attempts, sum_ms, cpu_s) "
    "SELECT now() - interval '1 min', 'cleanup', outcome, cause, 3, attempts, 10, 1 FROM (VALUES {rows}) "
    "v (outcome, cause, attempts)"
)

VERDICTS = (
    "INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, reason, exposures, "
    "new_exposures, covered_until) SELECT id, 'hibp', (now() AT TIME ZONE 'UTC')::date - day, "
    "CASE WHEN n <= {bad} THEN 'unknown' ELSE 'clean' END, CASE WHEN n <= {bad} THEN 'timed_out' END, 0, 0, now() "
    "FROM (SELECT id, row_number() OVER () AS n FROM kordant.subscriptions) s, {days} day"
)
"""Of a hundred subscriptions, so many of them unknown."""

CAUSES = {
    "failure_rate_high": (
        ATTEMPTS.format(rows="('success', '', 60), ('failure', 'exception', 35)"),
        ATTEMPTS.format(rows="('success', '', 5000)"),
    ),
    "failure_rate_slow": (
        ATTEMPTS.format(rows="('success', '', 60), ('failure', 'exception', 5)"),
        ATTEMPTS.format(rows="('success', '', 5000)"),
    ),
    "execution_timeout": (
        ATTEMPTS.format(rows="('failure', 'timeout', 1)"),
        "UPDATE kordant.attempt_deltas SET at = at - interval '70 minutes'",
    ),
    "unknown_rising": (
        "INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, 100); "
        "INSERT INTO kordant.subscriptions (id, subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium' FROM "
        f"kordant.subscribers; {VERDICTS.format(bad=2, days='generate_series(1, 6)')}; "
        f"{VERDICTS.format(bad=20, days='generate_series(0, 0)')}",
        "DELETE FROM kordant.source_verdicts WHERE checked_on = (now() AT TIME ZONE 'UTC')::date; "
        f"{VERDICTS.format(bad=2, days='generate_series(0, 0)')}",
    ),
    "queue_backlog": (f"{REQUEST} 'test', 'pending', NULL, NULL", "DELETE FROM kordant.job_requests"),
    "sla_exceeded": (
        f"{REQUEST.replace('20 min', '7 hours')} 'test', 'completed', now(), NULL",
        "UPDATE kordant.job_requests SET run_at = now() - interval '5 hours'",
    ),
    "dead_letters": (
        f"{REQUEST} 'test', 'dead', now(), NULL",
        "UPDATE kordant.job_requests SET acknowledged_at = now()",
    ),
    "job_failure_rate_high": (
        f"{REQUEST} 'agent:a', 'dead', now(), now() FROM generate_series(1, 6)",
        "DELETE FROM kordant.job_requests",
    ),
    "source_stale": (
        "INSERT INTO kordant.source_states (source, open_until, last_ok_at) "
        "VALUES ('hibp', now() + interval '1 hour', now() - interval '2 hours')",
        "UPDATE kordant.source_states SET open_until = NULL",
    ),
    "outbox_late": (
        "INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid(); INSERT INTO kordant.subscriptions (id, "
        "subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium' FROM kordant.subscribers; INSERT INTO "
        "kordant.reports (id, subscription_id, kind, period_start_on, period_end_on, figures, figures_sha256, "
        "content_sha256, storage_key, pages) SELECT gen_random_uuid(), id, 'weekly', '2026-01-01', '2026-01-08', '{}', "
        "'', '', 'k', 1 FROM kordant.subscriptions; INSERT INTO kordant.notification_outbox (id, report_id, "
        "subscription_id, category, channel, due_at) SELECT gen_random_uuid(), id, subscription_id, 'report', 'email', "
        "now() - interval '2 hours' FROM kordant.reports",
        "UPDATE kordant.notification_outbox SET status = 'sent', sent_at = now()",
    ),
    "channel_paused": (
        "INSERT INTO kordant.channel_pauses (channel, pauses, paused_until, reason) "
        "VALUES ('email', 2, now() + interval '1 hour', 'refused'), ('sms', 1, now() + interval '1 hour', 'refused')",
        "DELETE FROM kordant.channel_pauses",
    ),
    "dumps_unread": (
        "INSERT INTO kordant.breaches (name, source, title) VALUES ('B', 'dump', 'B'); INSERT INTO "
        "kordant.breach_dumps (id, content_sha256, file_label, file_key, file_size, file_mtime_ns, breach_name, "
        "status) VALUES (gen_random_uuid(), 'x', 'f', 'k', 1, 1, 'B', 'partial')",
        "UPDATE kordant.breach_dumps SET status = 'ingested'",
    ),
    "county_unknown": (
        "INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid(); INSERT INTO kordant.subscriptions (id, "
        "subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium' FROM kordant.subscribers; INSERT INTO "
        "kordant.watched_properties (id, subscription_id, subscriber_id, county, parcel_encrypted, parcel_index) "
        "SELECT gen_random_uuid(), id, subscriber_id, 'nyc', 'x', 'x' FROM kordant.subscriptions; "
        "INSERT INTO kordant.county_states (county, reason) VALUES ('nyc', 'its newest record is old')",
        "UPDATE kordant.county_states SET reason = NULL",
    ),
    "cleanup_missed": (
        "INSERT INTO kordant.cleanup_reports (id, plan_id, clock, dry_run, digest, figures) SELECT gen_random_uuid(), "
        "gen_random_uuid(), now() - interval '16 days', false, '', '{}'",
        "UPDATE kordant.cleanup_reports SET clock = now()",
    ),
    "audit_broken": (
        "UPDATE kordant.audit_progress SET fault_seq = 3, fault = 'altered'",
        "UPDATE kordant.audit_progress SET fault_seq = NULL, fault = NULL",
    ),
    "daemon_silent": (
        "CREATE SCHEMA IF NOT EXISTS dagster; CREATE TABLE dagster.daemon_heartbeats (daemon_type text, daemon_id "
        "text, timestamp timestamp); INSERT INTO dagster.daemon_heartbeats "
        "VALUES ('SENSOR', 'a', now() AT TIME ZONE 'UTC' - interval '5 min')",
        "UPDATE dagster.daemon_heartbeats SET timestamp = now() AT TIME ZONE 'UTC'",
    ),
}
