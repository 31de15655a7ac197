"""What the other side tells of a message after it took it: receipts, and what may follow which. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class ReceiptState(StrEnum):
    """How far a message came, by the other side's word."""

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
    ReceiptState.UNDELIVERED: 2,
    ReceiptState.FAILED: 2,
    ReceiptState.READ: 3,
}
"""Receipts arrive in any order: one counts only when it ranks above what was told before."""

ARRIVED = frozenset({ReceiptState.DELIVERED, ReceiptState.READ})
LOST = frozenset({ReceiptState.UNDELIVERED, ReceiptState.FAILED})


class Remedy(StrEnum):
    """What a message that did not arrive asks of us."""

    RETRY = "retry"
    SUPPRESS = "suppress"
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One word about the message `message_id`. `code` is what the other side gave as the cause, never its text."""

    message_id: UUID
    state: ReceiptState
    code: str = ""
    remedy: Remedy = Remedy.OPERATOR
    provider_id: str | None = None


def moves_on(before: ReceiptState | None, after: ReceiptState) -> bool:
    """Whether a receipt says more than what was told before.

    >>> moves_on(ReceiptState.SENT, ReceiptState.DELIVERED), moves_on(ReceiptState.DELIVERED, ReceiptState.SENT)
    (True, False)
    """
    return before is None or RANK[after] > RANK[before]
