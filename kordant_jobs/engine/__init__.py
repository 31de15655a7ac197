"""Background jobs on Dagster and Postgres: one queue with one entry point, retries, leases, limits, and runs that start
at once.

The engine knows no job. An application describes its jobs as rows and asks for runs, with the names of this module.
The rest of the public interface stands in four modules beside it:

    job_shapes  write a job: plan, work in chunks, finish
    control     watch and change the queue: find, cancel, replay, pause; leases, attempts, hosts
    system      describe a system for the engine's processes, which `processes.main` runs
    plugins     what Dagster's settings and definitions name

Describe a job
    JobRow        its names, limits, concurrency and priority
    Payload       what a request of it carries: a Pydantic model, ids only; `MergeRule` and `union` say how the payloads
                  of two requests become one
    Priority      critical, high, normal, low
    RetryPolicy   how often and how late it is tried again; `Backoff`
    PartyRate     calls of an outside party in a time; `rate_of_rpm`
    Progress      how far a run is
Ask for a run
    enqueue       a request, in the caller's own transaction; `enqueue_named` by name and with plain JSON,
                  `enqueue_many` with an `Item` for each
    Merge         what became of a request that met an open one
    job_row       the row of a job by its name or alias

What needs SQLAlchemy is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kordant_jobs.engine.jobs import Backoff, JobRow, PartyRate, RetryPolicy, rate_of_rpm
from kordant_jobs.engine.payload import MergeRule, Payload, union
from kordant_jobs.engine.requests import Priority

if TYPE_CHECKING:
    from kordant_jobs.engine.queue.enqueue import Item, enqueue, enqueue_many, enqueue_named, job_row
    from kordant_jobs.engine.store.arrivals import Merge
    from kordant_jobs.engine.store.progress import Progress

_LATER = {
    **dict.fromkeys(("Item", "enqueue", "enqueue_many", "enqueue_named", "job_row"), "queue.enqueue"),
    "Merge": "store.arrivals",
    "Progress": "store.progress",
}

__all__ = [
    "Backoff",
    "Item",
    "JobRow",
    "Merge",
    "MergeRule",
    "PartyRate",
    "Payload",
    "Priority",
    "Progress",
    "RetryPolicy",
    "enqueue",
    "enqueue_many",
    "enqueue_named",
    "job_row",
    "rate_of_rpm",
    "union",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, the first time."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return found
