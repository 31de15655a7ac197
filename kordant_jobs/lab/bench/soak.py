"""Does anything grow? Thousands of runs with history kept for seconds instead of weeks: the database and the memory
of the processes that live on must be afterwards as they were before.

Before is once the system has been under the same load for as long as history is kept, twice over: until then tables
fill up. Both looks are taken at rest, when what was kept is gone. Postgres' own memory is not looked at.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.status import Status

from kordant_jobs.cli.output import err
from kordant_jobs.lab.bench.site import OurSite, site
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.waiting import wait_until
from kordant_jobs.postgres.embedded import EmbeddedPostgres

KEEP_S = 20.0
PRUNE_S = 5.0
AT_ONCE = 100
"""Requests that wait or run while more are fired."""
GROWTH = 0.1
"""The share by which the size of the database or of a process may grow."""
PER_RUN_S = 30.0
"""Longer for a run, on the average, means that the system stands still."""


@dataclass(frozen=True, kw_only=True)
class RestingSizes:
    """The sizes of the system at rest: of the database, and of each process, in MB."""

    database_mb: float
    memory_mb: dict[str, float]


def measure_at_rest(at: OurSite) -> RestingSizes:
    """Wait until finished runs and requests are pruned, then measure the sizes."""
    time.sleep(KEEP_S + 2 * PRUNE_S)
    return RestingSizes(database_mb=at.database_mb(), memory_mb=at.lasting_memory_mb())


def load(at: OurSite, runs: int, say: Callable[[int], None], *, at_least_s: float = 0.0) -> list[int]:
    """Fire events, always about as many under way, until `runs` and `at_least_s` are over and all have run.

    Raises:
        TransientError: they stopped running.
    """
    fired: list[int] = []
    until = time.monotonic() + at_least_s
    while len(fired) < runs or time.monotonic() < until:
        fired += at.fire(AT_ONCE // 2)
        waiting = max(0, len(fired) - AT_ONCE // 2)
        wait_until(partial(_have_run, at, fired[:waiting]), PER_RUN_S * AT_ONCE, "runs stopped")
        say(len(fired))
    at.wait_for(fired)
    return fired


def _have_run(at: OurSite, events: list[int]) -> bool:
    return at.seen().keys() >= set(events)


def measure(runs: int) -> list[Figure]:
    """The figures.

    Raises:
        KordantError: the system did not start, or stopped running.
    """
    kept = str(KEEP_S / 86_400)
    settings = {
        "KORDANT_KEEP_DONE_DAYS": kept,
        "KORDANT_KEEP_FAILED_DAYS": kept,
        "KORDANT_KEEP_TICK_DAYS": kept,
        "KORDANT_PRUNE_EVERY_S": str(PRUNE_S),
    }
    with tempfile.TemporaryDirectory(prefix="kordant-soak-") as temporary, Status("starting", console=err) as status:
        folder = Path(temporary)
        with EmbeddedPostgres(folder / "postgres") as server, site(folder, server, OurSite, **settings) as at:
            first = load(at, AT_ONCE, lambda count: status.update(f"{count} runs to begin with"), at_least_s=4 * KEEP_S)
            before = measure_at_rest(at)
            began = time.monotonic()
            fired = first + load(at, runs, lambda count: status.update(f"{count} of {runs} runs"))
            took_s = time.monotonic() - began
            return figures(before, measure_at_rest(at), fired, at.stamped(), runs_per_s=runs / took_s)


def figures(
    before: RestingSizes, after: RestingSizes, fired: list[int], stamped: list[int], *, runs_per_s: float
) -> list[Figure]:
    """The growth from before to after, and whether each event ran exactly once."""
    times = Counter(stamped)
    lost = sum(1 for event in fired if not times[event])
    again = sum(1 for event in fired if times[event] > 1)
    grown = {name: after.memory_mb.get(name, 0.0) / mb - 1 for name, mb in before.memory_mb.items()}
    return [
        Figure(key="runs", value=len(fired), unit="", goal=None),
        Figure(key="runs_per_s", value=runs_per_s, unit="/s", goal=None),
        Figure(key="lost", value=lost, unit="", goal=0),
        Figure(key="run_twice", value=again, unit="", goal=0),
        Figure(key="database_mb", value=after.database_mb, unit="MB", goal=None),
        Figure(key="database_change", value=abs(after.database_mb / before.database_mb - 1), unit="", goal=GROWTH),
        *(Figure(key=f"{name}_mb", value=mb, unit="MB", goal=None) for name, mb in sorted(after.memory_mb.items())),
        *(Figure(key=f"{name}_growth", value=share, unit="", goal=GROWTH) for name, share in sorted(grown.items())),
    ]
