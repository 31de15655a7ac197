"""How fast alerts become mails: the job's own service against an SMTP sink that keeps a ledger.

Two peers run in the same call, on the same alerts, server and machine. One does the same work as a plain program
would: it reads a row, composes the mail (by our own fast code), sends it by smtplib, and marks the row, one after the
other. The other only sends: smtplib with mails that were composed before, against our transport with the same mails.
"""

from __future__ import annotations

import os
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import SmtpTransport, parse_smtp_url
from kordant_jobs.adapters.mail.smtp import SmtpServer
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.bench.figures import Figure
from kordant_jobs.cli.demo import new_subscribers
from kordant_jobs.cli.output import err
from kordant_jobs.demo.population import make_population
from kordant_jobs.domain.alerts import Channel, OutboxStatus
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.jobs.notifications_send.mail import Sender, compose
from kordant_jobs.jobs.notifications_send.outlets import mail_outlet
from kordant_jobs.jobs.notifications_send.parcel import Parcel
from kordant_jobs.ports import OutgoingMail
from kordant_jobs.store import database, outbox, subscribers
from kordant_jobs.store.embedded import EmbeddedPostgres
from kordant_jobs.store.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.outbox import Mark
from kordant_jobs.store.progress import Progress

SENDER = Sender(header="Kordant <alerts@kordant.example>")
PLAIN_SHARE = 10
"""The plain program gets a tenth of the mails: its rate does not hang on their number."""

