"""Whoever leaves is left by the provider, too: it gathers nothing more for us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.pluggy import Pluggy
from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.errors import TransientError
from kordant_jobs.lab.banks.small_bank import NOON, SmallBank
from kordant_jobs.lab.fakes.banks.ledger import Ledger
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.privacy.forget import ForgetSummary, forget, forget_all
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import Person, subscribe


@pytest.fixture
def bank(db: Engine, keyring: Keyring) -> Iterator[SmallBank]:
    with FakePluggy(Ledger(now=NOON)) as server:
        client = Pluggy("client", SecretStr("secret"), base_url=server.url)
        made = SmallBank(db=db, keyring=keyring, bank=client, ledger=server.ledger)
        made.open("checking")
        made.open("savings", item="item-2")
        yield made


@pytest.fixture
def person(bank: SmallBank) -> Person:
    """Whose entity has the two connections."""
    made = subscribe(bank.db, bank.keyring, "ann@example.com")
    with bank.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.entities SET subscription_id = :id"), {"id": made.subscription_id})
    return made


def forgotten(person: Person, bank: SmallBank, banks: Banks, folder: Path) -> ForgetSummary | None:
    storage = LocalReportStorage(folder / "reports")
    return forget(
        person.subscriber_id, db=bank.db, keyring=bank.keyring, banks=banks, storage=storage, maildir=folder / "mails"
    )


def test_a_subscriber_who_is_forgotten_has_no_connection_at_a_provider(
    bank: SmallBank, person: Person, tmp_path: Path
) -> None:
    assert forgotten(person, bank, Banks(on={Provider.PLUGGY: bank.bank}), tmp_path) is not None
    assert [item.is_deleted for item in bank.ledger.items.values()] == [True, True]


def test_no_one_is_forgotten_while_a_provider_still_gathers(bank: SmallBank, person: Person, tmp_path: Path) -> None:
    off = Banks(off={Provider.PLUGGY: "no client"})
    with pytest.raises(TransientError, match="no client"):
        forgotten(person, bank, off, tmp_path)
    storage = LocalReportStorage(tmp_path / "reports")
    left = forget_all(
        [person.subscriber_id], db=bank.db, keyring=bank.keyring, banks=off, storage=storage, maildir=tmp_path
    )
    assert list(left) == []
    with bank.db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.bank_connections")).scalar_one() == 2
