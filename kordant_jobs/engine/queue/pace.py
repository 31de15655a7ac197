"""The dispatcher's times and numbers, and what one of its passes did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many runs at once, and the dispatcher's times in seconds."""

    runs: int = 8
    critical_extra: int = 2
    """Runs beyond `runs` that only critical requests may start, so that they wait behind no backlog."""
    lease_s: float = 15.0
    """How long a run may be silent (paused, cut off) before its work is given to another."""
    drain_look_s: float = 0.05
    """How often ends are collected while the dispatcher waits for the last of them."""
    tick_s: float = 1.0
    """How often leases are reaped and cancellations looked at while anything runs. Ends call by themselves."""
    idle_s: float = 15.0
    """The longest sleep. Nothing hangs on it but a notification lost with a broken connection."""
    intake_s: float = 10.0
    """How often Dagster's queued runs are compared with our requests: a net for processes that were killed."""
    cancel_grace_s: float = 10.0
    """How long a run may take to see that its requests were cancelled before it is stopped."""
    drain_s: float = 20.0
    """How long running work may take to end when the dispatcher is told to stop; then it returns to the queue."""
    not_ready_s: float = 0.2
    """How soon to look again whether runs can be started, while they cannot."""
    start_again_s: float = 1.0
    """When no run could be started for a passing reason: how soon to try again."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one pass did, and when the next is due although nobody calls."""

    started: int
    ended: int
    lost: int
    look_again_at: datetime | None

    @property
    def moved(self) -> bool:
        """Something happened, so that more may be possible at once."""
        return bool(self.started or self.ended or self.lost)
