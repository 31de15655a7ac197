"""The Dagster definitions of the job under test. It does as real jobs do: an effect under a key, then its row.

(No `annotations` future here: Dagster reads the annotations of ops as objects.)
"""

import os
import signal
import time

import dagster as dg
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.config_schema import config_schema
from kordant_jobs.engine.ops import op_body, report_figures
from kordant_jobs.engine.run_side import database_resource
from kordant_jobs.lab.chaos.app import SYSTEM, Effect, Poison
from kordant_jobs.lab.chaos.effects import have


@dg.op(config_schema=dict(config_schema(Effect)))
def have_effect(context: dg.OpExecutionContext, db: dg.ResourceParam[Engine]) -> None:
    """Work, have the effect, work, write the row unless it is there. No unique key guards the row: the fence must."""
    with op_body(context, db) as progress:
        config = Effect.checked(context.op_config)
        progress.start(2, "working")
        time.sleep(config.work_s)
        have(config.number, port=config.port, run_id=context.run_id)
        progress.advance(1, "the effect was had")
        time.sleep(config.work_s)
        with db.begin() as connection:
            row = {"number": config.number, "run_id": context.run_id}
            there = connection.execute(sa.text("SELECT 1 FROM chaos_effects WHERE number = :number"), row).scalar()
            if there is None:
                connection.execute(sa.text("INSERT INTO chaos_effects VALUES (:number, :run_id)"), row)
        report_figures(context, {"number": config.number})


@dg.op(config_schema=dict(config_schema(Poison)))
def die(context: dg.OpExecutionContext, db: dg.ResourceParam[Engine]) -> None:
    """Say that it began, and kill this process."""
    config = Poison.checked(context.op_config)
    have(config.number, port=config.port, run_id=context.run_id)
    os.kill(os.getpid(), signal.SIGKILL)


@dg.graph(name=Poison.job)
def chaos_poison_graph() -> None:
    """One death."""
    die()


@dg.graph(name=Effect.job)
def chaos_effect_graph() -> None:
    """One effect."""
    have_effect()


defs = dg.Definitions(
    jobs=[chaos_effect_graph.to_job(name=Effect.job), chaos_poison_graph.to_job(name=Poison.job)],
    resources={"db": database_resource(SYSTEM)},
    executor=dg.in_process_executor,
)
