"""cleanup in the catalogue: its payload, its limits, and its schedule."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, Payload, Priority


class Cleanup(Payload):
    """Delete data whose retention term is over."""

    job: ClassVar[str] = "cleanup"

    kinds: tuple[str, ...] = Field((), description="Only these kinds; none named: all that have a policy.")
    plan_id: UUID | None = Field(
        None,
        description="Carry out this plan, as `kordant-jobs cleanup plan` made it within a day: also kinds that a "
        "scheduled run stops at, since an operator has checked the figures.",
    )
    dry_run: bool = Field(False, description="Only count, and report that.")


ROW = JobRow(
    name="cleanup",
    alias="cleanup.weekly",
    purpose="data whose time is over is deleted by its retention policy, with a report of what went",
    started_by="Sundays at 03:00 in São Paulo; by hand",
    payload=Cleanup,
    priority=Priority.LOW,
    timeout_s=4 * 3600,
    sla_s=6 * 3600,
    cpu_s=2 * 3600,
    memory_mb=1024,
    concurrency=1,
)

SCHEDULES = (
    ScheduleRow(job=ROW.name, cron="0 3 * * 0", time_zone="America/Sao_Paulo", fold=Fold.ONCE, overlap=Overlap.SKIP),
)
