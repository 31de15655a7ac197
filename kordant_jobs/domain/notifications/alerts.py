"""An alert: its severity, its channels, and the states of its notifications."""

from enum import StrEnum


class Severity(StrEnum):
    """The urgency of an alert, in rising order of its members' places."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Channel(StrEnum):
    """The channels of alerts."""

    EMAIL = "email"
    FCM = "fcm"
    APNS = "apns"
    WEB_PUSH = "web_push"
    SMS = "sms"


class OutboxStatus(StrEnum):
    """The state of one notification."""

    QUEUED = "queued"
    SENDING = "sending"
    """Claimed by a sender until its lease ends."""
    SENT = "sent"
    """Accepted by the provider; `receipt` is its latest report."""
    DEFERRED = "deferred"
    """Waiting for its `due_at`: for a retry, the end of quiet hours, a digest, or the rate."""
    SUPPRESSED = "suppressed"
    """It must not be sent, because of the subscriber's choice or the address."""
    FAILED = "failed"
    """It did not arrive and no retry can help: an operator checks it, and queues it again or gives it up."""
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
"""The allowed moves. A bounce changes a sent one; a deferred one becomes sent when the provider reports that it
arrived. Only a failed or dead one is queued again: by an operator, or once when it was lost for a temporary reason."""


def may_come_from(status: OutboxStatus) -> tuple[OutboxStatus, ...]:
    """The states that a notification may have before it becomes `status`.

    >>> [one.value for one in may_come_from(OutboxStatus.SENT)]
    ['sending', 'deferred']
    """
    return tuple(before for before, after in OUTBOX_MOVES.items() if status in after)
