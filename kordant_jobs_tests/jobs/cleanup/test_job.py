"""cleanup as Dagster runs it, and as a person asks for it."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.cleanup import cleanup_app
from kordant_jobs.definitions import defs
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe


def run(*words: str, fails: bool = False) -> Any:
    result = CliRunner().invoke(cleanup_app, list(words))
    assert (result.exit_code != 0) is fails, result.output
    return str(result.exception) if fails else json.loads(result.stdout) if "--json" in words else result.stdout


def old_replies(db: Engine, rows: int) -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.api_replies (principal_id, operation, key, body_hash, at) "
                "SELECT 'a', 'b', n::text, '', now() - interval '9 days' FROM generate_series(1, :rows) n"
            ),
            {"rows": rows},
        )


def clean_up(config: dict[str, Any]) -> dg.ExecuteInProcessResult:
    job = defs.get_job_def("cleanup")
    return job.execute_in_process(run_config={"ops": {"plan": {"config": config}}})


def test_the_job_deletes_and_its_report_is_read_by_a_person(settings: Settings, db: Engine) -> None:
    old_replies(db, 30)
    assert clean_up({}).success
    (line,) = run("history", "--json")
    assert (line["deleted"], line["failed"], line["dry_run"]) == (30, [], False)
    report = run("report", "--json")
    assert report["kinds"]["api_replies"]["deleted"] == 30
    assert len(report["kinds"]) == len([one for one in run("policy", "list", "--json") if one["action"] != "keep"])
    assert "api_replies" in run("report")
    assert "cleanup history" in run("report", "0000000", fails=True)


def test_a_plan_is_made_read_and_queued(settings: Settings, db: Engine) -> None:
    old_replies(db, 7)
    plan = run("plan", "--kind", "api_replies", "--json")
    assert plan["kinds"]["api_replies"]["rows"] == 7
    assert plan["without_policy"] == []
    queued = run("run", "--plan", plan["plan_id"][:13], "--json")
    with db.connect() as connection:
        payload = connection.execute(
            sa.text("SELECT payload FROM kordant.job_requests WHERE id = :id"), {"id": queued["request"]}
        ).scalar_one()
    assert payload == {"kinds": [], "plan_id": plan["plan_id"], "dry_run": False}
    assert clean_up(payload).success
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.api_replies")).scalar_one() == 0


def test_a_hold_is_placed_seen_and_released(settings: Settings, db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    hold = run("hold", "place", "--reason", "file 7", "--owner", str(person.subscriber_id), "--json")["hold"]
    (listed,) = run("hold", "list", "--json")
    assert (listed["owner_id"], listed["reason"]) == (str(person.subscriber_id), "file 7")
    run("hold", "release", hold[:8])
    assert run("hold", "list", "--json") == []
    assert len(run("hold", "list", "--all", "--json")) == 1
    assert "stands no more" in run("hold", "release", hold, fails=True)
    assert "say what is on hold" in run("hold", "place", "--reason", "x", fails=True)
    days = ("--since", "2026-02-01", "--before", "2026-01-01")
    assert "nothing would be on hold" in run("hold", "place", "--reason", "x", *days, fails=True)
    assert "over already" in run(
        "hold", "place", "--reason", "x", "--kind", "sync_runs", "--until", "2020-01-01", fails=True
    )
    assert "is no kind" in run("hold", "place", "--reason", "x", "--kind", "nothing", fails=True)


def test_a_shorter_term_needs_a_second_person(settings: Settings, db: Engine) -> None:
    words = ("policy", "set", "scan_verdicts", "--basis", "LGPD art. 16 I")
    assert "a person other than you" in run(*words, "--days", "10", fails=True)
    assert "only counts it" in run(*words, "--days", "10", "--approved-by", "eve")
    assert run(*words, "--days", "3000", "--json")["version"] == 2
    assert "is kept" in run("policy", "set", "audit_log", "--days", "1", "--basis", "x", fails=True)


@pytest.mark.usefixtures("settings")
def test_an_unknown_kind_is_refused_with_the_known_ones(db: Engine) -> None:
    assert "api_replies" in run("plan", "--kind", "nothing", fails=True)
