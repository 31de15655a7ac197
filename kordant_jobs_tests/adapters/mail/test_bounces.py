"""Bounces of every kind read: causes told apart, no form refused for its dress, and no mail that breaks the reader."""

from __future__ import annotations

import os
import random
import time
from uuid import UUID, uuid4

import pytest

from kordant_jobs.adapters.mail.bounces import NoReceipt, read_bounce
from kordant_jobs.domain.notifications.receipts import Cause, Receipt, ReceiptState, Remedy
from kordant_jobs_tests.jobs.notifications_send.test_receipts import bounce

MESSAGE = UUID("0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e")
SUPPRESS, RETRY, OPERATOR = Remedy.SUPPRESS, Remedy.RETRY, Remedy.OPERATOR


def dsn(
    fields: str, *, status_kind: str = "message/delivery-status", mail_kind: str = "text/rfc822-headers",
    encoding: str = "7bit",
) -> bytes:  # fmt: skip
    text = f"""\
From: MAILER-DAEMON@mx.example
To: alerts@kordant.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Sorry.
--b
Content-Type: {status_kind}
Content-Transfer-Encoding: {encoding}

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ann@mail.example
{fields}

--b
Content-Type: {mail_kind}

From: alerts@kordant.example
To: ann@mail.example
Message-ID: <{MESSAGE}@kordant.example>
Subject: x

--b--
"""
    return text.encode()


def read(content: bytes) -> Receipt:
    found = read_bounce(content, domain="kordant.example")
    assert found is not None
    assert (found.message_id, found.state) == (MESSAGE, ReceiptState.FAILED)
    return found


@pytest.mark.parametrize(
    ("fields", "remedy", "cause"),
    [
        ("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown", SUPPRESS, Cause.RECIPIENT),
        ("Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 no such user here", SUPPRESS, Cause.RECIPIENT),
        ("Action: FAILED\nStatus: 5.1.1 (bad)\nDiagnostic-Code: X-Unix; 67", SUPPRESS, Cause.RECIPIENT),
        ("Status: 5.1.1", SUPPRESS, Cause.RECIPIENT),
        (
            "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: SMTP; 550 5.7.1 refused; on a block list",
            OPERATOR,
            Cause.REPUTATION,
        ),
        ("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 554 rejected as spam", OPERATOR, Cause.REPUTATION),
        ("Action: failed\nStatus: 5.1.2\nDiagnostic-Code: smtp; 550 5.7.26 DMARC", OPERATOR, Cause.REPUTATION),
        (
            "Action: failed\nStatus: 5.2.1\nDiagnostic-Code: smtp; 550-5.2.1 The person gets mail at a rate that\n"
            " 550 5.2.1 prevents further mail from being delivered",
            RETRY,
            Cause.RATE,
        ),
        ("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 mailbox is full", RETRY, Cause.RATE),
        ("Action: failed\nStatus: 5.2.1\nDiagnostic-Code: smtp; 450 4.2.1 disabled now", RETRY, Cause.RATE),
        ("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 450 user unknown", OPERATOR, Cause.UNKNOWN),
        ("Action: expired\nStatus: \nDiagnostic-Code: Connection timed out", OPERATOR, Cause.UNKNOWN),
        ("Action: expired\nStatus: 5.1.1", OPERATOR, Cause.UNKNOWN),
        ("Action: failed\nStatus: 4.4.7", OPERATOR, Cause.UNKNOWN),
        ("Action: bounced\nStatus: 5.3.0", OPERATOR, Cause.UNKNOWN),
    ],
)
def test_a_bounce_suppresses_only_when_nothing_in_it_speaks_of_another_cause(
    fields: str, remedy: Remedy, cause: Cause
) -> None:
    found = read(dsn(fields))
    assert (found.remedy, found.cause) == (remedy, cause)


@pytest.mark.parametrize("status_kind", ["message/delivery-status", "message/global-delivery-status"])
@pytest.mark.parametrize(
    "mail_kind", ["text/rfc822-headers", "message/rfc822", "message/global-headers", "message/global", "text/plain"]
)
@pytest.mark.parametrize("encoding", ["7bit", "8bit"])
def test_a_report_is_read_in_all_dresses_that_servers_give_it(status_kind: str, mail_kind: str, encoding: str) -> None:
    fields = "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown"
    found = read(dsn(fields, status_kind=status_kind, mail_kind=mail_kind, encoding=encoding))
    assert (found.remedy, found.code) == (SUPPRESS, "bounce 5.1.1")


def test_with_several_recipients_bad_news_counts() -> None:
    fields = "Action: delivered\nStatus: 2.0.0\n\nFinal-Recipient: rfc822; b@x.example\nAction: failed\nStatus: 5.7.1"
    assert read(dsn(fields)).code == "bounce 5.7.1"


