"""Outside sources and exposures as an operator sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.domain.darkwatch.exposures import SecretKind, Source
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.fakes.sources.hibp import TEST_KEY, FakeHibp
from kordant_jobs.settings import Settings
from kordant_jobs.store.darkwatch import source_checks
from kordant_jobs.store.darkwatch.source_checks import Found
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import SEEN, add_breach, add_exposure


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def project(settings: Settings, db: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    for name in ("KORDANT_HIBP_API_KEY", "KORDANT_LEAKCHECK_API_KEY", "KORDANT_XPOSEDORNOT"):
        monkeypatch.delenv(name, raising=False)
    return db


def test_a_source_without_a_key_is_off_and_says_what_turns_it_on(project: Engine) -> None:
    rows = {row["source"]: row for row in run("sources", "list")}
    assert {row["state"] for row in rows.values()} == {"off"}
    assert "KORDANT_HIBP_API_KEY" in rows["hibp"]["why"]


def test_a_check_says_how_each_stands_and_shows_no_key(project: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHibp(rpm=50).server() as hibp:
        monkeypatch.setenv("KORDANT_HIBP_API_KEY", TEST_KEY)
        monkeypatch.setenv("KORDANT_HIBP_URL", f"{hibp.url}/api/v3")
        found = run("sources", "check")
        assert [(row["source"], row["answer"]) for row in found["checked"]] == [("hibp", "exposed")]
        [hibp_row] = [row for row in run("sources", "list") if row["source"] == "hibp"]
    assert (hibp_row["state"], hibp_row["requests_per_minute"], hibp_row["k_anonymity"]) == ("on", 50, True)
    assert TEST_KEY not in CliRunner().invoke(app, ["settings"]).output
    failed = run("sources", "check", exit_code=1)  # it is gone by now
    assert [row["answer"] for row in failed["checked"]] == ["unknown"]


def test_an_exposure_shows_its_evidence_and_not_me_ends_it(project: Engine, keyring: Keyring) -> None:
    person = subscribe(project, keyring, "ann@example.com")
    [item_id] = person.items.values()
    add_breach(project)
    exposure_id = add_exposure(project, item_id, "Adobe", secret=SecretKind.NONE)
    with project.begin() as connection:
        found = [Found(item_id=item_id, breach_name="Adobe", reference="Adobe", data_classes=("Passwords",))]
        source_checks.save_findings(connection, Source.HIBP, found, now=SEEN)
    shown = run("exposures", "show", str(exposure_id))
    assert (shown["breach_name"], shown["breached_on"], shown["data_classes"]) == (
        "Adobe", "2013-10-04", ["Email addresses", "Passwords"],
    )  # fmt: skip
    [place] = shown["places"]
    assert (place["source"], place["reference"], place["data_classes"]) == ("hibp", "Adobe", ["Passwords"])
    assert place["first_seen_at"].startswith("2026-06-10")
    assert "ann@example.com" not in json.dumps(shown)
    assert CliRunner().invoke(app, ["exposures", "not-me", str(exposure_id)]).exit_code == 0
    [listed] = run("exposures", "list", str(person.subscription_id))
    assert (listed["judgement"], listed["judgement_reason"]) == ("not_me", "not_me")
    with pytest.raises(KordantError, match="no exposure"):
        run("exposures", "show", str(item_id))
