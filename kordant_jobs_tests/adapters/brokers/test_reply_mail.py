from __future__ import annotations

from random import Random

import pytest

from kordant_jobs.adapters.brokers.reply_mail import Returned, read_mail
from kordant_jobs.jobs.removebrokers_process.rules_replies import read_reply

MAIL = b"""From: =?utf-8?q?Priv=C3=A9?= <privacy@spoken.com>\r
To: removals+abcdef@kordant.example\r
Subject: =?utf-8?q?Re=3A_[REQ-12345]?=\r
Message-ID: <a@b>\r
Content-Type: multipart/mixed; boundary=x\r
\r
--x\r
Content-Type: text/plain; charset=utf-8\r
\r
We have deleted your data.\r
--x--\r
"""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 50,
        b"From: =?\xc3\xb0?q?a?= <a@b.com>\r\n\r\nhi",
        b"Subject: =?utf-\xff?q?a?=\r\n\r\nhi",
        b"Content-Type: text/plain; charset=idna\r\n\r\n\xff",
        b"Content-Type: text/plain; charset=unicode_escape\r\n\r\n\\ud800 hi",
        b"Content-Type: text/plain; charset=zlib\r\n\r\nabc",
    ],
)
def test_no_mail_is_too_broken_to_be_read(content: bytes) -> None:
    mail = read_mail(content)
    for text in (mail.text, mail.subject, mail.message_id, mail.sender_domain):
        assert "\0" not in mail.sender_domain
        text.encode()


def test_damaged_mails_are_read_too() -> None:
    chance = Random(7)
    for _ in range(600):
        damaged = bytearray(MAIL)
        for _ in range(chance.randint(1, 12)):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 5))
        mail = read_mail(bytes(damaged))
        read_reply(mail.subject, mail.text).sentence.encode()


DONE = "We have deleted all your personal data."


def mail(body: str, kind: str = "text/plain; charset=utf-8", *, sender: str = "privacy@spoken.com") -> bytes:
    return f"From: {sender}\r\nMessage-ID: <1@s>\r\nContent-Type: {kind}\r\n\r\n{body}".encode()


def parts(*inner: str) -> str:
    return "".join(f"--B\r\n{one}\r\n" for one in inner) + "--B--\r\n"


@pytest.mark.parametrize(
    "html",
    [
        f"<p>Hello.</p><!-- <p>{DONE}</p> -->",
        f"<p>Hello.</p><div style='display: NONE'>{DONE}</div>",
        f"<p>Hello.</p><div style='font-size:0;color:#fff'>{DONE}</div>",
        f"<style>.a, .pre {{ display:none }}</style><p>Hello.</p><i class=pre>{DONE}</i>",
        f"<p>Hello.</p><p hidden>{DONE}</p>",
        f"<p>Hello.</p><template>{DONE}</template>",
        f"<p>Hello.</p><blockquote>a<blockquote>b</blockquote>{DONE}</blockquote>",
        f"<p>Hello.</p><div class='x gmail_quote'><div>{DONE}</div></div>",
    ],
)
def test_what_a_reader_of_html_does_not_see_or_quotes_is_no_text(html: str) -> None:
    assert read_mail(mail(html, "text/html; charset=utf-8")).texts == ("Hello.",)


@pytest.mark.parametrize(
    "inner",
    [
        f"Content-Type: message/rfc822\r\n\r\nFrom: a@b.c\r\nContent-Type: text/plain\r\n\r\n{DONE}",
        f"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\n{DONE}",
        f"Content-Type: text/plain; name=faq.txt\r\nContent-Disposition: inline\r\n\r\n{DONE}",
    ],
)
def test_what_is_enclosed_is_no_text_of_the_mail(inner: str) -> None:
    found = read_mail(mail(parts("Content-Type: text/plain\r\n\r\nHello.", inner), "multipart/mixed; boundary=B"))
    assert found.texts == ("Hello.",)


def test_every_part_that_is_seen_is_read_once() -> None:
    alternatives = parts(
        f"Content-Type: text/plain\r\n\r\n{DONE}",
        f"Content-Type: text/html\r\n\r\n<p>{DONE}</p>",
        "Content-Type: text/html\r\n\r\n<p>But first send your passport.</p>",
    )
    found = read_mail(mail(alternatives, "multipart/alternative; boundary=B"))
    assert [one.strip() for one in found.texts] == [DONE, "But first send your passport."]
    assert read_mail(mail("x" * 300_000)).is_cut
    assert not found.is_cut


def report(action: str, status: str, said: str) -> bytes:
    inner = parts(
        "Content-Type: text/plain\r\n\r\nSorry.",
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx [5.1.22.9]\r\n\r\n"
        f"Final-Recipient: rfc822; privacy@spoken.com\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {said}",
    )
    kind = "multipart/report; report-type=delivery-status; boundary=B"
    return mail(inner, kind, sender="mailer-daemon@mx.spoken.com")


@pytest.mark.parametrize(
    ("content", "returned"),
    [
        (report("failed", "5.1.1", "550 5.1.1 no such user"), Returned.DEAD),
        (report("failed", "5.7.1", "550 5.7.1 Client host blocked using Spamhaus"), Returned.LOST),
        (report("failed", "5.2.2", "552 5.2.2 mailbox full"), Returned.LOST),
        (report("delayed", "4.4.1", "no answer from host"), Returned.PASSING),
        (report("relayed", "2.0.0", "250 ok"), Returned.PASSING),
        (mail("550 5.1.1 user unknown", sender="MAILER-DAEMON@mx"), Returned.DEAD),
        (mail("We have deleted it.\r\n550 Main Street, Fresno", sender="postmaster@spoken.com"), None),
        (mail("550 5.1.1 user unknown"), None),
    ],
)
def test_only_a_bounce_that_says_so_makes_an_address_dead(content: bytes, returned: Returned | None) -> None:
    assert read_mail(content).returned is returned


def test_a_mail_without_a_character_set_is_read_as_it_was_meant() -> None:
    content = b"From: p@spoken.com\r\nContent-Type: text/plain\r\n\r\nSeus dados n\xe3o foram exclu\xeddos."
    assert read_mail(content).text == "Seus dados não foram excluídos."
