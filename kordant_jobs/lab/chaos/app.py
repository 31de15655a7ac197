"""The job under test: one request is one effect on an outside party, and one row of ours."""

import sys
from typing import ClassVar

from pydantic import Field

from kordant_jobs.app import engine_settings
from kordant_jobs.engine.jobs import Backoff, JobRow, RetryPolicy
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.processes import main
from kordant_jobs.engine.system import System

RETRY_S = 0.2
LEASE_S = 2.0


class Effect(Payload):
    """The effect's number, where the sink listens, and how long the work takes before and after it."""

    job: ClassVar[str] = "chaos_effect"
    op: ClassVar[str] = "have_effect"

    number: int
    port: int
    work_s: float = Field(0.1, ge=0)


class Poison(Payload):
    """A job whose process dies each time: the number by which the sink knows it, and where that listens."""

    job: ClassVar[str] = "chaos_poison"
    op: ClassVar[str] = "die"

    number: int
    port: int


CATALOG = (
    JobRow(
        name=Effect.job,
        alias="chaos.effect",
        purpose="an effect on an outside party, and its row",
        started_by="kordant-jobs chaos",
        payload=Effect,
        timeout_s=60,
        cpu_s=60,
        memory_mb=2048,
        retries=RetryPolicy(backoff=Backoff.FIXED, retries=100, first_s=RETRY_S, jitter=0.0),
        concurrency=8,
    ),
    JobRow(
        name=Poison.job,
        alias="chaos.poison",
        purpose="a job that kills its process",
        started_by="kordant-jobs chaos --compare",
        payload=Poison,
        timeout_s=60,
        cpu_s=60,
        memory_mb=2048,
        retries=RetryPolicy(backoff=Backoff.FIXED, retries=3, first_s=RETRY_S, jitter=0.0),
        concurrency=8,
    ),
)

SYSTEM = System(
    app="kordant_jobs.lab.chaos.app",
    instance="kordant_jobs.lab.chaos.instance",
    definitions="kordant_jobs.lab.chaos.definitions",
    rows={row.name: row for row in CATALOG},
    settings=engine_settings,
)

if __name__ == "__main__":
    from kordant_jobs.lab.chaos.app import SYSTEM as CHAOS

    sys.exit(main(CHAOS))
