"""One message stops no other, and a channel that cannot work is paused: our own faults delete nobody's address."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.adapters.push import ApnsTransport, FcmTransport
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.jobs.notifications_send.channel_senders import ChannelSender, mail_sender, push_sender
from kordant_jobs.lab.fakes.push import FakeApns, FakeFcm, apns_error, fcm_error
from kordant_jobs.ports import Delivery, DeliveryOutcome
from kordant_jobs.store.notifications import outbox, pauses
from kordant_jobs.store.notifications.tables import contact_addresses, suppressions
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.notifications_send.sending import SENDER, over, person_with, rows, send, time_passes
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach


def tokens_left(db: Engine) -> int:
    with db.connect() as connection:
        query = sa.select(sa.func.count()).where(contact_addresses.c.removed_at.is_(None))
        return int(connection.execute(query).scalar_one())


def pause_of(db: Engine, channel: Channel) -> pauses.Pause | None:
    with db.connect() as connection:
        return pauses.pauses(connection).get(channel)


def apns(fake: FakeApns) -> ChannelSender[Any]:
    return push_sender(Channel.APNS, ApnsTransport(fake.key, base_url=fake.url))


@pytest.mark.parametrize("reason", ["BadDeviceToken", "DeviceTokenNotForTopic"])
def test_a_wrong_environment_of_apple_removes_no_token_and_pauses_the_channel(
    db: Engine, keyring: Keyring, reason: str
) -> None:
    person = person_with(db, keyring)
    for number in range(5):
        over(db, keyring, person, Channel.APNS, f"ab0{number}" * 8)
    with FakeApns(lambda _: apns_error(400, reason)) as fake:
        summary = send(db, keyring, [apns(fake)])
    assert (summary.put_back, summary.failed, len(summary.paused), tokens_left(db)) == (5, 0, 1, 5)
    pause = pause_of(db, Channel.APNS)
    assert pause is not None
    assert reason in pause.reason
    assert (pause.pauses, pause.is_over) == (1, False)
    with FakeApns() as repaired:
        assert send(db, keyring, [apns(repaired)]).claimed == 0, "paused"
        time_passes(db)
        assert send(db, keyring, [apns(repaired)]).sent == 5
    assert pause_of(db, Channel.APNS) is None


def test_a_wrong_project_of_google_removes_no_token(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    for number in range(5):
        over(db, keyring, person, Channel.FCM, f"token{number}")
    with FakeFcm(lambda _: fcm_error(403, "SENDER_ID_MISMATCH")) as fake:
        sender = push_sender(Channel.FCM, FcmTransport(fake.account, base_url=fake.url))
        assert len(send(db, keyring, [sender]).paused) == 1
    assert tokens_left(db) == 5


def test_a_token_that_does_not_fit_goes_once_others_were_reached(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    for number in range(3):
        over(db, keyring, person, Channel.APNS, f"ab0{number}" * 8)
    wrong = "ab00" * 8
    with FakeApns(lambda token: apns_error(400, "BadDeviceToken") if token == wrong else None) as fake:
        summary = send(db, keyring, [apns(fake)])
    assert (summary.sent, summary.suppressed, tokens_left(db)) == (2, 1, 2)


def test_a_token_alone_that_does_not_fit_is_left_to_an_operator(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.APNS, "ab00" * 8)
    with FakeApns(lambda _: apns_error(400, "BadDeviceToken")) as fake:
        assert send(db, keyring, [apns(fake)]).failed == 1
    assert tokens_left(db) == 1
    assert "our set-up does not fit" in rows(db, Channel.APNS)[0].reason


class Answering:
    """A mail server that gives every mail one answer."""

    def __init__(self, outcome: DeliveryOutcome, code: str) -> None:
        self.outcome, self.code = outcome, code

    def deliver(self, messages: Iterable[Any], /) -> Generator[Delivery, None, None]:
        for one in messages:
            yield Delivery(mail_id=one.id, outcome=self.outcome, code=self.code)


def people(db: Engine, keyring: Keyring, count: int) -> None:
    breach = add_breach(db)
    for number in range(count):
        person = subscribe(db, keyring, f"p{number}@watched.example", contact=f"p{number}@mail.example")
        (item_id,) = person.items.values()
        add_alert(db, person.subscription_id, item_id, breach)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(DeliveryOutcome.NO_SUCH_ADDRESS, "smtp 550 5.1.1"), (DeliveryOutcome.REFUSED, "smtp 554 5.7.1")],
)
def test_a_relay_that_refuses_everybody_alike_suppresses_no_address(
    db: Engine, keyring: Keyring, outcome: DeliveryOutcome, code: str
) -> None:
    people(db, keyring, 6)
    summary = send(db, keyring, [mail_sender(Answering(outcome, code), SENDER)])
    assert (summary.put_back, len(summary.paused)) == (6, 1)
    with db.connect() as connection:
        assert connection.execute(sa.select(suppressions)).all() == []
        assert outbox.due(connection, [Channel.EMAIL]) == 0


def test_pauses_grow_and_keep_the_attempts(db: Engine, keyring: Keyring) -> None:
    people(db, keyring, 5)
    refusing = [mail_sender(Answering(DeliveryOutcome.REFUSED, "smtp 554"), SENDER)]
    lengths = []
    for _ in range(3):
        send(db, keyring, refusing)
        pause = pause_of(db, Channel.EMAIL)
        assert pause is not None
        with db.connect() as connection:
            lengths.append(round((pause.paused_until - outbox.now(connection)).total_seconds() / 60))
        time_passes(db)
    assert lengths == [1, 5, 15]
    assert {(row.status, row.attempts) for row in rows(db)} == {("deferred", 0)}


class Raising:
    """A transport that cannot even begin."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def deliver(self, messages: Iterable[Any], /) -> Generator[Delivery, None, None]:
        for _ in messages:
            raise self.error
        yield from ()


@pytest.mark.parametrize(
    ("error", "raises"),
    [(SettingsError("no key"), False), (SourceUnavailable("down"), True), (ValueError("anything"), True)],
)
def test_whatever_breaks_one_channel_the_channels_behind_it_are_served(
    db: Engine, keyring: Keyring, tmp_path: Path, error: Exception, *, raises: bool
) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.APNS, "ab00" * 8)
    senders: list[ChannelSender[Any]] = [
        push_sender(Channel.APNS, Raising(error)),
        mail_sender(MaildirTransport(tmp_path / "m"), SENDER),
    ]
    if raises:
        with pytest.raises(type(error)):
            send(db, keyring, senders)
    else:
        assert len(send(db, keyring, senders).paused) == 1
    assert [row.status for row in rows(db, Channel.EMAIL)] == ["sent"]
    (row,) = rows(db, Channel.APNS)
    assert (row.status, row.attempts) == ("deferred", 1 if isinstance(error, ValueError) else 0)
