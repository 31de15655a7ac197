"""hometitle_scan in the catalogue: its payload, its limits, and how often it serves each tier."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.rows import NIGHT, Cadence, ScheduleRow
from kordant_jobs.engine import JobRow, Payload


class HometitleScan(Payload):
    """Scan watched parcels and owners; without any field set, those of every active subscription. Each scan reports
    what is new since the last one."""

    job: ClassVar[str] = "hometitle_scan"

    subscription_ids: tuple[UUID, ...] | None = Field(None, max_length=10_000, description="Only these subscriptions.")
    tiers: tuple[Tier, ...] = Field((), description="Only these tiers; empty: all.")
    known_from: AwareDatetime | None = Field(
        None, description="What became known from then on; empty: since each subscription's last scan."
    )
    known_until: AwareDatetime | None = Field(None, description="What became known before then; empty: now.")


ROW = JobRow(
    name="hometitle_scan",
    alias="hometitle.scan",
    purpose="watched parcels and owners against county records: deeds, liens, releases; alerts",
    started_by="its tier's schedule; new data of a county, a newly watched parcel (premium at once); by hand; "
    "a day's partition of a tier",
    partitions=tuple(Tier),
    payload=HometitleScan,
    timeout_s=3600,
    sla_s=2 * 3600,
    cpu_s=7200,
    memory_mb=4096,
    concurrency=1,
    key_concurrency=1,
)

SCHEDULES = (
    ScheduleRow(job=ROW.name, tier=Tier.BASIC, cadence=Cadence.MONTHLY, cron=NIGHT),
    ScheduleRow(job=ROW.name, tier=Tier.PLUS, cadence=Cadence.WEEKLY, cron=NIGHT),
    ScheduleRow(job=ROW.name, tier=Tier.PREMIUM, cadence=Cadence.DAILY, cron=NIGHT, realtime=True),
)
