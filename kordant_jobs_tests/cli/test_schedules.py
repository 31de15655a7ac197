"""The price list and subscriptions as a person types them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.engine import statuses
from kordant_jobs.settings import Settings


def run(*words: str, typed: str | None = None) -> Any:
    """The JSON that a command prints; an error of ours is raised."""
    result = CliRunner().invoke(app, [*words, "--json"], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def project(settings: Settings, db: Engine) -> Engine:
    """The database that the commands work on, with a master key in the environment."""
    return db


def row(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {one["name"]: one for one in run("schedules", "list")}[name]
    return found


def test_the_list_reads_like_the_price_list(project: Engine) -> None:
    rows = run("schedules", "list")
    served = {(one["tier"], one["job"]): one["cadence"] for one in rows if one["tier"] != "all"}
    assert served == {
        ("basic", "darkwatch_scan"): "monthly",
        ("basic", "hometitle_scan"): "monthly",
        ("plus", "darkwatch_scan"): "weekly",
        ("plus", "hometitle_scan"): "weekly",
        ("plus", "reports_generate"): "monthly",
        ("premium", "darkwatch_scan"): "daily",
        ("premium", "hometitle_scan"): "daily",
        ("premium", "reports_generate"): "weekly",
    }
    whole = {one["job"]: (one["cron"], one["time_zone"]) for one in rows if one["tier"] == "all"}
    assert whole["cleanup"] == ("0 3 * * 0", "America/Sao_Paulo")
    assert whole["insights_refresh"][0] == "0 2 * * *"
    assert whole["voiceprint_batch"][0] == "*/30 * * * *"
    assert whole["bank_sync"] == ("*/15 * * * *", "UTC")
    assert not [one for one in rows if one["state"] == "no such job yet"]


def test_a_row_is_changed_paused_and_resumed_and_its_history_says_who_what_and_why(project: Engine) -> None:
    words = ("schedules", "set", "darkwatch.scan", "cron=0 3 * * *", "catch_up=all", "--tier", "premium")
    cron = ["*/15 2-5 * * *", "0 3 * * *"]
    assert run(*words, "--dry-run")["changed"] == {"cron": cron, "catch_up": ["latest", "all"]}
    assert row("premium_darkwatch_scan")["version"] == 1
    run(*words, "--note", "quieter")
    assert (row("premium_darkwatch_scan")["cron"], row("premium_darkwatch_scan")["version"]) == ("0 3 * * *", 2)
    run(
        "schedules", "pause", "darkwatch_scan", "--tier", "premium", "--reason", "moving", "--until", "2099-01-01T00:00"
    )
    assert row("premium_darkwatch_scan")["state"] == "paused until 2099-01-01 00:00 UTC: moving"
    assert run("schedules", "resume", "darkwatch_scan", "--tier", "premium")["state"] == "on"
    newest, *_, changed, made = run("schedules", "history", "darkwatch_scan", "--tier", "premium")
    assert (newest["version"], made["changed"], made["by"]) == (4, "made", "catalogue")
    assert (changed["note"], changed["changed"]["cron"]) == ("quieter", cron)
    assert changed["by"] != "catalogue"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["set", "darkwatch_scan", "cron=0 3 * * 1", "--tier", "premium"],
            r"must strike every day.*Write 0 3 \* \* \*",
        ),
        (["set", "darkwatch_scan", "cron=nonsense", "--tier", "premium"], "has 1 fields"),
        (["set", "darkwatch_scan", "time_zone=Sao Paulo", "--tier", "premium"], "Write America/Sao_Paulo"),
        (["set", "darkwatch_scan", "overlap=maybe", "--tier", "premium"], "write one of allow, skip"),
        (["set", "darkwatch_scan", "fold=twice", "--tier", "premium"], "write fold once"),
        (["set", "darkwatch_scan", "colour=red", "--tier", "premium"], "a row has no colour; it has"),
        (["set", "darkwatch_scan", "cron", "--tier", "premium"], "write name=value"),
        (["set", "darkwatch_scan", "enabled=false"], "there is no row darkwatch_scan:all; there are"),
        (["set", "notifications_send", "cadence=daily"], "name a tier, or write every_tick"),
        (["pause", "notifications_send", "--reason", " "], "say why"),
        (["pause", "notifications_send", "--reason", "x", "--until", "2020-01-01T00:00"], "is past"),
        (["resume", "notifications_send"], "is not paused"),
        (["simulate", "--down", "2026-01-02T00:00/2026-01-01T00:00"], "ends before it begins"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(project: Engine, words: list[str], says: str) -> None:
    with pytest.raises(KordantError, match=says):
        run("schedules", *words)


def test_a_subscription_lives_and_ends_on_the_command_line(project: Engine) -> None:
    made = run("subscribers", "create", "--tier", "basic", typed="ann@example.com\n+12025550123\n")
    assert set(made["next_due"]) == {"darkwatch_scan", "hometitle_scan"}
    assert statuses(project) == {RequestStatus.PENDING: 1}
    upgraded = run("subscribers", "change-tier", made["subscription"], "premium")
    assert upgraded["tier"] == "premium"
    assert upgraded["next_due"]["darkwatch_scan"] <= made["next_due"]["darkwatch_scan"]
    assert run("subscribers", "pause", made["subscription"])["next_due"] == {}
    assert run("subscribers", "resume", made["subscription"])["next_due"].keys() == upgraded["next_due"].keys()
    gone = run("subscribers", "cancel", made["subscription"])
    assert (gone["status"], gone["next_due"]) == ("cancelled", {})
    assert RequestStatus.PENDING not in statuses(project)


def test_simulate_and_diff_tell_before_it_happens(project: Engine) -> None:
    for number in range(3):
        run("subscribers", "create", "--tier", "premium", typed=f"ann{number}@example.com\n")
    planned = run("schedules", "simulate", "--days", "7", "--tier", "premium", "--job", "darkwatch_scan")["planned"]
    assert sum(one["subscriptions"] for one in planned) == 21
    told = run("schedules", "diff", "darkwatch_scan", "cadence=weekly", "--tier", "premium", "--days", "28")
    assert told["changed"] == {"cadence": ["daily", "weekly"]}
    assert (told["before"]["served"], told["after"]["served"]) == (84, 12)
    assert row("premium_darkwatch_scan")["cadence"] == "daily", "nothing was changed"


def test_people_get_tables(project: Engine) -> None:
    CliRunner().invoke(app, ["subscribers", "create", "--tier", "premium"], input="ann@example.com\n")
    for words in (
        ["list"],
        ["simulate", "--days", "2"],
        ["history"],
        ["diff", "notifications_send", "cron=0 * * * *", "--days", "2"],
    ):
        result = CliRunner().invoke(app, ["schedules", *words])
        assert result.exit_code == 0, result.output
