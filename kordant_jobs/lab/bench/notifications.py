"""The rate at which alerts become mails: the job's own service against an SMTP sink that keeps a ledger.

Two peers run in the same call, on the same alerts, server and machine. One does the same work as a plain loop would:
it reads all rows, and for each composes the mail (by our own fast code), sends it by smtplib and marks the row. The
other only sends: smtplib with mails that were composed before, against our transport with the same mails.
"""

import smtplib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from kordant_jobs.cli.output import err
from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus
from kordant_jobs.domain.notifications.pending import AlertRow, Claim, Mark
from kordant_jobs.engine.control import leases
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.jobs.notifications_send.channel_senders import mail_sender
from kordant_jobs.jobs.notifications_send.mail import compose
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.world.mail import SENDER, World
from kordant_jobs.lab.world.mail import world as open_world
from kordant_jobs.ports import OutgoingMail
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.people.keyring import SubscriberKeys


def measure(*, mails: int) -> list[Figure]:
    """Send `mails` notifications by the job's service, then by each peer.

    Raises:
        KordantError: a mail was lost or sent twice, so that the figures are worth nothing.
    """
    with err.status("making alerts …"), open_world(mails) as world:
        with err.status("composing …"):
            ready = _composed(world, mails)
        with err.status("smtplib, ready mails …"):
            plain_send = _rate(world, len(ready), lambda: _by_smtplib(world, ready))
        with err.status("our transport, ready mails …"):
            our_send = _rate(world, len(ready), lambda: _by_transport(world, ready))
        with err.status("a plain loop …"):
            plain = _rate(world, mails, lambda: _by_plain_loop(world, mails))
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
            peer="a plain smtplib loop",
            peer_value=plain,
        ),
        Figure(
            key="sent_only_per_s",
            value=our_send,
            unit="/s",
            goal=2 * plain_send,
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
    taken = [message_id for message_id, _ in world.entries()]
    if len(taken) != mails or len(set(taken)) != mails:
        raise KordantError(f"the server took {len(taken)} mails, {len(set(taken))} different ones; {mails} were due.")
    return mails / seconds


def _all_due_again(world: World) -> None:
    with world.db.begin() as connection:
        connection.execute(
            sa.text("UPDATE kordant.notification_outbox SET status = 'queued', attempts = 0, sent_at = NULL")
        )


def _claimed(world: World, limit: int) -> list[tuple[Claim, AlertRow]]:
    with world.db.begin() as connection:
        ttl_s = service.LEASE.total_seconds()
        lease = leases.insert(connection, ["bench"], holder="bench", now=outbox.now(connection), ttl_s=ttl_s)[0]
        claims = outbox.claim(connection, channel=Channel.EMAIL, limit=limit, lease=lease.id)
        rows = {row.id: row for row in outbox.alert_rows(connection, [claim.id for claim in claims])}
    return [(claim, rows[claim.id]) for claim in claims]


def _bundle(row: AlertRow, keys: SubscriberKeys) -> Bundle:
    return Bundle(id=row.id, rows=(row,), opened=(service.opened(row, keys),))


def _composed(world: World, mails: int) -> list[OutgoingMail]:
    found = [row for _, row in _claimed(world, mails)]
    with world.db.connect() as connection:
        keys = world.keyring.load_keys(connection, list({row.subscriber_id for row in found}))
    now = datetime.now(UTC)
    ready = [compose(_bundle(row, keys), sender=SENDER, now=now) for row in found]
    _all_due_again(world)
    return ready


def _by_the_job(world: World, mails: int) -> None:
    with Progress(world.db, "bench") as progress:
        service.send_due(
            db=world.db,
            keyring=world.keyring,
            senders=[mail_sender(world.transport, SENDER)],
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


def _by_plain_loop(world: World, mails: int) -> None:
    """Read them all; then one after the other: compose, send, mark."""
    rows = _claimed(world, mails)
    with world.db.connect() as connection:
        keys = world.keyring.load_keys(connection, list({row.subscriber_id for _, row in rows}))
    with smtplib.SMTP(world.server.host, world.server.port) as client:
        for claim, row in rows:
            mail = compose(_bundle(row, keys), sender=SENDER, now=datetime.now(UTC))
            client.sendmail("alerts@kordant.example", [mail.recipient], mail.content, ["SMTPUTF8"])
            with world.db.begin() as connection:
                outbox.mark(connection, [Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.SENT)])
