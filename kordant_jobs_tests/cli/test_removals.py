"""Brokers and removal requests as an operator sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.errors import KordantError, PermanentError
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import profiles
from kordant_jobs_tests.adapters.brokers import samples
from kordant_jobs_tests.jobs.people import subscribe


def run(*words: str, given: str = "", exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.output


def parsed(*words: str, exit_code: int = 0) -> Any:
    return json.loads(run(*words, "--json", exit_code=exit_code))


@pytest.fixture
def project(settings: Settings, db: Engine) -> Engine:
    assert settings.state_dir
    return db


def test_a_list_is_imported_compared_and_shown(project: Engine, tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_bytes(samples.CALIFORNIA_OLD)
    new.write_bytes(samples.CALIFORNIA_NEW)
    assert parsed("brokers", "import", str(old), "--dry-run")["brokers"] == {"added": 2}
    assert parsed("brokers", "list") == []
    assert parsed("brokers", "import", str(old))["new"] == 2
    assert parsed("brokers", "import", str(old))["brokers"] == {}
    changes = parsed("brokers", "diff", str(old), str(new), exit_code=1)
    assert {(key, kind) for key, kind, _, _ in changes} == {
        ("spoken.com", "changed"), ("gone.com", "removed"), ("new-broker.com", "added"),
    }  # fmt: skip
    assert parsed("brokers", "diff", str(old), str(old)) == []
    assert parsed("brokers", "show", "www.spoken.com")["emails"] == ["privacy@spoken.com"]
    assert parsed("brokers", "import", "starter")["new"] >= 5


def test_a_list_that_is_cut_off_or_lost_most_of_its_rows_is_taken_only_with_yes(
    project: Engine, tmp_path: Path
) -> None:
    whole, cut, short = tmp_path / "whole.csv", tmp_path / "cut.csv", tmp_path / "short.csv"
    head = b"Data Broker Name,Email Address,Website URL\n"
    whole.write_bytes(head + b"".join(b"B%d,p@b%d.com,b%d.com\n" % (n, n, n) for n in range(5)))
    cut.write_bytes(whole.read_bytes() + b'"Another, In')
    short.write_bytes(head + b"B1,p@b1.com,b1.com\n")
    run("brokers", "import", str(whole))
    for path, why in ((cut, "middle of a row"), (short, "1 usable rows, where it had 5")):
        with pytest.raises(KordantError, match=f"{why}.*Nothing was imported"):
            run("brokers", "import", str(path))
        assert why in run("brokers", "import", str(path), "--dry-run")
    assert len(parsed("brokers", "list")) == 5
    run("brokers", "import", str(short), "--yes")
    assert len(parsed("brokers", "list")) == 1


def test_brokers_that_share_a_mailbox_are_one_request_and_the_difference_says_so(
    project: Engine, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    head = b"Data Broker Name,Email Address,Website URL\nOne LLC,privacy@one.com,one.com\nTwo LLC,"
    before.write_bytes(head + b"privacy@two.com,two.com\n")
    after.write_bytes(head + b"privacy@one.com,two.com\n")
    [change] = parsed("brokers", "diff", str(before), str(after), exit_code=1)
    assert change[3]["handled_by"] == "one.com"
    run("brokers", "import", str(after))
    assert {row["key"]: row["handled_by"] for row in parsed("brokers", "list")} == {
        "one.com": None,
        "two.com": "one.com",
    }


def test_a_request_is_made_shown_and_carried_by_hand(project: Engine, keyring: Keyring) -> None:
    person = subscribe(project, keyring, "ann@mail.example", name="Ann Example")
    who = str(person.subscription_id)
    run("brokers", "import", "starter")
    with pytest.raises(PermanentError, match="permit"):
        run("removals", "request", who, "--broker", "spokeo")
    with pytest.raises(KordantError, match="field: value"):
        run("removals", "permit", who, "--country", "US", "--state", "CA", given="mother: Eve\n")
    run("removals", "permit", who, "--country", "US", "--state", "CA", given="city: Fresno\nphone: (202) 555-0143\n")
    with project.connect() as connection:
        keys = keyring.load_keys(connection, [person.subscriber_id])
        profile = profiles.load(connection, keys, [person.subscriber_id])[person.subscriber_id]
    assert {**profile.details, "name": "", "email": ""} == {
        "name": "", "email": "", "city": "Fresno", "phone": "+12025550143", "state": "CA", "country": "US"
    }  # fmt: skip
    assert profile.permission is not None
    assert profile.permission.startswith(b"%PDF")
    assert "would be made" in run("removals", "request", who, "--broker", "spokeo", "--dry-run")
    assert run("removals", "request", who, "--broker", "spokeo", "--broker", "california-drop").startswith("2 requests")
    assert run("removals", "request", who, "--broker", "spokeo.com").startswith("0 requests")
    rows = parsed("removals", "list", "--subscription", who)
    assert {row["state"] for row in rows} == {"draft"}
    assert {row["turn"] for row in rows} == {"us"}
    assert "only the first 1 are shown" in run("removals", "list", "--limit", "1")
    assert len(parsed("removals", "list", "--limit", "0")) == 2
    request = next(row["id"] for row in rows if row["broker"] == "Spokeo")
    with pytest.raises(PermanentError, match="nothing was asked"):
        run("removals", "done", request)
    assert run("removals", "cancel", request).strip() == "cancelled"
    with pytest.raises(KordantError, match="cannot become"):
        run("removals", "deny", request)
    assert parsed("removals", "show", request)["events"][-1]["actor"].startswith("cli:")
    assert parsed("removals", "disclosures", who) == []
    assert parsed("removals", "replies") == []


def test_californias_platform_is_only_for_those_who_live_there(project: Engine, keyring: Keyring) -> None:
    person = subscribe(project, keyring, "ann@mail.example")
    run("brokers", "import", "starter")
    run("removals", "permit", str(person.subscription_id), "--country", "US", "--state", "TX")
    answer = run("removals", "request", str(person.subscription_id), "--broker", "california-drop")
    assert answer.startswith("0 requests made; 0 ")
    assert "residents of another place only: 1" in answer


@pytest.mark.parametrize(
    "line",
    ["name:  ", "name: -", "email: not-an-email", "phone: abc", "birth_year: 3000", "birth_date: 1980-13-01",
     "birth_year: 80", "state: NY", "country: BR", "city: ", "city"],
)  # fmt: skip
def test_a_detail_that_is_none_is_refused_before_anything_is_written(
    project: Engine, keyring: Keyring, line: str
) -> None:
    person = subscribe(project, keyring, "ann@mail.example")
    with pytest.raises(KordantError, match="Nothing was written"):
        run("removals", "permit", str(person.subscription_id), "--country", "US", "--state", "CA", given=f"{line}\n")
    with project.connect() as connection:
        assert (
            profiles.load(connection, keyring.load_keys(connection, [person.subscriber_id]), [person.subscriber_id])
            == {}
        )


def test_a_state_is_one_of_its_country(project: Engine, keyring: Keyring) -> None:
    who = str(subscribe(project, keyring, "ann@mail.example").subscription_id)
    with pytest.raises(KordantError, match="BR has no state"):
        run("removals", "permit", who, "--country", "BR", "--state", "XX")
    assert "lgpd" in run("removals", "permit", who, "--country", "BR", "--state", "SP")


@pytest.mark.parametrize("place", [("USA", "CA"), ("US", "California"), ("US", ""), ("XX", "")])
def test_a_place_that_no_law_knows_is_refused_before_anything_is_written(
    project: Engine, keyring: Keyring, place: tuple[str, str]
) -> None:
    who = str(subscribe(project, keyring, "ann@mail.example").subscription_id)
    run("brokers", "import", "starter")
    with pytest.raises(KordantError, match=r"as (US|CA)"):
        run("removals", "permit", who, "--country", place[0], "--state", place[1])
    with pytest.raises(PermanentError, match="permit"):
        run("removals", "request", who, "--broker", "spokeo")
    assert "ccpa" in run("removals", "permit", who, "--country", "us", "--state", "ca")
    with pytest.raises(KordantError, match="no broker has the region"):
        run("removals", "request", who, "--region", "mars")


def test_joins_say_whose_parent_is_missing_and_a_list_of_alikes_takes_no_joins_away(
    project: Engine, tmp_path: Path
) -> None:
    fronts, alikes = tmp_path / "fronts.yml", tmp_path / "similar.yml"
    fronts.write_text("spokeo:\n- peekYou2\nnobodyKnows:\n- lonelySite\n")
    alikes.write_text("-\n  - radaris\n  - veripages\n")
    run("brokers", "import", "starter")
    assert parsed("brokers", "import", str(fronts))["without_parent"] == [["lonelysite", "nobodyKnows"]]
    assert "nothing was imported" in run("brokers", "import", str(alikes))
    handled = {row["key"]: row["handled_by"] for row in parsed("brokers", "list")}
    assert (handled["peekyou2"], handled["lonelysite"]) == ("spokeo.com", None)
