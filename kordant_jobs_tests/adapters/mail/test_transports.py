"""Both transports against the same claims; the SMTP one against a real server on loopback."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from kordant_jobs.adapters.mail import MaildirTransport, SmtpTransport, parse_smtp_url
from kordant_jobs.adapters.mail.smtp import LOST_IN_A_ROW
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.lab.fakes.smtp import FakeSmtpServer
from kordant_jobs.ports import Delivery, DeliveryOutcome, MailTransport, OutgoingMail

DELIVERED = DeliveryOutcome.DELIVERED


def mail(recipient: str = "ann@mail.example", *, mail_id: UUID | None = None) -> OutgoingMail:
    mail_id = mail_id or uuid4()
    content = f"From: k@kordant.example\r\nTo: {recipient}\r\nMessage-ID: <{mail_id}@kordant.example>\r\n\r\nHello.\r\n"
    return OutgoingMail(id=mail_id, recipient=recipient, content=(content + "." * 3 + "\r\n").encode())


class Place(Protocol):
    transport: MailTransport

    def message_ids(self) -> list[str]: ...


@dataclass
class MaildirPlace:
    folder: Path
    transport: MailTransport

    def message_ids(self) -> list[str]:
        return sorted(str(one["Message-ID"]) for one in mailbox.Maildir(self.folder, create=False))


@dataclass
class SmtpPlace:
    server: FakeSmtpServer
    transport: MailTransport

    def message_ids(self) -> list[str]:
        lines = [line for one in self.server.received for line in one.content.decode().splitlines()]
        return sorted(line.removeprefix("Message-ID: ") for line in lines if line.startswith("Message-ID: "))


@pytest.fixture(params=["maildir", "smtp", "smtp without pipelining"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "maildir":
        yield MaildirPlace(tmp_path / "mails", MaildirTransport(tmp_path / "mails"))
        return
    with FakeSmtpServer(pipelining=request.param == "smtp") as server:
        yield SmtpPlace(server, SmtpTransport(parse_smtp_url(server.url), sender="Kordant <k@kordant.example>"))


def test_every_mail_is_delivered_once_in_order(place: Place) -> None:
    mails = [mail() for _ in range(5)]
    outcomes = list(place.transport.deliver(mails))
    assert [(one.mail_id, one.outcome) for one in outcomes] == [(one.id, DELIVERED) for one in mails]
    assert place.message_ids() == sorted(f"<{one.id}@kordant.example>" for one in mails)


def test_a_mail_whose_last_line_is_not_ended_is_delivered_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's `email` leaves it so where a library (Apprise) has set quoted-printable for the whole process."""
    monkeypatch.setattr("kordant_jobs.adapters.mail.smtp.TIMEOUT_S", 3)
    mails = [replace(one, content=one.content.removesuffix(b"\r\n")) for one in (mail(), mail())]
    assert [one.outcome for one in place.transport.deliver(mails)] == [DELIVERED, DELIVERED]
    assert place.message_ids() == sorted(f"<{one.id}@kordant.example>" for one in mails)


def test_what_was_not_asked_for_is_not_sent(place: Place) -> None:
    mails = [mail() for _ in range(5)]
    with closing(place.transport.deliver(mails)) as deliveries:
        for _ in range(2):
            next(deliveries)
    assert len(place.message_ids()) == 2


def test_no_mail_needs_nothing(place: Place) -> None:
    assert list(place.transport.deliver([])) == []


