"""When a message goes out and with what: quiet hours, digests, caps, rates, suppressed addresses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.domain.notifications.alerts import Channel, Severity
from kordant_jobs.domain.notifications.choices import Category, Mode
from kordant_jobs.engine.control import leases
from kordant_jobs.jobs.notifications_send import rules, service
from kordant_jobs.jobs.notifications_send.channel_senders import mail_sender
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.jobs.notifications_send.unsubscribe import Unsubscribe, read_token
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs_tests.jobs.notifications_send.sending import (
    NIGHT,
    NOON,
    SENDER,
    Dying,
    body,
    choose,
    die_sending,
    mails,
    person_with,
    quiet,
    rows,
    send,
    time_passes,
)
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach


def test_a_category_that_is_off_is_not_sent(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, severity=Severity.CRITICAL)
    choose(db, person, Mode.OFF)
    assert send(db, keyring, [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)]).suppressed == 1
    assert rows(db)[0].reason == "the subscriber wants none of this kind"


def test_quiet_hours_hold_everything_but_what_is_critical(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, alerts=2)
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Worst"), severity=Severity.CRITICAL)
    quiet(db, person)
    senders = [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)]
    summary = send(db, keyring, senders, NIGHT)
    assert (summary.sent, summary.held, len(mails(tmp_path / "m"))) == (1, 2, 1)
    held = [row for row in rows(db) if row.status == "deferred"]
    assert {(row.due_at, row.attempts, row.reason) for row in held} == {
        (datetime(2030, 6, 11, 7, tzinfo=UTC), 0, "quiet hours")
    }
    time_passes(db)
    assert send(db, keyring, senders, NIGHT + timedelta(hours=9)).sent == 2


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
    send(db, keyring, [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)], now)
    assert [row.due_at for row in rows(db)] == [due]


def test_a_day_of_alerts_is_one_mail_grouped_by_breach(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example", "jroe@second.example")
    first, second = person.items.values()
    add_breach(db, "Big")
    add_alert(db, person.subscription_id, first, "Big", severity=Severity.MEDIUM)
    add_alert(db, person.subscription_id, second, "Big", severity=Severity.HIGH)
    add_alert(db, person.subscription_id, first, add_breach(db, "Small"), severity=Severity.LOW)
    choose(db, person, Mode.DAILY)
    senders = [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)]
    assert send(db, keyring, senders).held == 3
    assert {row.due_at for row in rows(db)} == {datetime(2030, 6, 11, 8, tzinfo=UTC)}
    time_passes(db)
    assert send(db, keyring, senders, datetime(2030, 6, 11, 8, tzinfo=UTC)).sent == 3
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
    send(db, keyring, [mail_sender(transport, SENDER)])
    time_passes(db)
    die_sending(database_url, keyring, mail_sender(Dying(transport), SENDER))
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Later"))
    send(db, keyring, [mail_sender(transport, SENDER)])
    time_passes(db)
    assert send(db, keyring, [mail_sender(transport, SENDER)]).sent == 4
    subjects = sorted(str(one["Subject"]) for one in mails(tmp_path / "m"))
    assert len(subjects) == 2
    assert subjects[1] == "Your week at Kordant: 3 alerts"


def test_what_exceeds_the_cap_goes_out_at_once_as_one(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, alerts=7)
    senders = [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)]
    summary = send(db, keyring, senders, rate=rules.Rate(person_per_hour=3))
    assert (summary.sent, summary.held) == (7, 0)
    assert sorted(str(one["Subject"]).partition(":")[2][:11] for one in mails(tmp_path / "m")) == [
        " 5 findings",
        " your data ",
        " your data ",
    ]
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Later"))
    assert send(db, keyring, senders, rate=rules.Rate(person_per_hour=3)).held == 1
    time_passes(db)
    assert send(db, keyring, senders, rate=rules.Rate(person_per_hour=3)).sent == 1


@pytest.mark.parametrize("severity", [Severity.CRITICAL, Severity.HIGH])
def test_a_person_in_forty_breaches_gets_no_flood_and_hears_of_all(
    db: Engine, keyring: Keyring, tmp_path: Path, severity: Severity
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example", "jroe@second.example", "j@third.example")
    for number in range(40):
        add_breach(db, f"Breach{number}")
        for item_id in person.items.values():
            add_alert(db, person.subscription_id, item_id, f"Breach{number}", severity=severity)
    senders = [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)]
    summary = send(db, keyring, senders, rate=rules.Rate(person_per_hour=6), batch=7)
    assert (summary.sent, summary.held, len(mails(tmp_path / "m"))) == (120, 0, 6)
    subjects = [str(one["Subject"]) for one in mails(tmp_path / "m")]
    assert [int(one.split()[2]) for one in subjects if "finding" in one] == [105]


def test_beyond_the_cap_critical_alerts_are_one_message_at_once_and_then_one_every_five_minutes(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    person = person_with(db, keyring, alerts=2, severity=Severity.CRITICAL)
    senders, rate = [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)], rules.Rate(person_per_hour=2)
    assert send(db, keyring, senders, rate=rate).sent == 2
    (item_id,) = person.items.values()

    def more(*names: str) -> service.SendSummary:
        for name in names:
            add_alert(db, person.subscription_id, item_id, add_breach(db, name), severity=Severity.CRITICAL)
        return send(db, keyring, senders, rate=rate)

    assert more("A", "B", "C").sent == 3
    assert len(mails(tmp_path / "m")) == 3
    assert more("D").held == 1
    assert more("E").held == 1
    assert {row.due_at for row in rows(db) if row.status == "deferred"} == {NOON + timedelta(minutes=5)}
    time_passes(db)
    assert send(db, keyring, senders, rate=rate).sent == 2
    assert len(mails(tmp_path / "m")) == 4


def test_one_breach_with_several_identifiers_is_one_mail_in_every_attempt(
    db: Engine, database_url: str, keyring: Keyring, tmp_path: Path
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example", "jroe@second.example")
    add_breach(db, "Big")
    for item_id in person.items.values():
        add_alert(db, person.subscription_id, item_id, "Big")
    transport = MaildirTransport(tmp_path / "m")
    die_sending(database_url, keyring, mail_sender(Dying(transport), SENDER))
    time_passes(db)
    assert send(db, keyring, [mail_sender(transport, SENDER)]).sent == 2
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
    summary = send(db, keyring, [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)], rate=rate)
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
    senders = [mail_sender(MaildirTransport(tmp_path / "m"), SENDER)]
    assert send(db, keyring, senders).suppressed == 1
    assert rows(db)[0].reason == "the address is suppressed: asked by phone"
    with db.begin() as connection:
        assert notification_choices.unsuppress(connection, key)
        assert not notification_choices.unsuppress(connection, key)


def test_a_mail_carries_a_link_that_ends_its_category(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring)
    links = Unsubscribe(keyring=keyring, public_url="https://k.example/", mail_to="out@k.example")
    sender = MailFrom(header=SENDER.header, unsubscribe=links)
    send(db, keyring, [mail_sender(MaildirTransport(tmp_path / "m"), sender)])
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
    send(db, keyring, [mail_sender(MaildirTransport(tmp_path), SENDER)])
    time_passes(db)
    with db.begin() as first:
        lease = leases.insert(first, ["x", "y"], holder="x", now=datetime.now(UTC), ttl_s=60)
        mine = outbox.claim_digests(first, channel=Channel.EMAIL, limit=1, lease=lease[0].id)
        assert len(mine) == 6
        assert len({one.mail_id for one in mine}) == 1
    with db.begin() as second:
        assert outbox.claim_digests(second, channel=Channel.EMAIL, limit=9, lease=lease[1].id) == []
    assert ids_of(rows(db)) == {one.id for one in mine}
