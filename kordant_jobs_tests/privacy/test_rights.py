"""What is held of a person is shown to them whole, corrected, and its consents recorded; what is old goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.app import SYSTEM
from kordant_jobs.cli.main import app
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.engine.control import operate
from kordant_jobs.postgres.schema import metadata
from kordant_jobs.privacy.held import NOT_SHOWN, stored_data
from kordant_jobs.settings import Settings
from kordant_jobs.store.notifications import choices
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach


def _counts(db: Engine) -> dict[str, int]:
    with db.connect() as connection:
        tables = [f"kordant.{table.name}" for table in metadata.sorted_tables]
        return {one: connection.execute(sa.text(f"SELECT count(*) FROM {one}")).scalar_one() for one in tables}


def run(*words: str, typed: str = "") -> Any:
    return CliRunner().invoke(app, ["subscribers", *words], input=typed)


@pytest.fixture
def ann(db: Engine, keyring: Keyring, settings: Settings) -> Person:
    with db.begin() as connection:
        keyring.check(connection)
    person = subscribe(db, keyring, "ann@example.com", "+12025550143")
    add_alert(db, person.subscription_id, next(iter(person.items.values())), add_breach(db, "Adobe"))
    with db.begin() as connection:
        choices.add_address(connection, keyring, person.subscriber_id, Channel.SMS, "+12025550199")
    return person


def test_an_export_opens_everything_and_holds_no_one_else(db: Engine, keyring: Keyring, ann: Person) -> None:
    subscribe(db, keyring, "bob@example.com")
    found = run("export", str(ann.subscriber_id))
    told = json.loads(found.stdout)
    tables = {one["table"].removeprefix("kordant.") for one in told["held"]}
    wanted = {"subscribers", "subscriptions", "watchlist_items", "contact_addresses", "exposures", "alerts"}
    assert wanted | {"notification_outbox"} <= tables
    for clear in ("ann@example.com", "+12025550143", "+12025550199", "Adobe"):
        assert clear in found.stdout
    assert "bob@example.com" not in found.stdout
    assert all(one["purpose"] and one["source"] for one in told["held"])


def test_no_row_that_hangs_on_a_person_is_left_out(db: Engine, keyring: Keyring, ann: Person) -> None:
    """Every row that goes when they are forgotten was in the export, whichever table it is of."""
    with db.begin() as connection:
        shown = {one.table: len(one.rows) for one in stored_data(connection, keyring, ann.subscriber_id)}
    before = _counts(db)
    assert run("forget", str(ann.subscriber_id), "--yes").exit_code == 0
    after = _counts(db)
    gone = {name: before[name] - after[name] for name in before if before[name] > after[name]}
    assert {name: shown.get(name) for name in gone} == gone
    assert len(gone) > 5
    assert "wrapped_key" in NOT_SHOWN
    assert run("export", str(ann.subscriber_id)).exit_code == 1


def test_an_export_to_a_file_is_for_its_owner_alone(ann: Person, tmp_path: Any) -> None:
    path = tmp_path / "ann.json"
    assert run("export", str(ann.subscriber_id), "--to", str(path)).exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert "ann@example.com" in path.read_text()


def test_a_name_and_a_contact_are_corrected(ann: Person) -> None:
    assert run("correct", str(ann.subscriber_id), typed="name: Ánn\ncontact: new@mail.example\n").exit_code == 0
    told = run("export", str(ann.subscriber_id)).stdout
    assert "Ánn" in told
    assert "new@mail.example" in told
    for typed in ("", "ann\n", "contact: nothing\n", "name: a\x1bb\n"):
        assert run("correct", str(ann.subscriber_id), typed=typed).exit_code == 1


def test_a_consent_is_recorded_once_and_withdrawn(db: Engine, ann: Person) -> None:
    who = str(ann.subscriber_id)
    assert "say with --how" in str(run("consent", who, "watch").exception)
    assert run("consent", who, "watch", "--how", "the form of 2026-11").stdout.strip() == "recorded"
    assert run("consent", who, "watch", "--how", "again").stdout.strip() == "nothing changes"
    assert run("consent", who, "watch", "--withdraw").stdout.strip() == "withdrawn"
    assert run("consent", who, "watch", "--withdraw").stdout.strip() == "nothing changes"
    assert "the form of 2026-11" in run("export", who).stdout


def test_old_mails_logs_and_suppressed_addresses_go(db: Engine, settings: Settings) -> None:
    kept, old = list[Path](), list[Path]()
    logs = settings.state_dir / "logs"
    for folder, name in ((settings.mails / "new", "{}"), (settings.mails / "cur", "{}"), (logs, "{}.log.1")):
        folder.mkdir(parents=True)
        for made, age_days in ((kept, 1), (old, 40)):
            path = folder / name.format(age_days)
            path.write_text("x")
            os.utime(path, (time.time() - age_days * 86_400,) * 2)
            made.append(path)
    with db.begin() as connection:
        choices.suppress(connection, [(Channel.EMAIL, b"new"), (Channel.EMAIL, b"old")], reason="x", by="x")
        connection.execute(
            sa.text(
                "UPDATE kordant.suppressions SET created_at = now() - interval '1096 days' WHERE address_index = 'old'"
            )
        )
    clock = operate.DatabaseClock(db)
    operate.prune(db, now=clock.now(), keep=operate.RetentionDays.of(SYSTEM.settings()), more=SYSTEM.prunable)
    assert [path.exists() for path in (*kept, *old)] == [True] * 3 + [False] * 3
    with db.connect() as connection:
        left = connection.execute(sa.text("SELECT address_index FROM kordant.suppressions")).scalars().all()
    assert [bytes(one) for one in left] == [b"new"]
