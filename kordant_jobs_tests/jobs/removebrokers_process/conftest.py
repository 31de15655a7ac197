from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.mail.smtp import SmtpTransport, parse_smtp_url
from kordant_jobs.jobs.removebrokers_process import intake, service
from kordant_jobs.jobs.removebrokers_process.letters import Agent
from kordant_jobs.jobs.removebrokers_process.outside import Outside
from kordant_jobs.lab.fakes.smtp import FakeSmtpServer, Received
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import due, requests
from kordant_jobs_tests.jobs.removals import NOW

AGENT = Agent(name="Kordant", address="removals@kordant.example")


@dataclass
class Desk:
    """A removal desk on a real database and a real SMTP server, with a clock of its own."""

    db: Engine
    keyring: Keyring
    server: FakeSmtpServer
    outside: Outside
    now: datetime = NOW
    replies: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def run(self, *, days: float = 0) -> service.Carried:
        """Let time pass, then process what is due."""
        self.now += timedelta(days=days)
        with self.db.connect() as connection:
            work = [one for one, _ in due.brokers_with_work(connection, self.now)]
        return service.carry(work, db=self.db, keyring=self.keyring, outside=self.outside, now=self.now)

    def state(self, request: UUID) -> tuple[str, str | None]:
        """Where a request stands, and why."""
        with self.db.connect() as connection:
            row = requests.get(connection, request)
        return row.state, row.reason

    def row(self, request: UUID) -> Any:
        """The request's row."""
        with self.db.connect() as connection:
            return requests.get(connection, request)

    def reply(
        self, request: UUID, text: str, *, subject: str = "Re: Request", **headers: str
    ) -> intake.ProcessedReply | None:
        """The broker answers to the request's address."""
        self.replies += 1
        mail = EmailMessage(policy=SMTP)
        mail["From"] = headers.pop("sender", "privacy@spoken.com")
        mail["To"] = headers.pop("to", AGENT.address_of(self.row(request).address_token))
        mail["Subject"] = subject
        mail["Message-ID"] = headers.pop("message_id", f"<{self.replies}@spoken.com>")
        for name, value in headers.items():
            mail[name.replace("_", "-")] = value
        mail.set_content(text)
        return intake.process_mail(mail.as_bytes(), db=self.db, keyring=self.keyring, now=self.now)

    @property
    def sent(self) -> list[Received]:
        """What the broker's mail server took."""
        return self.server.received


@pytest.fixture
def desk(db: Engine, keyring: Keyring) -> Iterator[Desk]:
    with FakeSmtpServer() as server:
        mail = SmtpTransport(parse_smtp_url(server.url), sender="Kordant <alerts@kordant.example>")
        yield Desk(db=db, keyring=keyring, server=server, outside=Outside(agent=AGENT, mail=mail))
