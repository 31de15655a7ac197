"""Channels, preferences, quiet hours, digests, rates and suppressed addresses, on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.http_delivery import IN_FLIGHT
from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.adapters.push import ApnsTransport, FcmTransport
from kordant_jobs.adapters.sms import TwilioTransport
from kordant_jobs.domain.notifications.alerts import Channel, Severity
from kordant_jobs.jobs.notifications_send.channel_senders import ChannelSender, mail_sender, push_sender, text_sender
from kordant_jobs.lab.fakes.push import FakeApns, FakeFcm, apns_error, fcm_error
from kordant_jobs.lab.fakes.sms import FakeTwilio, twilio_error
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.notifications.tables import contact_addresses
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.notifications_send.sending import (
    SENDER,
    Dying,
    die_sending,
    over,
    person_with,
    rows,
    send,
    time_passes,
)
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_alert


def test_an_alert_goes_once_to_each_address_of_each_channel(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring)
    for token in ("phone1", "phone2"):
        over(db, keyring, person, Channel.FCM, token)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeFcm() as fcm, FakeTwilio() as twilio:
        senders: list[ChannelSender[Any]] = [
            mail_sender(MaildirTransport(tmp_path / "m"), SENDER),
            push_sender(Channel.FCM, FcmTransport(fcm.account, base_url=fcm.url)),
            text_sender(TwilioTransport(twilio.account, base_url=twilio.url)),
        ]
        assert send(db, keyring, senders).sent == 4
        assert send(db, keyring, senders).claimed == 0
        assert (sorted(fcm.delivered), twilio.delivered) == (["phone1", "phone2"], ["+12025550143"])
        assert all("jane" not in text and "watched.example" not in text for text in twilio.bodies)
    assert {row.status for row in rows(db)} == {"sent"}
    assert all(row.provider_id for row in rows(db, Channel.FCM))
    over(db, keyring, person, Channel.FCM, "phone1")
    assert len(rows(db)) == 4, "queued again, it is the same notification"


def test_a_channel_that_is_off_keeps_what_waits_for_it(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.FCM, "phone1")
    assert send(db, keyring, [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)]).claimed == 1
    assert [row.status for row in rows(db, Channel.FCM)] == ["queued"]
    with db.connect() as connection:
        assert outbox.due(connection, [Channel.EMAIL]) == 0


def test_a_push_that_waited_for_a_week_is_no_news_any_more(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.FCM, "phone1")
    with FakeFcm() as fcm:
        senders = [push_sender(Channel.FCM, FcmTransport(fcm.account, base_url=fcm.url))]
        assert send(db, keyring, senders, datetime.now(UTC) + timedelta(days=8)).suppressed == 1
        assert fcm.delivered == []
    assert rows(db, Channel.FCM)[0].reason == "it is too old to be news"


def test_texts_are_for_what_is_urgent(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring, severity=Severity.MEDIUM)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    assert rows(db, Channel.SMS) == []


def test_a_dead_token_is_used_no_more(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.FCM, "dead")
    with FakeFcm(lambda _: fcm_error(404, "UNREGISTERED")) as fcm:
        senders = [push_sender(Channel.FCM, FcmTransport(fcm.account, base_url=fcm.url))]
        assert send(db, keyring, senders).suppressed == 1
    (row,) = rows(db, Channel.FCM)
    assert (row.status, row.reason) == ("suppressed", "the address takes no message (fcm 404 UNREGISTERED)")
    with db.begin() as connection:
        (address,) = notification_choices.addresses(connection, person.subscriber_id)
        assert address.removed_reason == row.reason
        assert notification_choices.add_address(connection, keyring, person.subscriber_id, Channel.FCM, "dead")


def test_a_token_that_was_given_again_outlives_an_old_complaint(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.APNS, "abc123")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000
    with FakeApns(lambda _: apns_error(410, "Unregistered", timestamp=int(long_ago))) as apns:
        send(db, keyring, [push_sender(Channel.APNS, ApnsTransport(apns.key, base_url=apns.url))])
    with db.connect() as connection:
        assert connection.execute(sa.select(contact_addresses.c.removed_at)).scalar() is None


def test_who_answered_stop_gets_no_text_again(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    other = subscribe(db, keyring, "bob@watched.example", contact="bob@mail.example")
    (item_id,) = other.items.values()
    add_alert(db, other.subscription_id, item_id, "Breach0")
    with FakeTwilio(lambda _: twilio_error(400, 21610)) as twilio:
        senders = [text_sender(TwilioTransport(twilio.account, base_url=twilio.url))]
        send(db, keyring, senders)
        over(db, keyring, other, Channel.SMS, "+12025550143")
        twilio.script = lambda _: None
        assert send(db, keyring, senders).suppressed == 1
        assert twilio.delivered == []
    reasons = {row.reason for row in rows(db, Channel.SMS)}
    assert "the address is suppressed: the address takes no message (twilio 400 21610)" in reasons


def test_where_a_copy_shows_there_is_one_at_most_and_it_is_counted(
    db: Engine, database_url: str, keyring: Keyring
) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeTwilio() as twilio:
        transport = TwilioTransport(twilio.account, base_url=twilio.url)
        die_sending(database_url, keyring, text_sender(Dying(transport)))
        assert len(twilio.delivered) == 1
        time_passes(db)
        summary = send(db, keyring, [text_sender(transport)])
        assert (summary.sent, summary.possible_repeats, len(twilio.delivered)) == (1, 1, 2)


def test_one_whose_sender_dies_twice_is_left_to_an_operator(db: Engine, database_url: str, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeTwilio() as twilio:
        transport = TwilioTransport(twilio.account, base_url=twilio.url)
        for _ in range(2):
            die_sending(database_url, keyring, text_sender(Dying(transport)))
            time_passes(db)
        assert send(db, keyring, [text_sender(transport)]).failed == 1
        assert len(twilio.delivered) == 2
    assert rows(db, Channel.SMS)[0].reason == "it may have arrived: its sender was cut off 2 times"


def test_a_killed_sender_leaves_a_doubt_only_about_what_was_begun(
    db: Engine, database_url: str, keyring: Keyring
) -> None:
    person = person_with(db, keyring, alerts=20)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeTwilio() as twilio:
        transport = TwilioTransport(twilio.account, base_url=twilio.url)
        for _ in range(2):
            die_sending(database_url, keyring, text_sender(Dying(transport)))
            time_passes(db)
        summary = send(db, keyring, [text_sender(transport)])
    assert (summary.sent, summary.failed, summary.possible_repeats) == (20 - IN_FLIGHT, IN_FLIGHT, 0)
    assert sorted(row.interruptions for row in rows(db, Channel.SMS)) == [0] * (20 - IN_FLIGHT) + [2] * IN_FLIGHT
