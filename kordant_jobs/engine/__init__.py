"""Background jobs on Dagster and Postgres: one queue with one entry point, retries, leases, limits, and runs that start
at once.

The engine knows no job. An application describes its jobs as rows, builds one `System` of them, and gives it to the
engine's processes (`main`). This module is the whole public interface; what it names is imported when it is used, so
that a caller which only queues a request imports no Dagster.

Describe a job
    Payload             what a request of it carries: a Pydantic model, ids only
    JobRow              its names, limits, concurrency, priority; `RetryPolicy` and `Backoff`, `PartyRate`
    Priority            critical, high, normal, low
Ask for a run
    enqueue             a request, in the caller's own transaction; also `enqueue_named`, `enqueue_many`, `Merge`
Write a job
    sharded_job         its jobs in Dagster from plain functions: plan, work in chunks, finish; also `one_op_job`,
                        `Partitions`, `Report`, `Summary`
    op_body             the body of an op: progress, errors that tell the queue what to do
    report_figures      what a run did, in figures, in its last op
    Progress            how far a run is; `read_progress` for others
    database_resource   Postgres for ops: every transaction of a run proves that its work is still its own
Work on the queue
    operate             find, inspect, cancel, replay, acknowledge, expire, pause, prune
    Filter, Request     which requests; one as it stands. `RequestStatus` and `Cause` are their words
    leases              slots and rates that hold over all processes, and free themselves when a holder dies
    Listener            wait for a notification of Postgres without polling
    host_rows           the hosts of workers, where runs are on several machines
    attempt_counts      attempts in figures: since the beginning, by hour
Run a system
    System              the jobs, their code and the settings of its processes (`EngineSettings`, `Prunable`)
    main                one process of it: `python -m <app> daemon | warm | host | …`
    RequestCoordinator  what dagster.yaml names, bound to a system by a subclass; also `HostRunLauncher`,
                        `QuietComputeLogManager`, `ServerStorage`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kordant_jobs.engine.dagster_private import DAGSTER_VERSION, ServerStorage, switched_off
    from kordant_jobs.engine.failure import PERMANENT, RETRY_AFTER
    from kordant_jobs.engine.job_shapes import Jobs, Partitions, Report, Summary, one_op_job, sharded_job
    from kordant_jobs.engine.jobs import Backoff, JobRow, PartyRate, RetryPolicy, rate_of_rpm
    from kordant_jobs.engine.launcher.code import warm_is_outdated
    from kordant_jobs.engine.launcher.compute_logs import QuietComputeLogManager
    from kordant_jobs.engine.launcher.coordinator import RequestCoordinator
    from kordant_jobs.engine.launcher.protocol import socket_path
    from kordant_jobs.engine.listen import Listener
    from kordant_jobs.engine.ops import op_body, report_figures
    from kordant_jobs.engine.payload import MergeRule, Payload, union
    from kordant_jobs.engine.processes import main
    from kordant_jobs.engine.queue import operate
    from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many, enqueue_named, job_row
    from kordant_jobs.engine.queue.given import PRIORITY_TAG, SCHEDULE_TAG
    from kordant_jobs.engine.remote.run_launcher import HostRunLauncher
    from kordant_jobs.engine.requests import Cause, Priority, RequestStatus
    from kordant_jobs.engine.run_side import database_resource
    from kordant_jobs.engine.runs import HIDDEN
    from kordant_jobs.engine.store import attempt_counts, host_rows, leases
    from kordant_jobs.engine.store.arrivals import Merge
    from kordant_jobs.engine.store.progress import Progress, read_progress
    from kordant_jobs.engine.store.requests import Filter, Request
    from kordant_jobs.engine.system import DAEMON_LOCK, EngineSettings, Prunable, System
    from kordant_jobs.engine.wakes import WAKES

_HOME = {
    "dagster_private": ("DAGSTER_VERSION", "ServerStorage", "switched_off"),
    "failure": ("PERMANENT", "RETRY_AFTER"),
    "jobs": ("Backoff", "JobRow", "PartyRate", "RetryPolicy", "rate_of_rpm"),
    "launcher.compute_logs": ("QuietComputeLogManager",),
    "launcher.coordinator": ("RequestCoordinator",),
    "launcher.code": ("warm_is_outdated",),
    "launcher.protocol": ("socket_path",),
    "remote.run_launcher": ("HostRunLauncher",),
    "listen": ("Listener",),
    "ops": ("op_body", "report_figures"),
    "payload": ("MergeRule", "Payload", "union"),
    "processes": ("main",),
    "queue": ("operate",),
    "queue.enqueue": ("Item", "enqueue", "enqueue_many", "enqueue_named", "job_row"),
    "queue.given": ("PRIORITY_TAG", "SCHEDULE_TAG"),
    "requests": ("Cause", "Priority", "RequestStatus"),
    "run_side": ("database_resource",),
    "runs": ("HIDDEN",),
    "job_shapes": ("Jobs", "Partitions", "Report", "Summary", "one_op_job", "sharded_job"),
    "store": ("attempt_counts", "host_rows", "leases"),
    "store.arrivals": ("Merge",),
    "store.progress": ("Progress", "read_progress"),
    "store.requests": ("Filter", "Request"),
    "system": ("DAEMON_LOCK", "EngineSettings", "Prunable", "System"),
    "wakes": ("WAKES",),
}
_PLACE = {name: module for module, names in _HOME.items() for name in names}
_MODULES = frozenset({"attempt_counts", "host_rows", "leases", "operate"})

__all__ = [
    "DAEMON_LOCK",
    "DAGSTER_VERSION",
    "HIDDEN",
    "PERMANENT",
    "PRIORITY_TAG",
    "RETRY_AFTER",
    "SCHEDULE_TAG",
    "WAKES",
    "Backoff",
    "Cause",
    "EngineSettings",
    "Filter",
    "HostRunLauncher",
    "Item",
    "JobRow",
    "Jobs",
    "Listener",
    "Merge",
    "MergeRule",
    "Partitions",
    "PartyRate",
    "Payload",
    "Priority",
    "Progress",
    "Prunable",
    "QuietComputeLogManager",
    "Report",
    "Request",
    "RequestCoordinator",
    "RequestStatus",
    "RetryPolicy",
    "ServerStorage",
    "Summary",
    "System",
    "attempt_counts",
    "database_resource",
    "enqueue",
    "enqueue_many",
    "enqueue_named",
    "host_rows",
    "job_row",
    "leases",
    "main",
    "one_op_job",
    "op_body",
    "operate",
    "rate_of_rpm",
    "read_progress",
    "report_figures",
    "sharded_job",
    "socket_path",
    "switched_off",
    "union",
    "warm_is_outdated",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, the first time."""
    if name not in _PLACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"{__name__}.{_PLACE[name]}"
    found = import_module(f"{home}.{name}") if name in _MODULES else getattr(import_module(home), name)
    globals()[name] = found
    return found
