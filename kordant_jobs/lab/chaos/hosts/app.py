"""The system on trial: all of our jobs, and one that calls the outside all the time that it works.

A job that was struck is tried again at once and as often as it takes: the delays of the product are minutes.
"""

import sys
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from kordant_jobs.app import SYSTEM as OURS
from kordant_jobs.engine.jobs import Backoff, JobRow, RetryPolicy
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.processes import main
from kordant_jobs.lab.chaos.app import RETRY_S

AT_ONCE = RetryPolicy(backoff=Backoff.FIXED, retries=100, first_s=RETRY_S, jitter=0.0)


class OutsideWork(Payload):
    """The work's number, where the sink listens, and how long it calls there before it has its effect."""

    job: ClassVar[str] = "chaos_outside"
    op: ClassVar[str] = "act_outside"

    number: int
    host: str
    port: int
    work_s: float = Field(0.0, ge=0)


OUTSIDE = JobRow(
    name=OutsideWork.job,
    alias="chaos.outside",
    purpose="calls to an outside party, an effect there, and its row",
    started_by="kordant-jobs chaos-hosts",
    payload=OutsideWork,
    timeout_s=300,
    cpu_s=60,
    memory_mb=2048,
    retries=AT_ONCE,
    concurrency=16,
)

SYSTEM = replace(
    OURS,
    app="kordant_jobs.lab.chaos.hosts.app",
    instance="kordant_jobs.lab.chaos.hosts.instance",
    definitions="kordant_jobs.lab.chaos.hosts.definitions",
    rows={**{name: replace(row, retries=AT_ONCE) for name, row in OURS.rows.items()}, OUTSIDE.name: OUTSIDE},
)

if __name__ == "__main__":
    from kordant_jobs.lab.chaos.hosts.app import SYSTEM as CHAOS

    sys.exit(main(CHAOS))
