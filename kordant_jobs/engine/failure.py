"""Turns the error that ended a run into facts for the queue: its text, whether to retry, and when.

An op decides this by the error that it raises: a permanent `KordantError` is recognised by its name, a
`dagster.Failure` by the metadata `PERMANENT` (true) and `RETRY_AFTER` (seconds), which also show in Dagster's UI.
"""

from dataclasses import dataclass, replace
from typing import Any

from dagster import DagsterEvent

from kordant_jobs.errors import PermanentError

PERMANENT = "kordant/permanent"
RETRY_AFTER = "kordant/retry_after_s"
INTERRUPTIONS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
_LONGEST = 500


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The known facts of a failed step or run. `interrupted`: it was stopped and had no error of its own."""

    error: str
    permanent: bool = False
    retry_after_s: float | None = None
    interrupted: bool = False


def permanent_names() -> frozenset[str]:
    """The names of PermanentError and of all its loaded subclasses."""
    found, layer = {PermanentError}, [PermanentError]
    while layer:
        layer = [below for above in layer for below in above.__subclasses__()]
        found.update(layer)
    return frozenset(kind.__name__ for kind in found)


def failure_of(event: DagsterEvent) -> Failure:
    """The failure that a STEP_FAILURE event reports. Its text is one line of the first cause; ops raise no errors with
    personal data."""
    step = event.step_failure_data
    error, names = _first_cause(step.error)
    metadata = step.user_failure_data.metadata if step.user_failure_data else {}
    permanent = metadata.get(PERMANENT)
    retry_after = metadata.get(RETRY_AFTER)
    return Failure(
        error=error,
        permanent=bool(permanent.value) if permanent else bool(names & permanent_names()),
        retry_after_s=_seconds(retry_after.value) if retry_after else None,
        interrupted=bool(names & INTERRUPTIONS),
    )


def failure_of_run(event: DagsterEvent, step: Failure | None) -> Failure:
    """The failure that a RUN_FAILURE event reports, combined with `step`, the failure of its step. Without one, a
    resource could not be created, for example."""
    data = event.job_failure_data
    interrupted = data.failure_reason is not None and data.failure_reason.value == "UNEXPECTED_TERMINATION"
    if step is not None:
        return replace(step, interrupted=step.interrupted or interrupted)
    error, names = _first_cause(data.error)
    permanent = bool(names & permanent_names())
    return Failure(error=error, permanent=permanent, interrupted=interrupted or bool(names & INTERRUPTIONS))


def _first_cause(info: Any) -> tuple[str, set[str]]:
    """The first line of the error that caused the others, and the names of the classes of all of them."""
    names = set()
    while info is not None:
        names.add(info.cls_name or "")
        if info.cause is None:
            break
        info = info.cause
    lines = (info.message if info else "").strip().splitlines() or ["no text"]
    return lines[0][:_LONGEST], names


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
