"""What a request of each job carries: ids and closed words only, one Pydantic model a job, anything else refused.

A payload is the run config of its job's first op, too: its fields are what Dagster's launchpad shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, ValidationInfo, field_validator, model_validator

from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.domain.reports.periods import last_ended
from kordant_jobs.engine.payload import MergeRule, Payload, union


class DarkwatchScan(Payload):
    """Whose watchlists to scan, and what counts as new. All left out: every active subscription, and all that is new
    since each one's last scan."""

    job: ClassVar[str] = "darkwatch_scan"

    subscription_ids: tuple[UUID, ...] | None = Field(None, max_length=10_000, description="Only these subscriptions.")
    tiers: tuple[Tier, ...] = Field((), description="Only these tiers; empty: all.")
    known_from: AwareDatetime | None = Field(
        None, description="What became known from then on; empty: since each subscription's last scan."
    )
    known_until: AwareDatetime | None = Field(None, description="What became known before then; empty: now.")


class NotificationsSend(Payload):
    """Send what is due in the outbox. Many nudges are one emptying of it, with the largest limits asked for."""

    job: ClassVar[str] = "notifications_send"
    op: ClassVar[str] = "send"
    merging: ClassVar[Mapping[str, MergeRule]] = {"limit": max, "batch": max}

    limit: int = Field(100_000, ge=1, le=1_000_000, description="At most so many notifications in this run.")
    batch: int = Field(200, ge=1, le=10_000, description="Claimed and sent at once.")


class ReportsGenerate(Payload):
    """Make the reports of one kind and period. No days given: of the week or month that ended last, as of today."""

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
    def days(self) -> tuple[date, date]:
        """The period's first day, and the first day after it."""
        assert self.period_start_on  # noqa: S101 - a payload without days is refused
        assert self.period_end_on  # noqa: S101
        return self.period_start_on, self.period_end_on


class SubscriptionChanged(Payload):
    """Subscriptions that began, changed their tier, were paused, resumed or cancelled: see who is served when. The
    event names one, as `subscription_id`."""

    job: ClassVar[str] = "subscription_changed"
    op: ClassVar[str] = "place"
    merging: ClassVar[Mapping[str, MergeRule]] = {"subscription_ids": union}

    subscription_ids: tuple[UUID, ...] = Field(min_length=1, description="The subscriptions that changed.")

    @model_validator(mode="before")
    @classmethod
    def _an_event_names_one(cls, values: Any) -> Any:
        if isinstance(values, dict) and "subscription_id" in values and "subscription_ids" not in values:
            others = {name: value for name, value in values.items() if name != "subscription_id"}
            return {**others, "subscription_ids": [values["subscription_id"]]}
        return values
