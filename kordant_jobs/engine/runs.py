"""The interface between the queue and the launcher: values and protocols. No Dagster here, and no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

HIDDEN = ".dagster/kordant_"
"""Prefix of tags that no person reads: Dagster's API and UI leave out tags that begin with `.dagster/`."""


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """One run to start, under an id that was chosen when its requests were claimed. Config and tags carry ids, never
    people. `is_there`: Dagster made the run, and it waits; config, partition and parents are then its own.

    Hidden tags bound the run's whole process tree; `kordant/limit_wall_s`, `kordant/limit_cpu_s` and
    `kordant/limit_memory_mb`, which a person may set, go before them. A retry names its parent and root run, so that
    Dagster's UI groups them.
    """

    run_id: str
    job: str
    run_config: Mapping[str, Any]
    tags: Mapping[str, str]
    is_there: bool = False
    parent_run_id: str | None = None
    root_run_id: str | None = None
    partition_key: str | None = None


CANCELED = "canceled"
"""Stop it because a person or program asked for that: it ends as canceled."""
LOST = "lost"
"""Stop it because its lease ran out: whatever it still does, it may not write."""
FENCED = 76
"""Exit code of a run's process that ended itself because its lease was lost or could not be renewed (EX_PROTOCOL, which
nothing else here uses)."""
RETURNING = "stopping"
"""Stop it because the system goes down: its work returns to the queue, and the attempt does not count."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """The end of a run. By then its process tree is gone and Dagster's storage says the same.

    `outcome` is 'success', 'failure', 'canceled' or 'lost'; `cause` says why it was no success: 'exception',
    'timeout', 'memory', 'cpu', 'killed', 'lost' or RETURNING. `retry_after_s` is what the error that ended the run
    asked for.
    """

    run_id: str
    outcome: str
    cause: str | None
    cpu_s: float
    peak_memory_mb: float
    error: str | None
    retry_after_s: float | None
    permanent: bool


def canceled_run(run_id: str) -> RunEnd:
    """The end of a run that never began."""
    return RunEnd(
        run_id=run_id,
        outcome=CANCELED,
        cause=None,
        cpu_s=0.0,
        peak_memory_mb=0.0,
        error=None,
        retry_after_s=None,
        permanent=False,
    )


class RunIsOver(Exception):
    """The run that waited to be started needs none any more."""


class RunStarter(Protocol):
    """Starts and stops runs."""

    def ready(self) -> bool:
        """True when runs can be started now; while not, requests stay in the queue. Cheap: called very often."""
        ...

    def start(self, order: RunOrder) -> None:
        """Give the run to a warm child; it is made first unless it is there. Safe to repeat.

        Raises:
            TransientError: no warm process answers; nothing was started.
            PermanentError: there is no such job, or its config is not what the job takes.
            RunIsOver: the run that should be there has ended meanwhile, or was deleted.
        """
        ...

    def stop(self, run_id: str, *, cause: str) -> None:
        """Ask a run to end (CANCELED, LOST or RETURNING), and force it after the grace time. A run that has ended
        stays as it is.

        Raises:
            TransientError: no warm process answers.
        """
        ...


class Intake(Protocol):
    """Keeps the runs that Dagster made and our requests together."""

    def check(self) -> int:
        """Mend what came apart; how many runs that were."""
        ...


class RunHistory(Protocol):
    """Remembers ends, for watchers that were away when they were reported."""

    def end_of(self, run_id: str) -> RunEnd | None:
        """The end of the run; None while it runs, or when there is no such run."""
        ...


class RunWatcher(Protocol):
    """Tells of ends."""

    def ended(self) -> Iterator[RunEnd]:
        """Ends since the last call. Never blocks, and never waits for more. The same end may come twice."""
        ...
