"""The outside parties that jobs talk to, as Protocols. Each has a real adapter and a fake beside it in `adapters/`."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class BreachCatalogue(Protocol):
    """Whoever lists the known breaches (HIBP v3 model)."""

    def read(self) -> bytes:
        """The whole catalogue as it came, not yet looked into.

        Raises:
            SourceUnavailable: it could not be had.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class OutgoingMail:
    """One mail to one person, ready to go: `content` is the whole message as RFC 5322 bytes.

    `id` stays the same over all attempts and is in the Message-ID, so that whoever got it twice can tell.
    Neither the recipient nor the content is ever part of its text form.
    """

    id: UUID
    recipient: str = field(repr=False)
    content: bytes = field(repr=False)


class DeliveryOutcome(StrEnum):
    """What became of one mail."""

    DELIVERED = "delivered"
    """Taken over by the other side, now or (where it can tell) before."""
    DEFERRED = "deferred"
    """Not now; the same mail may be taken later (SMTP 4yz)."""
    NO_SUCH_ADDRESS = "no_such_address"
    """The mailbox does not exist or takes nothing; writing again would harm our standing (5.1.1 and its kin)."""
    REFUSED = "refused"
    """Refused for a reason that an operator has to look at (policy, size, an answer that says no more)."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of the mail `mail_id`. `code` is the reply's code (`smtp 450 4.2.1`), never its text."""

    mail_id: UUID
    outcome: DeliveryOutcome
    code: str | None = None


class MailTransport(Protocol):
    """Whoever takes mails over."""

    def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
        """Deliver mails one after another over one connection; gives each one's outcome as it becomes known, in order.

        Close the generator to stop early: what was not given yet was not sent.

        Raises:
            SourceUnavailable: the transport itself failed. Mails whose outcome was not given were not taken over,
                or, at most for the one in hand, it is not known.
        """
        ...


class ReportStorage(Protocol):
    """Where finished reports are kept, by their content."""

    def put(self, content: bytes) -> str:
        """Keep `content`; the same content is kept once. Returns its key, which tells nothing about a person.

        Raises:
            TransientError: it could not be kept. Nothing of it is there.
        """
        ...

    def get(self, key: str) -> bytes:
        """The content kept under `key`.

        Raises:
            PermanentError: there is none, or it is not what was put there.
            TransientError: the store does not answer.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete what is kept under `key`; nothing there is fine.

        Raises:
            PermanentError: it is no key of a report.
            TransientError: it could not be deleted.
        """
        ...
