"""A job of your own in one file, run in this process on a database that is up to date.

    .venv/bin/python examples/add_a_job.py postgresql://…      # the URL that `kordant-jobs db url` prints

`kordant-jobs new job NAME` writes the same into the tree, with its test; it is in Dagster's UI and the queue then.
"""

from __future__ import annotations

import sys
from typing import ClassVar

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy import Engine

from kordant_jobs.engine import JobRow, Payload
from kordant_jobs.engine.job_shapes import Summary, one_op_job


class CountRequests(Payload):
    """Count the requests of some states."""

    job: ClassVar[str] = "count_requests"
    op: ClassVar[str] = "count"

    states: tuple[str, ...] = Field(("pending", "running"), description="Which states to count.")


ROW = JobRow(
    name="count_requests",
    alias="count.requests",
    purpose="requests counted by state",
    started_by="by hand",
    payload=CountRequests,
    timeout_s=60,
    sla_s=60,
    cpu_s=10,
    memory_mb=512,
    concurrency=1,
)


def count(payload: CountRequests, db: Engine) -> Summary:
    """Count the requests of each state that the payload names. Arguments are found by their names."""
    asked = sa.text("SELECT count(*) FROM kordant.job_requests WHERE status = :state")
    with db.connect() as connection:
        return Summary({state: connection.execute(asked, {"state": state}).scalar_one() for state in payload.states})


JOBS = one_op_job(ROW, service="examples", run=count)


def main(url: str) -> None:
    """Run it once, as Dagster does, and print its figures."""
    config = CountRequests.run_config([CountRequests(states=("pending", "dead"))])
    run = JOBS.plain.execute_in_process(run_config=config, resources={"db": sa.create_engine(url)})
    sys.stdout.write(f"{run.output_for_node('count')}\n")


if __name__ == "__main__":
    main(sys.argv[1].replace("postgresql://", "postgresql+psycopg2://", 1))