def test_the_content_arrives_whole_dots_included(tmp_path: Path) -> None:
    one = mail()
    with FakeSmtpServer() as server:
        list(SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example").deliver([one]))
        assert server.received[0].content == one.content
    list(MaildirTransport(tmp_path / "m").deliver([one]))
    (file,) = (tmp_path / "m" / "new").iterdir()
    assert file.read_bytes() == one.content.replace(b"\r\n", b"\n")


def test_a_maildir_takes_the_same_id_once_even_when_it_was_read_meanwhile(tmp_path: Path) -> None:
    folder, one = tmp_path / "mails", mail()
    transport = MaildirTransport(folder)
    assert [next(iter(transport.deliver([one]))).outcome for _ in range(2)] == [DELIVERED] * 2
    (new,) = (folder / "new").iterdir()
    new.rename(folder / "cur" / f"{new.name}:2,S")
    list(transport.deliver([one]))
    assert [len(list((folder / name).iterdir())) for name in ("tmp", "new", "cur")] == [0, 0, 1]


def test_a_foreign_file_in_the_maildir_disturbs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "mails"
    mailbox.Maildir(folder).add(b"Subject: other\n\nx")
    (folder / "new" / ("x" * 36)).write_text("")
    assert [one.outcome for one in MaildirTransport(folder).deliver([mail()])] == [DELIVERED]


def test_a_maildir_that_cannot_be_written_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mails").write_text("a file where the folder should be")
    with pytest.raises(SourceUnavailable, match="KORDANT_MAILDIR"):
        list(MaildirTransport(tmp_path / "mails").deliver([mail()]))


@pytest.mark.parametrize(
    ("rcpt", "data", "outcome", "code"),
    [
        ("550 5.1.1 ann@mail.example unknown", None, DeliveryOutcome.NO_SUCH_ADDRESS, "smtp 550 5.1.1"),
        ("450 4.2.1 ann@mail.example greylisted", None, DeliveryOutcome.DEFERRED, "smtp 450 4.2.1"),
        ("452 too many", None, DeliveryOutcome.DEFERRED, "smtp 452"),
        ("552 mailbox full", None, DeliveryOutcome.DEFERRED, "smtp 552"),
        ("550 no", None, DeliveryOutcome.REFUSED, "smtp 550"),
        (None, "554 5.7.1 ann@mail.example looks like spam", DeliveryOutcome.REFUSED, "smtp 554 5.7.1"),
        (None, "451 4.3.0 later", DeliveryOutcome.DEFERRED, "smtp 451 4.3.0"),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False])
def test_each_reply_has_its_outcome_and_stops_no_other_mail(
    rcpt: str | None, data: str | None, outcome: DeliveryOutcome, code: str, *, pipelining: bool
) -> None:
    with FakeSmtpServer(pipelining=pipelining) as server:
        server.answers.to_rcpt = lambda to, _: rcpt if to.startswith("ann") else None
        server.answers.to_data = lambda to, _: data if to.startswith("ann") else None
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        found = list(transport.deliver([mail("bob@mail.example"), mail(), mail("cid@mail.example")]))
        assert [one.outcome for one in found] == [DELIVERED, outcome, DELIVERED]
        assert found[1].code == code
        assert [one.recipient for one in server.received] == ["bob@mail.example", "cid@mail.example"]
        assert server.connections == 1


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("after", [1, 2])
def test_a_server_that_ends_connections_gets_each_mail_over_a_new_one(*, after: int, pipelining: bool) -> None:
    mails = [mail() for _ in range(5)]
    with FakeSmtpServer(hang_up_after=after, pipelining=pipelining) as server:
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        outcomes = {one.mail_id: one.outcome for one in transport.deliver(mails)}
        taken = len(server.received)
    assert taken == 5
    assert set(outcomes) == {one.id for one in mails}  # the reply to a last dot may be lost, its mail is then deferred


def test_421_at_the_envelope_is_answered_by_a_new_connection() -> None:
    with FakeSmtpServer() as server:
        server.answers.to_rcpt = lambda _, times: "421 4.7.0 too many mails here" if times == 0 else None
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        assert [one.outcome for one in transport.deliver([mail()])] == [DELIVERED]
        assert (len(server.received), server.connections) == (1, 2)


def test_a_server_that_is_not_there_is_one_line_without_its_url() -> None:
    with FakeSmtpServer() as server:
        gone = parse_smtp_url(server.url.replace("smtp://", "smtp://user:pa55@"))
    with pytest.raises(SourceUnavailable, match="KORDANT_SMTP_URL") as caught:
        list(SmtpTransport(gone, sender="k@kordant.example").deliver([mail()]))
    assert "pa55" not in str(caught.value) + repr(gone)


def test_the_next_mail_is_asked_for_before_the_last_ones_reply_is_waited_for() -> None:
    asked: list[int] = []

    def mails() -> Iterator[OutgoingMail]:
        for number in range(4):
            asked.append(number)
            yield mail()

    with FakeSmtpServer() as server:
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        with closing(transport.deliver(mails())) as deliveries:
            next(deliveries)
            assert asked == [0, 1, 2]
        assert len(server.received) == 1


@pytest.mark.parametrize(
    "recipient", ["ann@mail.example\r\nRCPT TO:<eve@evil.example>", "ann @mail.example", "ann> SIZE=1", "ann\x00@b.c"]
)
def test_a_recipient_that_would_be_a_command_is_refused(recipient: str) -> None:
    with FakeSmtpServer() as server:
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        found = [one.outcome for one in transport.deliver([mail(recipient), mail("bob@mail.example")])]
        assert found == [DeliveryOutcome.REFUSED, DELIVERED]
        assert [one.recipient for one in server.received] == ["bob@mail.example"]


def test_a_server_that_ends_every_connection_is_given_up() -> None:
    with FakeSmtpServer() as server:
        server.answers.to_rcpt = lambda _to, _times: "421 4.7.0 not now"
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        told: list[Delivery] = []

        def deliver() -> None:
            for one in transport.deliver([mail() for _ in range(9)]):
                told.append(one)

        with pytest.raises(SourceUnavailable, match="ends every connection"):
            deliver()
    assert [one.outcome for one in told] == [DeliveryOutcome.DEFERRED] * LOST_IN_A_ROW


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_recipient_who_is_answered_421_for_ever_blocks_no_other(*, pipelining: bool) -> None:
    recipients = ["bob@mail.example", "ann@mail.example", "cid@mail.example", "ann2@mail.example", "dan@mail.example"]
    with FakeSmtpServer(pipelining=pipelining) as server:
        server.answers.to_rcpt = lambda to, _: "421 4.3.2 not now" if to.startswith("ann") else None
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        found = list(transport.deliver([mail(one) for one in recipients]))
        assert [one.recipient for one in server.received] == recipients[::2]
    deferred, delivered = DeliveryOutcome.DEFERRED, DELIVERED
    assert [one.outcome for one in found] == [delivered, deferred, delivered, deferred, delivered]
    assert {one.code for one in found if one.outcome is deferred} == {"smtp 421"}


def test_a_server_that_wants_a_log_in_first_is_a_matter_of_settings() -> None:
    with FakeSmtpServer() as server:
        server.answers.to_rcpt = lambda _to, _times: "530 5.7.0 Authentication required"
        transport = SmtpTransport(parse_smtp_url(server.url), sender="k@kordant.example")
        with pytest.raises(SettingsError, match="KORDANT_SMTP_URL"):
            list(transport.deliver([mail(), mail()]))
