"""Each rule is raised by its cause, told once, and so is its end; a quiet month raises none; who is down is retried."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.alerts import alerts_app
from kordant_jobs.domain.operators.alert_rules import (
    BY_NAME,
    DEFAULT_RULES,
    REPEAT,
    AlertRule,
    AlertState,
    NoticeKind,
    Standing,
    move,
)
from kordant_jobs.engine.daemon.leader import Leader
from kordant_jobs.errors import SettingsError
from kordant_jobs.observability.alerting import (
    HERE,
    UNCLAIMED,
    AppriseRecipients,
    Machine,
    evaluate,
    measured,
    measures,
)
from kordant_jobs.observability.sensor import operator_alert_sensor
from kordant_jobs.store.operators import alerts

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


def test_every_rule_has_a_cause_and_is_measured() -> None:
    """The cause and its end are told below; that a healthy month raises none is in `test_healthy_month`, which
    evaluates every rule that is measured."""
    by_machine = {"standby_missing", "disk", "replica_clock"}  # told below, each in a test of its own
    measured_here = {rule for rules in measures(HERE) for rule in rules}
    assert {*CAUSES, *by_machine, UNCLAIMED} == set(BY_NAME) == {*measured_here, UNCLAIMED}


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda one: one.name)
def test_a_rule_fires_within_its_window_and_not_before(rule: AlertRule) -> None:
    made = move(rule, None, rule.fires_at, now=NOW)
    if rule.for_s:
        assert (made.state, made.notice) == (AlertState.PENDING, None)
        pending = Standing(state=AlertState.PENDING, since=NOW)
        assert move(rule, pending, rule.fires_at, now=NOW + timedelta(seconds=rule.for_s - 1)).notice is None
        made = move(rule, pending, rule.fires_at, now=NOW + timedelta(seconds=rule.for_s))
    assert (made.state, made.notice) == (AlertState.FIRING, NoticeKind.FIRED)
    assert move(rule, None, rule.fires_at * 0.999, now=NOW).state is None


@contextmanager
def told_once(db: Engine, rule: str, well: Machine = HERE, fault: Machine = HERE) -> Iterator[None]:
    """Around the end of a cause that is there already, or is `fault`: that it is told once, and so is its end."""
    heard = Heard()
    for _ in range(3):
        evaluate(db, heard, fault)
    assert len([title for _, title in heard.told if f"page: {rule}" in title]) == 1
    yield
    for _ in range(3):
        evaluate(db, heard, well)
    assert len([title for _, title in heard.told if title.startswith(f"resolved: {rule}")]) == 1


def at_once(db: Engine, rule: str, machine: Machine = HERE) -> None:
    """Have the rule fire as soon as its cause is there, which it is not yet."""
    run(db, f"INSERT INTO kordant.alert_rules SELECT '{rule}', 1, 'page', {BY_NAME[rule].fires_at}, "
            f"{BY_NAME[rule].clears_at}, 0, true, 'test'")  # fmt: skip
    assert evaluate(db, Heard(), machine).fired == 0


@pytest.mark.parametrize("rule", CAUSES)
def test_a_cause_is_notified_once_and_so_is_its_end(db: Engine, rule: str) -> None:
    at_once(db, rule)
    run(db, CAUSES[rule][0])
    with told_once(db, rule):
        run(db, CAUSES[rule][1])


def test_a_daemon_without_a_standby_is_notified_once(db: Engine, database_url: str) -> None:
    leader, standby, next_standby = (Leader(database_url) for _ in range(3))
    assert (leader.still(), standby.still()) == (True, False)
    at_once(db, "standby_missing")
    standby.release()
    with told_once(db, "standby_missing"):
        assert not next_standby.still()
    leader.release()
    next_standby.release()


class _Room(NamedTuple):
    """A file system as statvfs gives it."""

    f_bavail: int = 90
    f_blocks: int = 100
    f_favail: int = 90
    f_files: int = 100


@pytest.mark.parametrize("full", [_Room(f_bavail=4), _Room(f_favail=0)], ids=["bytes", "inodes"])
def test_a_disk_that_fills_is_notified_once(
    db: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: _Room
) -> None:
    machine = Machine(folders={"state": tmp_path, "drop": tmp_path, "reports": tmp_path / "not-there"})
    monkeypatch.setattr(os, "statvfs", lambda _: _Room(f_files=0))  # a file system without a number of inodes
    at_once(db, "disk", machine)
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with told_once(db, "disk", well=machine, fault=machine):
        monkeypatch.setattr(os, "statvfs", lambda _: _Room())


@pytest.mark.parametrize("off_s", [-3, 3])
def test_a_clock_that_is_off_is_notified_once(db: Engine, off_s: int) -> None:
    at_once(db, "replica_clock")
    fault = Machine(clock=lambda: datetime.now(UTC) + timedelta(seconds=off_s))
    with told_once(db, "replica_clock", fault=fault):
        """The clock is set."""


def test_a_clip_that_no_run_accepts_is_notified_once_and_so_is_its_end(db: Engine, tmp_path: Path) -> None:
    heard, old = Heard(), datetime.now(UTC).timestamp() - 2 * 3600
    for name, written_at in (("call from Ana.wav", old), ("just now.wav", old + 2 * 3600)):
        (tmp_path / name).write_bytes(b"sound")
        os.utime(tmp_path / name, (written_at, written_at))
    for _ in range(2):
        evaluate(db, heard, Machine(voice_drop=tmp_path))
    assert heard.told == [(0, "ticket: clips_unclaimed no id in the name")]
    evaluate(db, heard)
    evaluate(db, heard, Machine(voice_drop=tmp_path / "of another machine"))
    assert len(heard.told) == 1
    (tmp_path / "call from Ana.wav").unlink()
    for _ in range(2):
        evaluate(db, heard, Machine(voice_drop=tmp_path))
    assert heard.told[1:] == [(0, "resolved: clips_unclaimed no id in the name")]


def test_failures_burn_in_both_windows_or_not_at_all(db: Engine) -> None:
    heard = Heard()
    attempts(db, "cleanup", "success", 60, minutes_ago=50)
    attempts(db, "cleanup", "failure", 30, minutes_ago=30)
    evaluate(db, heard)
    assert not [title for _, title in heard.told if "failure_rate_high" in title]  # it is over: five minutes are clean
    attempts(db, "cleanup", "failure", 5)
    evaluate(db, heard)
    assert [title for _, title in heard.told if "failure_rate_high" in title] == ["page: failure_rate_high cleanup"]
    attempts(db, "cleanup", "success", 5000)
    evaluate(db, heard)
    ended = {title for _, title in heard.told if title.startswith("resolved")}
    assert ended == {"resolved: failure_rate_high cleanup", "resolved: failure_rate_slow cleanup"}


def test_one_failure_in_a_quiet_hour_is_no_rate(db: Engine) -> None:
    heard = Heard()
    attempts(db, "cleanup", "failure", 3)
    evaluate(db, heard)
    assert heard.told == []


def test_unknown_verdicts_rise_against_their_own_week(db: Engine) -> None:
    """A share that is a little above its usual one is no news."""
    run(db, CAUSES["unknown_rising"][0], CAUSES["unknown_rising"][1].replace("n <= 2", "n <= 5"))
    heard = Heard()
    evaluate(db, heard)
    assert heard.told == []
    run(db, CAUSES["unknown_rising"][1].replace("n <= 2", "n <= 8"))
    evaluate(db, heard)
    assert heard.told == [(0, "ticket: unknown_rising hibp")]


def test_a_month_of_ordinary_noise_raises_nothing() -> None:
    rng, rule, standing, told = random.Random(7), BY_NAME["queue_backlog"], None, 0
    at = NOW
    for _ in range(30 * 24 * 60):
        at += timedelta(minutes=1)
        waits = max(0.0, rng.gauss(30, 40)) if rng.random() > 0.001 else 950.0  # a burst now and then, for a minute
        made = move(rule, standing, waits, now=at)
        told += made.notice is not None
        standing = None if made.state in {None, AlertState.RESOLVED} else Standing(
            state=made.state or AlertState.PENDING, since=at if standing is None else standing.since
        )  # fmt: skip
    assert told == 0


def test_an_alert_is_notified_again_after_four_hours_unless_acknowledged() -> None:
    rule = BY_NAME["dead_letters"]
    firing = Standing(state=AlertState.FIRING, since=NOW, notified_at=NOW)
    assert move(rule, firing, 3, now=NOW + REPEAT - timedelta(seconds=1)).notice is None
    assert move(rule, firing, 3, now=NOW + REPEAT).notice is NoticeKind.AGAIN
    seen = Standing(state=AlertState.FIRING, since=NOW, notified_at=NOW, is_acknowledged=True)
    assert move(rule, seen, 3, now=NOW + REPEAT).notice is None
    assert move(rule, seen, 0, now=NOW + REPEAT).notice is NoticeKind.RESOLVED


def test_one_target_that_is_down_repeats_nothing_to_the_others(db: Engine) -> None:
    heard = Heard(targets=2, down={1})
    run(db, CAUSES["dead_letters"][0])
    for _ in range(3):
        evaluate(db, heard)
    assert heard.told == [(0, "ticket: dead_letters cleanup")]
    heard.down.clear()
    evaluate(db, heard)
    assert heard.told == [(0, "ticket: dead_letters cleanup"), (1, "ticket: dead_letters cleanup")]


def test_a_silenced_alert_is_kept_and_sends_no_notice(db: Engine) -> None:
    heard = Heard()
    with db.begin() as connection:
        later = datetime.now(UTC) + timedelta(hours=1)
        alerts.silence(connection, "dead_letters", "cleanup", reason="known", until=later, by="test")
    run(db, CAUSES["dead_letters"][0])
    evaluate(db, heard)
    assert heard.told == []
    with db.connect() as connection:
        assert [row.rule for row in alerts.listed(connection, all_of_them=False, limit=9)] == ["dead_letters"]


def test_an_alert_that_began_silenced_is_notified_when_the_silence_ends(db: Engine) -> None:
    heard = Heard()
    with db.begin() as connection:
        later = datetime.now(UTC) + timedelta(hours=1)
        alerts.silence(connection, "dead_letters", None, reason="known", until=later, by="test")
    run(db, CAUSES["dead_letters"][0])
    evaluate(db, heard)
    assert heard.told == []
    run(db, "UPDATE kordant.alert_silences SET until = now() - interval '1 s'")
    evaluate(db, heard)
    evaluate(db, heard)
    assert heard.told == [(0, "ticket: dead_letters cleanup")]


def test_a_burst_that_goes_away_quickly_is_no_backlog(db: Engine) -> None:
    due = REQUEST.replace("20 min", "1 min")
    run(db, f"{due} 'test', 'pending', NULL, NULL FROM generate_series(1, 200)")
    run(db, f"{due} 'test', 'completed', now() - interval '1 s', NULL FROM generate_series(1, 90)")
    run(db, DEPTHS.format(due="CASE WHEN n < 3 THEN 100 * (3 - n) ELSE 0 END"))  # it came within three minutes
    with db.begin() as connection:
        values, _ = measured(connection, now=datetime.now(UTC))
    assert 60 <= values["queue_backlog", "cleanup"] < 70  # how long the oldest waits
    assert evaluate(db, Heard()).fired == 0


DEPTHS = (
    "INSERT INTO kordant.queue_depths SELECT 'cleanup', date_trunc('minute', now()) - make_interval(mins => n), {due} "
    "FROM generate_series(1, 30) n"
)
"""What was due in the minutes before; n minutes ago."""


def test_a_queue_that_grows_faster_than_it_is_served_is_notified_before_anything_is_late(db: Engine) -> None:
    due = REQUEST.replace("20 min", "1 min")
    run(db, f"{due} 'test', 'pending', NULL, NULL FROM generate_series(1, 2000)")
    run(db, f"{due} 'test', 'completed', now() - interval '1 s', NULL FROM generate_series(1, 90)")
    for growth, is_told in (("1900 + n", False), ("1900 - 50 * n", True)):
        run(db, "DELETE FROM kordant.queue_depths", DEPTHS.format(due=growth))
        with db.begin() as connection:
            values, _ = measured(connection, now=datetime.now(UTC))
        assert (values["queue_backlog", "cleanup"] > 900) is is_told  # 2,000 at 90 a minute take 22 minutes


def test_a_rule_that_cannot_be_measured_stops_no_other_and_ends_no_alert(db: Engine) -> None:
    heard = Heard()
    zero = f"1, 'page', {BY_NAME['source_stale'].fires_at}, {BY_NAME['source_stale'].clears_at}, 0, true, 'test'"
    run(db, f"INSERT INTO kordant.alert_rules SELECT 'source_stale', {zero}")
    run(db, CAUSES["source_stale"][0])
    evaluate(db, heard)
    run(db, "ALTER TABLE kordant.source_states RENAME TO lost")
    run(db, CAUSES["dead_letters"][0])
    evaluate(db, heard)
    assert [title for _, title in heard.told] == ["page: source_stale hibp", "ticket: dead_letters cleanup"]


def test_no_notice_is_sent_within_a_transaction_or_twice_at_once(db: Engine) -> None:
    open_ones, heard = [], Heard()
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in trans%'"

    class Slow(Heard):
        def notify(self, place: int, title: str, text: str, *, urgent: bool) -> bool:
            with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                open_ones.append(connection.execute(sa.text(count)).scalar_one())
            assert evaluate(db, heard).sent == 0  # somebody else, meanwhile
            return super().notify(place, title, text, urgent=urgent)

    run(db, CAUSES["dead_letters"][0])
    slow = Slow()
    evaluate(db, slow)
    assert (slow.told, heard.told, open_ones) == ([(0, "ticket: dead_letters cleanup")], [], [0])


@pytest.fixture
def sink() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web hook that notes what it gets."""
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()


