"""A job of two ops on the real resources, which does what its request says: for tests of the whole engine.

Its effect is a row of the table `toy_effects`, which the test makes; what it leaves in `folder` is for the test to see.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.config_schema import config_schema
from kordant_jobs.engine.ops import op_body, report_figures
from kordant_jobs.engine.run_side import database_resource
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs_tests.engine.toy_app import SYSTEM, Chore


@dg.op(config_schema=dict(config_schema(Chore)))
def do_chore(context: dg.OpExecutionContext, db: dg.ResourceParam[Engine]) -> int:
    """The effect, once: well, badly, paused before it, or when a file says so."""
    with op_body(context, db) as progress:
        config = Chore.checked(context.op_config)
        progress.start(2, "begun")
        if config.how == "cancelled":
            with db.begin() as connection:
                connection.execute(sa.text("UPDATE kordant.job_requests SET cancel_requested_at = now()"))
        _misbehave(config, attempt=_attempts(config, context.run_id))
        progress.flush("about to do it")
        with db.begin() as connection:
            row = {"number": config.number, "run_id": context.run_id}
            connection.execute(sa.text("INSERT INTO toy_effects VALUES (:number, :run_id)"), row)
        progress.advance(1, "done")
        return config.number


def _attempts(config: Chore, run_id: str) -> int:
    if not config.folder:
        return 1
    with Path(config.folder, "runs").open("a") as file:
        file.write(f"{run_id} {os.getpid()}\n")
    return len(Path(config.folder, "runs").read_text().splitlines())


def _misbehave(config: Chore, *, attempt: int) -> None:
    match config.how:
        case "permanent":
            raise SettingsError("KORDANT_X is wrong: set it right")
        case "later":
            raise SourceUnavailable("the source is busy", retry_after_s=600)
        case "fail once" if attempt == 1:
            raise SourceUnavailable("the source did not answer")
        case "pause once" if attempt == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        case "outside" | "outside, deaf":
            if config.how == "outside, deaf":
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
            with Path(config.folder, "outside").open("a", buffering=1) as file:
                while not Path(config.folder, "go").exists():
                    file.write(f"{time.monotonic()} {child.pid}\n")
                    time.sleep(0.02)
            child.kill()
            child.wait()
        case "wait":
            while not Path(config.folder, "go").exists():
                time.sleep(0.02)


@dg.op
def sum_up(context: dg.OpExecutionContext, number: int, db: dg.ResourceParam[Engine]) -> None:
    """Figures, and an item that failed when the number is odd."""
    with op_body(context, db):
        report_figures(context, {"number": number}, items_failed=number % 2)


@dg.graph(name="chore")
def chore_graph() -> None:
    """Do it, and sum up."""
    sum_up(do_chore())


@dg.daily_partitioned_config(start_date="2025-01-01")
def of_day(start: Any, end: Any) -> dict[str, Any]:
    """The day as a number."""
    return {"ops": {"do_chore": {"config": {"number": start.day * 2}}}}


chore = chore_graph.to_job(name="chore")
chore_premium = chore_graph.to_job(name="chore_premium", config=of_day)


errand = chore_graph.to_job(name="errand")
errand_premium = chore_graph.to_job(name="errand_premium", config=of_day)


@dg.schedule(job=errand, cron_schedule="* * * * *")
def errand_schedule(context: dg.ScheduleEvaluationContext) -> Any:
    """A run a minute, once it is switched on."""
    return dg.RunRequest(run_config={"ops": {"do_chore": {"config": {"number": 2}}}})


@dg.sensor(jobs=[chore, errand], minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def chore_sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> Any:
    """A run a row of `toy_wishes`; a number below 0 is an errand."""
    with db.connect() as connection:
        wishes = connection.execute(sa.text("SELECT number FROM toy_wishes")).scalars().all()
    return [
        dg.RunRequest(
            run_key=str(number),
            job_name="chore" if number > 0 else "errand",
            run_config={"ops": {"do_chore": {"config": {"number": number}}}},
        )
        for number in wishes
    ]


defs = dg.Definitions(
    jobs=[chore, chore_premium, errand, errand_premium],
    schedules=[errand_schedule],
    sensors=[chore_sensor],
    resources={"db": database_resource(SYSTEM)},
    executor=dg.in_process_executor,
)
