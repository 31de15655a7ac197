"""The words of the queue: priorities, states of a request and its moves, outcomes and causes of an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum


class Priority(IntEnum):
    """The urgency of a request; the smaller number goes first. Aging is `engine.queue.claim_rules`'s."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @property
    def word(self) -> str:
        """As it is written outside: `critical`, `high`, `normal` or `low`."""
        return self.name.lower()


class RequestStatus(StrEnum):
    """The state of a request. A failed attempt leaves no state of its own: it leads to PENDING or to DEAD."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


REQUEST_MOVES: Mapping[RequestStatus, frozenset[RequestStatus]] = {
    RequestStatus.PENDING: frozenset({RequestStatus.RUNNING, RequestStatus.CANCELLED, RequestStatus.DEAD}),
    RequestStatus.RUNNING: frozenset(
        {RequestStatus.COMPLETED, RequestStatus.PENDING, RequestStatus.DEAD, RequestStatus.CANCELLED}
    ),
    RequestStatus.COMPLETED: frozenset(),
    RequestStatus.DEAD: frozenset({RequestStatus.PENDING, RequestStatus.EXPIRED}),
    RequestStatus.CANCELLED: frozenset(),
    RequestStatus.EXPIRED: frozenset(),
}
"""Every move there is. The database holds it too: a trigger refuses any other."""


class Outcome(StrEnum):
    """The outcome of an attempt. PARTIAL is a success that counted items which failed."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    CANCELED = "canceled"
    LOST = "lost"
    RETURNED = "returned"
    """Given back to the queue through no fault of its own (a graceful stop, no run could start): it does not count."""


class Cause(StrEnum):
    """Why an attempt was no success."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CPU = "cpu"
    KILLED = "killed"
    LOST = "lost"
    INVALID = "invalid"
    """The payload is not what the job takes: it never ran."""
