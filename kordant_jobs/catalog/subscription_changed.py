"""subscription_changed in the catalogue: its payload and limits. Events start it; it has no schedule."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field, model_validator

from kordant_jobs.catalog._events import Start
from kordant_jobs.engine import JobRow, MergeRule, Payload, Priority, union


class SubscriptionChanged(Payload):
    """Update the schedules of subscriptions that began, changed their tier, were paused, resumed or cancelled. The
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


ROW = JobRow(
    name="subscription_changed",
    alias="subscription.changed",
    purpose="schedules of subscriptions that began, changed tier, were paused or ended",
    started_by="the event of that name; by hand",
    payload=SubscriptionChanged,
    priority=Priority.HIGH,
    timeout_s=300,
    sla_s=300,
    cpu_s=300,
    memory_mb=1024,
    concurrency=1,
    batch_size=1_000,
)

TOPICS = {"subscription.changed": Start(payload=lambda event: {"subscription_ids": [str(event.subscription_id)]})}
"""Events that start it."""
