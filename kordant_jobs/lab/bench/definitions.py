"""The definitions of the bench's system: the project's own definitions, so that it is as heavy as the real one; a job
whose op writes down its clock, alone and for many; and the sensor by which stock Dagster gets at the same events.

(No `annotations` future here: Dagster reads the annotations of ops as objects.)
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs import definitions
from kordant_jobs.engine.config_schema import config_schema
from kordant_jobs.engine.ops import op_body
from kordant_jobs.engine.run_side import database_resource
from kordant_jobs.lab.bench.app import SYSTEM, Nudge, Stamp
from kordant_jobs.settings import load_settings

STAMPS = "stamps"
"""In the state folder: a line an event, `event clock`."""
EVENTS = "bench_events"
"""Stock Dagster's table of events: `kind` is the name of a job, or URGENT."""
URGENT, LATER = "urgent", "later"
PRIORITY_TAG = "dagster/priority"


def write_down(event: int) -> None:
    """Append the event and the time to the file of stamps, in one write."""
    path: Path = load_settings().state_dir / STAMPS
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{event} {time.time()}\n".encode())
    os.close(file)


@dg.op(config_schema=dict(config_schema(Stamp)))
def stamp(context: dg.OpExecutionContext, db: dg.ResourceParam[Engine]) -> None:
    """An op with all that surrounds the work of ours; its work is to write down the time."""
    with op_body(context, db):
        write_down(context.op_config["event"])


OWN = {"db": database_resource(SYSTEM)}
"""Of the bench's jobs: the others are fenced as the project's own."""


@dg.job(name=Stamp.job, executor_def=dg.in_process_executor, resource_defs=OWN)
def bench_stamp() -> None:
    """One op, for one event."""
    stamp()


@dg.job(name=Nudge.job, executor_def=dg.in_process_executor, resource_defs=OWN)
def bench_nudge() -> None:
    """One op, for many events."""
    stamp()


@dg.sensor(jobs=[bench_stamp, bench_nudge], minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def bench_sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> Iterator[dg.RunRequest]:
    """A run an event, and one for all events of the job that takes many, by Dagster's own means."""
    after = int(context.cursor or 0)
    with db.connect() as connection:
        query = sa.text(f"SELECT id, kind FROM {EVENTS} WHERE id > :after ORDER BY id")  # noqa: S608 - a constant
        rows = list(connection.execute(query, {"after": after}))
    many = [event for event, kind in rows if kind == Nudge.job]
    if many:
        config = Nudge.run_config([Nudge(event=many[0])])
        yield dg.RunRequest(run_key=str(many[0]), job_name=Nudge.job, run_config=config)
    for event, kind in rows:
        if kind != Nudge.job:
            yield dg.RunRequest(
                run_key=str(event),
                job_name=Stamp.job,
                run_config=Stamp.run_config([Stamp(event=event)]),
                tags={PRIORITY_TAG: {URGENT: "10", LATER: "-10"}.get(kind, "0")},
            )
    context.update_cursor(str(rows[-1][0] if rows else after))


STOCK = os.environ.get("KORDANT_LAUNCHER") == "stock"

defs = dg.Definitions.merge(
    definitions.defs,  # not by a name of this module: Dagster takes each name that is one
    dg.Definitions(jobs=[bench_stamp, bench_nudge], sensors=[bench_sensor] if STOCK else []),
)
