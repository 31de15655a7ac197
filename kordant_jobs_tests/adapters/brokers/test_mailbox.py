"""The two mailboxes pass the same tests: the maildir, and IMAP against a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kordant_jobs.adapters.brokers.mailbox import ImapInbox, MaildirInbox
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.lab.fakes.imap import FakeImapServer
from kordant_jobs.ports import InboundMail

EARLY, LATE = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class Box:
    inbox: InboundMail
    put: Callable[[bytes, datetime], object]
    kept: Callable[[], list[bytes]]
    """Everything that is still there."""


@pytest.fixture(params=["maildir", "imap"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    if request.param == "imap":
        with FakeImapServer() as server:
            yield Box(
                ImapInbox(server.url),
                lambda content, at: server.put(content, at.date()),
                lambda: sorted(one.content for one in server.mails.values()),
            )
        return

    def put(content: bytes, at: datetime) -> None:
        folder = tmp_path / "new"
        folder.mkdir(exist_ok=True)
        path = folder / f"{at:%Y%m%d}.{len(list(folder.iterdir()))}"
        path.write_bytes(content)
        os.utime(path, (at.timestamp(), at.timestamp()))

    yield Box(
        MaildirInbox(tmp_path), put, lambda: sorted(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    )


def test_what_was_taken_goes_and_what_belongs_to_no_request_stays_but_is_not_read_again(box: Box) -> None:
    for content in (b"first", b"second", b"third"):
        box.put(content, LATE)
    seen = []
    for one in box.inbox.messages(10):
        seen.append(one.content)
        (box.inbox.put_aside if one.content == b"second" else box.inbox.done)([one.key])
    assert seen == [b"first", b"second", b"third"]
    assert list(box.inbox.messages(10)) == []
    assert box.kept() == [b"second"]


def test_a_mail_that_was_not_marked_is_read_again_and_the_limit_holds(box: Box) -> None:
    for number in range(5):
        box.put(b"%d" % number, LATE)
    assert [one.content for one in box.inbox.messages(2)] == [b"0", b"1"]
    assert len(list(box.inbox.messages(10))) == 5


def test_mails_of_no_request_are_deleted_after_their_time_and_no_others(box: Box) -> None:
    box.put(b"early, aside", EARLY)
    box.put(b"late, aside", LATE)
    for one in list(box.inbox.messages(10)):
        box.inbox.put_aside([one.key])
    box.put(b"early, not read", EARLY)
    assert box.inbox.tidy(datetime(2026, 2, 1, tzinfo=UTC)) == 1
    assert box.kept() == [b"early, not read", b"late, aside"]


def test_what_is_no_mail_stops_no_reply(tmp_path: Path) -> None:
    new = tmp_path / "new"
    (new / "0folder").mkdir(parents=True)
    (new / "1link").symlink_to(tmp_path / "nowhere")
    (new / ".hidden").write_bytes(b"half")
    (new / "2mail").write_bytes(b"a reply")
    assert [one.content for one in MaildirInbox(tmp_path).messages(10)] == [b"a reply"]


def test_a_whole_mailbox_is_read_in_one_connection() -> None:
    with FakeImapServer() as server:
        for number in range(20):
            server.put(b"%d" % number, LATE.date())
        inbox = ImapInbox(server.url)
        for one in inbox.messages(100):
            inbox.done([one.key])
        assert (server.logins, server.mails) == (1, {})


@pytest.mark.parametrize("command", ["SELECT", "UID SEARCH", "UID FETCH", "UID STORE"])
@pytest.mark.parametrize("way", ["refuses", "hangs up"])
def test_a_server_that_fails_at_any_command_loses_no_mail(command: str, way: str) -> None:
    with FakeImapServer() as server:
        server.put(b"answer", LATE.date())
        if way == "refuses":
            server.refuses = {command}
        else:
            server.hangs_up_at = command
        inbox = ImapInbox(server.url)

        def take_all() -> None:
            for one in inbox.messages(10):
                inbox.put_aside([one.key])

        with pytest.raises(SourceUnavailable, match="read again"):
            take_all()
        server.refuses, server.hangs_up_at = set(), None
        assert [one.content for one in inbox.messages(10)] == [b"answer"]


def test_a_wrong_password_is_said_without_the_password() -> None:
    with FakeImapServer() as server:
        url = server.url
        server.password = "another"
        with pytest.raises(SourceUnavailable) as caught:
            list(ImapInbox(url).messages(1))
    assert "imap password" not in str(caught.value)
    with pytest.raises(SettingsError):
        ImapInbox("imap://user:x@mail.example")
