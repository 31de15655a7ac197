"""Notifications on a real database: each once, whatever breaks on the way."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import MaildirTransport, SmtpTransport, parse_smtp_url
from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.pending import Claim
from kordant_jobs.engine.control import leases
from kordant_jobs.engine.store.progress import Progress, read_progress
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.jobs.notifications_send import rules, service
from kordant_jobs.jobs.notifications_send.channel_senders import mail_sender
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.lab.fakes.smtp import FakeSmtpServer
from kordant_jobs.ports import Delivery, DeliveryOutcome, MailTransport, OutgoingMail
from kordant_jobs.store.darkwatch.tables import exposures
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.notifications.tables import channel_pauses, notification_outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions, watchlist_items
from kordant_jobs_tests.databases import await_rows
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach

SENDER = MailFrom(header="Kordant <alerts@kordant.example>")


def send(db: Engine, keyring: Keyring, mail: MailTransport, **more: Any) -> service.SendSummary:
    """One run."""
    how: dict[str, Any] = {"limit": 1000, "progress": Progress(db, "run"), **more}
    return service.send_due(db=db, keyring=keyring, senders=[mail_sender(mail, SENDER)], **how)


def outbox_rows(db: Engine) -> dict[UUID, Any]:
    with db.connect() as connection:
        return {row.id: row for row in connection.execute(sa.select(notification_outbox))}


def make_due(db: Engine) -> None:
    """As if time had passed: every wait and every lease is over."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    with db.begin() as connection:
        connection.execute(
            sa.update(notification_outbox)
            .where(notification_outbox.c.status.in_(("deferred", "sending")))
            .values(due_at=past, lease_id=None)
        )
        connection.execute(sa.update(channel_pauses).values(paused_until=past))


def mails_in(folder: Path) -> list[EmailMessage]:
    files = sorted((folder / "new").iterdir())
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


def alerted(db: Engine, keyring: Keyring, count: int = 1, **more: Any) -> tuple[Person, list[UUID]]:
    """A subscriber with that many alerts."""
    person = subscribe(db, keyring, "jane.roe@watched.example", **more)
    (item_id,) = person.items.values()
    return person, [add_alert(db, person.subscription_id, item_id, add_breach(db, f"Breach{n}")) for n in range(count)]


