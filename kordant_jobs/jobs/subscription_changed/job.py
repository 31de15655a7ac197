"""subscription_changed in Dagster: one op.

(No `annotations` future here: Dagster reads the annotations of ops as objects.)
"""

from dataclasses import asdict
from uuid import UUID

import dagster as dg
from pydantic import Field
from sqlalchemy import Engine

from kordant_jobs.engine.op_body import op_body
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.subscription_changed import service
from kordant_jobs.jobs.subscription_changed.service import JOB


class ChangedConfig(dg.Config):
    """Whose schedules to look at."""

    subscription_ids: list[str] = Field(description="The subscriptions that changed, by id.")


@dg.op(name="place_subscriptions")
def place_op(context: dg.OpExecutionContext, config: ChangedConfig, db: dg.ResourceParam[Engine]) -> dict[str, int]:
    """Have each served as its tier and status say."""
    with op_body(context, db) as progress:
        try:
            ids = [UUID(one) for one in config.subscription_ids]
        except ValueError:
            raise PermanentError(
                "ops.place_subscriptions.config.subscription_ids holds something that is no UUID."
            ) from None
        figures = asdict(service.place(ids, db=db))
        context.add_output_metadata(figures)
        progress.flush("done")
        return figures


@dg.graph(name=JOB)
def subscription_changed_graph() -> None:
    """Look at who is served when."""
    place_op()


subscription_changed = subscription_changed_graph.to_job(
    name=JOB,
    description="Who is served when, after a subscription began, changed its tier, rests or ended.",
    tags={"kordant/service": "subscriptions"},
    executor_def=dg.in_process_executor,
)
