"""What the engine bench runs: a job whose op writes down its clock, and stock Dagster's sensor before it."""

import os
import time
from collections.abc import Iterator

import dagster as dg
import sqlalchemy as sa


@dg.op(config_schema={"event": str})
def stamp(context: dg.OpExecutionContext) -> None:
    """Append the event and the time to the file of stamps, in one write."""
    file = os.open(os.environ["KORDANT_BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{context.op_config['event']} {time.time()}\n".encode())
    os.close(file)


@dg.job(executor_def=dg.in_process_executor)
def bench_job() -> None:
    """One op."""
    stamp()


def config_of(event: object) -> dict[str, object]:
    """The run config for an event."""
    return {"ops": {"stamp": {"config": {"event": str(event)}}}}


STOCK = os.environ.get("KORDANT_LAUNCHER") == "stock"


@dg.sensor(
    job=bench_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING if STOCK else dg.DefaultSensorStatus.STOPPED,
)
def bench_sensor(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """A run an event, by Dagster's own means."""
    engine = sa.create_engine(os.environ["KORDANT_DATABASE_URL"], poolclass=sa.NullPool)
    after = int(context.cursor or 0)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT id FROM bench_events WHERE id > :after ORDER BY id"), {"after": after}
        )
        for (event,) in rows:
            after = event
            yield dg.RunRequest(run_key=str(event), run_config=config_of(event))
    context.update_cursor(str(after))


defs = dg.Definitions(jobs=[bench_job], sensors=[bench_sensor])
