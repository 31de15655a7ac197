"""A small bank behind each provider: what a test claims, it claims of all that can show it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.belvo import Belvo
from kordant_jobs.adapters.banks.ofb import BankDescription, OpenFinance
from kordant_jobs.adapters.banks.pluggy import Pluggy
from kordant_jobs.lab.banks.small_bank import NOON, SmallBank
from kordant_jobs.lab.fakes.banks.belvo import FakeBelvo
from kordant_jobs.lab.fakes.banks.certificates import Certificates, make
from kordant_jobs.lab.fakes.banks.ledger import Ledger
from kordant_jobs.lab.fakes.banks.ofb import FakeOfb
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.store.people.keyring import Keyring


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server() -> Iterator[FakePluggy]:
    with FakePluggy(Ledger(now=NOON)) as fake:
        yield fake


@pytest.fixture
def bank(db: Engine, keyring: Keyring, server: FakePluggy) -> SmallBank:
    """A small bank at Pluggy."""
    client = Pluggy("client", SecretStr("secret"), base_url=server.url)
    return SmallBank(db=db, keyring=keyring, bank=client, ledger=server.ledger)


@pytest.fixture
def ofb_server(certificates: Certificates) -> Iterator[FakeOfb]:
    with FakeOfb(Ledger(now=NOON), certificates=certificates) as fake:
        yield fake


@pytest.fixture
def ofb(db: Engine, keyring: Keyring, ofb_server: FakeOfb, certificates: Certificates) -> SmallBank:
    """A small bank with a server of its own."""
    bank = BankDescription(
        institution="201",
        base_url=ofb_server.url,
        token_url=f"{ofb_server.url}/token",
        client_id="kordant",
        certificate=certificates.client,
        ca=certificates.ca,
    )
    return SmallBank(db=db, keyring=keyring, bank=OpenFinance({"201": bank}), ledger=ofb_server.ledger, secret_of=grant)


def grant(item: str) -> str:
    return json.dumps({"consent": item, "refresh_token": f"refresh-{item}"})


@pytest.fixture
def belvo(db: Engine, keyring: Keyring) -> Iterator[SmallBank]:
    """A small bank at Belvo."""
    with FakeBelvo(Ledger(now=NOON)) as fake:
        client = Belvo("id", SecretStr("password"), base_url=fake.url)
        yield SmallBank(db=db, keyring=keyring, bank=client, ledger=fake.ledger)


@pytest.fixture(params=["pluggy", "ofb", "belvo"])
def any_bank(request: Any) -> Any:
    """A small bank at each provider in turn."""
    return request.getfixturevalue("bank" if request.param == "pluggy" else request.param)
