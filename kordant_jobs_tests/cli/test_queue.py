"""The commands on the queue, as a person types them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.cli import queue as commands
from kordant_jobs.cli.jobs import jobs_app
from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.errors import KordantError, PermanentError
from kordant_jobs.lab.engine import FakeClock, RunContext, drain, statuses
from kordant_jobs.settings import Settings

app = typer.Typer()
app.command("enqueue")(commands.enqueue)
app.add_typer(commands.requests_app, name="requests")
app.add_typer(commands.dead_app, name="dead")
app.add_typer(jobs_app, name="jobs")


def run(*words: str) -> Any:
    """The JSON that a command prints; an error of ours is raised."""
    result = CliRunner().invoke(app, [*words, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def project(settings: Settings, db: Engine) -> Engine:
    """The database that the commands work on, with a master key in the environment."""
    return db


def far_ahead() -> FakeClock:
    clock = FakeClock()
    clock.advance(3650 * 86_400)
    return clock


def fail(work: RunContext) -> None:
    raise PermanentError("the source is gone")


def test_a_request_is_queued_listed_changed_and_cancelled(project: Engine) -> None:
    first = run("enqueue", "darkwatch.scan", '{"tiers": ["premium"]}', "--key", "k", "--entity", "s1")
    assert run("enqueue", "darkwatch_scan", '{"tiers": ["premium"]}', "--key", "k") == first
    (listed,) = run("requests", "list", "--job", "darkwatch.scan", "--status", "pending")
    assert (listed["id"], listed["priority"], listed["entity_key"]) == (first["id"], "normal", "s1")
    run("requests", "reprioritise", first["id"], "--priority", "critical", "--run-at", "2026-12-01T00:00:00+00:00")
    shown = run("requests", "show", first["id"])
    assert (shown["priority"], shown["run_at"], shown["attempts"]) == ("critical", "2026-12-01 00:00:00+00:00", [])
    assert run("requests", "cancel", first["id"], "--dry-run")["requests"] == [first["id"]]
    assert statuses(project) == {RequestStatus.PENDING: 1}
    run("requests", "cancel", first["id"])
    assert statuses(project) == {RequestStatus.CANCELLED: 1}


def test_dead_letters_are_listed_seen_replayed_and_given_up(project: Engine) -> None:
    one, other = (run("enqueue", "notifications_send", f'{{"limit": {n}}}')["id"] for n in (1, 2))
    drain(project, {"notifications_send": fail}, far_ahead(), catalog=BY_NAME)
    assert {row["id"] for row in run("dead", "list", "--error", "is gone")} == {one, other}
    run("dead", "ack", one)
    assert [row["id"] for row in run("dead", "list", "--unseen")] == [other]
    assert run("dead", "show", one)["attempts"][0]["cause"] == "exception"
    assert len(run("dead", "replay", "--all", "--dry-run")["requests"]) == 2
    assert run("dead", "expire", other)["requests"] == [other]
    assert run("dead", "replay", "--all")["requests"] == [one]
    assert statuses(project) == {RequestStatus.PENDING: 1, RequestStatus.EXPIRED: 1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["enqueue", "darkwatch_scan", '{"tiers": ["gold"]}'], r"payload\.tiers\.0"),
        (["enqueue", "darkwatch_scan", "[]"], "must be a JSON object"),
        (["enqueue", "nothing"], "there is no job 'nothing'"),
        (["enqueue", "darkwatch_scan", "--priority", "now"], "choose one of critical, high, normal, low"),
        (["requests", "list", "--status", "odd"], "choose one of pending"),
        (["requests", "show", "x"], "is no request id"),
        (["requests", "cancel"], "name the requests"),
        (["requests", "reprioritise", "--all"], "say what to change"),
        (["dead", "replay"], "name the requests"),
        (["enqueue", "darkwatch_scan", "--run-at", "tomorrow"], "a moment with a zone"),
    ],
)
def test_wrong_words_are_one_line_that_says_what_to_do(project: Engine, words: list[str], says: str) -> None:
    with pytest.raises(KordantError, match=says):
        run(*words)


def test_people_get_a_table(project: Engine) -> None:
    CliRunner().invoke(app, ["enqueue", "darkwatch_scan"])
    for words in (["requests", "list"], ["dead", "list"], ["requests", "cancel", "--all"]):
        assert CliRunner().invoke(app, words).exit_code == 0


def test_a_job_is_paused_by_name_or_alias_and_resumed(project: Engine) -> None:
    assert run("jobs", "pause", "darkwatch.scan", "--reason", "the feed moves") == {
        "job": "darkwatch_scan",
        "paused": True,
    }
    assert run("jobs", "pause", "darkwatch_scan", "--reason", "again")["paused"] is False
    paused = {one["job"]: one["paused"] for one in run("jobs", "list")}
    assert paused["darkwatch_scan"]["reason"] == "the feed moves"
    assert paused["notifications_send"] is None
    assert run("jobs", "resume", "darkwatch.scan") == {"job": "darkwatch_scan", "resumed": True}
    with pytest.raises(PermanentError, match="there is no job"):
        run("jobs", "pause", "no_such_job", "--reason", "x")


def test_the_list_of_requests_says_by_which_way_each_came(project: Engine) -> None:
    run("enqueue", "darkwatch.scan", "{}")
    shown = CliRunner().invoke(app, ["requests", "list"]).output
    assert "by" in shown
    assert "cli:" in shown
