"""What a person mistypes is said in one line with what there is instead; ids may be given by their first characters."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.errors import KordantError
from kordant_jobs.settings import Settings, unknown_settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_breach


def run(*words: str, typed: str | None = None) -> Any:
    return CliRunner().invoke(app, list(words), input=typed)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("schedules set darkwatch_scan catch_up_window_s=abc --tier premium", "no number of seconds"),
        ("schedules set darkwatch_scan catch_up_window_s=99999999999 --tier premium", "no number of seconds"),
        ("schedules set darkwatch_scan catch_up_window_s=true --tier premium", "no number of seconds"),
        ("schedules set darkwatch_scan enabled=maybe --tier premium", "write true or false"),
        ("schedules set darkwatch_scan spread=maybe --tier premium", "write true or false"),
        ("schedules set darkwatch_scan realtime=1 --tier premium", "write true or false"),
        ("schedules set darkwatch_scan priority=true --tier premium", "write one of critical"),
        ("schedules set darkwatch_scan cron=5 --tier premium", "no text"),
        ("schedules set darkwatch_scan time_zone=7 --tier premium", "no text"),
        ("schedules simulate --job nope", "there is no job 'nope'"),
        ("schedules simulate --tier gold", "choose one of basic"),
        ("schedules history nope", "there is no row nope:all"),
        ("schedules history darkwatch_scan --tier gold", "there is no row"),
        ("dumps list --status foo", "choose one of registered"),
        ("dumps show 0198", "no dump whose id begins"),
        ("dumps retry zz", "is no dump id"),
        ("exposures list 0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e", "there is no subscription"),
        ("exposures list [/]", "is no subscription id"),
        ("requests show [/]", "is no request id"),
        ("reports open abc", "is no report id"),
        ("reports list --subscription nope", "is no subscription id"),
        ("subscribers show 0198", "no subscription whose id begins"),
        ("subscribers forget 0198", "no subscriber whose id begins"),
        ("db upgrade --to 9999", "there is no migration '9999'"),
        ("db downgrade nope --yes", "there is no migration 'nope'"),
        ("logs nope", "there is no log 'nope'"),
    ],
)
def test_a_wrong_word_is_one_line_and_never_an_empty_answer(
    db: Engine, settings: Settings, words: str, says: str
) -> None:
    found = run(*words.split())
    assert found.exit_code != 0
    assert isinstance(found.exception, KordantError)
    assert says in str(found.exception)
    assert "\n" not in str(found.exception)


def test_ids_may_be_given_by_their_first_characters(db: Engine, keyring: Keyring, settings: Settings) -> None:
    ids = [UUID(f"aaaa{number:04x}-0000-7000-8000-000000000000") for number in (1, 2)]
    with db.begin() as connection:
        keyring.check(connection)
        for one in ids:
            connection.execute(
                sa.text(
                    "INSERT INTO kordant.breach_dumps (id, content_sha256, file_label, file_key, file_size,"
                    " file_mtime_ns, breach_name) VALUES (:id, :sha, 'x', 'x', 1, 1, :breach)"
                ),
                {"id": one, "sha": one.bytes, "breach": add_breach(db, f"B{one.hex[:8]}")},
            )
    assert run("dumps", "show", "AAAA-0001").exit_code == 0
    several = run("dumps", "show", "aaaa")
    assert str(ids[0]) in str(several.exception)
    assert str(ids[1]) in str(several.exception)


def test_a_person_is_found_by_what_they_watch(db: Engine, keyring: Keyring, settings: Settings) -> None:
    with db.begin() as connection:
        keyring.check(connection)
    ann = subscribe(db, keyring, "Ann@Example.com", "+1 202 555 0143")
    for typed in ("ann@example.COM", "(202) 555-0143", "phone:+12025550143"):
        (row,) = json.loads(run("subscribers", "find", "--json", typed=f"{typed}\n").stdout)
        assert row["id"] == str(ann.subscription_id)
    assert json.loads(run("subscribers", "find", "--json", typed="bob@example.com\n").stdout) == []


def test_status_says_what_waits_what_is_dead_and_whether_up_runs(db: Engine, settings: Settings) -> None:
    assert run("enqueue", "darkwatch.scan").exit_code == 0
    assert run("jobs", "pause", "reports_generate", "--reason", "x").exit_code == 0
    found = json.loads(run("status", "--json").stdout)
    assert (found["up"], found["requests"], found["dead letters"]) == ("not running here", {"pending": 1}, {})
    assert found["paused"] == {"job reports_generate": 1}


def test_what_others_wrote_is_no_markup(db: Engine, settings: Settings) -> None:
    add_breach(db, "[/x]")
    assert run("jobs", "pause", "reports_generate", "--reason", "[/bold] [red]").exit_code == 0
    for words in (["catalogue", "list"], ["jobs", "list"], ["status"]):
        assert run(*words).exit_code == 0
    assert "[/x]" in run("catalogue", "list").stdout
    assert "[/bold] [red]" in run("jobs", "list").stdout


def test_a_mistyped_setting_is_reported_with_the_one_it_may_stand_for() -> None:
    typed = {"KORDANT_SMPT_URL": "x", "KORDANT_NONSENSE_AT_ALL": "x", "KORDANT_STATE_DIR": "x", "PATH": "x"}
    assert unknown_settings(typed) == {"KORDANT_NONSENSE_AT_ALL": None, "KORDANT_SMPT_URL": "KORDANT_SMTP_URL"}


@pytest.mark.parametrize(("words", "offered"), [("kordant-jobs req", "requests"), ("kordant-jobs requests l", "list")])
def test_completion_completes(words: str, offered: str) -> None:
    place = str(len(words.split()) - 1)
    asked = {"_KORDANT_JOBS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": place}
    found = CliRunner().invoke(app, prog_name="kordant-jobs", env=asked)
    assert found.stdout.split() == [offered]
