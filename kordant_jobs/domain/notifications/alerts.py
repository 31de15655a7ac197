"""An alert: the message to a subscriber, its severity, and the reasons why it is them."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """The urgency of an alert, in rising order of its members' places."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Channel(StrEnum):
    """The ways an alert can go out."""

    EMAIL = "email"
    FCM = "fcm"
    APNS = "apns"
    WEB_PUSH = "web_push"
    SMS = "sms"


class OutboxStatus(StrEnum):
    """The state of one notification."""

    QUEUED = "queued"
    SENDING = "sending"
    """Claimed by a sender, for as long as its lease lasts."""
    SENT = "sent"
    """Accepted by the provider; `receipt` is its latest report since."""
    DEFERRED = "deferred"
    """Waits for its `due_at`: for a retry, the end of quiet hours, a digest, or the rate."""
    SUPPRESSED = "suppressed"
    """Not to be sent, for a reason that is the subscriber's or the address's."""
    FAILED = "failed"
    """It did not arrive and no retry heals it: an operator checks it, and queues it again or gives it up."""
    DEAD = "dead"
    """Given up, after the last attempt or by an operator."""


OUTBOX_MOVES: dict[OutboxStatus, frozenset[OutboxStatus]] = {
    OutboxStatus.QUEUED: frozenset({OutboxStatus.SENDING, OutboxStatus.SUPPRESSED}),
    OutboxStatus.SENDING: frozenset(
        {
            OutboxStatus.SENDING,  # its sender was cut off, and another has it now
            OutboxStatus.SENT,
            OutboxStatus.DEFERRED,
            OutboxStatus.SUPPRESSED,
            OutboxStatus.FAILED,
            OutboxStatus.DEAD,
        }
    ),
    OutboxStatus.DEFERRED: frozenset({OutboxStatus.SENDING, OutboxStatus.SUPPRESSED, OutboxStatus.SENT}),
    OutboxStatus.SENT: frozenset({OutboxStatus.FAILED, OutboxStatus.SUPPRESSED}),
    OutboxStatus.SUPPRESSED: frozenset(),
    OutboxStatus.FAILED: frozenset(
        {OutboxStatus.QUEUED, OutboxStatus.DEFERRED, OutboxStatus.SUPPRESSED, OutboxStatus.DEAD}
    ),
    OutboxStatus.DEAD: frozenset({OutboxStatus.QUEUED}),
}
"""A bounce moves a sent one on; a deferred one becomes sent when the provider reports that it did arrive. Only a failed
or dead one is ever queued again: by an operator, or once when it was lost on its way for a reason that passes."""


def may_come_from(status: OutboxStatus) -> tuple[OutboxStatus, ...]:
    """The states that a notification may be in before it is `status`.

    >>> [one.value for one in may_come_from(OutboxStatus.SENT)]
    ['sending', 'deferred']
    """
    return tuple(before for before, after in OUTBOX_MOVES.items() if status in after)