QMAIL = """\
From: MAILER-DAEMON@mx.example
To: alerts@kordant.example
Subject: failure notice

Hi. This is the qmail-send program at mx.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ann@mail.example>:
192.0.2.1 does not like recipient.
Remote host said: 550 {words}
Giving up on 192.0.2.1.

--- Below this line is a copy of the message.

Return-Path: <alerts@kordant.example>
Message-ID: <{message}@{domain}>
Subject: x

Hello.
"""


@pytest.mark.parametrize(
    ("words", "remedy"),
    [("5.1.1 user unknown", SUPPRESS), ("blocked by our spam filter", OPERATOR), ("no", OPERATOR)],
)
def test_a_bounce_in_no_standard_form_is_read_when_it_quotes_our_mail(words: str, remedy: Remedy) -> None:
    found = read(QMAIL.format(words=words, message=MESSAGE, domain="kordant.example").encode())
    assert found.remedy is remedy


@pytest.mark.parametrize(
    "content",
    [
        QMAIL.format(words="no", message=MESSAGE, domain="evil.example").encode(),
        QMAIL.format(words="no", message="7", domain="kordant.example").encode(),
        f"Subject: Re: alert\n\nThanks!\n\nMessage-ID: <{MESSAGE}@kordant.example>\n".encode(),
        f"Message-ID: <{MESSAGE}@kordant.example>\nSubject: x\n\nour own mail".encode(),
    ],
)
def test_a_mail_that_names_none_of_ours_or_is_no_bounce_is_none(content: bytes) -> None:
    with pytest.raises(NoReceipt):
        read_bounce(content, domain="kordant.example")


def nested(depth: int) -> bytes:
    heads = [f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(depth)]
    return "".join(heads).encode() + b"Content-Type: text/plain\n\nx"


@pytest.mark.parametrize("depth", [30, 1000, 20_000])
def test_a_mail_nested_without_end_is_no_bounce_and_takes_no_time(depth: int) -> None:
    started = time.process_time()
    with pytest.raises(NoReceipt):
        read_bounce(nested(depth), domain="kordant.example")
    assert time.process_time() - started < 1


SEEDS = (
    dsn("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown"),
    dsn("Action: failed\nStatus: 5.1.1", mail_kind="message/rfc822"),
    dsn("Action: expired\nStatus:", status_kind="message/global-delivery-status", mail_kind="message/global"),
    QMAIL.format(words="5.1.1 user unknown", message=MESSAGE, domain="kordant.example").encode(),
    nested(30),
)
PIECES = (
    b"Content-Type: ", b"message/delivery-status", b"message/rfc822", b"multipart/mixed; boundary=", b"=?utf-8?b?",
    b"Content-Transfer-Encoding: base64\n", b"uuencode", b"\n\n", b"--b\n", b"\x00", b"\xff\xfe", b"[", b"<", b"@",
    b";", b"charset=nope", b"Message-ID: <[", b"Action: ", b"\r", b'"', b"(" * 50, b"=?x?q?" * 20, b"filename*0*=",
)  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    """One of the seeds, with up to eight pieces put in, cut out or moved."""
    content = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0:
                content[at:at] = chance.choice(PIECES)
            case 1:
                del content[at : at + chance.randint(1, 40)]
            case 2:
                other = chance.choice(SEEDS)
                start = chance.randrange(len(other))
                content[at:at] = other[start : start + chance.randint(1, 200)]
            case _:
                content[at : at + 1] = bytes([chance.randrange(256)])
    return bytes(content)


def test_no_mutated_mail_breaks_the_reader() -> None:
    """KORDANT_FUZZ_MAILS says how many (400), KORDANT_FUZZ_SEED from where (1)."""
    chance = random.Random(int(os.environ.get("KORDANT_FUZZ_SEED", "1")))
    told = {"receipt": 0, "late": 0, "none": 0}
    for _ in range(int(os.environ.get("KORDANT_FUZZ_MAILS", "400"))):
        content = mutated(chance)
        try:
            found = read_bounce(content, domain="kordant.example")
        except NoReceipt:
            told["none"] += 1
        else:
            told["receipt" if found else "late"] += 1
            assert found is None or "mail.example" not in found.code
    print(told)
    assert told["receipt"] > 50, "most mutations leave a bounce that can be read"


def test_a_status_field_of_any_length_is_read_in_time() -> None:
    """The standard library's folding of a long field in UTF-8 takes a square of its length: 40 kB took minutes."""
    message = uuid4()
    long = bounce(message).replace(b"Status: 5.1.1", b"Status: 5.1.1\r\nX-More: " + "é".encode() * 40_000)
    began = time.process_time()
    found = read_bounce(long, domain="kordant.example")
    assert found is not None
    assert found.message_id == message
    assert time.process_time() - began < 5
