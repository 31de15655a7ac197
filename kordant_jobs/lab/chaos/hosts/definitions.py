"""The Dagster definitions of the system on trial: our jobs without their triggers, and the one that works outside.

(No `annotations` future here: Dagster reads the annotations of ops as objects.)
"""

import time
from functools import partial

import dagster as dg
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.definitions import JOBS
from kordant_jobs.engine.config_schema import config_schema
from kordant_jobs.engine.ops import op_body, report_figures
from kordant_jobs.engine.plugins import database_resource
from kordant_jobs.lab.chaos.effects import call, have
from kordant_jobs.lab.chaos.hosts.app import SYSTEM, OutsideWork
from kordant_jobs.resources import RESOURCES

CALL_EVERY_S = 0.1


@dg.op(config_schema=dict(config_schema(OutsideWork)))
def act_outside(context: dg.OpExecutionContext, db: dg.ResourceParam[Engine]) -> None:
    """Call the sink for as long as the work takes, have the effect, and write the row unless it is there. No unique key
    guards the row: the fence must."""
    with op_body(context, db) as progress:
        config = OutsideWork.checked(context.op_config)
        progress.start(1, "working")
        tell = partial(call, config.number, host=config.host, port=config.port, run_id=context.run_id)
        until = time.monotonic() + config.work_s
        tell()
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(CALL_EVERY_S, left_s))
            tell()
        have(config.number, host=config.host, port=config.port, run_id=context.run_id)
        with db.begin() as connection:
            row = {"number": config.number, "run_id": context.run_id}
            there = connection.execute(sa.text("SELECT 1 FROM chaos_effects WHERE number = :number"), row).scalar()
            if there is None:
                connection.execute(sa.text("INSERT INTO chaos_effects VALUES (:number, :run_id)"), row)
        report_figures(context, {"number": config.number})


@dg.graph(name=OutsideWork.job)
def chaos_outside_graph() -> None:
    """One piece of work."""
    act_outside()


defs = dg.Definitions(
    jobs=[*(job for jobs in JOBS for job in jobs.all), chaos_outside_graph.to_job(name=OutsideWork.job)],
    resources={**RESOURCES, "db": database_resource(SYSTEM)},
    executor=dg.in_process_executor,
)
