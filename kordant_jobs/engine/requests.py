"""The terms of the queue: priorities, states of a request and their moves, outcomes and causes of an attempt."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum


class Priority(IntEnum):
    """The urgency of a request; the smaller number goes first. `engine.queue.claim_rules` handles aging."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @property
    def word(self) -> str:
        """The name used outside: `critical`, `high`, `normal` or `low`."""
        return self.name.lower()


class RequestStatus(StrEnum):
    """The state of a request. There is no state for a failed attempt: it leads to PENDING or to DEAD."""

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
"""Every allowed move. A trigger in the database refuses any other."""


class Outcome(StrEnum):
    """The outcome of an attempt. PARTIAL is a success with some failed items."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    CANCELED = "canceled"
    LOST = "lost"
    RETURNED = "returned"
    """Returned to the queue for no fault of its own (a graceful stop, or no run could start). It does not count as an
    attempt."""


class Cause(StrEnum):
    """The reason why an attempt did not succeed."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CPU = "cpu"
    KILLED = "killed"
    LOST = "lost"
    INVALID = "invalid"
    """The payload is invalid for the job, so it never ran."""
