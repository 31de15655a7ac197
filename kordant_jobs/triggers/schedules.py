"""Dagster's schedules, made from the price list. Each schedule checks its row again when it ticks.

(No `annotations` future here: Dagster reads the annotations of schedules as objects.)
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.schedules.rows import StoredScheduleRow
from kordant_jobs.engine.control import Filter, operate
from kordant_jobs.settings import load_settings
from kordant_jobs.triggers import copy
from kordant_jobs.triggers.orders import run_requests
from kordant_jobs.triggers.tick import RowCheck, StartDecision, decide_starts


def register_schedules(
    rows: Sequence[StoredScheduleRow] | None = None,
    *,
    jobs: Collection[str] = tuple(BY_NAME),
    state: Path | None = None,
) -> list[dg.ScheduleDefinition]:
    """One schedule for each row of the price list whose job exists, enabled or not; None: the rows of the last valid
    copy. A row that is disabled or paused keeps its schedule, which then skips: a schedule that is declared only when
    it is switched on would miss its first tick."""
    if rows is None:
        rows = copy.read(state or load_settings().state_dir)
    return [schedule_of(stored) for stored in rows if stored.row.job in jobs]


def asked_by(name: str) -> str:
    """The requester in a schedule's requests, whichever trigger made up for a tick."""
    return f"schedule:{name}"


def is_busy(db: Engine, name: str) -> bool:
    """True when a request of a schedule runs, or waits to start. One that waits for a retry does not count."""
    with db.connect() as connection:
        return operate.under_way(connection, requested_by=asked_by(name))


def cancel_unfinished_requests(db: Engine, name: str) -> None:
    """Cancel the unfinished requests of a schedule."""
    with db.begin() as connection:
        operate.cancel(connection, Filter(requested_by=asked_by(name)), now=operate.DatabaseClock(db).now())


def answer(db: Engine, taken: StartDecision) -> list[dg.RunRequest]:
    """The runs to start. The row's earlier runs are stopped first where its overlap policy requires that."""
    if taken.row is None:
        return []
    if taken.cancel_earlier_runs:
        cancel_unfinished_requests(db, taken.row.name)
    return [request for one in taken.starts for request in run_requests(taken.row, one)]


def _switch(stored: StoredScheduleRow) -> dg.DefaultScheduleStatus:
    """The default of the switch in Dagster's UI: off while the row is disabled or paused without an end."""
    paused = stored.pause is not None and stored.pause.until is None
    off = not stored.row.enabled or paused
    return dg.DefaultScheduleStatus.STOPPED if off else dg.DefaultScheduleStatus.RUNNING


def schedule_of(stored: StoredScheduleRow) -> dg.ScheduleDefinition:
    """The schedule of a row in its current state."""
    row = stored.row
    pause = "" if row.enabled else " (disabled)"
    if stored.pause is not None:
        until = f" until {stored.pause.until:%Y-%m-%d %H:%M} UTC" if stored.pause.until else ""
        pause = f" (paused{until}: {stored.pause.reason})"

    @dg.schedule(
        name=row.name,
        job_name=row.job,
        cron_schedule=row.cron,
        execution_timezone=row.time_zone,
        description=row.words + pause,
        default_status=_switch(stored),
        tags={
            "tier": row.tier.value if row.tier else "all",
            "cadence": row.cadence.value,
            **({"realtime": "yes"} if row.realtime else {}),
            **({"state": "disabled" if not row.enabled else "paused"} if pause else {}),
        },
        metadata={
            "price list": dg.MetadataValue.text(row.words + pause),
            "catch-up": row.catch_up.value,
            "overlap": row.overlap.value,
            "clocks": f"{row.gap}, {row.fold}",
            "version": stored.version,
            "changed": f"{stored.changed_at:%Y-%m-%d %H:%M} UTC by {stored.changed_by}",
        },
    )
    def tick(
        context: dg.ScheduleEvaluationContext, db: dg.ResourceParam[Engine]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        at = context.scheduled_execution_time
        check = RowCheck(key=row.key, source=f"tick {at.isoformat()}", tick_at=at, loaded=row)
        taken = decide_starts(db, check, busy=lambda: is_busy(db, row.name))
        asked = answer(db, taken)
        return asked or dg.SkipReason(taken.reason or "nothing is due at this tick")

    return tick