def test_a_due_notification_goes_out_once(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    _, (outbox_id,) = alerted(db, keyring)
    transport = MaildirTransport(tmp_path / "mails")
    assert send(db, keyring, transport) == service.SendSummary(claimed=1, sent=1)
    assert send(db, keyring, transport) == service.SendSummary()
    (mail,) = mails_in(tmp_path / "mails")
    assert mail["Message-ID"] == f"<{outbox_id}@kordant.example>"
    assert mail["To"] == "ann@mail.example"
    row = outbox_rows(db)[outbox_id]
    assert (row.status, row.attempts, row.lease_id, row.reason) == ("sent", 1, None, None)
    assert row.sent_at is not None


def test_batches_drain_the_outbox_and_show_in_the_progress(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    alerted(db, keyring, 25)
    Progress(db, "run").flush("waiting")
    assert send(db, keyring, MaildirTransport(tmp_path / "m"), batch=10).sent == 25
    with Progress(db, "run") as progress:
        progress.flush("done")
    reading = read_progress(db, "run")
    assert reading is not None
    assert (len(mails_in(tmp_path / "m")), reading.total) == (25, 25)


def test_the_limit_is_kept(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    add_breach(db)
    for number in range(5):
        person = subscribe(db, keyring, f"p{number}@watched.example", contact=f"p{number}@mail.example")
        (item_id,) = person.items.values()
        add_alert(db, person.subscription_id, item_id, "Adobe")
    assert send(db, keyring, MaildirTransport(tmp_path / "m"), limit=3, batch=2).claimed == 3


def test_what_is_due_to_one_person_is_sent_whole_though_the_limit_lies_in_it(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    alerted(db, keyring, 5)
    assert send(db, keyring, MaildirTransport(tmp_path / "m"), limit=3, batch=2).claimed == 5


def _update(table: sa.Table, **values: Any) -> Any:
    def change(db: Engine, _person: Person) -> None:
        with db.begin() as connection:
            connection.execute(sa.update(table).values(**values))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_update(subscriptions, status="paused"), "the subscription is not active"),
        (_update(watchlist_items, removed_at=sa.func.now()), "the identifier is no longer watched"),
        (_update(exposures, dismissed_at=sa.func.now()), "the exposure was dismissed"),
    ],
)
def test_who_must_not_hear_of_it_any_more_does_not(
    db: Engine, keyring: Keyring, tmp_path: Path, change: Any, reason: str
) -> None:
    person, (outbox_id,) = alerted(db, keyring)
    change(db, person)
    assert send(db, keyring, MaildirTransport(tmp_path / "m")).suppressed == 1
    row = outbox_rows(db)[outbox_id]
    assert (row.status, row.reason) == ("suppressed", reason)
    assert not [path for path in (tmp_path / "m").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "address", ["nonsense", "a@b@c.example", "x\r\nBcc: all@evil.example", "", "ann@mail.example,bob@x.example"]
)
def test_a_broken_address_is_suppressed_and_stops_no_other(
    db: Engine, keyring: Keyring, tmp_path: Path, address: str
) -> None:
    alerted(db, keyring, 1, contact=address)
    other = subscribe(db, keyring, "other@watched.example", contact="bob@mail.example")
    (item_id,) = other.items.values()
    add_alert(db, other.subscription_id, item_id, "Breach0")
    summary = send(db, keyring, MaildirTransport(tmp_path / "m"))
    assert (summary.sent, summary.suppressed) == (1, 1)
    assert [one["To"] for one in mails_in(tmp_path / "m")] == ["bob@mail.example"]
    reasons = {row.reason for row in outbox_rows(db).values()}
    assert reasons == {None, "the contact is no e-mail address"}


def test_a_mail_that_cannot_be_written_waits_for_a_repair(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    _, (outbox_id,) = alerted(db, keyring)
    with db.begin() as connection:
        connection.execute(sa.text("""UPDATE kordant.alerts SET why = '[{"code": "identifier_in_dump"}]'"""))
    assert send(db, keyring, MaildirTransport(tmp_path / "m")).deferred == 1
    row = outbox_rows(db)[outbox_id]
    assert (row.status, row.reason) == ("deferred", "it could not be written (KeyError)")


def test_an_unknown_reason_does_not_hold_an_alert_back(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    _, _ids = alerted(db, keyring)
    with db.begin() as connection:
        connection.execute(sa.text("""UPDATE kordant.alerts SET why = '[{"code": "seen_by_a_later_version"}]'"""))
    assert send(db, keyring, MaildirTransport(tmp_path / "m")).sent == 1


def test_greylisting_is_met_again_later_until_it_is_given_up(db: Engine, keyring: Keyring) -> None:
    _, (outbox_id,) = alerted(db, keyring)
    with FakeSmtpServer() as server:
        server.answers.to_rcpt = lambda _, __: "450 4.2.1 greylisted"
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        for attempt in range(1, rules.MAX_ATTEMPTS + 1):
            assert send(db, keyring, transport).sent == 0
            assert send(db, keyring, transport).claimed == 0, "it is not due again at once"
            row = outbox_rows(db)[outbox_id]
            assert row.attempts == attempt
            make_due(db)
    assert row.status == "dead"
    assert row.reason == "the server put it off (smtp 450 4.2.1); given up after 9 attempts"


def test_an_unknown_mailbox_is_suppressed_without_its_address(db: Engine, keyring: Keyring) -> None:
    _, (outbox_id,) = alerted(db, keyring)
    with FakeSmtpServer() as server:
        server.answers.to_rcpt = lambda to, _: f"550 5.1.1 {to} unknown"
        assert send(db, keyring, SmtpTransport(parse_smtp_url(server.url), sender="k@k.example")).suppressed == 1
    row = outbox_rows(db)[outbox_id]
    assert (row.status, row.reason) == ("suppressed", "the address takes no message (smtp 550 5.1.1)")


class Failing:
    """Takes `good` mails, then the transport itself is down."""

    def __init__(self, good: int) -> None:
        self.good = good

    def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
        for place, mail in enumerate(mails):
            if place == self.good:
                raise SourceUnavailable("down")
            yield Delivery(mail_id=mail.id, outcome=DeliveryOutcome.DELIVERED)


def test_a_transport_that_goes_down_loses_nothing_and_costs_no_attempt(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    alerted(db, keyring, 5)
    with pytest.raises(SourceUnavailable):
        send(db, keyring, Failing(2))
    rows = outbox_rows(db).values()
    assert sorted((row.status, row.attempts) for row in rows) == [("deferred", 0)] * 3 + [("sent", 1)] * 2
    make_due(db)
    assert send(db, keyring, MaildirTransport(tmp_path / "m")).sent == 3


def test_a_sender_whose_lease_went_to_another_writes_nothing(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    _, (outbox_id,) = alerted(db, keyring)

    class Slow:
        """While it sends, its lease ends and another sender takes over."""

        def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
            make_due(db)
            assert send(db, keyring, MaildirTransport(tmp_path / "m")).possible_repeats == 1
            for mail in mails:
                yield Delivery(mail_id=mail.id, outcome=DeliveryOutcome.DEFERRED, code="smtp 451")

    assert send(db, keyring, Slow()).lost_leases == 1
    row = outbox_rows(db)[outbox_id]
    assert (row.status, row.attempts) == ("sent", 2)


def test_a_lost_lease_is_lost_even_while_the_successor_still_sends(db: Engine, keyring: Keyring) -> None:
    _, (outbox_id,) = alerted(db, keyring)

    class Slow:
        """While it sends, its lease ends and another sender claims the same."""

        def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
            make_due(db)
            with db.begin() as connection:
                lease = leases.insert(connection, ["x"], holder="x", now=datetime.now(UTC), ttl_s=60)[0]
                (taken,) = outbox.claim(connection, channel=Channel.EMAIL, limit=9, lease=lease.id)
            assert (taken.id, taken.attempt, taken.interrupted) == (outbox_id, 2, True)
            for mail in mails:
                yield Delivery(mail_id=mail.id, outcome=DeliveryOutcome.DELIVERED)

    assert send(db, keyring, Slow()).lost_leases == 1
    assert outbox_rows(db)[outbox_id].status == "sending"


def test_a_claim_that_began_before_another_ended_takes_nothing_of_it(
    db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerted(db, keyring)
    waits = "(SELECT pg_advisory_xact_lock(7)::text IS NOT NULL) AND"
    swift = outbox._CLAIM
    slow = swift.replace("WHERE channel", f"WHERE {waits} channel", 1)
    assert slow != swift

    def claim(statement: str, connection: sa.Connection) -> list[Claim]:
        monkeypatch.setattr(outbox, "_CLAIM", statement)
        lease = leases.insert(connection, ["x"], holder="x", now=datetime.now(UTC), ttl_s=60)[0]
        return outbox.claim(connection, channel=Channel.EMAIL, limit=9, lease=lease.id)

    def claim_late() -> list[Claim]:
        with db.begin() as connection:
            return claim(slow, connection)

    with ThreadPoolExecutor() as pool, db.begin() as first:
        first.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
        late = pool.submit(claim_late)
        await_rows(db, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'")
        assert len(claim(swift, first)) == 1
        first.commit()
        assert late.result(10) == []


def test_two_senders_at_once_share_the_work(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    alerted(db, keyring, 4)

    class Meanwhile:
        """While it sends, a second sender runs."""

        second = service.SendSummary()

        def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
            self.second += send(db, keyring, MaildirTransport(tmp_path / "m"), limit=1)
            yield from MaildirTransport(tmp_path / "m").deliver(mails)

    transport = Meanwhile()
    first = send(db, keyring, transport, batch=1)
    assert first.sent + transport.second.sent == 4
    assert len(mails_in(tmp_path / "m")) == 4


def test_a_store_that_takes_no_marks_loses_nothing(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    alerted(db, keyring, 3)
    refuse = """
        CREATE FUNCTION kordant.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE disk_full; END';
        CREATE TRIGGER refuse BEFORE UPDATE ON kordant.notification_outbox EXECUTE FUNCTION kordant.refuse()
    """

    class WhileTheStoreFills:
        """After the claim, the store takes no more writing."""

        def deliver(self, mails: Iterable[OutgoingMail], /) -> Generator[Delivery, None, None]:
            with db.begin() as connection:
                connection.execute(sa.text(refuse))
            yield from MaildirTransport(tmp_path / "m").deliver(mails)

    with pytest.raises(sa.exc.DBAPIError):
        send(db, keyring, WhileTheStoreFills())
    assert {row.status for row in outbox_rows(db).values()} == {"sending"}
    with db.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER refuse ON kordant.notification_outbox"))
    make_due(db)
    summary = send(db, keyring, MaildirTransport(tmp_path / "m"))
    assert (summary.sent, summary.possible_repeats, len(mails_in(tmp_path / "m"))) == (3, 3, 3)


def test_a_password_in_the_dump_is_named_in_the_mail(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db), secret=SecretKind.CLEAR)
    send(db, keyring, MaildirTransport(tmp_path / "m"))
    (mail,) = mails_in(tmp_path / "m")
    body = mail.get_body(("plain",))
    assert body is not None
    assert "readable by anybody" in body.get_content()
