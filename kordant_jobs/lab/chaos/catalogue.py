"""The job under test: one request is one effect on an outside party, and one row of ours."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kordant_jobs.engine.jobs import Backoff, JobRow, RetryPolicy
from kordant_jobs.engine.payload import Payload

RETRY_S = 0.2
LEASE_S = 2.0


class Effect(Payload):
    """The effect's number, where the sink listens, and how long the work takes before and after it."""

    job: ClassVar[str] = "chaos_effect"
    op: ClassVar[str] = "have_effect"

    number: int
    port: int
    work_s: float = Field(0.1, ge=0)


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
)
