"""The interface between the queue and the launcher: values and protocols. No Dagster here, and no database."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

HIDDEN = ".dagster/kordant_"
"""The prefix of hidden tags: Dagster's API and UI leave out tags that begin with `.dagster/`."""


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """One run to start, under an id chosen when its requests were claimed. Config and tags carry ids, never people.

    `is_there`: Dagster made the run, and it waits; its own config, partition and parents count. Hidden tags limit the
    run's whole process tree; `kordant/limit_wall_s`, `kordant/limit_cpu_s` and `kordant/limit_memory_mb`, which a
    person may set, override them. A retry names its parent and root run, so that Dagster's UI groups them.
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
"""Stop it because a person or program asked to; it ends as canceled."""
LOST = "lost"
"""Stop it because its lease ran out; it may not write any more."""
FENCED = 76
"""The exit code of a run's process that ended itself because its lease was lost or could not be renewed (EX_PROTOCOL,
which nothing else here uses)."""
RETURNING = "stopping"
"""Stop it because the system shuts down: its work returns to the queue, and the attempt does not count."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """The end of a run: its process tree is gone, and Dagster's storage shows the same outcome.

    `outcome` is 'success', 'failure', 'canceled' or 'lost'. `cause` is the reason when it was no success: 'exception',
    'timeout', 'memory', 'cpu', 'killed', 'lost' or RETURNING. `retry_after_s` is the wait that the run's error asked
    for.
    """

    run_id: str
    outcome: str
    cause: str | None = None
    cpu_s: float = 0.0
    peak_memory_mb: float = 0.0
    error: str | None = None
    retry_after_s: float | None = None
    permanent: bool = False


class RunIsOver(Exception):
    """The waiting run has ended or was deleted, so it must not be started."""


class RunStarter(Protocol):
    """Starts and stops runs."""

    def ready(self) -> bool:
        """True when runs can be started now; until then requests stay in the queue. Must be cheap: it is called very
        often."""

    def start(self, order: RunOrder) -> None:
        """Give the run to a warm child, creating it first unless it exists. Safe to repeat.

        Raises:
            TransientError: no warm process answers; nothing was started.
            PermanentError: there is no such job, or its config is not what the job takes.
            RunIsOver: the run that should be there has ended meanwhile, or was deleted.
        """

    def stop(self, run_id: str, *, cause: str) -> None:
        """Ask a run to end (CANCELED, LOST or RETURNING), and force it after the grace time. A run that has ended
        stays as it is.

        Raises:
            TransientError: no warm process answers.
        """


RunHistory = Callable[[str], RunEnd | None]
"""Looks up the end of a run, for watchers that were away when it was reported; None: it runs, or there is none."""


class RunWatcher(Protocol):
    """Reports ends of runs."""

    def ended(self) -> Iterator[RunEnd]:
        """The ends since the last call. Never blocks. The same end may come twice."""
