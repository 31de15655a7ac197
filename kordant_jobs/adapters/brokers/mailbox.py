"""The mailbox that brokers answer to: a maildir that a mail server fills, or an account reached by IMAP."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.ports import InboundMessage

MAIL_MAX = 5 << 20
"""Bytes of a mail that are read; nobody needs more to say yes or no."""


class MaildirInbox:
    """Reads `new/`, deletes what was taken, and moves to `unmatched/` what belongs to no request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def messages(self, limit: int) -> Iterator[InboundMessage]:
        """See `ports.InboundMail`."""
        folder = self._folder / "new"
        if not folder.is_dir():
            return
        try:
            for path in sorted(folder.iterdir(), key=lambda one: (one.stat().st_mtime_ns, one.name))[:limit]:
                with path.open("rb") as file:
                    yield InboundMessage(key=path.name, content=file.read(MAIL_MAX))
        except OSError as error:
            raise SourceUnavailable(
                f"the inbox for replies cannot be read ({type(error).__name__}). Check KORDANT_REMOVALS_INBOX_DIR."
            ) from None

    def done(self, key: str) -> None:
        """See `ports.InboundMail`."""
        (self._folder / "new" / key).unlink(missing_ok=True)

    def put_aside(self, key: str) -> None:
        """See `ports.InboundMail`."""
        aside = self._folder / "unmatched"
        aside.mkdir(mode=0o700, exist_ok=True)
        (self._folder / "new" / key).replace(aside / key)


class ImapInbox:
    """Reads INBOX over TLS; what was taken is deleted, what belongs to no request goes to the folder `Unmatched`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        is_local = parts.hostname in {"127.0.0.1", "localhost"}
        if parts.scheme not in {"imaps", "imap"} or not parts.hostname or (parts.scheme == "imap" and not is_local):
            raise SettingsError("KORDANT_REMOVALS_IMAP_URL is no IMAP URL. Write imaps://user:password@host.")
        self._parts = parts

    def _opened(self) -> imaplib.IMAP4:
        parts, host = self._parts, self._parts.hostname or ""
        try:
            box: imaplib.IMAP4 = (
                imaplib.IMAP4_SSL(host, parts.port or 993, timeout=30)
                if parts.scheme == "imaps"
                else imaplib.IMAP4(host, parts.port or 143, timeout=30)
            )
            box.login(unquote(parts.username or ""), unquote(parts.password or ""))
            box.select("INBOX")
        except (imaplib.IMAP4.error, OSError) as error:
            raise SourceUnavailable(
                f"the mailbox for replies cannot be opened ({type(error).__name__}). Check KORDANT_REMOVALS_IMAP_URL."
            ) from None
        return box

    def messages(self, limit: int) -> Iterator[InboundMessage]:
        """See `ports.InboundMail`."""
        box = self._opened()
        try:
            _, found = box.uid("SEARCH", "UNDELETED")
            for uid in (found[0] or b"").split()[:limit]:
                _, parts = box.uid("FETCH", uid.decode(), f"(BODY.PEEK[]<0.{MAIL_MAX}>)")
                content = next((one[1] for one in parts if isinstance(one, tuple)), b"")
                yield InboundMessage(key=uid.decode(), content=content)
        except (imaplib.IMAP4.error, OSError) as error:
            raise SourceUnavailable(f"the mailbox for replies broke off ({type(error).__name__}).") from None
        finally:
            _leave(box)

    def _mark(self, key: str, folder: str | None) -> None:
        box = self._opened()
        try:
            if folder:
                box.create(folder)
                box.uid("COPY", key, folder)
            box.uid("STORE", key, "+FLAGS", r"(\Deleted)")
            box.expunge()
        except (imaplib.IMAP4.error, OSError):
            raise SourceUnavailable("the mailbox for replies broke off; the mail is read again.") from None
        finally:
            _leave(box)

    def done(self, key: str) -> None:
        """See `ports.InboundMail`."""
        self._mark(key, None)

    def put_aside(self, key: str) -> None:
        """See `ports.InboundMail`."""
        self._mark(key, "Unmatched")


def _leave(box: imaplib.IMAP4) -> None:
    try:
        box.logout()
    except (imaplib.IMAP4.error, OSError):
        box.shutdown()
