"""The dispatcher's times and numbers, and what one of its passes did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """The number of runs at once, and the dispatcher's times in seconds."""

    runs: int = 8
    critical_extra: int = 2
    """Runs beyond `runs` that only critical requests may start, so that they wait behind no backlog."""
    lease_s: float = 15.0
    """Seconds that a run may be silent (paused, cut off) before its work is given to another."""
    drain_poll_s: float = 0.05
    """Seconds between two checks for ends while the dispatcher waits for the last of them."""
    tick_s: float = 1.0
    """Seconds between two passes that reap leases and check cancellations while anything runs. Ends call by themselves.
    """
    idle_s: float = 15.0
    """The longest sleep. Nothing hangs on it but a notification lost with a broken connection."""
    intake_s: float = 10.0
    """Seconds between two comparisons of Dagster's queued runs with our requests, which finds those of killed
    processes."""
    cancel_grace_s: float = 10.0
    """Seconds that a run has to notice that its requests were cancelled before it is stopped."""
    drain_s: float = 20.0
    """Seconds that running work has to end when the dispatcher is stopped; then it returns to the queue."""
    not_ready_s: float = 0.2
    """Seconds until the next check whether runs can be started, while they cannot."""
    start_again_s: float = 1.0
    """Seconds until the next try when no run could be started for a passing reason."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The result of one pass, and when the next is due without a notification."""

    started: int
    ended: int
    lost: int
    check_again_at: datetime | None

    @property
    def moved(self) -> bool:
        """Something happened, so that more may be possible at once."""
        return bool(self.started or self.ended or self.lost)
