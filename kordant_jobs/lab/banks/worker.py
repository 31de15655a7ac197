"""A process that syncs when it is told the time, a line each; the simulation kills it. python -m …worker FILE"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.belvo import Belvo
from kordant_jobs.adapters.banks.ofb import BankDescription, OpenFinance
from kordant_jobs.adapters.banks.pluggy import Pluggy
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.jobs.bank_sync import service
from kordant_jobs.jobs.bank_sync.service import Limits
from kordant_jobs.ports import Bank
from kordant_jobs.postgres import database
from kordant_jobs.store.people.keyring import Keyring


def main(path: str) -> None:
    """Sync at each time that comes in, and say the figures."""
    given = json.loads(Path(path).read_text("utf-8"))
    db = database.create_engine(given["database"])
    keyring = Keyring(bytes.fromhex(given["master"]))
    with db.begin() as connection:
        keyring.check(connection)
    banks: dict[Provider, Bank] = {
        Provider.PLUGGY: Pluggy("client", SecretStr("secret"), base_url=given["pluggy"]),
        Provider.OFB: OpenFinance({"201": BankDescription.model_validate(given["ofb"])}),
        Provider.BELVO: Belvo("id", SecretStr("password"), base_url=given["belvo"]),
    }
    print("ready", flush=True)  # noqa: T201 - what the simulation waits for
    for line in sys.stdin:
        print(json.dumps(sync_at(datetime.fromisoformat(line.strip()), db, keyring, banks)), flush=True)  # noqa: T201


def sync_at(now: datetime, db: Engine, keyring: Keyring, banks: Mapping[Provider, Bank]) -> dict[str, int]:
    """One tick at that time."""
    plan = service.plan_sync(db=db, now=now)
    results = [
        service.read_chunk(
            plan,
            chunk,
            db=db,
            keyring=keyring,
            banks=banks,
            limits=Limits(rates={}),
            advance=lambda number, words: None,
            clock=lambda: now,
        )
        for chunk in plan.chunks
    ]
    return service.finish(plan, results, db=db, now=now)


if __name__ == "__main__":
    main(sys.argv[1])
