"""Finds starts that Dagster's schedules did not make, and requests their runs: no tick happened while nothing ran, an
earlier run of the row was still active, or the time of the start is one at which Dagster does not tick. Also repairs
due slots of subscriptions whose event was lost.

(No `annotations` future here: Dagster reads the annotations of sensors as objects.)
"""

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

import dagster as dg
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.schedules.cadence import fresh_progress
from kordant_jobs.domain.schedules.rows import ScheduleRow
from kordant_jobs.engine.plugins import switched_off
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules import progress as schedule_progress
from kordant_jobs.triggers.orders import run_requests
from kordant_jobs.triggers.schedules import cancel_unfinished_requests, is_busy
from kordant_jobs.triggers.tick import KEEPER, PlannedStart, RowCheck, decide_starts, overdue

EVERY_S = 60
REPAIR_SLOTS_EVERY_S = 600
"""Seconds between two checks of the due slots of all subscriptions: 0.2 s of Postgres for 100,000 subscriptions."""
GRACE = timedelta(seconds=45)
"""The time in which a Dagster tick may still come: a reload of the code takes a few seconds of it."""
REMEMBERED = timedelta(days=1)
"""The time after which a start that this sensor decided, and that has no run yet, is given up."""


def find_missed_starts(
    db: Engine, cursor: int, *, repair_slots: bool = True, off_schedules: Collection[str] = ()
) -> tuple[list[dg.RunRequest], int, int]:
    """Decide which starts are overdue. Returns requests for their runs, the new cursor, and the number of due slots
    that were repaired (with `repair_slots`). Starts decided after `cursor` are returned again until the new cursor is
    stored, so a crash in between loses nothing. `off_schedules` are switched off in Dagster's UI: their starts are
    skipped, and are not made up for later."""
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        repaired = due_slots.place(connection) if repair_slots and due_slots.misplaced(connection) else 0
    with db.connect() as connection:
        rows = [one for one in scheduler_config.load(connection).rows if one.row.job in BY_NAME]
        progress = schedule_progress.read(connection)
    by_key = {one.row.key: one.row for one in rows}
    _skip_passed_starts(db, [one.row for one in rows if one.row.name in off_schedules], now)
    for stored in rows:
        row = stored.row
        if row.name not in off_schedules and overdue(stored, progress.get(row.key), now - GRACE):
            check = RowCheck(key=row.key, source=f"{KEEPER} {now.isoformat()}")
            taken = decide_starts(db, check, busy=partial(is_busy, db, row.name))
            if taken.cancel_earlier_runs:
                cancel_unfinished_requests(db, row.name)
    requests: list[dg.RunRequest] = []
    with db.connect() as connection:
        decided = schedule_progress.recorded(connection, after_id=cursor)
        for one in decided:
            recent = one.decided_at > now - REMEMBERED
            if one.source.startswith(KEEPER) and recent and one.key in by_key:
                served = due_slots.served_by(connection, one.key, one.start.spans) if one.start.spans else {}
                requests += run_requests(by_key[one.key], PlannedStart(start=one.start, served=served))
    return requests, max([cursor, *(one.id for one in decided)]), repaired


def _skip_passed_starts(db: Engine, rows: Sequence[ScheduleRow], now: datetime) -> None:
    with db.begin() as connection:
        for row in rows:
            schedule_progress.locked(connection, row.key, fresh_progress(row, now))
            schedule_progress.save(connection, row.key, fresh_progress(row, now))


def schedule_keeper(jobs: list[dg.JobDefinition]) -> dg.SensorDefinition:
    """The sensor that calls `find_missed_starts` once a minute, for these jobs."""

    @dg.sensor(
        name="schedule_keeper",
        jobs=jobs,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts that schedules missed: nothing ran at the tick, an earlier run was still active, or only "
        "the row's own clock policy has the time. Repairs due slots of subscriptions whose event was lost.",
    )
    def sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> dg.SensorResult | dg.SkipReason:
        before = int(context.cursor or 0)
        repair_slots = time.time() % REPAIR_SLOTS_EVERY_S < 1.5 * EVERY_S  # a round may come late
        requests, cursor, repaired = find_missed_starts(
            db, before, repair_slots=repair_slots, off_schedules=switched_off(context.instance)
        )
        if repaired:
            context.log.info(f"{repaired} due slots of subscriptions were wrong and have been repaired.")
        if not requests and cursor == before:
            return dg.SkipReason("no start was missed")
        return dg.SensorResult(run_requests=requests, cursor=str(cursor))

    return sensor
