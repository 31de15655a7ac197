"""notifications_send in the catalogue: its payload, its limits, and its fallback schedule."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, MergeRule, Payload, Priority


class NotificationsSend(Payload):
    """Send the due notifications of the outbox. Many requests become one run, with the largest limits requested."""

    job: ClassVar[str] = "notifications_send"
    op: ClassVar[str] = "send"
    merging: ClassVar[Mapping[str, MergeRule]] = {"limit": max, "batch": max}

    limit: int = Field(100_000, ge=1, le=1_000_000, description="At most so many notifications in this run.")
    batch: int = Field(200, ge=1, le=10_000, description="Claimed and sent at once.")


ROW = JobRow(
    name="notifications_send",
    alias="notifications.send",
    purpose="pending notifications, as e-mail, push or text message: each alert once to each address",
    started_by="a notification that is due; every 15 minutes; by hand",
    payload=NotificationsSend,
    priority=Priority.HIGH,
    timeout_s=900,
    sla_s=900,
    cpu_s=900,
    memory_mb=1024,
    concurrency=2,
    batch_size=10_000,
    batch_wait_s=0.05,
)

SCHEDULES = (ScheduleRow(job=ROW.name, cron="*/15 * * * *", fold=Fold.TWICE, overlap=Overlap.SKIP),)
"""A fallback for the sensor."""
