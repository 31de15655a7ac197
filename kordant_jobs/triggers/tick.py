"""Decides which starts of a row are due, in one transaction: at a tick, or in `keeper` for ticks that were missed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.domain.schedules.cadence import Progress, Start, decide, fresh_progress
from kordant_jobs.domain.schedules.rows import Cadence, ScheduleRow, StartKind, StoredScheduleRow
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules import progress as schedule_progress

Served = Mapping[tuple[date, int], list[str]]
"""The ids of subscriptions by their due day and anchor."""

KEEPER = "keeper"


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """A check of a row of the price list for due starts. `source` identifies the check: a check with the same source
    gives the same starts. `tick_at` is the tick that caused it, and `loaded` the row from which Dagster made that
    tick's schedule."""

    key: tuple[str, str]
    source: str
    tick_at: datetime | None = None
    loaded: ScheduleRow | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedStart:
    """One start with its subscriptions (empty: the job as a whole)."""

    start: Start
    served: Served


@dataclass(frozen=True, kw_only=True)
class StartDecision:
    """The starts that a check decided, or the reason why there are none. `cancel_earlier_runs`: the row's earlier runs
    must be stopped first."""

    row: ScheduleRow | None = None
    starts: tuple[PlannedStart, ...] = ()
    reason: str = ""
    cancel_earlier_runs: bool = False


def decide_starts(
    db: Engine, check: RowCheck, *, busy: Callable[[], bool], now: datetime | None = None
) -> StartDecision:
    """Decide what is due and record it, so that no other process starts it. `now` is for tests; otherwise the
    database's clock counts. `busy` is called only when something may be due; it tells whether a run of this row is
    active."""
    with db.begin() as connection:
        stored = scheduler_config.get(connection, check.key)
        if stored is None:
            return StartDecision(reason="there is no such row any more")
        moment = now or connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        progress = schedule_progress.locked(connection, check.key, fresh_progress(stored.row, moment))
        again = schedule_progress.recorded(connection, key=check.key, source=check.source)
        if again:
            starts = [(one.start, _served(connection, check.key, one.start)) for one in again]
            return StartDecision(
                row=stored.row, starts=tuple(PlannedStart(start=start, served=whom) for start, whom in starts)
            )
        if reason := _stale(stored, check):
            return StartDecision(reason=reason)
        if (pause := stored.inactive_reason(moment)) is not None:
            schedule_progress.save(connection, check.key, fresh_progress(stored.row, moment))
            return StartDecision(reason=pause)
        return _decide(connection, stored, check, _after_pause(stored, progress, moment), moment, busy)


def _stale(stored: StoredScheduleRow, check: RowCheck) -> str:
    """The reason why a tick is ignored: its version of the row is not the current one."""
    if check.loaded is not None and _timing(check.loaded) != _timing(stored.row):
        return f"the schedule was changed by {stored.changed_by} and is being loaded again"
    if check.tick_at is not None and check.tick_at < stored.changed_at:
        return f"the tick is older than the edit by {stored.changed_by} at {stored.changed_at:%H:%M:%S}"
    return ""


def _timing(row: ScheduleRow) -> tuple[object, ...]:
    return row.cron, row.time_zone, row.cadence, row.gap, row.fold


def _after_pause(stored: StoredScheduleRow, progress: Progress, now: datetime) -> Progress:
    """The progress without ticks that passed during an expired pause: they are not made up for."""
    until = stored.pause.until if stored.pause else None
    if until is None or until > now or until <= progress.until:
        return progress
    rested = fresh_progress(stored.row, until)
    return replace(rested, position=max(rested.position, progress.position))


def _served(connection: Connection, key: tuple[str, str], start: Start) -> Served:
    return due_slots.served_by(connection, key, start.spans) if start.spans else {}


def _decide(
    connection: Connection,
    stored: StoredScheduleRow,
    check: RowCheck,
    progress: Progress,
    now: datetime,
    busy: Callable[[], bool],
) -> StartDecision:
    row = stored.row
    decision = decide(row, progress, now)
    if decision.starts and busy():
        decision = decide(row, progress, now, busy=True)
    whom = {start: _served(connection, check.key, start) for start in decision.starts}
    real = [one for one in decision.starts if whom[one] or row.cadence is Cadence.EVERY_TICK]
    schedule_progress.save(connection, check.key, decision.progress)
    for kind, starts in ((StartKind.STARTED, real), (StartKind.DROPPED, list(decision.dropped))):
        counted = [
            (start, sum(map(len, whom[start].values())) if start.spans and start in whom else None) for start in starts
        ]
        schedule_progress.record(
            connection, check.key, counted, kind=kind, source=check.source, version=stored.version, now=now
        )
    reason = decision.reason
    if decision.starts and not real:
        reason = f"no {row.tier} subscription is due at this tick"
    return StartDecision(
        row=row,
        starts=tuple(PlannedStart(start=start, served=whom[start]) for start in real),
        reason=reason,
        cancel_earlier_runs=decision.cancel_earlier_runs,
    )


def overdue(stored: StoredScheduleRow, progress: Progress | None, asked_at: datetime) -> bool:
    """True when a start of a row was due by `asked_at` and did not happen, or waits for the row's own run."""
    if progress is None or stored.inactive_reason(asked_at):
        return False
    return progress.held or bool(decide(stored.row, _after_pause(stored, progress, asked_at), asked_at).starts)
