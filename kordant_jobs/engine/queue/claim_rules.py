"""Decides which due requests become which runs. Pure: no clock, no database.

The order. Critical requests go first. The others stand in one line by the moment they became due plus a handicap of
their priority, so that waiting makes up for priority:

    priority   handicap   overtakes every high request that became due …
    high       0          –
    normal     2 min      more than 2 min after it
    low        10 min     more than 10 min after it

So under endless high load a low request starts as soon as what became due in its first ten minutes has started. One run
in sixteen serves the request that is first in line without regard to critical, so that endless critical load starves no
request.

On time. What a clock asked for (its place is ahead of its time) goes in front of everything that is no more urgent
than itself, however long that has waited: a schedule's run is not late because of a backlog. Ticks are few.

Tenants. A tenant's second waiting request of a job stands ten seconds behind its first, the third twenty, and so on
(`kordant.tenant_step`): 100,000 of one tenant are spread out, and another's takes its turn between them.

Coalescing. Requests of a batchable job share a run up to `batch_size`; fewer wait for others up to `batch_wait_s` after
the first became due, unless one is critical. A retry shares with fewer (size / 10 for each failed attempt), so that one
request which brings its run down is soon alone. A request whose run Dagster made shares only with those that wait with
the same run.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store.waiting import Waiting

HANDICAP: Mapping[Priority, timedelta] = {
    Priority.CRITICAL: timedelta(0),
    Priority.HIGH: timedelta(0),
    Priority.NORMAL: timedelta(minutes=2),
    Priority.LOW: timedelta(minutes=10),
}

AGED_EVERY = 16
"""One run in this many goes to the oldest request, critical or not: fairness may cost critical requests 6 %."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """The capacity for new runs: in total, extra for critical and on-time requests, and by job (negative where critical
    requests used more); and by outside party, how many requests may start."""

    runs: int
    critical_extra: int
    """Additional runs for critical requests and for on-time ones."""
    by_job: Mapping[str, int]
    tokens: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """Requests of one job that become one run."""

    job: str
    requests: tuple[Waiting, ...]

    @property
    def waiting_run_id(self) -> str | None:
        """The id of the run that Dagster made for these requests; None: a new run is needed."""
        return self.requests[0].waiting_run_id


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs to start, and the time to plan again because a run waits for more requests."""

    runs: tuple[PlannedRun, ...]
    check_again_at: datetime | None


def place(one: Waiting, *, aged: bool = False) -> tuple[bool, datetime]:
    """The place of a request in line; the smaller goes first. `aged`: critical requests wait in the same line as
    others."""
    since = max(one.turn_at, one.run_at)
    return (one.priority is not Priority.CRITICAL and not aged, since + HANDICAP[one.priority])


def is_on_time(one: Waiting) -> bool:
    """True when the request comes from a schedule, so that it should start at its time."""
    return one.turn_at < one.run_at


def in_order(waiting: Iterable[Waiting], *, started: int) -> list[Waiting]:
    """All requests in the order in which they start. `started` is the number of runs started before: every 16th goes by
    age alone."""
    line = _on_time_first(sorted(waiting, key=place))
    by_age = sorted(line, key=lambda one: place(one, aged=True))
    first = (AGED_EVERY - 1 - started) % AGED_EVERY
    ordered: list[Waiting] = []
    taken = set()
    queues = (iter(line), iter(by_age))
    for count in range(len(line)):
        aged = count % AGED_EVERY == first
        one = next(one for one in queues[aged] if one.id not in taken)
        taken.add(one.id)
        ordered.append(one)
    return ordered


def _on_time_first(line: list[Waiting]) -> list[Waiting]:
    """The line, with each on-time request moved in front of the first request that is not more urgent."""
    punctual = deque(one for one in line if is_on_time(one))
    if not punctual:
        return line
    ordered: list[Waiting] = []
    for one in line:
        if is_on_time(one):
            continue
        while punctual and punctual[0].priority <= one.priority:
            ordered.append(punctual.popleft())
        ordered.append(one)
    return [*ordered, *punctual]


def width(batch_size: int, attempt: int) -> int:
    """The number of requests that may share a run when one of them has failed `attempt` times.

    >>> [width(10_000, attempt) for attempt in range(5)]
    [10000, 1000, 100, 10, 1]
    """
    return max(1, batch_size // int(10**attempt))


@dataclass(kw_only=True)
class _Open:
    job: str
    width: int
    requests: list[Waiting] = field(default_factory=list)


def plan_runs(
    waiting: Iterable[Waiting], rows: Mapping[str, JobRow], room: Room, *, now: datetime, started: int = 0
) -> Plan:
    """The runs to start now, in their order."""
    runs: list[_Open] = []
    open_runs: dict[tuple[str, int | str], _Open] = {}
    by_job: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    keys: Counter[tuple[str, str]] = Counter()
    for one in in_order(waiting, started=started):
        row = rows[one.job]
        if row.party is not None and taken[row.party] >= room.tokens.get(row.party, 0):
            continue
        if (
            row.key_concurrency is not None
            and one.entity_key is not None
            and one.key_running + keys[one.job, one.entity_key] >= row.key_concurrency
        ):
            continue
        size = width(row.batch_size, one.attempt)
        together = one.waiting_run_id or size
        run = open_runs.get((one.job, together))
        if run is None or (one.waiting_run_id is None and len(run.requests) >= size):
            urgent = one.priority is Priority.CRITICAL or is_on_time(one)
            allowed = room.runs + (room.critical_extra if urgent else 0)
            of_job = room.by_job.get(one.job, 0) + row.critical_extra * (one.priority is Priority.CRITICAL)
            if len(runs) >= allowed or by_job[one.job] >= of_job:
                continue
            run = _Open(job=one.job, width=size)
            open_runs[one.job, together] = run
            runs.append(run)
            by_job[one.job] += 1
        run.requests.append(one)
        if row.party is not None:
            taken[row.party] += 1
        if one.entity_key is not None:
            keys[one.job, one.entity_key] += 1
    return _those_ready(runs, rows, now=now)


def _those_ready(runs: Iterable[_Open], rows: Mapping[str, JobRow], *, now: datetime) -> Plan:
    ready: list[PlannedRun] = []
    waits: list[datetime] = []
    for run in runs:
        until = min(one.run_at for one in run.requests) + timedelta(seconds=rows[run.job].batch_wait_s)
        urgent = any(one.priority is Priority.CRITICAL or one.waiting_run_id for one in run.requests)
        if len(run.requests) >= run.width or urgent or now >= until:
            ready.append(PlannedRun(job=run.job, requests=tuple(run.requests)))
        else:
            waits.append(until)
    return Plan(runs=tuple(ready), check_again_at=min(waits, default=None))
