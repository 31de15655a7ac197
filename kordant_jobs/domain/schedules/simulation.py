"""Simulates the starts of a row with the same rules that decide on real ones. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from kordant_jobs.domain.schedules.cadence import Progress, Span, decide, fresh_progress
from kordant_jobs.domain.schedules.cron import occurrences
from kordant_jobs.domain.schedules.rows import Cadence, ScheduleRow, StoredScheduleRow

Places = Mapping[int, Sequence[int]]
"""The slots of a row's subscriptions by anchor, sorted."""

Outage = tuple[datetime, datetime]
"""The start and end of a time in which nothing runs."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One start for the tick `due_at`, handled at `starts_at`. `subscriptions` None: the job as a whole."""

    name: str
    job: str
    due_at: datetime
    starts_at: datetime
    subscriptions: int | None


def count(places: Places, spans: Iterable[Span]) -> int:
    """The number of subscriptions in these spans."""
    total = 0
    for span in spans:
        slots = places.get(span.anchor, ())
        total += bisect_left(slots, span.past) - bisect_left(slots, span.first)
    return total


def check_moments(row: ScheduleRow, start: datetime, until: datetime, outages: Sequence[Outage] = ()) -> list[datetime]:
    """The times at which a row is checked: its ticks, and the end of each outage with a missed tick."""
    ticks = occurrences(row.cron, row.time_zone, after=start, until=until, gap=row.gap, fold=row.fold)
    found = {tick for tick in ticks if not any(down <= tick < up for down, up in outages)}
    found |= {up for down, up in outages if up <= until and any(down <= tick < up for tick in ticks)}
    return sorted(found)


def simulate(
    stored: StoredScheduleRow,
    places: Places,
    *,
    start: datetime,
    until: datetime,
    outages: Sequence[Outage] = (),
    progress: Progress | None = None,
) -> list[Planned]:
    """The starts of the row with `start` < time ≤ `until`, assuming that no run takes longer than to its next tick."""
    row = stored.row
    here = progress or fresh_progress(row, start)
    planned: list[Planned] = []
    for moment in check_moments(row, start, until, outages):
        if stored.inactive_reason(moment) is not None:
            here = fresh_progress(row, moment)
            continue
        decision = decide(row, here, moment)
        here = decision.progress
        for one in decision.starts:
            whom = None if row.cadence is Cadence.EVERY_TICK else count(places, one.spans)
            if whom != 0:
                planned.append(
                    Planned(name=row.name, job=row.job, due_at=one.due_at, starts_at=moment, subscriptions=whom)
                )
    return planned


def load_per_hour(planned: Iterable[Planned], zone: str = "UTC") -> dict[int, tuple[int, int]]:
    """The number of runs and of subscriptions served, by hour of the day in `zone`."""
    place = ZoneInfo(zone)
    runs: Counter[int] = Counter()
    served: Counter[int] = Counter()
    for one in planned:
        hour = one.starts_at.astimezone(place).hour
        runs[hour] += 1
        served[hour] += one.subscriptions or 0
    return {hour: (runs[hour], served[hour]) for hour in sorted(runs)}
