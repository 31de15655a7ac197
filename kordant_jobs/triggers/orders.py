"""Converts due starts to run requests: a payload for each, its run config and tags. Pure except for Dagster's own value
class."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.reports_generate import ReportsGenerate
from kordant_jobs.domain.schedules.cadence import period_of
from kordant_jobs.domain.schedules.rows import Cadence, ScheduleRow
from kordant_jobs.engine import Payload
from kordant_jobs.engine.plugins import HIDDEN, PRIORITY_TAG, SCHEDULE_TAG
from kordant_jobs.errors import PermanentError
from kordant_jobs.triggers.tick import PlannedStart, Served

IDS_MAX = 10_000
"""The most subscriptions that one run names: 400 kB of run config."""


def _parts(ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(ids), IDS_MAX):
        yield tuple(ids[start : start + IDS_MAX])


def by_ids(row: ScheduleRow, served: Served) -> Iterator[Payload]:
    """One run for all due subscriptions, whatever day they are scheduled for: it covers what is new since each one's
    last run."""
    ids = sorted({one for them in served.values() for one in them})
    for part in _parts(ids):
        yield BY_NAME[row.job].payload.model_validate({"subscription_ids": part})


def reports(row: ScheduleRow, served: Served) -> Iterator[Payload]:
    """The payloads for reports. Each report covers the period that ended on the due day of its subscriptions."""
    kind = {Cadence.WEEKLY: "weekly", Cadence.MONTHLY: "monthly"}.get(row.cadence, "on_demand")
    for (on, anchor), ids in sorted(served.items()):
        start, end = period_of(row, anchor, on)
        for part in _parts(sorted(ids)):
            yield ReportsGenerate.model_validate(
                {"kind": kind, "period_start_on": start, "period_end_on": end, "subscription_ids": part}
            )


SERVING: Mapping[str, Callable[[ScheduleRow, Served], Iterator[Payload]]] = {ReportsGenerate.job: reports}
"""The payload makers of jobs that need more than the ids of subscriptions."""


def payloads(row: ScheduleRow, one: PlannedStart) -> list[Payload]:
    """The payloads of the runs of a start.

    Raises:
        PermanentError: the job serves no subscriptions.
    """
    if row.cadence is Cadence.EVERY_TICK:
        return [BY_NAME[row.job].payload()]
    if "subscription_ids" not in BY_NAME[row.job].payload.model_fields:
        raise PermanentError(f"{row.job} serves no subscriptions: its payload has no field subscription_ids.")
    return list(SERVING.get(row.job, by_ids)(row, one.served))


def run_requests(row: ScheduleRow, one: PlannedStart) -> list[dg.RunRequest]:
    """The runs of a start. Their run keys are the same whenever the same start is decided."""
    tags = {
        SCHEDULE_TAG: row.name,
        f"{HIDDEN}due_at": f"{one.start.due_at:%Y-%m-%dT%H:%MZ}",
        PRIORITY_TAG: row.priority.word,
        **({"kordant/tier": row.tier.value} if row.tier else {}),
    }
    days = "+".join(sorted({span.on.isoformat() for span in one.start.spans}))
    return [
        dg.RunRequest(
            run_key=f"{row.name} {one.start.due_at:%Y-%m-%dT%H:%M:%SZ} {days} {place}",
            job_name=row.job,
            run_config=payload.run_config([payload]),
            tags=tags,
        )
        for place, payload in enumerate(payloads(row, one))
    ]
