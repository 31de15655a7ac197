"""What a mail says: the right words, and never an identifier in full."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kordant_jobs.adapters.mail.dkim import DkimSigner
from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.domain.notifications.pending import AlertRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.alert_message import write_alert_message
from kordant_jobs.jobs.notifications_send.bundle import Bundle, Opened
from kordant_jobs.jobs.notifications_send.channel_senders import compose_push, compose_text
from kordant_jobs.jobs.notifications_send.mail import MailFrom, NoSuchAddress
from kordant_jobs.jobs.notifications_send.mail import compose as compose_parcel
from kordant_jobs.jobs.notifications_send.unsubscribe import Unsubscribe
from kordant_jobs.ports import OutgoingMail
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.wording import wording

NOW = datetime(2026, 6, 12, 15, 30, tzinfo=UTC)
OPENED = Opened(name="Jane Roe", address="jane@home.example", identifier="jane.roe@watched.example")
SENDER = MailFrom(header="Kordant <alerts@kordant.example>")
ROW = AlertRow(
    id=UUID(int=7),
    alert_id=UUID(int=8),
    category="breach",
    channel="email",
    address_id=None,
    held_for=None,
    queued_at=NOW,
    mode=None,
    quiet_from=None,
    quiet_until=None,
    digest_at=None,
    digest_weekday=None,
    address_encrypted=None,
    address_removed_at=None,
    subscription_id=UUID(int=9),
    subscriber_id=UUID(int=1),
    subscription_status="active",
    locale="en",
    time_zone="America/Sao_Paulo",
    forgotten_at=None,
    name_encrypted=b"",
    contact_encrypted=b"",
    item_id=UUID(int=2),
    item_kind="email",
    identifier_encrypted=b"",
    item_removed_at=None,
    dismissed_at=None,
    secret="clear",
    severity="critical",
    why=[
        {"code": "identifier_in_dump", "kind": "email", "verified": True, "line": 3, "occurrences": 1200},
        {"code": "secret_in_dump", "secret": "clear"},
        {"code": "breach_known", "breach_name": "Adobe"},
    ],
    alerted_at=NOW,
    breach_name="Adobe",
    breach_source="hibp",
    breach_title="Adobe",
    breach_domain="adobe.com",
    breached_on=date(2013, 10, 4),
    data_classes=["Email addresses", "Passwords"],
    is_sensitive=False,
)


def compose(row: AlertRow, opened: Opened, *, sender: MailFrom, now: datetime) -> OutgoingMail:
    return compose_parcel(Bundle(id=row.id, rows=(row,), opened=(opened,)), sender=sender, now=now)


def parsed(row: AlertRow = ROW, opened: Opened = OPENED) -> EmailMessage:
    mail = compose(row, opened, sender=SENDER, now=NOW)
    return message_from_bytes(mail.content, policy=policy.default)


def texts(message: EmailMessage) -> tuple[str, str]:
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    return plain.get_content(), html.get_content()


def test_the_mail_says_what_happened_why_it_is_you_and_what_to_do() -> None:
    for text in texts(parsed()):
        for part in ("Hello Jane Roe,", "j•••@watched.example", "October 4, 2013", "email addresses and passwords"):
            assert part in text
        assert "It occurs there 1,200 times." in text
        assert "Change the password of this account" in text
        assert "June 12, 2026, 12:30 UTC-3" in text, "in the subscriber's own time zone"


def test_how_often_is_not_said_of_a_dump_that_is_still_being_read() -> None:
    provisional = [{**ROW.why[0], "occurrences": None}, *ROW.why[1:]]
    for text in texts(parsed(replace(ROW, why=provisional))):
        assert "stands in the stolen data" in text
        assert "It occurs there" not in text


def test_portuguese_is_portuguese_throughout() -> None:
    message = parsed(replace(ROW, locale="pt-BR"))
    assert message["Subject"] == "Alerta de segurança: seus dados apareceram no vazamento “Adobe”"
    assert message["Content-Language"] == "pt-BR"
    for text in texts(message):
        for part in ("Olá, Jane Roe,", "4 de outubro de 2013", "endereços de e-mail e senhas", "1.200 vezes"):
            assert part in text
        assert "Troque a senha" in text


@pytest.mark.parametrize("locale", list(Locale))
def test_the_identifier_is_never_there_in_full(locale: Locale) -> None:
    content = compose(replace(ROW, locale=locale), OPENED, sender=SENDER, now=NOW).content
    message = parsed(replace(ROW, locale=locale))
    for text in (content.decode(), *texts(message), str(message["Subject"])):
        assert "jane.roe" not in text
        assert hashlib.sha1(OPENED.identifier.encode()).hexdigest() not in text.lower()


def test_a_subject_does_not_name_a_sensitive_breach() -> None:
    assert "Adobe" not in str(parsed(replace(ROW, is_sensitive=True))["Subject"])


def test_a_breach_without_a_name_is_not_called_by_its_hash() -> None:
    row = replace(ROW, breach_source="dump", breach_name="dump-0123456789ab", breach_title="Unattributed dump")
    message = parsed(row)
    assert str(message["Subject"]).endswith("in a collection of stolen data")
    assert not any("dump-01" in text or "Have I Been Pwned" in text for text in texts(message))


def test_markup_and_line_breaks_in_what_others_wrote_do_no_harm() -> None:
    row = replace(ROW, breach_title="<b>Evil</b>\r\nBcc: all@evil.example " + "x" * 300)
    message = parsed(row, replace(OPENED, name="<script>x</script>\nBob"))
    assert message["Bcc"] is None
    assert "\n" not in str(message["Subject"])
    _, html = texts(message)
    assert "<script>" not in html
    assert "<b>Evil" not in html


def test_nothing_in_the_html_is_fetched_or_followed() -> None:
    _, html = texts(parsed())
    for tag in ("<img", "<a ", "http", "url(", "<script", "<iframe"):
        assert tag not in html


def test_every_line_is_short_enough_for_smtp() -> None:
    row = replace(ROW, data_classes=[f"Class {n}" for n in range(200)])
    content = compose(row, OPENED, sender=SENDER, now=NOW).content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\r\n" in content


@pytest.mark.parametrize("address", ["", "x", "a b@c.example", "a@b\r\nTo: c@d.example"])
def test_what_is_no_address_is_said_without_repeating_it(address: str) -> None:
    with pytest.raises(NoSuchAddress) as caught:
        compose(ROW, replace(OPENED, address=address), sender=SENDER, now=NOW)
    assert str(caught.value) == ""


def test_an_address_outside_ascii_is_kept_and_its_domain_made_ascii() -> None:
    assert compose(ROW, replace(OPENED, address="zoë@bücher.example"), sender=SENDER, now=NOW).recipient == (
        "zoë@xn--bcher-kva.example"
    )


@pytest.mark.parametrize("locale", list(Locale))
def test_each_action_is_listed_once_and_the_most_urgent_first(locale: Locale) -> None:
    words = wording(locale)
    actions = words.actions(["Passwords", "Credit cards", "Email addresses"], SecretKind.CLEAR)
    assert len(actions) == len(set(actions)) == 4
    assert actions[0] == words.actions([], SecretKind.HASHED)[0]


def test_a_mail_shows_no_fact_twice() -> None:
    values = [value for _, value in write_alert_message(replace(ROW, breach_domain="Adobe"), OPENED).facts]
    assert len(values) == len(set(values))


def test_a_signature_covers_what_ends_the_mails() -> None:
    key = rsa.generate_private_key(65537, 2048)
    sender = MailFrom(
        header=SENDER.header,
        unsubscribe=Unsubscribe(
            keyring=Keyring(bytes(32), index_root=bytes(32)), public_url="https://k.example", mail_to="out@k.example"
        ),
        sign=DkimSigner("kordant.example", "k1", key),
    )
    content = compose(ROW, OPENED, sender=sender, now=NOW).content
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    assert dkim.verify(content, dnsfunc=lambda *_, **__: record)
    named = str(message_from_bytes(content, policy=policy.default)["DKIM-Signature"]).lower()
    assert ":list-unsubscribe:" in named
    assert ":list-unsubscribe-post:" in named
    assert not dkim.verify(content.replace(b"One-Click", b"Two-Click"), dnsfunc=lambda *_, **__: record)


def digest(count: int, locale: Locale = Locale.EN, sender: MailFrom = SENDER) -> EmailMessage:
    rows = tuple(
        replace(ROW, id=UUID(int=100 + n), locale=locale, breach_name=f"B{n}", breach_title=f"<i>Breach {n}</i>")
        for n in range(count)
    )
    bundle = Bundle(id=UUID(int=3), rows=rows, opened=(OPENED,) * count)
    return message_from_bytes(compose_parcel(bundle, sender=sender, now=NOW).content, policy=policy.default)


@pytest.mark.parametrize("locale", list(Locale))
def test_a_digest_of_five_hundred_tells_the_first_and_counts_the_others(locale: Locale) -> None:
    for text in texts(digest(500, locale)):
        assert "475" in text
        assert text.count("•••") == 25
        assert len(text) < 60_000, "mail programs cut off what is longer than 100 kB"


def test_a_digest_fetches_nothing_and_holds_one_link_that_ends_it() -> None:
    links = Unsubscribe(keyring=Keyring(bytes(32), index_root=bytes(32)), public_url="https://k.example")
    _, html = texts(digest(3, sender=MailFrom(header=SENDER.header, unsubscribe=links)))
    assert html.count("http") == html.count("<a ") == 1
    for tag in ("<img", "url(", "<script", "<iframe", "<i>"):
        assert tag not in html


@pytest.mark.parametrize("locale", list(Locale))
def test_what_is_shown_on_a_locked_screen_names_no_identifier(locale: Locale) -> None:
    bundle = Bundle(id=ROW.id, rows=(replace(ROW, locale=locale, is_sensitive=True),), opened=(OPENED,))
    push, text = compose_push(bundle), compose_text(bundle)
    for shown in (push.body, push.title, text.text, *push.data.values()):
        assert "watched" not in shown
        assert "Adobe" not in shown
        assert "Jane" not in shown
    assert len(text.text) <= 240
