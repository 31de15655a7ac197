from __future__ import annotations

from random import Random

import pytest

from kordant_jobs.adapters.brokers.reply_mail import read_mail
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
