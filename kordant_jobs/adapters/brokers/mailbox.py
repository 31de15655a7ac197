"""The mailbox that brokers answer to: a maildir that a mail server fills, or an account reached by IMAP."""

import imaplib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any
from urllib.parse import unquote, urlsplit

from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.ports import InboundMessage

MAIL_MAX = 5 << 20
"""Most bytes of a mail that are read; a reply needs no more to say yes or no."""


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
            for _, name in sorted(filter(None, map(_arrived, folder.iterdir())))[:limit]:
                with (folder / name).open("rb") as file:
                    yield InboundMessage(key=name, content=file.read(MAIL_MAX))
        except OSError as error:
            raise SourceUnavailable(
                f"the inbox for replies cannot be read ({type(error).__name__}). Check KORDANT_REMOVALS_INBOX_DIR."
            ) from None

    def done(self, keys: Sequence[str]) -> None:
        """See `ports.InboundMail`."""
        for key in keys:
            (self._folder / "new" / key).unlink(missing_ok=True)

    def put_aside(self, keys: Sequence[str]) -> None:
        """See `ports.InboundMail`."""
        aside = self._folder / "unmatched"
        for key in keys:
            aside.mkdir(mode=0o700, exist_ok=True)
            (self._folder / "new" / key).replace(aside / key)

    def tidy(self, before: datetime) -> int:
        """See `ports.InboundMail`."""
        old = [one for one in (self._folder / "unmatched").glob("*") if one.stat().st_mtime < before.timestamp()]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def _arrived(path: Path) -> tuple[int, str] | None:
    """When a mail came, with its name; None for what is not a mail: a folder, a link that leads nowhere, a hidden
    file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_mtime_ns, path.name) if S_ISREG(found.st_mode) and not path.name.startswith(".") else None


class ImapInbox:
    """Reads INBOX over TLS, in one connection. What was taken is deleted; what belongs to no request is flagged, stays,
    and is not read again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        is_local = parts.hostname in {"127.0.0.1", "localhost"}
        if parts.scheme not in {"imaps", "imap"} or not parts.hostname or (parts.scheme == "imap" and not is_local):
            raise SettingsError("KORDANT_REMOVALS_IMAP_URL is no IMAP URL. Write imaps://user:password@host.")
        self._parts = parts
        self._box: imaplib.IMAP4 | None = None

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4]:
        """The mailbox, open; the one that is being read where there is one."""
        parts, host, box = self._parts, self._parts.hostname or "", self._box
        is_ours = box is None
        try:
            if box is None:
                connect = imaplib.IMAP4_SSL if parts.scheme == "imaps" else imaplib.IMAP4
                self._box = box = connect(host, parts.port or (993 if parts.scheme == "imaps" else 143), timeout=30)
                box.login(unquote(parts.username or ""), unquote(parts.password or ""))
                _checked(box.select("INBOX"))
            yield box
            if is_ours:
                _checked(box.expunge())
        except (imaplib.IMAP4.error, OSError) as error:
            raise SourceUnavailable(
                f"the mailbox for replies does not work ({type(error).__name__}); its mails are read again. Check "
                "KORDANT_REMOVALS_IMAP_URL if this stays."
            ) from None
        finally:
            if is_ours:
                self._box = None
                if box is not None:
                    _leave(box)

    def messages(self, limit: int) -> Iterator[InboundMessage]:
        """See `ports.InboundMail`."""
        with self._opened() as box:
            for uid in _uids(box, "UNDELETED", "UNFLAGGED")[:limit]:
                parts = _checked(box.uid("FETCH", uid, f"(BODY.PEEK[]<0.{MAIL_MAX}>)"))
                if content := next((one[1] for one in parts if isinstance(one, tuple)), b""):
                    yield InboundMessage(key=uid, content=content)

    def done(self, keys: Sequence[str]) -> None:
        """See `ports.InboundMail`."""
        self._flag(keys, r"(\Deleted)")

    def put_aside(self, keys: Sequence[str]) -> None:
        """See `ports.InboundMail`."""
        self._flag(keys, r"(\Flagged)")

    def _flag(self, keys: Sequence[str], flag: str) -> None:
        if keys:
            with self._opened() as box:
                _checked(box.uid("STORE", ",".join(keys), "+FLAGS", flag))

    def tidy(self, before: datetime) -> int:
        """See `ports.InboundMail`."""
        with self._opened() as box:
            old = _uids(box, "UNDELETED", "FLAGGED", "BEFORE", before.strftime("%d-%b-%Y"))
            for uid in old:
                _checked(box.uid("STORE", uid, "+FLAGS", r"(\Deleted)"))
        return len(old)


def _checked(answer: tuple[str, list[Any]]) -> list[Any]:
    """The answer to a command; `imaplib` itself does not raise when a server says NO."""
    status, found = answer
    if status != "OK":
        raise imaplib.IMAP4.error(status)
    return found


def _uids(box: imaplib.IMAP4, *criteria: str) -> list[str]:
    found = _checked(box.uid("SEARCH", *criteria))
    return [uid.decode() for uid in (found[0] or b"").split()]


def _leave(box: imaplib.IMAP4) -> None:
    try:
        box.logout()
    except (imaplib.IMAP4.error, OSError):
        box.shutdown()
