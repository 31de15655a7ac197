"""What the queue and the launcher tell each other about runs. No Dagster here, and no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """One run to start. Config and tags carry ids, never people.

    The tags `kordant/limit_wall_s`, `kordant/limit_cpu_s` and `kordant/limit_memory_mb` bound the run's whole
    process tree. A retry names its parent and root run, so that Dagster's UI groups them.
    """

    job: str
    run_config: Mapping[str, Any]
    tags: Mapping[str, str]
    parent_run_id: str | None = None
    root_run_id: str | None = None
    partition_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run ended. By then its process tree is gone and Dagster's storage says the same.

    `outcome` is 'success', 'failure', 'canceled' or 'lost'; `cause` says why it was no success: 'exception',
    'timeout', 'memory', 'cpu', 'killed' or 'lost'. `retry_after_s` is what the error that ended the run asked for.
    """

    run_id: str
    outcome: str
    cause: str | None
    cpu_s: float
    peak_memory_mb: float
    error: str | None
    retry_after_s: float | None
    permanent: bool


class RunStarter(Protocol):
    """Starts and stops runs."""

    def start(self, order: RunOrder) -> str:
        """The id of a new run that a warm child has been given.

        Raises:
            TransientError: no warm process answers; nothing was started.
            PermanentError: there is no such job, or its config is not what the job takes.
        """
        ...

    def stop(self, run_id: str, *, cause: str) -> None:
        """Ask a run to end, and force it after the grace time. A run that has ended stays as it is."""
        ...


class RunWatcher(Protocol):
    """Tells of ends."""

    def ended(self) -> Iterator[RunEnd]:
        """What ended since the last call. Never blocks, and never waits for more. The same end may come twice."""
        ...
