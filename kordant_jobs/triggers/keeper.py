"""Catches up on starts that schedules missed: ticks that were missed or held back or are not Dagster's, and rows that a
lost event left behind.

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
from kordant_jobs.triggers.schedules import is_busy, stop_others
from kordant_jobs.triggers.tick import KEEPER, RowCheck, ToStart, overdue, take

EVERY_S = 60
EVERYBODY_EVERY_S = 600
"""Seconds between two checks of all rows: 0.2 s of Postgres for 100,000 subscriptions."""
GRACE = timedelta(seconds=45)
"""The time in which a Dagster tick may still come: a reload of the code takes a few seconds of it."""
REMEMBERED = timedelta(days=1)
"""The time after which a start of the keeper's without a run is given up."""


def keep(
    db: Engine, cursor: int, *, everybody: bool = True, off: Collection[str] = ()
) -> tuple[list[dg.RunRequest], int, int]:
    """The overdue runs, the new cursor, and the number of subscriptions' rows repaired (with `everybody`). Decisions
    after `cursor` are returned again until the cursor was stored, so a crash in between loses nothing. Schedules in
    `off` are switched off in Dagster's UI: none of their runs starts, or is overdue once they are on again."""
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        righted = due_slots.place(connection) if everybody and due_slots.misplaced(connection) else 0
    with db.connect() as connection:
        rows = [one for one in scheduler_config.load(connection).rows if one.row.job in BY_NAME]
        progress = schedule_progress.read(connection)
    by_key = {one.row.key: one.row for one in rows}
    _owe_nothing(db, [one.row for one in rows if one.row.name in off], now)
    for stored in rows:
        row = stored.row
        if row.name not in off and overdue(stored, progress.get(row.key), now - GRACE):
            check = RowCheck(key=row.key, source=f"{KEEPER} {now.isoformat()}")
            taken = take(db, check, busy=partial(is_busy, db, row.name))
            if taken.cancel_others:
                stop_others(db, row.name)
    requests: list[dg.RunRequest] = []
    with db.connect() as connection:
        decided = schedule_progress.recorded(connection, after_id=cursor)
        for one in decided:
            recent = one.decided_at > now - REMEMBERED
            if one.source.startswith(KEEPER) and recent and one.key in by_key:
                served = due_slots.served_by(connection, one.key, one.start.spans) if one.start.spans else {}
                requests += run_requests(by_key[one.key], ToStart(start=one.start, served=served))
    return requests, max([cursor, *(one.id for one in decided)]), righted


def _owe_nothing(db: Engine, rows: Sequence[ScheduleRow], now: datetime) -> None:
    with db.begin() as connection:
        for row in rows:
            schedule_progress.locked(connection, row.key, fresh_progress(row, now))
            schedule_progress.save(connection, row.key, fresh_progress(row, now))


def schedule_keeper(jobs: list[dg.JobDefinition]) -> dg.SensorDefinition:
    """The sensor that does this once a minute, for these jobs."""

    @dg.sensor(
        name="schedule_keeper",
        jobs=jobs,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="What schedules left over: missed while nothing ran, held back by an earlier run, or at a moment "
        "that only the row's own clock policy knows. Puts subscriptions right that an event was lost for.",
    )
    def sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> dg.SensorResult | dg.SkipReason:
        before = int(context.cursor or 0)
        everybody = time.time() % EVERYBODY_EVERY_S < 1.5 * EVERY_S  # a round may come late
        requests, cursor, righted = keep(db, before, everybody=everybody, off=switched_off(context.instance))
        if righted:
            context.log.info(f"{righted} rows of subscriptions were not what they should be, and are now.")
        if not requests and cursor == before:
            return dg.SkipReason("nothing was left over")
        return dg.SensorResult(run_requests=requests, cursor=str(cursor))

    return sensor
