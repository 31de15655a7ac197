"""Receipts, callbacks and unsubscribing, over HTTP and on a real database: the state only ever moves forward."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.sms.twilio import signature_of
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.choices import Category, Mode
from kordant_jobs.domain.notifications.receipts import ReceiptState, Remedy
from kordant_jobs.engine.control import leases
from kordant_jobs.jobs.notifications_send import receipts
from kordant_jobs.jobs.notifications_send.unsubscribe import BadLink, Choice, read_token, token_of
from kordant_jobs.pages.app import BODY_MAX, PagesContext, application
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications.tables import contact_addresses, notification_outbox, suppressions
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.asgi import PUBLIC, Client
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach

BOUNCE = """\
From: MAILER-DAEMON@mx.example
To: alerts@kordant.example
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Sorry.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ann@mail.example
Action: {action}
Status: {status}
Diagnostic-Code: smtp; no

--b
Content-Type: {kind}

From: alerts@kordant.example
To: ann@mail.example
Message-ID: <{message}@{domain}>
Subject: x

--b--
"""


def bounce(
    message: UUID | str, *, action: str = "failed", status: str = "5.1.1", kind: str = "text/rfc822-headers",
    domain: str = "kordant.example",
) -> bytes:  # fmt: skip
    text = BOUNCE.format(message=message, action=action, status=status, kind=kind, domain=domain)
    return text.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/rfc822"])
@pytest.mark.parametrize(
    ("action", "status", "state", "remedy"),
    [
        ("failed", "5.1.1", ReceiptState.FAILED, Remedy.SUPPRESS),
        ("failed", "5.2.1", ReceiptState.FAILED, Remedy.SUPPRESS),
        ("failed", "5.7.1", ReceiptState.FAILED, Remedy.OPERATOR),
        ("failed", "4.4.7", ReceiptState.FAILED, Remedy.OPERATOR),
        ("delivered", "2.0.0", ReceiptState.DELIVERED, Remedy.OPERATOR),
        ("relayed", "2.0.0", ReceiptState.SENT, Remedy.OPERATOR),
    ],
)
def test_a_bounce_says_of_which_mail_and_why(
    kind: str, action: str, status: str, state: ReceiptState, remedy: Remedy
) -> None:
    message = uuid4()
    content = bounce(message, action=action, status=status, kind=kind)
    found = receipts.read_bounce(content, domain="kordant.example")
    assert found is not None
    assert (found.message_id, found.state, found.remedy, found.code) == (message, state, remedy, f"bounce {status}")


def test_a_mail_that_is_only_late_says_nothing_yet() -> None:
    assert receipts.read_bounce(bounce(uuid4(), action="delayed", status="4.4.1"), domain="kordant.example") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"Subject: I am on holiday\r\n\r\nbye", bounce("7"), bounce(uuid4(), domain="evil.example"), b"\xff" * 99],
)
def test_what_is_no_bounce_of_ours_is_none(content: bytes) -> None:
    with pytest.raises(receipts.NoReceipt):
        receipts.read_bounce(content, domain="kordant.example")


class World:
    """A sent notification over one channel, and the application."""

    def __init__(self, db: Engine, keyring: Keyring, channel: Channel = Channel.EMAIL, **row: Any) -> None:
        self.db, self.keyring = db, keyring
        self.person: Person = subscribe(db, keyring, "jane.roe@watched.example", locale="pt-BR")
        (item_id,) = self.person.items.values()
        self.id = add_alert(db, self.person.subscription_id, item_id, add_breach(db))
        self.address_id = None
        with db.begin() as connection:
            if channel is not Channel.EMAIL:
                self.address_id = notification_choices.add_address(
                    connection, keyring, self.person.subscriber_id, channel, "+12025550143"
                )
            values = {"status": "sent", "attempts": 1, "channel": channel, "address_id": self.address_id, **row}
            connection.execute(sa.update(notification_outbox).values(**values))
        context = PagesContext(
            db=db,
            keyring=keyring,
            public_url=PUBLIC,
            mail_domain="kordant.example",
            twilio_token="t0ken",
            webhook_secret="s3cret",
        )
        self.client = Client(application(context))

    @property
    def row(self) -> Any:
        with self.db.connect() as connection:
            return connection.execute(sa.select(notification_outbox)).one()

    def twilio(self, status: str, code: str | None = None, **more: Any) -> httpx.Response:
        form = {"MessageSid": "SM1", "MessageStatus": status, "To": "+1", **({"ErrorCode": code} if code else {})}
        path = f"/callbacks/twilio/{self.id}"
        headers = {"X-Twilio-Signature": signature_of("t0ken", PUBLIC + path, form), **more}
        return self.client.post(path, data=form, headers=headers)

    def signed(self, path: str, body: bytes, *, secret: str = "s3cret", at: float | None = None) -> httpx.Response:
        moment = str(int(time.time() if at is None else at))
        signature = receipts.webhook_signature(secret, moment, body)
        headers = {"X-Kordant-Timestamp": moment, "X-Kordant-Signature": signature}
        return self.client.post(path, content=body, headers=headers)


def test_receipts_in_any_order_end_at_the_same_place(db: Engine, keyring: Keyring) -> None:
    world = World(db, keyring, Channel.SMS)
    for order in permutations(["queued", "sent", "delivered"]):
        with db.begin() as connection:
            connection.execute(sa.update(notification_outbox).values(receipt=None))
        for status in order:
            assert world.twilio(status).status_code == 204
        assert (world.row.receipt, world.row.status) == ("delivered", "sent")


@pytest.mark.parametrize(
    ("code", "attempts", "status", "suppressed"),
    [
        ("30005", 1, "suppressed", True),
        ("30006", 1, "suppressed", True),
        ("30003", 1, "deferred", False),
        ("30008", 2, "failed", False),
        ("30007", 1, "failed", False),
        ("39999", 1, "failed", False),
    ],
)
def test_a_text_that_did_not_arrive_moves_on_by_its_code(
    db: Engine, keyring: Keyring, code: str, attempts: int, status: str, *, suppressed: bool
) -> None:
    world = World(db, keyring, Channel.SMS, attempts=attempts)
    world.twilio("undelivered", code)
    assert (world.row.status, world.row.reason) == (status, f"it did not arrive (twilio {code})")
    with db.connect() as connection:
        assert bool(connection.execute(sa.select(suppressions)).all()) == suppressed
        assert (connection.execute(sa.select(contact_addresses.c.removed_at)).scalar() is not None) == suppressed
    world.twilio("delivered")
    assert world.row.status == status, "nothing leads back"


def test_what_arrived_is_not_sent_again_though_its_sender_was_cut_off(db: Engine, keyring: Keyring) -> None:
    with db.begin() as connection:
        past = datetime.now(UTC) - timedelta(minutes=1)
        lease = leases.insert(connection, ["sender"], holder="x", now=past, ttl_s=30)[0]
    world = World(db, keyring, Channel.SMS, status="sending", lease_id=lease.id)
    world.twilio("delivered")
    assert world.row.status == "sent"


def test_a_callback_that_comes_before_our_own_mark_is_kept(db: Engine, keyring: Keyring) -> None:
    with db.begin() as connection:
        lease = leases.insert(connection, ["sender"], holder="x", now=datetime.now(UTC), ttl_s=60)[0]
    world = World(db, keyring, Channel.SMS, status="sending", lease_id=lease.id)
    world.twilio("sent")
    assert (world.row.status, world.row.receipt, world.row.provider_id) == ("sending", "sent", "SM1")


@pytest.mark.parametrize("signature", ["", "AAAA", "é"])
def test_a_callback_without_twilios_signature_changes_nothing(db: Engine, keyring: Keyring, signature: str) -> None:
    world = World(db, keyring, Channel.SMS)
    assert world.twilio("failed", "30005", **{"X-Twilio-Signature": signature.encode()}).status_code == 403
    assert (world.row.status, world.row.receipt) == ("sent", None)


@pytest.mark.parametrize("door", ["/callbacks/twilio/00000000-0000-0000-0000-000000000001", "/callbacks/delivery"])
def test_of_a_body_without_end_no_more_is_read_than_a_callback_has(db: Engine, keyring: Keyring, door: str) -> None:
    world = World(db, keyring)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 1 << 30:
            read += 1 << 16
            yield b"a" * (1 << 16)

    assert world.client.post(door, content=endless()).status_code == 413
    assert read <= 2 * BODY_MAX


def test_a_bounced_mail_suppresses_its_address_for_everybody(db: Engine, keyring: Keyring) -> None:
    world = World(db, keyring)
    assert world.signed("/callbacks/bounce", bounce(world.id)).status_code == 204
    assert (world.row.status, world.row.reason) == ("suppressed", "it did not arrive (bounce 5.1.1: the address)")
    key = notification_choices.address_key(keyring, Channel.EMAIL, "Ann@mail.example ")
    with db.connect() as connection:
        assert notification_choices.suppressed(connection, [key]) == {key: "bounce 5.1.1"}


def suppressed_of(world: World) -> int:
    with world.db.connect() as connection:
        return len(connection.execute(sa.select(suppressions)).all())


def hook(world: World, status: str) -> None:
    body = json.dumps({"message_id": str(world.id), "status": status}).encode()
    assert world.signed("/callbacks/delivery", body).status_code == 204


def test_a_bounce_or_complaint_counts_after_good_news(db: Engine, keyring: Keyring) -> None:
    for good in ("delivered", "read"):
        for bad, status in (("bounced", "suppressed"), ("complained", "sent")):
            with db.begin() as connection:
                connection.execute(sa.text("TRUNCATE kordant.subscribers, kordant.breaches CASCADE"))
                connection.execute(sa.delete(suppressions))
            world = World(db, keyring)
            hook(world, good)
            hook(world, bad)
            assert (world.row.status, suppressed_of(world)) == (status, 1), (good, bad)
            hook(world, good)
            assert world.row.status == status, "nothing leads back"


def test_a_relay_that_delivered_and_a_server_that_refused_is_a_bounce(db: Engine, keyring: Keyring) -> None:
    world = World(db, keyring)
    world.signed("/callbacks/bounce", bounce(world.id, action="delivered", status="2.1.5"))
    world.signed("/callbacks/bounce", bounce(world.id, status="5.1.1"))
    assert (world.row.status, suppressed_of(world)) == ("suppressed", 1)


def test_a_hard_bounce_counts_after_a_soft_one_and_not_the_other_way(db: Engine, keyring: Keyring) -> None:
    world = World(db, keyring)
    world.signed("/callbacks/bounce", bounce(world.id, status="4.4.7"))
    assert (world.row.status, suppressed_of(world)) == ("failed", 0)
    world.signed("/callbacks/bounce", bounce(world.id, status="5.1.1"))
    assert (world.row.status, suppressed_of(world)) == ("suppressed", 1)
    world.signed("/callbacks/bounce", bounce(world.id, status="4.4.7"))
    assert world.row.status == "suppressed"


def test_a_bounce_for_a_reason_that_passes_is_sent_again_and_a_hard_one_ends_that(db: Engine, keyring: Keyring) -> None:
    world = World(db, keyring)
    world.signed("/callbacks/bounce", bounce(world.id, status="5.2.2"))
    assert (world.row.status, suppressed_of(world)) == ("deferred", 0)
    world.signed("/callbacks/bounce", bounce(world.id, status="5.1.1"))
    assert (world.row.status, suppressed_of(world)) == ("suppressed", 1)


@pytest.mark.parametrize(
    ("code", "suppressed"), [("21610", True), ("21211", True), ("21614", True), ("21408", False), ("21606", False)]
)
def test_a_code_that_comes_in_the_callback_counts_as_in_an_answer(
    db: Engine, keyring: Keyring, code: str, *, suppressed: bool
) -> None:
    world = World(db, keyring, Channel.SMS)
    world.twilio("failed", code)
    assert bool(suppressed_of(world)) == suppressed
    assert world.row.status == ("suppressed" if suppressed else "failed")


def test_a_bounce_of_a_digest_tells_of_all_that_it_carried(db: Engine, keyring: Keyring) -> None:
    mail_id = uuid4()
    world = World(db, keyring, mail_id=mail_id)
    world.signed("/callbacks/bounce", bounce(mail_id, status="5.7.1"))
    assert (world.row.status, world.row.receipt) == ("failed", "failed")


@pytest.mark.parametrize(
    "post",
    [
        lambda world, body: world.client.post("/callbacks/delivery", content=body),
        lambda world, body: world.signed("/callbacks/delivery", body, secret="other"),
        lambda world, body: world.signed("/callbacks/delivery", body, at=time.time() - 3600),
    ],
)
def test_a_webhook_that_is_not_signed_or_old_changes_nothing(
    db: Engine, keyring: Keyring, post: Callable[[World, bytes], httpx.Response]
) -> None:
    world = World(db, keyring)
    body = json.dumps({"message_id": str(world.id), "status": "bounced"}).encode()
    assert post(world, body).status_code == 403
    assert world.row.status == "sent"
    assert world.signed("/callbacks/delivery", body).status_code == 204
    assert world.row.status == "suppressed"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message_id": "x", "status": "bounced"}', b"\xff"])
def test_a_webhook_that_says_nothing_is_said_so(db: Engine, keyring: Keyring, body: bytes) -> None:
    assert World(db, keyring).signed("/callbacks/delivery", body).status_code == 422


def test_one_click_ends_a_category_and_looking_does_not(db: Engine, keyring: Keyring) -> None:
    world = World(db, keyring)
    choice = Choice(subscriber_id=world.person.subscriber_id, category=Category.BREACH, channel=Channel.EMAIL)
    path = f"/unsubscribe/{token_of(keyring, choice)}"
    asked = world.client.get(path)
    assert asked.status_code == 200
    assert "Não receber mais" in asked.text
    with db.connect() as connection:
        assert notification_choices.choices(connection, world.person.subscriber_id) == {}
    done = world.client.post(path, data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    with db.connect() as connection:
        found = notification_choices.choices(connection, world.person.subscriber_id)
    assert found == {(Category.BREACH, Channel.EMAIL): Mode.OFF}
    assert "Kordant" in done.text
    assert "dados roubados" in done.text, "it says what ends"
    again = world.client.post(path, data={"undo": "yes"})
    assert "volta a receber" in again.text
    with db.connect() as connection:
        found = notification_choices.choices(connection, world.person.subscriber_id)
    assert found == {(Category.BREACH, Channel.EMAIL): Mode.AT_ONCE}


def test_a_link_that_was_changed_or_is_anothers_is_none(db: Engine, keyring: Keyring) -> None:
    world = World(db, keyring)
    choice = Choice(subscriber_id=uuid4(), category=Category.BREACH, channel=Channel.EMAIL)
    token = token_of(keyring, choice)
    assert read_token(keyring, token) == choice
    for bad in (token[:-2] + "xx", token[1:], "", "ü", token_of(Keyring(b"k" * 32, index_root=b"k" * 32), choice)):
        with pytest.raises(BadLink):
            read_token(keyring, bad)
    assert world.client.post(f"/unsubscribe/{token[:-2]}xx").status_code == 404
    assert world.client.post(f"/unsubscribe/{token}").status_code == 200, "of nobody: nothing to write, nothing to tell"


def test_an_endpoint_without_its_secret_is_closed(db: Engine, keyring: Keyring) -> None:
    context = PagesContext(db=db, keyring=keyring, public_url=PUBLIC, mail_domain="kordant.example")
    client = Client(application(context))
    for path in (f"/callbacks/twilio/{uuid4()}", "/callbacks/delivery", "/callbacks/bounce"):
        assert client.post(path).status_code == 404
