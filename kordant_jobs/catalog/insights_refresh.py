"""insights_refresh in the catalogue: its payload, its limits, and its schedule."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from kordant_jobs.catalog._events import Start
from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, Merge, MergeRule, Payload


def union_or_all(values: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The union of the values; an empty value means all, whatever the others are.

    >>> union_or_all([("b",), ("a", "b")]), union_or_all([("a",), ()])
    (('a', 'b'), ())
    """
    return tuple(sorted({one for value in values for one in value})) if all(values) else ()


class InsightsRefresh(Payload):
    """Refresh the insights of entities from their data as of today."""

    job: ClassVar[str] = "insights_refresh"
    merging: ClassVar[Mapping[str, MergeRule]] = {"entity_ids": union_or_all, "force": max}

    entity_ids: tuple[UUID, ...] = Field((), description="Only these, if they are stale; none named: all stale ones.")
    force: bool = Field(False, description="Those that are not stale, too.")


ROW = JobRow(
    name="insights_refresh",
    alias="insights.refresh",
    purpose="what accounts say: cash flow, recurring payments and income, price rises, duplicates, forecasts; alerts",
    started_by="daily at 02:00 in São Paulo; a sync that changed something, a minute later; by hand",
    payload=InsightsRefresh,
    timeout_s=3600,
    sla_s=3600,
    cpu_s=3600,
    memory_mb=2048,
    concurrency=1,
    batch_size=1_000,
    preload=("kordant_jobs.domain.insights.assess",),
)

_REFRESH = Start(
    payload=lambda event: {"entity_ids": [str(event.entity_id)]},
    merge=lambda event: Merge(key=f"sync {event.entity_id}", debounce_s=60, at_most_s=600),
)
TOPICS = {"sync.completed": _REFRESH, "transaction.created": _REFRESH}
"""Events that start it: a minute after an entity's last one, ten after the first."""

SCHEDULES = (
    ScheduleRow(job=ROW.name, cron="0 2 * * *", time_zone="America/Sao_Paulo", fold=Fold.ONCE, overlap=Overlap.SKIP),
)
