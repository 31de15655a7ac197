"""kordant-jobs notifications …: what an operator does with them, on a real database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.settings import Settings
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications.tables import notification_outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.notifications_send.test_receipts import bounce
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach


def run(*words: str, typed: str | bytes | None = None) -> Any:
    return CliRunner().invoke(app, ["notifications", *words], input=typed)


def said(*words: str, typed: str | None = None) -> Any:
    found = run(*words, "--json", typed=typed)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.fixture
def person(db: Engine, keyring: Keyring, settings: Settings) -> Person:
    with db.begin() as connection:
        keyring.check(connection)
    made = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = made.items.values()
    for name in ("Adobe", "Shoply"):
        add_alert(db, made.subscription_id, item_id, add_breach(db, name))
    return made


def fail_all(db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(sa.update(notification_outbox).values(status="failed", attempts=3, reason="refused"))


def test_a_failed_one_is_found_shown_and_queued_again_or_given_up(db: Engine, person: Person) -> None:
    assert said("list")["counts"] == [{"channel": "email", "status": "queued", "count": 2}]
    fail_all(db)
    first, second = (one["id"] for one in said("list", "--status", "failed")["notifications"])
    (shown,) = said("show", first)
    assert (shown["reason"], shown["attempts"]) == ("refused", 3)
    assert said("retry", first) == {"moved": [first], "left": []}
    assert said("give-up", second, "--reason", "too old")["moved"] == [second]
    states = {one["id"]: (one["status"], one["attempts"]) for one in said("list")["notifications"]}
    assert states == {first: ("queued", 0), second: ("dead", 3)}
    again = run("give-up", first)
    assert again.exit_code == 1
    assert "left as it is" in again.output


def test_what_no_person_may_see_is_in_no_answer(person: Person) -> None:
    (one, two) = (found["id"] for found in said("list")["notifications"])
    run("addresses", str(person.subscriber_id), "--add", "-", "--channel", "sms", typed="+12025550143\n")
    told = [run("list"), run("show", one), run("addresses", str(person.subscriber_id)), run("preview", one, two)]
    for found in told:
        assert found.exit_code == 0, found.output
        for secret in ("ann@mail.example", "Ann", "jane.roe", "12025550143"):
            assert secret not in found.output


def test_a_preview_says_what_the_mail_will_say(person: Person) -> None:
    (one, two) = (found["id"] for found in said("list")["notifications"])
    assert "j•••@watched.example" in run("preview", one).stdout
    assert "<html" in run("preview", one, "--html").stdout
    assert "found 2 times" in run("preview", one, two).stdout
    assert run("preview", str(uuid4())).exit_code != 0


def test_an_address_is_suppressed_by_what_is_typed_and_let_again(db: Engine, keyring: Keyring, person: Person) -> None:
    assert run("suppress", "-", "--reason", "asked by phone", typed="Ann@Mail.example\n").exit_code == 0
    key = notification_choices.address_key(keyring, Channel.EMAIL, "ann@mail.example")
    with db.connect() as connection:
        assert notification_choices.suppressed(connection, [key]) == {key: "asked by phone"}
    (row,) = said("suppressions")
    assert "ann" not in json.dumps(row).lower().replace("channel", "")
    assert said("unsuppress", typed="ann@mail.example\n") == {"was_suppressed": True}
    assert said("unsuppress", typed="ann@mail.example\n") == {"was_suppressed": False}


def test_preferences_are_shown_and_set(person: Person) -> None:
    who = str(person.subscriber_id)
    assert said("preferences", who)["chosen"] == []
    found = said(
        "preferences", who, "--category", "breach", "--channel", "email", "--mode", "weekly",
        "--quiet", "22:00-07:00", "--digest-at", "18:30", "--digest-on", "friday",
    )  # fmt: skip
    assert found["chosen"] == [{"category": "breach", "channel": "email", "mode": "weekly"}]
    assert found["hours"] == {
        "quiet_from": "22:00:00",
        "quiet_until": "07:00:00",
        "digest_at": "18:30:00",
        "digest_weekday": 5,
    }
    assert said("preferences", who, "--quiet", "none")["hours"]["quiet_from"] is None
    assert len(said("preferences", who, "--mode", "off")["chosen"]) == 30


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--status", "lost"),
        ("list", "--channel", "pigeon"),
        ("show", "x"),
        ("preferences", "x"),
        ("preferences", str(uuid4())),
        ("suppress", "--channel", "fax"),
        ("suppress", "a@b.example"),
        ("unsuppress", "a@b.example"),
    ],
)
def test_a_wrong_word_is_one_line_that_says_what_there_is(settings: Settings, words: tuple[str, ...]) -> None:
    found = run(*words)
    assert found.exit_code != 0
    assert found.exception is not None
    assert "\n" not in str(found.exception)


def test_a_bounce_on_standard_input_moves_its_mail(db: Engine, person: Person, tmp_path: Path) -> None:
    with db.begin() as connection:
        connection.execute(sa.update(notification_outbox).values(status="sent"))
    sent = said("list")["notifications"][0]["id"]
    assert run("bounce", typed=bounce(sent)).exit_code == 0
    assert said("show", sent)[0]["status"] == "suppressed"
    assert run("bounce", typed=b"Subject: hello\r\n\r\nx").exit_code == 1


def test_channels_say_which_setting_turns_them_on(settings: Settings) -> None:
    found = {one["channel"]: (one["on"], one["setting"]) for one in said("channels")}
    assert found["email"] == (True, None)
    assert found["sms"] == (False, "KORDANT_TWILIO_ACCOUNT_SID")
