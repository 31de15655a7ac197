"""darkwatch_scan in the catalogue: its payload, its limits, and how often it serves each tier."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field

from kordant_jobs.catalog._events import Start
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.rows import NIGHT, Cadence, ScheduleRow
from kordant_jobs.engine import JobRow, Merge, Payload


class DarkwatchScan(Payload):
    """The watchlists to scan, and the data that counts as new. Without any fields: every active subscription, and all
    data since its last scan."""

    job: ClassVar[str] = "darkwatch_scan"

    subscription_ids: tuple[UUID, ...] | None = Field(None, max_length=10_000, description="Only these subscriptions.")
    tiers: tuple[Tier, ...] = Field((), description="Only these tiers; empty: all.")
    known_from: AwareDatetime | None = Field(
        None, description="What became known from then on; empty: since each subscription's last scan."
    )
    known_until: AwareDatetime | None = Field(None, description="What became known before then; empty: now.")
    read_dumps: bool = Field(
        True, description="Read dumps that are new; else they are left to other scans, and answers wait for those."
    )


ROW = JobRow(
    name="darkwatch_scan",
    alias="darkwatch.scan",
    purpose="watched identifiers against breach dumps: exposures, verdicts, alerts",
    started_by="its tier's schedule; a new dump, breach or watched identifier (premium at once); "
    "a new subscription; by hand; a day's partition of a tier",
    partitions=tuple(Tier),
    payload=DarkwatchScan,
    timeout_s=3600,
    sla_s=3600,
    cpu_s=7200,
    memory_mb=4096,
    concurrency=2,
    critical_extra=1,
    key_concurrency=1,
    preload=(
        "kordant_jobs.adapters.kernels.blake2b",
        "kordant_jobs.adapters.kernels.lines",
        "kordant_jobs.adapters.kernels.runs",
    ),
)

SCHEDULES = (
    ScheduleRow(job=ROW.name, tier=Tier.BASIC, cadence=Cadence.MONTHLY, cron=NIGHT),
    ScheduleRow(job=ROW.name, tier=Tier.PLUS, cadence=Cadence.WEEKLY, cron=NIGHT),
    ScheduleRow(job=ROW.name, tier=Tier.PREMIUM, cadence=Cadence.DAILY, cron=NIGHT, realtime=True),
)

TOPICS = {
    "breach.published": Start(
        payload=lambda _: {"tiers": [Tier.PREMIUM.value]},
        merge=lambda _: Merge(key="breach.published", debounce_s=5, at_most_s=30),
    )
}
"""Events that start it: for premium at once, with one scan for several breaches; other tiers see a breach in their next
scan."""
