"""removebrokers_process in the catalogue: its payload, its limits, and its schedule."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, MergeRule, Payload, Priority


class RemovebrokersProcess(Payload):
    """Take the next step of every due removal request. Many requests become one run."""

    job: ClassVar[str] = "removebrokers_process"
    merging: ClassVar[Mapping[str, MergeRule]] = {"read_replies": max}

    read_replies: bool = Field(True, description="Read the mailbox for replies first.")


ROW = JobRow(
    name="removebrokers_process",
    alias="removebrokers.process",
    purpose="removal requests to data brokers: sent, answered, reminded, verified by our own check",
    started_by="every hour; by hand",
    payload=RemovebrokersProcess,
    priority=Priority.NORMAL,
    timeout_s=3000,
    sla_s=2 * 3600,
    cpu_s=3000,
    memory_mb=2048,
    concurrency=1,
    batch_size=1000,
)

SCHEDULES = (ScheduleRow(job=ROW.name, cron="15 * * * *", fold=Fold.TWICE, overlap=Overlap.SKIP),)
"""Hourly, so that a deadline is handled within the day."""
