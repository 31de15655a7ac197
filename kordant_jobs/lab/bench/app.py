"""The system of the bench: the project's own jobs, and two of which only the start is of interest."""

import sys
from collections.abc import Mapping
from typing import ClassVar

from kordant_jobs.app import engine_settings
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.payload import MergeRule, Payload
from kordant_jobs.engine.processes import main
from kordant_jobs.engine.system import System


class Stamp(Payload):
    """One event: its op writes down its clock."""

    job: ClassVar[str] = "bench_stamp"
    op: ClassVar[str] = "stamp"
    merging: ClassVar[Mapping[str, MergeRule]] = {"event": min}

    event: int


class Nudge(Stamp):
    """Like Stamp, but for the job of which many requests become one run."""

    job: ClassVar[str] = "bench_nudge"


STAMP = JobRow(
    name=Stamp.job,
    alias="bench.stamp",
    purpose="a run an event",
    started_by="the bench",
    payload=Stamp,
    timeout_s=60,
    cpu_s=60,
    memory_mb=1024,
    concurrency=64,
)
NUDGE = JobRow(
    name=Nudge.job,
    alias="bench.nudge",
    purpose="a run for many events",
    started_by="the bench",
    payload=Nudge,
    timeout_s=60,
    cpu_s=60,
    memory_mb=1024,
    concurrency=2,
    batch_size=10_000,
    batch_wait_s=0.05,
)

CATALOG: Mapping[str, JobRow] = {**BY_NAME, STAMP.name: STAMP, NUDGE.name: NUDGE}

SYSTEM = System(
    app="kordant_jobs.lab.bench.app",
    instance="kordant_jobs.lab.bench.instance",
    definitions="kordant_jobs.lab.bench.definitions",
    rows=CATALOG,
    settings=engine_settings,
)

if __name__ == "__main__":
    from kordant_jobs.lab.bench.app import SYSTEM as BENCH

    sys.exit(main(BENCH))
