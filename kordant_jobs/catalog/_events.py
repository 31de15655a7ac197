"""Events by topic, and their content. The jobs' modules define in `TOPICS` which jobs a topic starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from kordant_jobs.engine import Merge


class Event(BaseModel):
    """The content of an event: ids only. Unknown fields are refused, and no error repeats a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SubscriptionEvent(Event):
    """A subscription began, changed its tier, was paused, resumed or cancelled."""

    subscription_id: UUID = Field(description="The subscription that changed.")


class OfEntity(Event):
    """Financial data of a household or firm changed."""

    entity_id: UUID = Field(description="The entity whose data changed.")


class BreachPublished(Event):
    """A breach was published that scans should look for now."""

    breach: str = Field(pattern="^[A-Za-z0-9_.-]{1,100}$", description="Its name in the breach catalogue.")


class WorkflowTriggered(Event):
    """An approved workflow of an agent should be executed."""

    workflow_id: UUID = Field(description="The approved version.")
    inputs: dict[str, Any] = Field(default_factory=dict, description="Its inputs, by name.")


WORKFLOW_TRIGGERED = "agent.schedule.triggered"

TOPICS: Mapping[str, type[Event]] = {
    WORKFLOW_TRIGGERED: WorkflowTriggered,
    "breach.published": BreachPublished,
    "subscription.changed": SubscriptionEvent,
    "sync.completed": OfEntity,
    "transaction.created": OfEntity,
}
"""Every topic, with the model of its events."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """The start of a job by an event: its payload, and how it merges with a waiting request."""

    payload: Callable[[Any], Mapping[str, Any]]
    merge: Callable[[Any], Merge] | None = None
