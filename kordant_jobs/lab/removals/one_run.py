"""One run of the job in a process of its own that is killed at a step: `python -m kordant_jobs.lab.removals.one_run`.

A fresh process and no fork: the threads of Polars do not live on in a forked one. What it needs comes as JSON on stdin.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from signal import SIGKILL

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kordant_jobs.adapters.brokers.bounded import BoundedClient, BrokerSites
from kordant_jobs.adapters.brokers.drp import DrpAgent
from kordant_jobs.adapters.brokers.mailbox import MaildirInbox
from kordant_jobs.adapters.brokers.search import SearchPages
from kordant_jobs.adapters.mail.smtp import SmtpTransport, parse_smtp_url
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.jobs.removebrokers_process import service
from kordant_jobs.jobs.removebrokers_process.letters import Agent
from kordant_jobs.jobs.removebrokers_process.outside import Outside
from kordant_jobs.lab.chaos.strike import Fuse
from kordant_jobs.postgres import database
from kordant_jobs.store.people.keyring import Keyring

AGENT = Agent(name="Kordant", address="removals@kordant.example")
AGENT_ID = "KORDANT_SIM_AA"
EVIL = "evil-sim.com"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where everything is, in plain values."""

    url: str
    master: str = field(repr=False)
    inbox: str
    mail: str
    web: str
    domains: Sequence[str]
    seed: int

    def outside(self) -> Outside:
        """The parties of one run."""
        client = BoundedClient(hosts=dict.fromkeys([*self.domains, EVIL], self.web))
        return Outside(
            agent=AGENT,
            mail=SmtpTransport(parse_smtp_url(self.mail), sender="Kordant <alerts@kordant.example>"),
            inbox=MaildirInbox(Path(self.inbox)),
            web=BrokerSites(client),
            rescan=SearchPages(client, pause_s=0, keep_s=0),
            rights=DrpAgent(AGENT_ID, signing_key(self.seed)),
        )

    def keyring(self) -> Keyring:
        """The keyring, before it is proved."""
        return Keyring(base64.b64decode(self.master))


def signing_key(seed: int) -> Ed25519PrivateKey:
    """The agent's key of one simulation."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed % 256]) * 32)


def killed_run(site: Mapping[str, object], now: datetime, *, step: int) -> bool:
    """Run in a process that is killed at a step. True when the process was still running then."""
    given = json.dumps({"site": site, "now": now.isoformat(), "step": step})
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=given, text=True, cwd=CHECKOUT, check=False, capture_output=True
    )
    if done.returncode not in {0, -SIGKILL}:
        raise RuntimeError(done.stderr[-2000:])
    return done.returncode == -SIGKILL


def main() -> None:
    """The process."""
    given = json.loads(sys.stdin.read())
    site, now = Site(**given["site"]), datetime.fromisoformat(given["now"])
    db, keyring = database.create_engine(site.url), site.keyring()
    with db.begin() as connection:
        keyring.check(connection)
    sys.setprofile(Fuse(at=given["step"]))
    outside = site.outside()
    plan = service.plan(db=db, keyring=keyring, outside=outside, now=lambda: now)
    for chunk in plan.chunks:
        service.carry(chunk, db=db, keyring=keyring, outside=outside, now=now)


if __name__ == "__main__":
    main()
