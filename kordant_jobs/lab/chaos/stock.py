"""The two jobs as plain Dagster has them: no resource, no queue and no lease of ours.

(No `annotations` future here: Dagster reads the annotations of ops as objects.)
"""

import dagster as dg

from kordant_jobs.lab.chaos import peers
from kordant_jobs.lab.chaos.app import Effect, Poison


@dg.op(config_schema={"number": int, "port": int, "work_s": float})
def have_effect(context: dg.OpExecutionContext) -> None:
    """Work, have the effect, work."""
    peers.work(context.op_config["number"], context.op_config["port"], context.op_config["work_s"])


@dg.op(config_schema={"number": int, "port": int})
def die(context: dg.OpExecutionContext) -> None:
    """Say that it began, and kill this process."""
    peers.die(context.op_config["number"], context.op_config["port"])


@dg.job(name=Effect.job, executor_def=dg.in_process_executor)
def stock_effect() -> None:
    """One effect."""
    have_effect()


@dg.job(name=Poison.job, executor_def=dg.in_process_executor)
def stock_poison() -> None:
    """One death."""
    die()


defs = dg.Definitions(jobs=[stock_effect, stock_poison])
