"""Requests for runs that Dagster made: by tick, sensor, backfill, UI, re-execution or command.

The request waits in our queue under the job's own row and starts that same run, so that Dagster's link from tick or
backfill to run stays. `way_in` names the requester by the run's tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.queue.recorded import AsStarted, payload_of_run
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store import arrivals, attempts, given_runs, leases
from kordant_jobs.engine.store.arrivals import NewRequest

PARTITION_TAG = "dagster/partition"
BACKFILL_TAG = "dagster/backfill"
PARENT_TAG = "dagster/parent_run_id"
"""The run that a re-execution repeats."""
SCHEDULE_TAG = "kordant/schedule"
"""The tag of a run requested by a schedule, with its name; also when another trigger made up for a missed tick."""
PRIORITY_TAG = "kordant/priority"
"""critical, high, normal or low."""
DAGSTER_PRIORITY_TAG = "dagster/priority"
"""Dagster's own tag, a number: above 0 is high, below 0 low."""

UI, LAUNCHED, EXECUTED = "dagster:ui", "dagster:launch", "dagster:execute"
"""Requesters of runs without a tag for it: the launchpad, `dagster job launch`, `dagster job execute`."""

_WAYS = (
    (SCHEDULE_TAG, "schedule"),
    ("dagster/schedule_name", "schedule"),
    ("dagster/sensor_name", "sensor"),
    (BACKFILL_TAG, "backfill"),
    (PARENT_TAG, "repeats"),
)
HEAD_START = timedelta(days=1)
"""The time by which a tick's place in line is ahead of its due time, so that it waits behind no backlog of its own job
and priority."""


@dataclass(frozen=True, kw_only=True)
class GivenRun:
    """A run that Dagster made."""

    run_id: str
    job: str
    config: Mapping[str, Any]
    tags: Mapping[str, str]
    by: str
    """The requester, when no tag names it."""


def way_in(tags: Mapping[str, str]) -> str | None:
    """The requester of a run by its tags: `schedule:NAME`, `sensor:NAME`, `backfill:ID` or `repeats:RUN`; None when no
    tag names it.

    >>> way_in({"dagster/sensor_name": "outbox_sensor"})
    'sensor:outbox_sensor'
    """
    return next((f"{word}:{tags[tag]}" for tag, word in _WAYS if tag in tags), None)


def priority_of(row: JobRow, tags: Mapping[str, str]) -> Priority:
    """The priority in a run's tags; without one, low for a backfill's run and the job's own for any other. An invalid
    tag is ignored."""
    word = tags.get(PRIORITY_TAG, "").upper()
    if word in Priority.__members__:
        return Priority[word]
    try:
        number = int(tags.get(DAGSTER_PRIORITY_TAG, "0"))
    except ValueError:
        number = 0
    if number:
        return Priority.HIGH if number > 0 else Priority.LOW
    return Priority.LOW if BACKFILL_TAG in tags else row.priority


def queue_run(connection: Connection, row: JobRow, run: GivenRun, *, now: datetime) -> list[UUID]:
    """Create the requests with which this run waits for its turn, once the caller's transaction commits. Safe to
    repeat: a run that waits or has begun gets no second request (the list is then empty). A run that repeats another
    adopts the requests that the other left waiting or dead."""
    leases.lock_name(connection, f"run:{run.run_id}")
    if given_runs.is_known(connection, run.run_id):
        return []
    parent = run.tags.get(PARENT_TAG)
    ids = attempts.left_over(connection, parent, now=now) if parent else []
    if not ids:
        requested_by = way_in(run.tags) or run.by
        backfill = run.tags.get(BACKFILL_TAG)
        payload = payload_of_run(
            row, AsStarted(job=run.job, config=dict(run.config), partition_key=run.tags.get(PARTITION_TAG))
        )
        new = NewRequest(
            id=uuid7(),
            job=row.name,
            payload=payload.model_dump(mode="json"),
            priority=priority_of(row, run.tags),
            run_at=now,
            created_at=now,
            requested_by=requested_by,
            tenant=f"backfill:{backfill}" if backfill else None,
            head_start=HEAD_START if requested_by.startswith("schedule:") else None,
        )
        ids = [arrivals.insert_one(connection, new)[0]]
    given_runs.attach(connection, ids, run.run_id)
    return ids
