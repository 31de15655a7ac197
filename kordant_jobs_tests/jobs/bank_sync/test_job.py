"""bank_sync as Dagster runs it, as a person sees it, and what of it is nowhere in clear."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.catalog.bank_sync import BankSync
from kordant_jobs.cli.main import app
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.jobs.bank_sync.job import JOBS
from kordant_jobs.lab.banks.small_bank import SmallBank, entry
from kordant_jobs.lab.fakes.banks.ledger import Item
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store.people.keyring import Keyring


def run(*words: str, typed: str = "", fails: bool = False) -> Any:
    result = CliRunner().invoke(app, list(words), input=typed)
    assert (result.exit_code != 0) is fails, (result.output, result.exception)
    if fails:
        return result.output + str(result.exception)
    return json.loads(result.stdout) if "--json" in words else result.stdout


@pytest.fixture
def here(
    bank: SmallBank, database_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, server: FakePluggy
) -> Settings:
    """Settings for commands on the shared database."""
    import base64

    from kordant_jobs_tests.conftest import MASTER_KEY

    monkeypatch.setenv("KORDANT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("KORDANT_DATABASE_URL", database_url)
    monkeypatch.setenv("KORDANT_MASTER_KEY", base64.b64encode(MASTER_KEY).decode())
    monkeypatch.setenv("KORDANT_PLUGGY_CLIENT_ID", "client")
    monkeypatch.setenv("KORDANT_PLUGGY_CLIENT_SECRET", "secret")
    monkeypatch.setenv("KORDANT_PLUGGY_URL", server.url)
    bank.ledger.now = datetime.now(UTC)
    return load_settings()


def sync(bank: SmallBank, db: Engine, keyring: Keyring, payload: BankSync) -> dict[str, int]:
    resources = {
        "db": db, "keyring": keyring, "banks": Banks(on={Provider.PLUGGY: bank.bank}), "settings": load_settings(),
    }  # fmt: skip
    result = JOBS.plain.execute_in_process(run_config=BankSync.run_config([payload]), resources=resources)
    assert result.success
    figures: dict[str, int] = result.output_for_node("summarise")
    return figures


def test_an_entity_is_made_connected_synced_shown_and_forgotten(
    bank: SmallBank, here: Settings, db: Engine, keyring: Keyring, server: FakePluggy
) -> None:
    account, _ = bank.open("checking", "card", item="item-9")
    day = bank.ledger.today - timedelta(days=2)
    entry(account, "a", "-12.34", day, description="PIX ENVIADO MARIA DE SOUZA", other_document="52998224725")
    with db.begin() as connection:
        connection.execute(sa.text("DELETE FROM kordant.entities"))
    made = run("entities", "create", "--json", typed="name: Família Silva\ndocument: 529.982.247-25\n")["id"]
    assert "JSON" in run("connections", "add", made, "ofb", "201", typed="item-9\n", fails=True)
    assert "name the institution" in run("connections", "add", made, "pluggy", " ", typed="item-9\n", fails=True)
    added = run("connections", "add", made, "pluggy", "201", "--json", typed="item-9\n")["id"]
    figures = sync(bank, db, keyring, BankSync())
    assert (figures["successful"], figures["failed"], figures["total"]) == (1, 0, 1)
    shown = run("entities", "show", made, "--json")
    assert (shown["name"], shown["transactions"], len(shown["accounts"])) == ("Família Silva", 1, 2)
    assert {one["number"][0] for one in shown["accounts"]} == {"…"}
    assert run("connections", "show", added, "--json")["results"][0]["outcome"] == "complete"
    assert run("connections", "runs", "--json")[0]["total"] == 1
    assert "Família Silva" in run("entities", "list")
    exported = run("entities", "export", made)
    assert "MARIA DE SOUZA" in exported
    assert "item-9" in exported
    run("connections", "pause", added)
    assert sync(bank, db, keyring, BankSync())["deferred_paused"] == 1
    run("connections", "resume", added)
    assert run("connections", "list", "--json")[0]["status"] == "active"
    assert "queued as" in run("connections", "sync", added)
    bank.ledger.add_item(Item(id="item-8", institution="201"))
    other = run("connections", "add", made, "pluggy", "201", "--json", typed="item-8\n")["id"]
    assert run("connections", "end", other, "--yes", "--json")["status"] == "ended"
    assert bank.ledger.items["item-8"].is_deleted
    assert run("entities", "forget", made, "--yes", "--json")["bank_accounts"] == 2
    assert bank.ledger.items["item-9"].is_deleted
    assert "(forgotten)" in run("entities", "list")


def test_nothing_personal_is_in_clear_in_any_table(bank: SmallBank, db: Engine) -> None:
    account, _ = bank.open("checking", "card")
    entry(account, "a", "-12.34", bank.ledger.today, description="PIX MARIA DE SOUZA", other_document="11144477735")
    bank.sync()
    with db.connect() as connection:
        tables = connection.execute(
            sa.text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'kordant'")
        ).scalars()
        whole = "".join(
            str(connection.execute(sa.text(f"SELECT array_agg(t::text) FROM kordant.{name} t")).scalar())
            for name in tables.all()
        )
    assert "-12.34" in whole
    for secret in ("MARIA", "SOUZA", "11144477735", "52998224725", "Silva", "item-1", account.number, account.id):
        assert secret not in whole, secret
