"""What tests of sending work with: persons with alerts, choices, a run of the job, and what arrived."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.notifications.alerts import Channel, Severity
from kordant_jobs.domain.notifications.choices import Category, Mode
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.jobs.notifications_send.channel_senders import ChannelSender
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.ports import Delivery, Transport
from kordant_jobs.postgres import database
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.notifications.choices import ChosenHours
from kordant_jobs.store.notifications.tables import channel_pauses, notification_outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach

SENDER = MailFrom(header="Kordant <alerts@kordant.example>")
NOON = datetime(2030, 6, 10, 12, tzinfo=UTC)
NOW = datetime.now(UTC)
NIGHT = datetime(2030, 6, 10, 23, tzinfo=UTC)


def send(
    db: Engine, keyring: Keyring, senders: Sequence[ChannelSender[Any]], now: datetime | None = None, **more: Any
) -> service.SendSummary:
    now = now or (NOON if senders[0].channel is Channel.EMAIL and len(senders) == 1 else NOW)
    how: dict[str, Any] = {"limit": 1000, "progress": Progress(db, "run"), "clock": lambda: now, **more}
    return service.send_due(db=db, keyring=keyring, senders=senders, **how)


def person_with(db: Engine, keyring: Keyring, alerts: int = 1, severity: Severity = Severity.HIGH) -> Person:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    for number in range(alerts):
        add_alert(db, person.subscription_id, item_id, add_breach(db, f"Breach{number}"), severity=severity)
    return person


def over(db: Engine, keyring: Keyring, person: Person, channel: Channel, address: str) -> None:
    """Give an address, and queue the alerts for it."""
    with db.begin() as connection:
        notification_choices.add_address(connection, keyring, person.subscriber_id, channel, address)
        alert_ids = list(connection.execute(sa.text("SELECT id FROM kordant.alerts")).scalars())
        outbox.queue(connection, alert_ids, Category.BREACH)


def choose(db: Engine, person: Person, mode: Mode, channel: Channel = Channel.EMAIL) -> None:
    with db.begin() as connection:
        notification_choices.choose(
            connection, person.subscriber_id, category=Category.BREACH, channel=channel, mode=mode, by="test"
        )


def quiet(db: Engine, person: Person, **more: Any) -> None:
    with db.begin() as connection:
        chosen = ChosenHours(quiet_from=time(22), quiet_until=time(7), **more)
        notification_choices.set_hours(connection, person.subscriber_id, chosen)


def rows(db: Engine, channel: Channel | None = None) -> list[Any]:
    query = sa.select(notification_outbox).order_by(notification_outbox.c.id)
    if channel:
        query = query.where(notification_outbox.c.channel == channel)
    with db.connect() as connection:
        return list(connection.execute(query))


def time_passes(db: Engine) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    with db.begin() as connection:
        connection.execute(
            sa.update(notification_outbox)
            .where(notification_outbox.c.status.in_(("deferred", "sending")))
            .values(due_at=past, lease_id=None)
        )
        connection.execute(sa.update(channel_pauses).values(paused_until=past))


def mails(folder: Path) -> list[EmailMessage]:
    files = sorted((folder / "new").iterdir()) if (folder / "new").exists() else []
    return [message_from_bytes(one.read_bytes(), policy=policy.default) for one in files]


def body(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


class Dying:
    """Delivers, and its process dies before the mark."""

    def __init__(self, inner: Transport[Any]) -> None:
        self.inner = inner

    def deliver(self, messages: Iterable[Any], /) -> Generator[Delivery, None, None]:
        for _ in self.inner.deliver(messages):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from ()


def die_sending(database_url: str, keyring: Keyring, sender: ChannelSender[Any]) -> None:
    child = os.fork()
    if child == 0:
        try:
            send(database.create_engine(database_url), keyring, [sender])
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