def test_operators_are_reached_by_apprise(db: Engine, sink: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = sink
    run(db, CAUSES["dead_letters"][0])
    assert evaluate(db, AppriseRecipients([url])).sent == 1
    assert got[0]["title"] == "ticket: dead_letters cleanup"
    assert "kordant-jobs dead list" in got[0]["message"]
    away = AppriseRecipients(["json://127.0.0.1:1/"])
    assert away.notify(0, "t", "x", urgent=True) is False
    with pytest.raises(SettingsError, match="address 1 is none"):
        AppriseRecipients(["secret-without-scheme"])


@pytest.mark.usefixtures("settings")
def test_a_person_sees_acknowledges_changes_and_silences(
    db: Engine, monkeypatch: pytest.MonkeyPatch, sink: tuple[str, list[dict[str, Any]]]
) -> None:
    def said(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(alerts_app, list(words))
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 or not result.exception or result.stdout else str(result.exception)

    run(db, CAUSES["dead_letters"][0])
    assert json.loads(said("check", "--json"))["fired"] == 1
    (one,) = json.loads(said("list", "--json"))
    assert (one["rule"], one["subject"], one["state"]) == ("dead_letters", "cleanup", "firing")
    assert "acknowledged" in said("ack", one["id"])
    assert "cleanup" in said("list")
    assert "version 1" in said("set", "dead_letters", "--fires-at", "5", "--clears-at", "2")
    assert "clears at no more" in said("set", "dead_letters", "--fires-at", "1", code=1)
    assert "there is no rule" in said("set", "nothing", "--on", code=1)
    assert "is silent until" in said("silence", "dead_letters", "--hours", "1", "--reason", "known")
    assert len(json.loads(said("rules", "--json"))) == len(BY_NAME)
    assert "KORDANT_ALERT_URLS is empty" in said("test", code=1)
    monkeypatch.setenv("KORDANT_ALERT_URLS", sink[0])
    assert "address 1: sent" in said("test")


def test_an_alert_about_a_job_is_written_once_on_the_page_of_its_run(db: Engine, settings: Any) -> None:
    @dg.job
    def cleanup() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        newest, older = (instance.create_run_for_job(cleanup).run_id for _ in range(2))
        run(db, CAUSES["dead_letters"][0], CAUSES["dead_letters"][0])
        for run_id, age in ((newest, 1), (older, 9)):
            run(
                db,
                f"UPDATE kordant.job_requests SET run_id = '{run_id}', cause = 'exception', started_at = now() - "
                f"interval '{age} min' WHERE id = (SELECT id FROM kordant.job_requests WHERE run_id IS NULL LIMIT 1)",
            )
        context = dg.build_sensor_context(instance=instance, resources={"db": db})
        for _ in range(2):
            operator_alert_sensor(context)
        said = {
            one: [entry.dagster_event.message for entry in instance.all_logs(one) if entry.dagster_event]
            for one in (newest, older)
        }
    assert said[older] == []
    assert said[newest] == ["Alert dead_letters: work was given up. To begin with: kordant-jobs dead list"]
