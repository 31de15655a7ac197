"""The catalogue of jobs: one module for each job, with its payload, its row and its schedules. The README's table is
made from it.

To add a job, add its module; nothing is listed here. The queue reads from `CATALOG` how a job's requests are claimed,
limited, coalesced and retried. `SCHEDULES` is the initial price list; after that the table `scheduler_config` counts,
which people edit.
"""

import pkgutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs import engine
from kordant_jobs.catalog._events import TOPICS as TOPICS
from kordant_jobs.catalog._events import WORKFLOW_TRIGGERED as WORKFLOW_TRIGGERED
from kordant_jobs.catalog._events import Event as Event
from kordant_jobs.catalog._events import OfEntity as OfEntity
from kordant_jobs.catalog._events import Start
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.domain.schedules.rows import ScheduleRow
from kordant_jobs.engine import JobRow, PartyRate, Payload, rate_of_rpm

_MODULES = [
    import_module(f"{__name__}.{found.name}")
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name)
    if not found.name.startswith("_")
]

CATALOG: tuple[JobRow, ...] = tuple(module.ROW for module in _MODULES)

BY_NAME = {row.name: row for row in CATALOG}

LISTENERS: Mapping[str, tuple[tuple[JobRow, Start], ...]] = {
    topic: tuple(
        (module.ROW, module.TOPICS[topic]) for module in _MODULES if topic in getattr(module, "TOPICS", ())
    )
    for topic in TOPICS
}  # fmt: skip
"""The jobs that each topic of events starts, as their modules define in `TOPICS`."""

enqueue = partial(engine.enqueue, catalog=BY_NAME)
"""Queue a request of one of these jobs, in the caller's transaction."""
enqueue_named = partial(engine.enqueue_named, catalog=BY_NAME)
"""As `enqueue`, by the job's name or alias and with plain JSON."""
enqueue_many = partial(engine.enqueue_many, catalog=BY_NAME)
"""As `enqueue`, for many requests of one job."""
job_row = partial(engine.job_row, catalog=BY_NAME)
"""The row of a job by its name or alias."""


SCHEDULES: tuple[ScheduleRow, ...] = tuple(row for module in _MODULES for row in getattr(module, "SCHEDULES", ()))
"""The initial price list, and the schedules of jobs that serve all tiers together."""

PARTIES: Mapping[str, PartyRate] = {}
"""Outside parties that several jobs use, by name, with the rate that their terms allow."""


SOURCE_RATES: Mapping[Source, tuple[PartyRate, ...]] = {
    Source.HIBP: (rate_of_rpm(10),),
    Source.XPOSEDORNOT: (
        PartyRate(per_s=1, burst=1),
        PartyRate(per_s=20 / 3600, burst=5),
        PartyRate(per_s=75 / 86_400, burst=25),
    ),
    Source.LEAKCHECK: (PartyRate(per_s=1, burst=1),),
}
"""Rate limits of outside sources, over all our processes: every bucket of a source must have a token. HIBP's is that of
its smallest plan, until `/subscription/status` has reported the key's own. XposedOrNot allows 2 a second, 25 an hour
and 100 a day; LeakCheck's public API one a second (Pro has its own terms)."""


SYSTEM_CRITICAL = frozenset({"bank_sync", "cleanup", "subscription_changed", "notifications_send"})
"""Jobs without which the system does not work: only an admin may cancel their requests."""


def publish(
    connection: Connection,
    topic: str,
    event: Event,
    *,
    requested_by: str,
    tenant: str | None = None,
    entity_key: str | None = None,
    allow: Callable[[Payload], object] = lambda _: None,
) -> list[UUID]:
    """Queue the requests that an event starts, in the caller's transaction. Returns their ids; `allow` may refuse a
    payload."""
    made: list[UUID] = []
    for row, start in LISTENERS[topic]:
        payload = row.payload.checked(start.payload(event))
        allow(payload)
        merge = start.merge(event) if start.merge else None
        made.append(
            enqueue(connection, payload, requested_by=requested_by, merge=merge, tenant=tenant, entity_key=entity_key)
        )
    return made


def reach_of(payload: Payload) -> frozenset[str] | None:
    """The ids of the entities that a request with this payload concerns; None: all, or unknown."""
    ids = getattr(payload, "subscription_ids", None) or getattr(payload, "entity_ids", None)
    return frozenset(map(str, ids)) if ids else None


def markdown_table() -> str:
    """The catalogue as a table for the README."""
    head = "| job | also called | what it does | started by |\n| --- | --- | --- | --- |\n"
    rows = []
    for row in CATALOG:
        names = ", ".join(f"`{name}`" for name in (row.name, *row.dagster_jobs[1:]))
        rows.append(f"| {names} | `{row.alias}` | {row.purpose} | {row.started_by} |")
    return head + "\n".join(rows) + "\n"
