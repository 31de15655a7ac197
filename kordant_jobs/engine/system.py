"""One system: the jobs that it runs, where their code is, and the settings of its processes.

An application builds one value and passes it to every part of the engine; there is no global registry. `app` is the
module that starts its processes (`python -m <app> daemon`), `instance` the one whose classes dagster.yaml names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from kordant_jobs.engine.jobs import JobRow, PartyRate
from kordant_jobs.errors import PermanentError

DAEMON_LOCK = "kordant_jobs.daemon"
"""The advisory lock of the leading daemon process; connections of daemons are listed under this name."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """The configuration of the engine's processes. Times are in seconds, retention of history in days."""

    state_dir: Path
    database_url: str | None = field(repr=False)
    """The URL of Postgres; it may hold a password. None: this process was started without one."""
    launcher: Literal["warm", "celery", "k8s", "stock"] = "warm"
    broker_url: str | None = field(default=None, repr=False)
    """The URL of Redis, where runs are on several hosts; it may hold a password."""
    host_name: str = ""
    host_runs: int = 8
    code_version: str = ""
    k8s_launcher: Mapping[str, Any] = field(default_factory=dict)
    lease_s: float = 15.0
    warm_children: int = 3
    warm_running: int = 16
    warm_runs: int = 5000
    warm_grace_s: float = 12.0
    stop_grace_s: float = 10.0
    keep_done_days: float = 30.0
    keep_failed_days: float = 90.0
    keep_tick_days: float = 2.0
    prune_every_s: float = 600.0
    watched_folders: tuple[Path, ...] = ()
    """The folders whose complete new files wake the sensors."""


@dataclass(frozen=True, kw_only=True)
class Prunable:
    """A table of the application that is pruned with the engine's, after `keep.done_days`. `count` returns the number
    of rows older than a time; `delete` deletes at most a given number of them and returns how many."""

    name: str
    count: Callable[[Connection, datetime], int]
    delete: Callable[[Connection, datetime, int], int]


@dataclass(frozen=True, kw_only=True)
class System:
    """The system that the engine runs."""

    app: str
    instance: str
    definitions: str
    """The module that Dagster loads."""
    rows: Mapping[str, JobRow]
    settings: Callable[[], EngineSettings]
    """Read when a process needs them, never at import."""
    parties: Mapping[str, PartyRate] = field(default_factory=dict)
    prunable: tuple[Prunable, ...] = ()
    """Tables of the application that are pruned with the engine's own history."""

    def job_of(self, dagster_job: str) -> JobRow | None:
        """The row of a Dagster job; None for one that is not in the catalogue."""
        return next((row for row in self.rows.values() if dagster_job in row.dagster_jobs), None)

    def row_of(self, dagster_job: str) -> JobRow:
        """The row of a Dagster job, as `job_of`.

        Raises:
            PermanentError: it has no row, so nothing says by which limits it may run.
        """
        row = self.job_of(dagster_job)
        if row is None:
            raise PermanentError(
                f"{dagster_job[:80]!r} has no row in the catalogue, so it has no limits and cannot be queued: "
                "add a JobRow for it, or run it with `dagster job execute`."
            )
        return row
