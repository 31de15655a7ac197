"""An alert: what a subscriber is told, how urgent it is, and why it is them."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How urgent an alert is, in rising order of its members' places."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Channel(StrEnum):
    """The ways an alert can go out."""

    EMAIL = "email"


class OutboxStatus(StrEnum):
    """Where one notification stands."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DEFERRED = "deferred"
    SUPPRESSED = "suppressed"
    DEAD = "dead"


OUTBOX_MOVES: dict[OutboxStatus, frozenset[OutboxStatus]] = {
    OutboxStatus.QUEUED: frozenset({OutboxStatus.SENDING, OutboxStatus.SUPPRESSED}),
    OutboxStatus.SENDING: frozenset(
        {OutboxStatus.SENT, OutboxStatus.DEFERRED, OutboxStatus.SUPPRESSED, OutboxStatus.DEAD}
    ),
    OutboxStatus.DEFERRED: frozenset({OutboxStatus.SENDING, OutboxStatus.SUPPRESSED}),
    OutboxStatus.SENT: frozenset(),
    OutboxStatus.SUPPRESSED: frozenset(),
    OutboxStatus.DEAD: frozenset({OutboxStatus.QUEUED}),
}
"""An operator may queue a dead notification again; nothing else leaves an end state."""