_ALERTS = """
INSERT INTO kordant.breaches (name, source, title, domain, data_classes, breached_on)
VALUES ('Shoply', 'hibp', 'Shoply “Club”', 'shoply.example',
        ARRAY['Email addresses', 'Passwords', 'Names'], '2024-05-01');
WITH one AS (
    SELECT DISTINCT ON (subscription_id) id AS item_id, subscription_id, kind FROM kordant.watchlist_items
    ORDER BY subscription_id, id
), exposed AS (
    INSERT INTO kordant.exposures (id, item_id, breach_name, secret, judgement, first_seen_at, last_seen_at)
    SELECT gen_random_uuid(), item_id, 'Shoply', 'clear', 'alert', now(), now() FROM one RETURNING id, item_id
), told AS (
    INSERT INTO kordant.alerts (id, subscription_id, exposure_id, severity, why)
    SELECT gen_random_uuid(), subscription_id, exposed.id, 'high', jsonb_build_array(
        jsonb_build_object('code', 'identifier_in_dump', 'item_id', item_id, 'kind', kind, 'verified', true,
                           'dump_id', gen_random_uuid(), 'line', 7, 'occurrences', 2),
        jsonb_build_object('code', 'secret_in_dump', 'secret', 'clear'))
    FROM exposed JOIN one USING (item_id) RETURNING id, subscription_id
)
INSERT INTO kordant.notification_outbox (id, alert_id, subscription_id, channel)
SELECT gen_random_uuid(), id, subscription_id, 'email' FROM told
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """A database full of alerts that wait, and a server that takes mails."""

    db: Engine
    keyring: Keyring
    server: SmtpServer
    ledger: Path

    @property
    def transport(self) -> SmtpTransport:
        """Ours."""
        return SmtpTransport(self.server, sender=SENDER.header)

    def taken(self) -> int:
        """How many different mails the server has taken since it was last asked to forget them."""
        return len(set(self.ledger.read_bytes().splitlines()))


@contextmanager
def _world(mails: int) -> Iterator[World]:
    with (
        tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as postgres,
        _sink(Path(folder) / "ledger") as server,
    ):
        db, keyring = database.create_engine(postgres.url()), Keyring(os.urandom(32))
        database.upgrade(db)
        with db.begin() as connection:
            keyring.check(connection)
            subscribers.add(connection, new_subscribers(make_population(1, mails), datetime.now(UTC)), keyring)
            connection.exec_driver_sql(_ALERTS)
        yield World(db=db, keyring=keyring, server=server, ledger=Path(folder) / "ledger")
        db.dispose()


@contextmanager
def _sink(ledger: Path) -> Iterator[SmtpServer]:
    command = [sys.executable, "-m", "kordant_jobs.adapters.mail.sink", str(ledger)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield parse_smtp_url((process.stdout or sys.stdin).readline().strip())
        process.communicate()


def measure(*, mails: int) -> list[Figure]:
    """Send `mails` notifications by the job's service, then by each peer.

    Raises:
        KordantError: a mail was lost or sent twice, so that the figures are worth nothing.
    """
    with err.status("making alerts …"), _world(mails) as world:
        with err.status("composing …"):
            ready = _composed(world, mails)
        with err.status("smtplib, ready mails …"):
            plain_send = _rate(world, len(ready), lambda: _by_smtplib(world, ready))
        with err.status("our transport, ready mails …"):
            our_send = _rate(world, len(ready), lambda: _by_transport(world, ready))
        few = max(1, mails // PLAIN_SHARE)
        with err.status("a plain program …"):
            plain = _rate(world, few, lambda: _by_plain_program(world, few))
        _all_due_again(world)
        with err.status("notifications_send …"):
            ours = _rate(world, mails, lambda: _by_the_job(world, mails))
    return [
        Figure(
            key="mails_per_s",
            value=ours,
            unit="/s",
            goal=2 * plain,
            direction="min",
            peer="a plain smtplib program",
            peer_value=plain,
        ),
        Figure(
            key="sent_only_per_s",
            value=our_send,
            unit="/s",
            goal=None,
            direction="min",
            peer="smtplib, ready mails",
            peer_value=plain_send,
        ),
    ]


def _rate(world: World, mails: int, send: Callable[[], None]) -> float:
    world.ledger.write_bytes(b"")
    started = time.monotonic()
    send()
    seconds = time.monotonic() - started
    lines = world.ledger.read_bytes().splitlines()
    if len(lines) != mails or world.taken() != mails:
        raise KordantError(f"the server took {len(lines)} mails, {world.taken()} of them different; {mails} were due.")
    return mails / seconds


def _all_due_again(world: World) -> None:
    with world.db.begin() as connection:
        connection.execute(
            sa.text("UPDATE kordant.notification_outbox SET status = 'queued', attempts = 0, sent_at = NULL")
        )


def _claimed(world: World, limit: int) -> list[tuple[outbox.Claim, outbox.LetterRow]]:
    with world.db.begin() as connection:
        claims = outbox.claim(connection, channel=Channel.EMAIL, limit=limit, lease=service.LEASE)
        rows = {row.id: row for row in outbox.letters(connection, [claim.id for claim in claims])}
    return [(claim, rows[claim.id]) for claim in claims]


def _parcel(row: outbox.LetterRow, keys: SubscriberKeys) -> Parcel:
    return Parcel(id=row.id, rows=(row,), opened=(service.opened(row, keys),))


def _composed(world: World, mails: int) -> list[OutgoingMail]:
    found = [row for _, row in _claimed(world, mails)]
    with world.db.connect() as connection:
        keys = world.keyring.load_keys(connection, list({row.subscriber_id for row in found}))
    now = datetime.now(UTC)
    ready = [compose(_parcel(row, keys), sender=SENDER, now=now) for row in found]
    _all_due_again(world)
    return ready


def _by_the_job(world: World, mails: int) -> None:
    with Progress(world.db, "bench") as progress:
        service.send_due(
            db=world.db,
            keyring=world.keyring,
            outlets=[mail_outlet(world.transport, SENDER)],
            limit=mails,
            progress=progress,
        )


def _by_transport(world: World, ready: list[OutgoingMail]) -> None:
    for _ in world.transport.deliver(ready):
        pass


def _by_smtplib(world: World, ready: list[OutgoingMail]) -> None:
    with smtplib.SMTP(world.server.host, world.server.port) as client:
        for mail in ready:
            client.sendmail("alerts@kordant.example", [mail.recipient], mail.content, ["SMTPUTF8"])


def _by_plain_program(world: World, mails: int) -> None:
    """One row after the other: read, compose, send, mark."""
    with smtplib.SMTP(world.server.host, world.server.port) as client:
        for _ in range(mails):
            ((claim, row),) = _claimed(world, 1)
            with world.db.connect() as connection:
                keys = world.keyring.load_keys(connection, [row.subscriber_id])
            mail = compose(_parcel(row, keys), sender=SENDER, now=datetime.now(UTC))
            client.sendmail("alerts@kordant.example", [mail.recipient], mail.content, ["SMTPUTF8"])
            with world.db.begin() as connection:
                outbox.mark(connection, [Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.SENT)])
