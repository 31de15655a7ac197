"""Changes the price list: a change is checked, its effect is shown, then it is made in one transaction with all its
consequences."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.catalog import BY_NAME, SCHEDULES
from kordant_jobs.domain.schedules.cadence import fresh_progress, next_due
from kordant_jobs.domain.schedules.rows import (
    COLUMNS,
    EVERYBODY,
    Cadence,
    Pause,
    ScheduleRow,
    StoredScheduleRow,
    row_from,
)
from kordant_jobs.domain.schedules.simulation import Outage, Planned, simulate
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules import progress as schedule_progress

Key = tuple[str, str]

KEYS = tuple(name for name in COLUMNS if name not in {"job", "tier"})
"""The fields of a row that can be changed."""


def ensure(connection: Connection) -> int:
    """Insert missing rows of today's catalogue, and assign all subscriptions to slots. Returns the number of rows
    inserted. Safe to repeat, and to run concurrently."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kordant:scheduler_config', 0))"))
    made = scheduler_config.seed(connection, SCHEDULES)
    if made:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        rows = [one.row for one in scheduler_config.load(connection).rows]
        schedule_progress.add_missing(connection, {row.key: fresh_progress(row, now) for row in rows})
        due_slots.place(connection)
    return made


def planned(
    connection: Connection,
    rows: Sequence[StoredScheduleRow],
    *,
    start: datetime,
    until: datetime,
    outages: Sequence[Outage] = (),
) -> list[Planned]:
    """The starts of these rows between two times, by the rules that decide on real ones, the earliest first."""
    progress = schedule_progress.read(connection)
    found: list[Planned] = []
    for one in rows:
        places, here = due_slots.places(connection, one.row.key), progress.get(one.row.key)
        found += simulate(one, places, start=start, until=until, outages=outages, progress=here)
    return sorted(found, key=lambda one: (one.starts_at, one.name))


def key_of(job: str, tier: str | None) -> Key:
    """The key of a row, the job by its name or its dotted alias."""
    named = next((row.name for row in BY_NAME.values() if row.alias == job), job)
    return named, tier or EVERYBODY


def read_row(connection: Connection, key: Key, *, lock: bool = False) -> StoredScheduleRow:
    """The row with this key, as stored.

    Raises:
        PermanentError: there is no such row; the message lists those that exist.
    """
    found = scheduler_config.get(connection, key, lock=lock)
    if found is None:
        names = ", ".join(f"{one.row.key[0]}:{one.row.key[1]}" for one in scheduler_config.load(connection).rows)
        raise PermanentError(f"there is no row {key[0]}:{key[1]}; there are {names or 'none yet: start `up` once'}.")
    return found


def proposed(before: ScheduleRow, changes: Mapping[str, Any], *, jobs: Collection[str] = tuple(BY_NAME)) -> ScheduleRow:
    """The row after the change.

    Raises:
        PermanentError: a name or value is wrong, or the row would start a job that is not there yet.
    """
    if unknown := set(changes) - set(KEYS):
        raise PermanentError(f"a row has no {min(unknown)}; it has {', '.join(KEYS)}.")
    after = row_from({**before.to_json(), **changes})
    if after.enabled and after.job not in jobs:
        raise PermanentError(f"{after.job} is not there yet: its row stays disabled until the job is in the catalogue.")
    return after


def change(
    connection: Connection, key: Key, changes: Mapping[str, Any], *, by: str, note: str | None = None
) -> StoredScheduleRow:
    """Change a row, and update what depends on it: the progress of the row, and the due slots of all subscriptions if
    its cadence, anchor or `enabled` changed. A change without effect makes no version.

    Raises:
        PermanentError: as `read_row` and `proposed`.
    """
    before = read_row(connection, key, lock=True)
    after = proposed(before.row, changes)
    if after == before.row:
        return before
    saved = scheduler_config.save(connection, after, by=by, note=note)
    progress = schedule_progress.locked(connection, key, fresh_progress(after, saved.changed_at))
    fresh = fresh_progress(after, saved.changed_at)
    if not before.row.enabled or (before.row.cadence is Cadence.EVERY_TICK) != (after.cadence is Cadence.EVERY_TICK):
        schedule_progress.save(connection, key, fresh)
    elif after.cadence is Cadence.EVERY_TICK:
        schedule_progress.save(connection, key, replace(progress, until=max(progress.until, saved.changed_at)))
    placed_by = ("cadence", "anchor", "enabled")
    if any(getattr(before.row, name) != getattr(after, name) for name in placed_by):
        due_slots.place(connection)
    return saved


def pause(
    connection: Connection, key: Key, *, reason: str, until: datetime | None, by: str, now: datetime | None = None
) -> StoredScheduleRow:
    """Pause a row. Runs that the pause prevented are not made up for afterwards.

    Raises:
        PermanentError: there is no such row, no reason, or the end is past.
    """
    read_row(connection, key, lock=True)
    moment = now or connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    if not reason.strip():
        raise PermanentError("say why: --reason 'the source is being moved'.")
    if until is not None and until <= moment:
        raise PermanentError(f"{until:%Y-%m-%d %H:%M} UTC is past: a pause ends later than now, or when resumed.")
    scheduler_config.set_pause(connection, key, Pause(reason=reason, by=by, since=moment, until=until), by=by)
    return read_row(connection, key)


def resume(connection: Connection, key: Key, *, by: str, now: datetime | None = None) -> StoredScheduleRow:
    """Resume a row from now on.

    Raises:
        PermanentError: there is no such row, or it is not paused.
    """
    before = read_row(connection, key, lock=True)
    if before.pause is None:
        raise PermanentError(f"{key[0]}:{key[1]} is not paused.")
    moment = now or connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    scheduler_config.set_pause(connection, key, None, by=by)
    if before.pause.holds(moment):
        schedule_progress.save(connection, key, fresh_progress(before.row, moment))
    return read_row(connection, key)


def next_services(connection: Connection, subscription_id: UUID, *, now: datetime) -> dict[str, datetime | None]:
    """The time at which each job next serves a subscription; None: not within 13 months, or the row is missing."""
    rows = {one.row.key: one for one in scheduler_config.load(connection).rows}
    due = {}
    for slot in due_slots.of_subscription(connection, subscription_id):
        stored = rows.get((slot.job, slot.tier))
        due[slot.job] = next_due(stored.row, slot.anchor, slot.slot, now) if stored else None
    return due
