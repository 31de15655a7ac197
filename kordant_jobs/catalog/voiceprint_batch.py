"""voiceprint_batch in the catalogue: its payload, its limits, and its schedule."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, Payload


class VoiceprintBatch(Payload):
    """Analyse clips of voices: those of these subscriptions, or without `subscription_ids` all clips that are
    pending."""

    job: ClassVar[str] = "voiceprint_batch"

    subscription_ids: tuple[UUID, ...] | None = Field(None, max_length=10_000, description="Only these subscriptions.")
    read_drops: bool = Field(True, description="First import clips from the drop folder.")


ROW = JobRow(
    name="voiceprint_batch",
    alias="voiceprint.batch",
    purpose="clips of voices against the family's enrolled ones, and a screen for older synthesis; alerts",
    started_by="a new clip (premium at once); every 30 minutes; by hand",
    payload=VoiceprintBatch,
    timeout_s=3600,
    sla_s=3600,
    cpu_s=7200,
    memory_mb=2048,
    concurrency=2,
    key_concurrency=1,
)

REALTIME = (Tier.PREMIUM,)
"""Tiers whose clips are analysed as they arrive. The price list has no row for it, since clips have no slots."""

SCHEDULES = (ScheduleRow(job=ROW.name, cron="*/30 * * * *", fold=Fold.TWICE, overlap=Overlap.SKIP),)
"""Half-hourly for the tiers without real time, and as a fallback for the others."""
