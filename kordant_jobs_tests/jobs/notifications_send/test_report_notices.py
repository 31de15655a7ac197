"""The mail that says a report is ready, and its link: told once, opened for a while, and by nobody else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.choices import Category, Mode
from kordant_jobs.domain.reports.retention import LINK_LASTS, report_link
from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.notifications_send.channel_senders import mail_sender, push_sender
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.jobs.notifications_send.preview import preview
from kordant_jobs.jobs.notifications_send.report_message import ReportLinks
from kordant_jobs.jobs.reports_generate.service import TIERS
from kordant_jobs.pages.app import PagesContext, application
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingPush, ReportStorage
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications.tables import notification_outbox
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import notices as report_notices
from kordant_jobs.store.reports import reports
from kordant_jobs.store.reports.reports import ReportRow
from kordant_jobs_tests.asgi import Client
from kordant_jobs_tests.jobs.notifications_send.sending import body, mails, person_with, rows, send, time_passes
from kordant_jobs_tests.jobs.people import Person, subscribe

PUBLIC = "https://k.example"
PDF = b"%PDF-1.7 a report"
CLEAN = {"new": 0, "open": 0, "overall": "clean", "sources": {"dumps": "clean"}}


def report_of(db: Engine, person: Person, storage: ReportStorage, **figures: Any) -> UUID:
    """A stored report of June, with its notifications queued as reports_generate does."""
    row = ReportRow(
        subscription_id=person.subscription_id,
        kind="monthly",
        period_start_on=date(2030, 5, 1),
        period_end_on=date(2030, 6, 1),
        figures={**CLEAN, **figures},
        figures_sha256=bytes(32),
        content_sha256=hashlib.sha256(PDF).digest(),
        storage_key=storage.put(PDF),
        pages=1,
    )
    with db.begin() as connection:
        (report_id,) = reports.save(connection, [row])
        report_notices.queue(connection, [report_id], tiers=TIERS)
    return report_id


def test_no_one_is_notified_of_a_report_that_their_tier_does_not_have(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    storage = LocalReportStorage(tmp_path)
    for number, tier in enumerate(("basic", "plus", "premium")):
        report_of(db, subscribe(db, keyring, f"a{number}@example.com", tier=tier), storage)
    with db.connect() as connection:
        told = connection.execute(
            sa.text(
                "SELECT s.tier FROM kordant.notification_outbox o JOIN kordant.subscriptions s"
                " ON s.id = o.subscription_id ORDER BY 1"
            )
        ).scalars()
        assert list(told) == ["plus", "premium"]


def mail_from(keyring: Keyring) -> MailFrom:
    links = ReportLinks(keyring=keyring, public_url=f"{PUBLIC}/")
    return MailFrom(header="Kordant <alerts@kordant.example>", reports=links)


class World:
    """A subscriber with a report, its mail, and the pages that its link leads to."""

    def __init__(self, db: Engine, keyring: Keyring, folder: Path, *, locale: str = "en", **figures: Any) -> None:
        self.db, self.keyring, self.folder, self.now = db, keyring, folder, datetime.now(UTC)
        self.storage: ReportStorage = LocalReportStorage(folder / "reports")
        self.person = subscribe(db, keyring, "jane.roe@watched.example", name="Jane Roe", locale=locale)
        self.report_id = report_of(db, self.person, self.storage, **figures)

    def mail(self, sent_by: MailFrom | None = None) -> EmailMessage:
        sender = mail_sender(MaildirTransport(self.folder / "m"), sent_by or mail_from(self.keyring))
        assert send(self.db, self.keyring, [sender]).sent == 1
        (mail,) = mails(self.folder / "m")
        return mail

    def link(self, **more: Any) -> str:
        how: dict[str, Any] = {"expires_at": self.now + LINK_LASTS, "key": self.keyring.report_link_key, **more}
        return report_link(f"{PUBLIC}/reports", how.pop("report_id", self.report_id), **how)

    def open(self, link: str, storage: ReportStorage | None = None) -> httpx.Response:
        context = PagesContext(
            db=self.db,
            keyring=self.keyring,
            public_url=PUBLIC,
            mail_domain="kordant.example",
            report_storage=storage or self.storage,
            clock=self.now.timestamp,
        )
        return Client(application(context)).get(link.removeprefix(PUBLIC))


@pytest.fixture
def world(db: Engine, keyring: Keyring, tmp_path: Path) -> World:
    return World(db, keyring, tmp_path)


def test_the_mails_link_opens_the_report_and_nothing_keeps_it_on_the_way(world: World) -> None:
    text = body(world.mail())
    (link,) = re.findall(rf"{PUBLIC}/reports/\S+", text)
    found = world.open(link)
    assert (found.status_code, found.content) == (200, PDF)
    assert found.headers["content-type"] == "application/pdf"
    assert found.headers["cache-control"] == "no-store, private"
    assert found.headers["referrer-policy"] == "no-referrer"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["content-disposition"] == 'inline; filename="kordant-2030-05-01.pdf"'
    for secret in ("jane", "roe", "ann", str(world.person.subscriber_id), str(world.person.subscription_id)):
        assert secret not in f"{link} {found.headers}".lower()


@pytest.mark.parametrize(("locale", "says"), [("en", "This link has expired."), ("pt-BR", "Este link expirou.")])
def test_an_expired_link_is_explained_in_the_browsers_language(world: World, locale: str, says: str) -> None:
    link = world.link(expires_at=world.now - timedelta(seconds=1))
    context = PagesContext(
        db=world.db,
        keyring=world.keyring,
        public_url=PUBLIC,
        mail_domain="k",
        report_storage=world.storage,
        clock=world.now.timestamp,
    )
    found = Client(application(context)).get(link.removeprefix(PUBLIC), headers={"Accept-Language": locale})
    assert found.status_code == 410
    assert says in found.text
    assert found.headers["cache-control"] == "no-store, private"
    assert "default-src 'none'" in found.headers["content-security-policy"]


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link.replace("signature=", "signature=0"),
        lambda link: link[:-1],
        lambda link: link.replace("expires=", "expires=9"),
        lambda link: re.sub(r"reports/[^.]+", f"reports/{uuid4()}", link),
        lambda link: link.partition("?")[0],
        lambda link: link.replace(".pdf", "%00.pdf"),
        lambda link: f"{PUBLIC}/reports/../../etc/passwd.pdf?expires=1&signature=ü",
        lambda link: f"{PUBLIC}/reports/x?expires=1&expires=2&signature=1",
    ],
)
def test_a_link_that_is_not_ours_opens_nothing_and_tells_nothing(world: World, change: Callable[[str], str]) -> None:
    found = world.open(change(world.link()))
    assert found.status_code == 404
    assert str(world.report_id) not in found.text
    assert PDF not in found.content


def test_a_link_signed_with_another_key_opens_nothing(world: World) -> None:
    assert world.open(world.link(key=Keyring(b"k" * 32, index_root=b"k" * 32).report_link_key)).status_code == 404


def test_a_report_that_is_deleted_or_whose_subscriber_was_forgotten_is_no_longer_kept(world: World) -> None:
    link = world.link()
    assert world.open(world.link(report_id=uuid4())).status_code == 410
    with world.db.begin() as connection:
        subscribers.forget(connection, world.person.subscriber_id)
    forgotten = world.open(link)
    assert (forgotten.status_code, PDF in forgotten.content) == (410, False)
    assert "no longer kept" in forgotten.text


class Down:
    """A store that does not answer."""

    def put(self, content: bytes) -> str:
        raise TransientError("down")

    def get(self, key: str) -> bytes:
        raise TransientError("down")

    def delete(self, key: str) -> None:
        raise TransientError("down")

    def old_keys(self, before: datetime) -> Iterator[str]:
        raise TransientError("down")


def test_a_store_that_is_down_or_lost_the_content_asks_to_try_later_and_notifies_the_operator(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for storage in (Down(), LocalReportStorage(tmp_path / "empty")):
        found = world.open(world.link(), storage)
        assert (found.status_code, found.headers["retry-after"]) == (503, "60")
        assert "try again" in found.text
    told = [one.getMessage() for one in caplog.records if "cannot be opened" in one.getMessage()]
    assert len(told) == 2
    assert "signature" not in str(told)


def test_without_a_public_address_the_mail_has_no_link_and_reads_well(world: World) -> None:
    mail = world.mail(MailFrom(header="Kordant <alerts@kordant.example>"))
    assert mail["Subject"] == "Your monthly protection report is ready"
    assert "Sign in to Kordant to read it." in body(mail)
    assert "http" not in body(mail)


@pytest.mark.parametrize(
    ("figures", "says", "not_says"),
    [
        ({}, "Nothing is open, and every source was checked.", "new exposure"),
        ({"overall": "unknown", "sources": {"dumps": "unknown"}}, "in what could be checked. Not every", "Nothing is"),
        ({"new": 1, "open": 4, "overall": "exposed"}, "1 new exposure of your data, and what", "Not every"),
        ({"voice_alerts": 2}, "It tells of 2 clips with a voice like a family member's", "Nothing"),
        ({"documents": 1, "overall": "unknown"}, "It tells of 1 new document on your property.", "Nothing"),
        ({"open": 2, "sources": {"dumps": "exposed", "hibp": "unknown"}}, "2 exposures are still open. Not", "clear"),
    ],
)
def test_the_mail_tells_the_result_and_never_an_all_clear_over_an_unknown(
    db: Engine, keyring: Keyring, tmp_path: Path, figures: dict[str, Any], says: str, not_says: str
) -> None:
    text = re.sub(r"\s+", " ", body(World(db, keyring, tmp_path, **figures).mail()))
    assert says in text
    assert not_says not in text
    assert "May 1, 2030 to May 31, 2030" in text


def test_in_portuguese_it_is_portuguese(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    mail = World(db, keyring, tmp_path, locale="pt-BR", new=2, open=2).mail()
    assert mail["Subject"] == "Seu relatório mensal de proteção está pronto"
    text = re.sub(r"\s+", " ", body(mail))
    assert "2 novas exposições" in text
    assert "O link abre o relatório por 14 dias" in text


def test_a_report_is_notified_once_to_each_address_and_by_no_text_message(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    storage = LocalReportStorage(tmp_path)
    person = subscribe(db, keyring, "jane.roe@watched.example")
    given = ((Channel.SMS, "+12025550143"), (Channel.FCM, "token"), (Channel.EMAIL, "b@mail.example"))
    with db.begin() as connection:
        for channel, address in given:
            notification_choices.add_address(connection, keyring, person.subscriber_id, channel, address)
    report_id = report_of(db, person, storage)
    assert report_of(db, person, storage) == report_id
    assert sorted(row.channel for row in rows(db)) == ["email", "email", "fcm"]
    assert {(row.report_id, row.alert_id, row.category) for row in rows(db)} == {(report_id, None, "report")}


class Taken:
    """A push service that takes everything."""

    def __init__(self) -> None:
        self.taken: list[OutgoingPush] = []

    def deliver(self, messages: Any) -> Any:
        for one in messages:
            self.taken.append(one)
            yield Delivery(mail_id=one.id, outcome=DeliveryOutcome.DELIVERED)


def test_a_push_names_the_report_and_no_alert(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    with db.begin() as connection:
        notification_choices.add_address(connection, keyring, person.subscriber_id, Channel.APNS, "ab" * 32)
    report_id = report_of(db, person, LocalReportStorage(tmp_path))
    service = Taken()
    assert send(db, keyring, [push_sender(Channel.APNS, service)]).sent == 1
    (push,) = service.taken
    assert push.data["report_id"] == str(report_id)
    assert "alert_id" not in push.data
    assert (push.urgent, push.body) == (False, "Your monthly protection report is ready. Open the app to read it.")


def test_a_report_that_waits_for_the_digest_goes_out_by_itself(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = person_with(db, keyring, alerts=2)
    for category in (Category.BREACH, Category.REPORT):
        with db.begin() as connection:
            notification_choices.choose(
                connection, person.subscriber_id, category=category, channel=Channel.EMAIL, mode=Mode.DAILY, by="test"
            )
    report_of(db, person, LocalReportStorage(tmp_path / "r"))
    senders = [mail_sender(MaildirTransport(tmp_path / "m"), mail_from(keyring))]
    assert send(db, keyring, senders).held == 3
    time_passes(db)
    assert send(db, keyring, senders).sent == 3
    assert sorted(str(mail["Subject"]) for mail in mails(tmp_path / "m")) == [
        "Your day at Kordant: 2 alerts",
        "Your monthly protection report is ready",
    ]


def test_who_wants_no_reports_by_mail_gets_none_and_the_row_says_why(world: World) -> None:
    with world.db.begin() as connection:
        notification_choices.choose(
            connection,
            world.person.subscriber_id,
            category=Category.REPORT,
            channel=Channel.EMAIL,
            mode=Mode.OFF,
            by="test",
        )
    sender = mail_sender(MaildirTransport(world.folder / "m"), mail_from(world.keyring))
    assert send(world.db, world.keyring, [sender]).suppressed == 1
    assert rows(world.db)[0].reason == "the subscriber wants none of this kind"


def test_an_operators_preview_has_no_link_that_works(world: World) -> None:
    with world.db.connect() as connection:
        ids = list(connection.execute(sa.select(notification_outbox.c.id)).scalars())
        subject, texts = preview(connection, world.keyring, ids, sender=mail_from(world.keyring))
    assert subject == "Your monthly protection report is ready"
    assert "signature" not in str(texts)
    assert "Jane" not in str(texts)


def test_health_is_ok_as_long_as_the_database_answers(world: World) -> None:
    found = world.open("/health")
    assert (found.status_code, found.text) == (200, "ok")
    engine = sa.create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    context = PagesContext(db=engine, keyring=world.keyring, public_url=PUBLIC, mail_domain="kordant.example")
    assert Client(application(context)).get("/health").status_code == 503
