"""Channels, preferences, quiet hours, digests, rates and suppressed addresses, on a real database."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.http_delivery import IN_FLIGHT
from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.adapters.push import ApnsTransport, FcmTransport
from kordant_jobs.adapters.sms import TwilioTransport
from kordant_jobs.domain.notifications.alerts import Channel, Severity
from kordant_jobs.domain.notifications.choices import Category, Mode
from kordant_jobs.engine import leases
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.notifications_send import rules, service
from kordant_jobs.jobs.notifications_send.mail import Sender
from kordant_jobs.jobs.notifications_send.outlets import Outlet, mail_outlet, push_outlet, text_outlet
from kordant_jobs.jobs.notifications_send.unsubscribe import Unsubscribe, read_token
from kordant_jobs.lab.fakes.push import FakeApns, FakeFcm, apns_error, fcm_error
from kordant_jobs.lab.fakes.sms import FakeTwilio, twilio_error
from kordant_jobs.ports import Delivery, Transport
from kordant_jobs.postgres import database
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.notifications.choices import ChosenHours
from kordant_jobs.store.notifications.tables import channel_pauses, contact_addresses, notification_outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach

SENDER = Sender(header="Kordant <alerts@kordant.example>")
NOON = datetime(2030, 6, 10, 12, tzinfo=UTC)
NOW = datetime.now(UTC)
NIGHT = datetime(2030, 6, 10, 23, tzinfo=UTC)


def send(
    db: Engine, keyring: Keyring, outlets: Sequence[Outlet[Any]], now: datetime | None = None, **more: Any
) -> service.SendSummary:
    now = now or (NOON if outlets[0].channel is Channel.EMAIL and len(outlets) == 1 else NOW)
    how: dict[str, Any] = {"limit": 1000, "progress": Progress(db, "run"), "clock": lambda: now, **more}
    return service.send_due(db=db, keyring=keyring, outlets=outlets, **how)


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


def test_an_alert_goes_once_to_each_address_of_each_channel(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring)
    for token in ("phone1", "phone2"):
        over(db, keyring, person, Channel.FCM, token)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeFcm() as fcm, FakeTwilio() as twilio:
        outlets: list[Outlet[Any]] = [
            mail_outlet(MaildirTransport(tmp_path / "m"), SENDER),
            push_outlet(Channel.FCM, FcmTransport(fcm.account, base_url=fcm.url)),
            text_outlet(TwilioTransport(twilio.account, base_url=twilio.url)),
        ]
        assert send(db, keyring, outlets).sent == 4
        assert send(db, keyring, outlets).claimed == 0
        assert (sorted(fcm.delivered), twilio.delivered) == (["phone1", "phone2"], ["+12025550143"])
        assert all("jane" not in text and "watched.example" not in text for text in twilio.bodies)
    assert {row.status for row in rows(db)} == {"sent"}
    assert all(row.provider_id for row in rows(db, Channel.FCM))
    over(db, keyring, person, Channel.FCM, "phone1")
    assert len(rows(db)) == 4, "queued again, it is the same notification"


def test_a_channel_that_is_off_keeps_what_waits_for_it(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.FCM, "phone1")
    assert send(db, keyring, [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)]).claimed == 1
    assert [row.status for row in rows(db, Channel.FCM)] == ["queued"]
    with db.connect() as connection:
        assert outbox.due(connection, [Channel.EMAIL]) == 0


def test_a_push_that_waited_for_a_week_is_no_news_any_more(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.FCM, "phone1")
    with FakeFcm() as fcm:
        outlets = [push_outlet(Channel.FCM, FcmTransport(fcm.account, base_url=fcm.url))]
        assert send(db, keyring, outlets, datetime.now(UTC) + timedelta(days=8)).suppressed == 1
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
        outlets = [push_outlet(Channel.FCM, FcmTransport(fcm.account, base_url=fcm.url))]
        assert send(db, keyring, outlets).suppressed == 1
    (row,) = rows(db, Channel.FCM)
    assert (row.status, row.reason) == ("suppressed", "the address takes no message (fcm 404 UNREGISTERED)")
    with db.begin() as connection:
        (address,) = notification_choices.addresses(connection, person.subscriber_id)
        assert address.removed_reason == row.reason
        assert notification_choices.add_address(connection, keyring, person.subscriber_id, Channel.FCM, "dead")


def test_a_token_that_was_given_anew_outlives_an_old_complaint(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.APNS, "abc123")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000
    with FakeApns(lambda _: apns_error(410, "Unregistered", timestamp=int(long_ago))) as apns:
        send(db, keyring, [push_outlet(Channel.APNS, ApnsTransport(apns.key, base_url=apns.url))])
    with db.connect() as connection:
        assert connection.execute(sa.select(contact_addresses.c.removed_at)).scalar() is None


def test_who_answered_stop_gets_no_text_again(db: Engine, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    other = subscribe(db, keyring, "bob@watched.example", contact="bob@mail.example")
    (item_id,) = other.items.values()
    add_alert(db, other.subscription_id, item_id, "Breach0")
    with FakeTwilio(lambda _: twilio_error(400, 21610)) as twilio:
        outlets = [text_outlet(TwilioTransport(twilio.account, base_url=twilio.url))]
        send(db, keyring, outlets)
        over(db, keyring, other, Channel.SMS, "+12025550143")
        twilio.told = lambda _: None
        assert send(db, keyring, outlets).suppressed == 1
        assert twilio.delivered == []
    reasons = {row.reason for row in rows(db, Channel.SMS)}
    assert "the address is suppressed: the address takes no message (twilio 400 21610)" in reasons


class Dying:
    """Delivers, and its process dies before the mark."""

    def __init__(self, inner: Transport[Any]) -> None:
        self.inner = inner

    def deliver(self, messages: Iterable[Any], /) -> Generator[Delivery, None, None]:
        for _ in self.inner.deliver(messages):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from ()


def die_sending(database_url: str, keyring: Keyring, outlet: Outlet[Any]) -> None:
    child = os.fork()
    if child == 0:
        try:
            send(database.create_engine(database_url), keyring, [outlet])
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_where_a_copy_shows_there_is_one_at_most_and_it_is_counted(
    db: Engine, database_url: str, keyring: Keyring
) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeTwilio() as twilio:
        transport = TwilioTransport(twilio.account, base_url=twilio.url)
        die_sending(database_url, keyring, text_outlet(Dying(transport)))
        assert len(twilio.delivered) == 1
        time_passes(db)
        summary = send(db, keyring, [text_outlet(transport)])
        assert (summary.sent, summary.possible_repeats, len(twilio.delivered)) == (1, 1, 2)


def test_one_whose_sender_dies_twice_is_left_to_an_operator(db: Engine, database_url: str, keyring: Keyring) -> None:
    person = person_with(db, keyring)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeTwilio() as twilio:
        transport = TwilioTransport(twilio.account, base_url=twilio.url)
        for _ in range(2):
            die_sending(database_url, keyring, text_outlet(Dying(transport)))
            time_passes(db)
        assert send(db, keyring, [text_outlet(transport)]).failed == 1
        assert len(twilio.delivered) == 2
    assert rows(db, Channel.SMS)[0].reason == "it may have arrived: its sender was cut off 2 times"


def test_whoever_dies_leaves_a_doubt_only_about_what_was_begun(db: Engine, database_url: str, keyring: Keyring) -> None:
    person = person_with(db, keyring, alerts=20)
    over(db, keyring, person, Channel.SMS, "+12025550143")
    with FakeTwilio() as twilio:
        transport = TwilioTransport(twilio.account, base_url=twilio.url)
        for _ in range(2):
            die_sending(database_url, keyring, text_outlet(Dying(transport)))
            time_passes(db)
        summary = send(db, keyring, [text_outlet(transport)])
    assert (summary.sent, summary.failed, summary.possible_repeats) == (20 - IN_FLIGHT, IN_FLIGHT, 0)
    assert sorted(row.interruptions for row in rows(db, Channel.SMS)) == [0] * (20 - IN_FLIGHT) + [2] * IN_FLIGHT


def test_a_category_that_is_off_is_not_sent(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, severity=Severity.CRITICAL)
    choose(db, person, Mode.OFF)
    assert send(db, keyring, [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)]).suppressed == 1
    assert rows(db)[0].reason == "the subscriber wants none of this kind"


def test_quiet_hours_hold_everything_but_what_is_critical(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, alerts=2)
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Worst"), severity=Severity.CRITICAL)
    quiet(db, person)
    outlets = [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)]
    summary = send(db, keyring, outlets, NIGHT)
    assert (summary.sent, summary.held, len(mails(tmp_path / "m"))) == (1, 2, 1)
    held = [row for row in rows(db) if row.status == "deferred"]
    assert {(row.due_at, row.attempts, row.reason) for row in held} == {
        (datetime(2030, 6, 11, 7, tzinfo=UTC), 0, "quiet hours")
    }
    time_passes(db)
    assert send(db, keyring, outlets, NIGHT + timedelta(hours=9)).sent == 2


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (datetime(2030, 3, 10, 6, 30, tzinfo=UTC), datetime(2030, 3, 10, 11, tzinfo=UTC)),  # into summer time
        (datetime(2030, 11, 3, 4, 30, tzinfo=UTC), datetime(2030, 11, 3, 12, tzinfo=UTC)),  # and out of it
    ],
)
def test_quiet_hours_with_a_clock_change_in_them_end_at_seven(
    db: Engine, keyring: Keyring, tmp_path: Path, now: datetime, due: datetime
) -> None:
    person = person_with(db, keyring)
    quiet(db, person)
    with db.begin() as connection:
        connection.execute(sa.update(subscriptions).values(time_zone="America/New_York"))
    send(db, keyring, [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)], now)
    assert [row.due_at for row in rows(db)] == [due]


def test_a_day_of_alerts_is_one_mail_grouped_by_breach(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example", "jroe@second.example")
    first, second = person.items.values()
    add_breach(db, "Big")
    add_alert(db, person.subscription_id, first, "Big", severity=Severity.MEDIUM)
    add_alert(db, person.subscription_id, second, "Big", severity=Severity.HIGH)
    add_alert(db, person.subscription_id, first, add_breach(db, "Small"), severity=Severity.LOW)
    choose(db, person, Mode.DAILY)
    outlets = [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)]
    assert send(db, keyring, outlets).held == 3
    assert {row.due_at for row in rows(db)} == {datetime(2030, 6, 11, 8, tzinfo=UTC)}
    time_passes(db)
    assert send(db, keyring, outlets, datetime(2030, 6, 11, 8, tzinfo=UTC)).sent == 3
    (mail,) = mails(tmp_path / "m")
    assert mail["Subject"] == "Your day at Kordant: 3 alerts"
    text = body(mail)
    assert text.count("Big (") == 1
    assert text.index("Big (High)") < text.index("Small (Low)")
    assert "j•••@watched.example" in text
    assert "j•••@second.example" in text
    assert "jane.roe" not in str(mail)
    (mail_id,) = {row.mail_id for row in rows(db)}
    assert mail["Message-ID"] == f"<{mail_id}@kordant.example>"


def test_a_digest_that_is_sent_again_is_the_same_mail_and_later_alerts_make_another(
    db: Engine, database_url: str, keyring: Keyring, tmp_path: Path
) -> None:
    person = person_with(db, keyring, alerts=3)
    choose(db, person, Mode.WEEKLY)
    transport = MaildirTransport(tmp_path / "m")
    send(db, keyring, [mail_outlet(transport, SENDER)])
    time_passes(db)
    die_sending(database_url, keyring, mail_outlet(Dying(transport), SENDER))
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Later"))
    send(db, keyring, [mail_outlet(transport, SENDER)])
    time_passes(db)
    assert send(db, keyring, [mail_outlet(transport, SENDER)]).sent == 4
    subjects = sorted(str(one["Subject"]) for one in mails(tmp_path / "m"))
    assert len(subjects) == 2
    assert subjects[1] == "Your week at Kordant: 3 alerts"


def test_what_exceeds_the_cap_goes_out_at_once_as_one(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, alerts=7)
    outlets = [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)]
    summary = send(db, keyring, outlets, rate=rules.Rate(person_per_hour=3))
    assert (summary.sent, summary.held) == (7, 0)
    assert sorted(str(one["Subject"]).partition(":")[2][:11] for one in mails(tmp_path / "m")) == [
        " 5 findings",
        " your data ",
        " your data ",
    ]
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Later"))
    assert send(db, keyring, outlets, rate=rules.Rate(person_per_hour=3)).held == 1
    time_passes(db)
    assert send(db, keyring, outlets, rate=rules.Rate(person_per_hour=3)).sent == 1


@pytest.mark.parametrize("severity", [Severity.CRITICAL, Severity.HIGH])
def test_a_person_in_forty_breaches_gets_no_flood_and_hears_of_all(
    db: Engine, keyring: Keyring, tmp_path: Path, severity: Severity
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example", "jroe@second.example", "j@third.example")
    for number in range(40):
        add_breach(db, f"Breach{number}")
        for item_id in person.items.values():
            add_alert(db, person.subscription_id, item_id, f"Breach{number}", severity=severity)
    outlets = [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)]
    summary = send(db, keyring, outlets, rate=rules.Rate(person_per_hour=6), batch=7)
    assert (summary.sent, summary.held, len(mails(tmp_path / "m"))) == (120, 0, 6)
    assert sorted(int(str(one["Subject"]).split()[2]) for one in mails(tmp_path / "m") if "finding" in one["Subject"]) == [105]  # fmt: skip  # noqa: E501


def test_beyond_the_cap_critical_alerts_are_one_message_at_once_and_then_one_every_five_minutes(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    person = person_with(db, keyring, alerts=2, severity=Severity.CRITICAL)
    outlets, rate = [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)], rules.Rate(person_per_hour=2)
    assert send(db, keyring, outlets, rate=rate).sent == 2
    (item_id,) = person.items.values()

    def more(*names: str) -> service.SendSummary:
        for name in names:
            add_alert(db, person.subscription_id, item_id, add_breach(db, name), severity=Severity.CRITICAL)
        return send(db, keyring, outlets, rate=rate)

    assert more("A", "B", "C").sent == 3
    assert len(mails(tmp_path / "m")) == 3
    assert more("D").held == 1
    assert more("E").held == 1
    assert {row.due_at for row in rows(db) if row.status == "deferred"} == {NOON + timedelta(minutes=5)}
    time_passes(db)
    assert send(db, keyring, outlets, rate=rate).sent == 2
    assert len(mails(tmp_path / "m")) == 4


def test_one_breach_with_several_identifiers_is_one_mail_in_every_attempt(
    db: Engine, database_url: str, keyring: Keyring, tmp_path: Path
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example", "jroe@second.example")
    add_breach(db, "Big")
    for item_id in person.items.values():
        add_alert(db, person.subscription_id, item_id, "Big")
    transport = MaildirTransport(tmp_path / "m")
    die_sending(database_url, keyring, mail_outlet(Dying(transport), SENDER))
    time_passes(db)
    assert send(db, keyring, [mail_outlet(transport, SENDER)]).sent == 2
    (mail,) = mails(tmp_path / "m")
    assert "Big" in str(mail["Subject"])
    assert "j•••@watched.example" in body(mail)
    assert "j•••@second.example" in body(mail)
    (mail_id,) = {row.mail_id for row in rows(db)}
    assert mail["Message-ID"] == f"<{mail_id}@kordant.example>"


def test_a_domain_gets_no_more_than_its_rate_and_the_rest_takes_its_turn(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    person_with(db, keyring, alerts=7)
    other = subscribe(db, keyring, "bob@watched.example", contact="bob@other.example")
    (item_id,) = other.items.values()
    add_alert(db, other.subscription_id, item_id, "Breach0")
    rate = rules.Rate(domain_per_s=2)
    summary = send(db, keyring, [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)], rate=rate)
    assert (summary.sent, summary.put_back) == (3, 5), "two, those of one second, and the one to the other domain"
    waiting = [row for row in rows(db) if row.status == "deferred"]
    assert {(row.attempts, row.reason) for row in waiting} == {(0, "the rate of its mail domain")}
    first, last = (pick(row.due_at for row in waiting) for pick in (min, max))
    assert timedelta(seconds=1) <= last - first <= timedelta(seconds=2), "five at two a second"
    with db.connect() as connection:
        parties = connection.execute(sa.text("SELECT party FROM kordant.rate_buckets")).scalars().all()
    assert not any("mail.example" in one or "other.example" in one for one in parties)


@pytest.mark.parametrize("spelling", ["ann@mail.example", " Ann@Mail.Example "])
def test_a_suppressed_address_gets_nothing_until_it_is_let_again(
    db: Engine, keyring: Keyring, tmp_path: Path, spelling: str
) -> None:
    person_with(db, keyring, alerts=1)
    key = notification_choices.address_key(keyring, Channel.EMAIL, spelling)
    with db.begin() as connection:
        assert notification_choices.suppress(connection, [key], reason="asked by phone", by="operator") == 1
        assert notification_choices.suppress(connection, [key], reason="again", by="operator") == 0
    outlets = [mail_outlet(MaildirTransport(tmp_path / "m"), SENDER)]
    assert send(db, keyring, outlets).suppressed == 1
    assert rows(db)[0].reason == "the address is suppressed: asked by phone"
    with db.begin() as connection:
        assert notification_choices.unsuppress(connection, key)
        assert not notification_choices.unsuppress(connection, key)


def test_a_mail_carries_a_link_that_ends_its_category(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring)
    links = Unsubscribe(keyring=keyring, public_url="https://k.example/", mail_to="out@k.example")
    sender = Sender(header=SENDER.header, unsubscribe=links)
    send(db, keyring, [mail_outlet(MaildirTransport(tmp_path / "m"), sender)])
    (mail,) = mails(tmp_path / "m")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = str(mail["List-Unsubscribe"]).split(">")[0].removeprefix("<")
    assert "<mailto:out@k.example?subject=unsubscribe>" in str(mail["List-Unsubscribe"])
    choice = read_token(keyring, link.rpartition("/")[2])
    assert (choice.subscriber_id, choice.category, choice.channel) == (
        person.subscriber_id,
        Category.BREACH,
        Channel.EMAIL,
    )
    assert link in body(mail)


def ids_of(found: Iterable[Any]) -> set[UUID]:
    return {row.id for row in found}


def test_two_senders_share_digests_without_splitting_one(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, alerts=6)
    choose(db, person, Mode.DAILY)
    send(db, keyring, [mail_outlet(MaildirTransport(tmp_path), SENDER)])
    time_passes(db)
    with db.begin() as first:
        lease = leases.insert(first, ["x", "y"], holder="x", now=datetime.now(UTC), ttl_s=60)
        mine = outbox.claim_digests(first, channel=Channel.EMAIL, limit=1, lease=lease[0].id)
        assert len(mine) == 6
        assert len({one.mail_id for one in mine}) == 1
    with db.begin() as second:
        assert outbox.claim_digests(second, channel=Channel.EMAIL, limit=9, lease=lease[1].id) == []
    assert ids_of(rows(db)) == {one.id for one in mine}
