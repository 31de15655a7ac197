"""One run in the warm process: its order, its limits, why it was stopped, and its end."""

import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from kordant_jobs.engine.requests import Cause
from kordant_jobs.engine.runs import CANCELED, FENCED, HIDDEN, LOST, RETURNING, RunEnd

LIMITS = {
    "limit_wall_s": Cause.TIMEOUT,
    "limit_cpu_s": Cause.CPU,
    "limit_memory_mb": Cause.MEMORY,
}
CAUSE_TAG = "kordant/cause"


def limits_of(tags: Mapping[str, str]) -> dict[str, float]:
    """The limits among a run's tags, by cause; a person's override the job's own. A tag that is not a positive number
    is ignored."""
    found = {}
    for name, cause in LIMITS.items():
        try:
            value = float(tags.get(f"kordant/{name}", tags.get(f"{HIDDEN}{name}", "0")))
        except ValueError:
            continue
        if value > 0:
            found[cause.value] = value
    return found


@dataclass
class Run:
    """A run that was handed to the warm process. `report` is what its child reported before it ended, if anything."""

    run_id: str
    limits: dict[str, float] = field(default_factory=dict)
    started_at: float = 0.0
    """Monotonic time, which survives an exec; 0 while no child has the run."""
    peak_memory_mb: float = 0.0
    cpu_s: float = 0.0
    stop_cause: str | None = None
    kill_at: float | None = None
    died: str | None = None
    """A text, when its child ended without a report."""
    report: dict[str, Any] | None = None

    def to_wire(self) -> dict[str, Any]:
        """The run as JSON values."""
        return asdict(self)

    @classmethod
    def from_wire(cls, message: Mapping[str, Any]) -> Self:
        """The run from the result of `to_wire`."""
        return cls(**message)

    def over(self, *, now: float, cpu_s: float, memory_mb: float) -> Cause | None:
        """The limit that the run has exceeded, if any."""
        used = {Cause.TIMEOUT: now - self.started_at, Cause.CPU: cpu_s, Cause.MEMORY: memory_mb}
        return next((cause for cause, value in used.items() if value > self.limits.get(cause, float("inf"))), None)

    def message(self) -> str:
        """The reason why it has no result, for its event log."""
        limit = self.limits.get(self.stop_cause or "", 0)
        words: dict[str, str] = {
            Cause.TIMEOUT: f"Stopped: it ran longer than its limit of {limit:g} s (time-out).",
            Cause.CPU: f"Stopped: it used more CPU time than its limit of {limit:g} s, child processes included.",
            Cause.MEMORY: f"Stopped: it used more memory than its limit of {limit:g} MB, child processes included.",
        }
        known_tags = {
            CANCELED: "Stopped on request; it did not end within the grace time and was killed.",
            RETURNING: "Stopped because the system goes down: its work returns to the queue.",
        }
        for known in (words if limit else {}, known_tags):
            if self.stop_cause in known:
                return known[self.stop_cause]
        return f"The run worker ended before the run did: {self.died or 'it was lost'}."

    def end(self, *, final_status: str | None = None) -> RunEnd:
        """The end of the run: what the child reported, or else what Dagster's storage shows."""
        report = self.report or {}
        by_status = {"SUCCESS": "success", "CANCELED": "canceled"}
        outcome = report.get("outcome") or by_status.get(final_status or "", "failure")
        cause: str | None = None
        if outcome == "failure":
            if self.stop_cause and self.stop_cause != CANCELED:
                cause = self.stop_cause
            elif report and not report.get("interrupted"):
                cause = Cause.EXCEPTION
            else:
                cause = Cause.KILLED
            if cause in {LOST, RETURNING}:
                outcome = "lost"
        return RunEnd(
            run_id=self.run_id,
            outcome=outcome,
            cause=cause,
            cpu_s=round(self.cpu_s, 3),
            peak_memory_mb=round(self.peak_memory_mb, 1),
            error=None if outcome in {"success", "canceled"} else self._error(report, cause),
            retry_after_s=report.get("retry_after_s"),
            permanent=bool(report.get("permanent")),
        )

    def _error(self, report: Mapping[str, Any], cause: str | None) -> str:
        return str(report["error"]) if cause == Cause.EXCEPTION and report.get("error") else self.message()


def in_words(code: int) -> str:
    """The meaning of an exit code of `os.waitstatus_to_exitcode`."""
    if code == FENCED:
        return "it could not renew its lease, being cut off from the database or paused, and ended itself"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"
