"""A world of waiting alerts and a mail server with a ledger of its own: for bench and chaos of notifications."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from kordant_jobs.adapters.mail import SmtpTransport, parse_smtp_url
from kordant_jobs.adapters.mail.smtp import SmtpServer
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.lab.world.population import make_population
from kordant_jobs.lab.world.subscribers import new_subscribers
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring

SENDER = MailFrom(header="Kordant <alerts@kordant.example>")

ALERTS = """
INSERT INTO kordant.breaches (name, source, title, domain, data_classes, breached_on)
VALUES ('Shoply', 'hibp', 'Shoply “Club”', 'shoply.example',
        ARRAY['Email addresses', 'Passwords', 'Names'], '2024-05-01');
WITH one AS (
    SELECT DISTINCT ON (subscription_id) id AS item_id, subscription_id, kind FROM kordant.watchlist_items
    ORDER BY subscription_id, id
), exposed AS (
    INSERT INTO kordant.exposures (id, item_id, breach_name, secret, judgement, first_seen_at, last_seen_at)
    SELECT gen_random_uuid(), item_id, 'Shoply', 'clear', 'alert', now(), now() FROM one RETURNING id, item_id
), queued AS (
    INSERT INTO kordant.alerts (id, subscription_id, exposure_id, severity, why)
    SELECT gen_random_uuid(), subscription_id, exposed.id, 'high', jsonb_build_array(
        jsonb_build_object('code', 'identifier_in_dump', 'item_id', item_id, 'kind', kind, 'verified', true,
                           'dump_id', gen_random_uuid(), 'line', 7, 'occurrences', 2),
        jsonb_build_object('code', 'secret_in_dump', 'secret', 'clear'))
    FROM exposed JOIN one USING (item_id) RETURNING id, subscription_id
)
INSERT INTO kordant.notification_outbox (id, alert_id, subscription_id, channel)
SELECT gen_random_uuid(), id, subscription_id, 'email' FROM queued
"""
"""An alert of every subscriber, and the mail about it that waits."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A database full of alerts that wait, and a server that takes mails."""

    db: Engine
    url: str
    keyring: Keyring
    server: SmtpServer
    ledger: Path

    @property
    def transport(self) -> SmtpTransport:
        """Ours."""
        return SmtpTransport(self.server, sender=SENDER.header)

    def entries(self) -> list[tuple[str, str]]:
        """Message-ID and a hash of the body of each mail that the server took since its ledger was last emptied."""
        pairs = (line.split() for line in self.ledger.read_text("ascii").splitlines())
        return [(message_id, body) for message_id, body in pairs]


@contextmanager
def world(mails: int) -> Iterator[World]:
    """A world in which this number of subscribers wait for one mail each."""
    with (
        tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as postgres,
        mail_sink(Path(folder) / "ledger") as url,
    ):
        db, keyring = database.create_engine(postgres.url()), Keyring(os.urandom(32))
        migrate.upgrade(db)
        with db.begin() as connection:
            keyring.check(connection)
            subscribers.add(connection, new_subscribers(make_population(1, mails), datetime.now(UTC)), keyring)
            connection.exec_driver_sql(ALERTS)
        yield World(
            db=db, url=postgres.url(), keyring=keyring, server=parse_smtp_url(url), ledger=Path(folder) / "ledger"
        )
        db.dispose()


@contextmanager
def mail_sink(ledger: Path, address: str = "127.0.0.1") -> Iterator[str]:
    """The URL of a mail server with this ledger."""
    command = [sys.executable, "-m", "kordant_jobs.lab.fakes.smtp_sink", str(ledger), address]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield (process.stdout or sys.stdin).readline().strip()
        process.communicate()
