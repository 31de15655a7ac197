"""Receipts: a provider's reports about a message after accepting it, their permitted order, and the causes of a
refusal. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from kordant_jobs.domain.notifications.alerts import OutboxStatus


class Cause(StrEnum):
    """The cause of a failed delivery. Only `RECIPIENT` means that an address is unusable."""

    RECIPIENT = "recipient"
    """The address does not exist, is closed, or its owner said stop."""
    REPUTATION = "reputation"
    """The server distrusts us: a block list, a policy, a spam filter, a missing SPF, DKIM or DMARC."""
    RATE = "rate"
    """A temporary refusal: too many, too fast, or a full mailbox."""
    SETUP = "setup"
    """Our relay, key, topic, project or sender is wrong."""
    UNKNOWN = "unknown"
    """The answer does not say."""


CAUSE_WORDS = {
    Cause.RECIPIENT: "the address",
    Cause.REPUTATION: "our standing with the server",
    Cause.RATE: "too many or a full mailbox",
    Cause.SETUP: "our set-up",
}
"""The explanation of a code for operators."""


def with_cause(code: str | None, cause: Cause) -> str:
    """A code with its cause, for an operator.

    >>> with_cause("smtp 554 5.7.1", Cause.REPUTATION), with_cause("smtp 554", Cause.UNKNOWN)
    ('smtp 554 5.7.1: our standing with the server', 'smtp 554')
    """
    return f"{code or 'no code'}: {CAUSE_WORDS[cause]}" if cause in CAUSE_WORDS else code or "no code"


class ReceiptState(StrEnum):
    """The progress of a message, by the provider's report."""

    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    READ = "read"


RANK = {
    ReceiptState.ACCEPTED: 0,
    ReceiptState.SENT: 1,
    ReceiptState.DELIVERED: 2,
    ReceiptState.READ: 3,
    ReceiptState.UNDELIVERED: 4,
    ReceiptState.FAILED: 4,
}
"""The rank of receipts, which may arrive in any order: one counts when its rank is higher than the last. Failures rank
highest, since many servers accept a mail first ("delivered") and bounce it a minute later."""

ARRIVED = frozenset({ReceiptState.DELIVERED, ReceiptState.READ})
LOST = frozenset({ReceiptState.UNDELIVERED, ReceiptState.FAILED})


class Remedy(StrEnum):
    """The reaction to a message that did not arrive."""

    RETRY = "retry"
    SUPPRESS = "suppress"
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One report about the message `message_id`. `code` is the provider's code for the cause, never its text."""

    message_id: UUID
    state: ReceiptState
    code: str = ""
    remedy: Remedy = Remedy.OPERATOR
    cause: Cause = Cause.UNKNOWN
    provider_id: str | None = None


def is_news(before: ReceiptState | None, status: OutboxStatus, receipt: Receipt) -> bool:
    """True when a receipt adds to what is known. One that suppresses counts until the notification is suppressed: a
    hard bounce after a soft one, a complaint after *read*.

    >>> sent = Receipt(message_id=UUID(int=1), state=ReceiptState.SENT)
    >>> [is_news(before, OutboxStatus.SENT, sent) for before in (ReceiptState.ACCEPTED, ReceiptState.DELIVERED)]
    [True, False]
    """
    if receipt.remedy is Remedy.SUPPRESS:
        return status is not OutboxStatus.SUPPRESSED
    return before is None or RANK[receipt.state] > RANK[before]
