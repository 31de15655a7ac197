"""reports_generate in the catalogue: its payload, its limits, and how often it serves each tier."""

from datetime import UTC, date, datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.reports.periods import last_ended
from kordant_jobs.domain.schedules.rows import Anchor, Cadence, CatchUp, Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, Payload, Priority


class ReportsGenerate(Payload):
    """Make the reports of one kind and period. Without days, the period is the last complete week or month (UTC)."""

    job: ClassVar[str] = "reports_generate"

    kind: Literal["weekly", "monthly", "on_demand"] = Field("monthly", description="On demand needs both days.")
    period_start_on: date | None = Field(
        None, validate_default=True, description="First day covered (UTC); empty: of the week or month that ended last."
    )
    period_end_on: date | None = Field(
        None, validate_default=True, description="First day not covered; given when the first day is."
    )
    subscription_ids: tuple[UUID, ...] | None = Field(None, max_length=10_000, description="Only these subscriptions.")
    tiers: tuple[Tier, ...] = Field((), description="Only these tiers; empty: all.")
    only_affected: bool = Field(False, description="Only subscriptions that have something exposed.")
    force: bool = Field(False, description="Make them again even where the figures did not change.")

    @model_validator(mode="before")
    @classmethod
    def _the_last_period_when_none_is_given(cls, values: Any, info: ValidationInfo) -> Any:
        days = ("period_start_on", "period_end_on")
        kind = values.get("kind", "monthly") if isinstance(values, dict) else None
        if kind not in {"weekly", "monthly"} or any(values.get(name) is not None for name in days):
            return values
        today = (info.context or {}).get("today") or datetime.now(UTC).date()
        return {**values, **dict(zip(days, last_ended(weekly=kind == "weekly", today=today), strict=True))}

    @field_validator("period_start_on", "period_end_on")
    @classmethod
    def _a_period_has_days(cls, day: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("period_start_on")
        if day is None:
            raise ValueError("give the first day and the first day after the period, or neither")
        if info.field_name == "period_end_on" and start is not None and day <= start:
            raise ValueError("period_end_on is the first day not covered: it must lie after period_start_on")
        return day

    @property
    def period(self) -> tuple[date, date]:
        """The period's first day, and the first day after it."""
        assert self.period_start_on  # noqa: S101 - a payload without days is refused
        assert self.period_end_on  # noqa: S101 - as above
        return self.period_start_on, self.period_end_on


ROW = JobRow(
    name="reports_generate",
    alias="reports.generate",
    purpose="a PDF a subscription and period: what was checked, found and advised",
    started_by="its tier's schedule; by hand, for all, some tiers or some subscriptions; "
    "a week's or month's partition of a tier",
    partitions=(Tier.PLUS, Tier.PREMIUM),
    payload=ReportsGenerate,
    priority=Priority.LOW,
    timeout_s=7200,
    sla_s=4 * 3600,
    cpu_s=14_400,
    memory_mb=4096,
    concurrency=1,
)

MONTHS_BACK_S = 63 * 86_400
"""The time for which missed reports are made up for: two months of any length."""

SCHEDULES = tuple(
    ScheduleRow(
        job=ROW.name,
        tier=tier,
        cadence=cadence,
        cron="*/30 6-8 * * *",
        anchor=Anchor.CALENDAR,
        catch_up=CatchUp.ALL,
        catch_up_window_s=MONTHS_BACK_S,
        overlap=Overlap.QUEUE_ALL,
        priority=Priority.LOW,
    )
    for tier, cadence in ((Tier.PLUS, Cadence.MONTHLY), (Tier.PREMIUM, Cadence.WEEKLY))
)
"""Schedules of whole calendar weeks and months, so that a partition is the same report; none is skipped."""
