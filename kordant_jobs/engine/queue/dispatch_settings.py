"""The dispatcher's times and limits, and the result of one of its passes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """The number of runs at once, and the dispatcher's times in seconds."""

    runs: int = 8
    critical_extra: int = 2
    """Runs beyond `runs` for critical requests only, so that they wait behind no backlog."""
    lease_s: float = 15.0
    """Seconds that a run may be silent (paused, cut off) before its work is given to another run."""
    drain_poll_s: float = 0.05
    """Seconds between two checks for ends while the dispatcher drains."""
    tick_s: float = 1.0
    """Seconds between two passes that reap leases and check cancellations while anything runs. Ends wake the loop
    themselves."""
    idle_s: float = 15.0
    """The longest sleep; it only covers a notification lost with a broken connection."""
    intake_s: float = 10.0
    """Seconds between two comparisons of Dagster's queued runs with our requests, which find runs that a killed process
    left without a request."""
    cancel_grace_s: float = 10.0
    """Seconds that a run has to notice the cancellation of its requests before it is stopped."""
    drain_s: float = 20.0
    """Seconds that running work has to end when the dispatcher is stopped; after that it returns to the queue."""
    not_ready_s: float = 0.2
    """Seconds until the next check whether runs can be started, while they cannot."""
    start_again_s: float = 1.0
    """Seconds until the next attempt after no run could be started for a temporary reason."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The result of one pass, and the time of the next one without a notification."""

    started: int
    ended: int
    lost: int
    check_again_at: datetime | None

    @property
    def moved(self) -> bool:
        """True when something changed, so that another pass may find more to do."""
        return bool(self.started or self.ended or self.lost)
