"""What a request of each job carries: ids and closed words only, one Pydantic model a job, anything else refused.

A payload also says what the job's Dagster run is configured with, for one request or for many that became one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.engine.payload import Payload


class DarkwatchScan(Payload):
    """Scan these subscriptions, or all of these tiers; both empty: every active subscription."""

    job: ClassVar[str] = "darkwatch_scan"

    subscription_ids: tuple[UUID, ...] | None = Field(None, max_length=10_000)
    tiers: tuple[Tier, ...] = ()

    @classmethod
    def run_config(cls, batch: Sequence[Self]) -> Mapping[str, Any]:
        """One plan for all: the union of the subscriptions; requests that differ in tiers do not share a run."""
        config: dict[str, Any] = {"tiers": sorted({tier.value for one in batch for tier in one.tiers})}
        if all(one.subscription_ids is not None for one in batch):
            config["subscription_ids"] = sorted({str(item) for one in batch for item in one.subscription_ids or ()})
        return {"ops": {"plan": {"config": config}}}


class NotificationsSend(Payload):
    """Send what waits in the outbox, at most `limit` notifications in one run."""

    job: ClassVar[str] = "notifications_send"

    limit: int = Field(100_000, ge=1, le=1_000_000)

    @classmethod
    def run_config(cls, batch: Sequence[Self]) -> Mapping[str, Any]:
        """Many nudges are one emptying of the outbox, with the largest limit asked for."""
        return {"ops": {"send_notifications": {"config": {"limit": max(one.limit for one in batch)}}}}


class ReportsGenerate(Payload):
    """Make the reports of one kind and period."""

    job: ClassVar[str] = "reports_generate"

    kind: Literal["weekly", "monthly", "on_demand"]
    period_start_on: date
    period_end_on: date
    subscription_ids: tuple[UUID, ...] | None = Field(None, max_length=10_000)
    tiers: tuple[Tier, ...] = ()
    only_affected: bool = False
    force: bool = False

    @model_validator(mode="after")
    def _a_period_has_days(self) -> Self:
        if self.period_end_on <= self.period_start_on:
            raise ValueError("period_end_on is the first day not covered: it must lie after period_start_on")
        return self

    @classmethod
    def run_config(cls, batch: Sequence[Self]) -> Mapping[str, Any]:
        """A report run serves one request."""
        (one,) = batch
        return {"ops": {"plan_reports": {"config": one.model_dump(mode="json", exclude_none=True)}}}


class SubscriptionChanged(Payload):
    """A subscription began, changed its tier, was paused, resumed or cancelled: see who is served when."""

    job: ClassVar[str] = "subscription_changed"

    subscription_id: UUID

    @classmethod
    def run_config(cls, batch: Sequence[Self]) -> Mapping[str, Any]:
        """One run for all that changed."""
        ids = sorted({str(one.subscription_id) for one in batch})
        return {"ops": {"place_subscriptions": {"config": {"subscription_ids": ids}}}}
