"""A system of one job, whose runs do what their requests say: for tests of the whole engine."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import ClassVar

from kordant_jobs.app import engine_settings
from kordant_jobs.engine.jobs import Backoff, JobRow, RetryPolicy
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.processes import main
from kordant_jobs.engine.system import System

EFFECTS = "CREATE TABLE toy_effects (number int, run_id text)"


class Chore(Payload):
    """What to do, and the number by which its effect is known."""

    job: ClassVar[str] = "chore"
    op: ClassVar[str] = "do_chore"

    number: int = 0
    how: str = "well"
    folder: str = ""


class Errand(Chore):
    """As Chore, for the job of which one runs at a time."""

    job: ClassVar[str] = "errand"


CHORE = JobRow(
    name="chore",
    alias="tests.chore",
    purpose="tests",
    started_by="tests",
    payload=Chore,
    partitions=("premium",),
    timeout_s=300,
    cpu_s=60,
    memory_mb=2048,
    concurrency=8,
    retries=RetryPolicy(backoff=Backoff.FIXED, first_s=0.5, jitter=0.0),
)
ERRAND = replace(CHORE, name=Errand.job, alias="tests.errand", payload=Errand, concurrency=1)
CATALOG = (CHORE, ERRAND)

SYSTEM = System(
    app="kordant_jobs_tests.engine.toy_app",
    instance="kordant_jobs_tests.engine.toy_instance",
    definitions="kordant_jobs_tests.engine.toy_definitions",
    rows={row.name: row for row in CATALOG},
    settings=engine_settings,
)

if __name__ == "__main__":
    from kordant_jobs_tests.engine.toy_app import SYSTEM as TOYS

    sys.exit(main(TOYS))
