"""Who is notified of an alert, when, how often, and what a person does with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.alerts import alerts_app
from kordant_jobs.domain.operators.alert_rules import (
    BY_NAME,
    REPEAT,
    AlertState,
    NoticeKind,
    Standing,
    move,
)
from kordant_jobs.errors import SettingsError
from kordant_jobs.observability.alerting import (
    AppriseRecipients,
    evaluate,
)
from kordant_jobs.observability.sensor import operator_alert_sensor
from kordant_jobs.store.operators import alerts
from kordant_jobs_tests.observability.alerts import CAUSES, NOW, Heard, run


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
