"""Writes mails to a maildir (the layout of qmail, readable with `mutt -f` or Python's `mailbox.Maildir`)."""

import os
from collections.abc import Collection, Generator, Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingMail

HOST_PART = "kordant"
"""Used where names in a maildir usually have the machine's name."""


class MaildirTransport:
    """Writes each mail once, under a name made from its id: a repeated delivery finds it and changes nothing. A reader
    of the folder can read the mails, so it has mode 0700."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
        """See `MailTransport.deliver`."""
        try:
            there = self._prepare()
            for mail in mails:
                name = f"{mail.id}.{HOST_PART}"
                if name not in there:
                    self._write(mail, name)
                    there.add(name)
                yield Delivery(mail_id=mail.id, outcome=DeliveryOutcome.DELIVERED)
            self._sync(self._folder / "new")
        except OSError as error:
            raise SourceUnavailable(
                f"mails cannot be written to the maildir ({os.strerror(error.errno or 0)}). Free space or fix the "
                "rights of the folder that KORDANT_MAILDIR names; what was not written stays queued."
            ) from None

    def delete(self, ids: Collection[UUID]) -> int:
        """Delete the mails with these ids, read or not. Returns the number deleted."""
        names, gone = {f"{one}.{HOST_PART}" for one in ids}, 0
        for folder in ("new", "cur"):
            with suppress(FileNotFoundError), os.scandir(self._folder / folder) as entries:
                for entry in entries:
                    if entry.name.partition(":")[0] in names:
                        Path(entry.path).unlink(missing_ok=True)
                        gone += 1
        return gone

    def _prepare(self) -> set[str]:
        """Create the folders. Returns the names of the mails already in them, including read ones (in cur)."""
        there: set[str] = set()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("tmp", "new", "cur"):
            (self._folder / name).mkdir(mode=0o700, exist_ok=True)
            if name == "tmp":
                continue
            with os.scandir(self._folder / name) as entries:
                for entry in entries:
                    there.add(entry.name.partition(":")[0])
        return there

    def _write(self, mail: OutgoingMail, name: str) -> None:
        half = self._folder / "tmp" / f"{name}.{os.getpid()}"
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(mail.content.replace(b"\r\n", b"\n"))
                file.flush()
                os.fsync(file.fileno())
            half.rename(self._folder / "new" / name)
        except BaseException:
            half.unlink(missing_ok=True)
            raise

    @staticmethod
    def _sync(folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
