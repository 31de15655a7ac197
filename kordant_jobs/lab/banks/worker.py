"""A process that syncs at each time that it reads, one per line; the simulation kills it. python -m …worker FILE"""

import json
import sys
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from kordant_jobs.adapters.banks.belvo import Belvo
from kordant_jobs.adapters.banks.ofb import BankDescription, OpenFinance
from kordant_jobs.adapters.banks.pluggy import Pluggy
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.jobs.bank_sync.service import Limits
from kordant_jobs.lab.banks.small_bank import tick
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
        figures = tick(db, keyring, banks, now=datetime.fromisoformat(line.strip()), limits=Limits(rates={}))
        print(json.dumps(figures), flush=True)  # noqa: T201 - what the simulation waits for


if __name__ == "__main__":
    main(sys.argv[1])
