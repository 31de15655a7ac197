"""The engine's speed: ours and stock Dagster, one after the other, on the same jobs, database and machine.

An event's clock starts before the transaction that writes it, and stops in the op's body: this includes the queue, the
dispatcher and the launcher. CPU is that of all processes of the system; Postgres is shown beside it, for itself. The
first event, which fills caches, does not count.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.status import Status

from kordant_jobs.cli.output import err
from kordant_jobs.engine.requests import Priority
from kordant_jobs.lab.bench.site import TIMEOUT_S, OurSite, Site, StockSite, site
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.waiting import wait_until
from kordant_jobs.postgres.embedded import EmbeddedPostgres

PEER = "Dagster, tuned"
IDLE_S = 60.0
SETTLE_S = 5.0
START_S = 180.0
"""For the first event: longer means that the system does not work at all."""
GAP_S = 0.5
"""Between single events, so that each meets a system at rest."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The number of events and runs that a system gets. Stock Dagster gets less, since each run takes it seconds."""

    events: int
    runs: int
    coalesced: int
    backlog: int

    def for_peer(self) -> Load:
        """A load that stock Dagster handles within some minutes."""
        return Load(
            events=min(self.events, 5),
            runs=min(self.runs, 20),
            coalesced=self.coalesced,
            backlog=min(self.backlog, 20),
        )


@dataclass
class Measured:
    """The raw figures of one system."""

    latencies_s: list[float] = field(default_factory=list)
    queued_s: float = 0.0
    cpu_per_run_s: float = 0.0
    postgres_cpu_per_run_s: float = 0.0
    coalesced_s: float = 0.0
    critical_s: float = 0.0
    idle_core_share: float = 0.0
    peak_rss_mb: float = 0.0

    def percentile(self, share: float) -> float:
        """A latency that this share of all does not pass."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Peaks:
    """Looks at a system's memory every half second, in a thread, until stopped."""

    def __init__(self, at: Site) -> None:
        self._at = at
        self._peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The highest figure, in MB."""
        self._stop.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            self._peak = max(self._peak, self._at.memory_mb())


def measure_system(at: Site, load: Load, say: Callable[[str], None]) -> Measured:
    """Everything that is measured of one system.

    Raises:
        TransientError: something did not end in ten minutes.
    """
    found = Measured()
    say("the first event")
    at.wait_for(at.fire(), START_S)
    say(f"{load.events} events, one after the other")
    for _ in range(load.events):
        time.sleep(GAP_S)
        began = time.time()
        (event,) = at.fire()
        found.latencies_s.append(at.wait_for([event])[event] - began)
    say("at rest")
    time.sleep(SETTLE_S)
    cpu_s, wall = at.cpu_s(), time.monotonic()
    time.sleep(IDLE_S)
    found.idle_core_share = (at.cpu_s() - cpu_s) / (time.monotonic() - wall)
    say(f"{load.runs} events at once, a run each")
    _queued(at, load, found)
    say(f"{load.coalesced} events that share runs")
    began, done = at.nudge(load.coalesced)
    found.coalesced_s = wait_until(done, TIMEOUT_S, "the coalesced events were not done", look_every_s=0.1) - began
    say(f"a critical event behind {load.backlog}")
    _critical(at, load, found)
    return found


def _queued(at: Site, load: Load, found: Measured) -> None:
    cpu_s, postgres_s, began = at.cpu_s(), at.postgres_cpu_s(), time.time()
    peaks = Peaks(at)
    found.queued_s = max(at.wait_for(at.fire(load.runs)).values()) - began
    time.sleep(SETTLE_S)  # for the last run to end, whose CPU counts
    found.cpu_per_run_s = (at.cpu_s() - cpu_s) / load.runs
    found.postgres_cpu_per_run_s = (at.postgres_cpu_s() - postgres_s) / load.runs
    found.peak_rss_mb = peaks.stop()


def _critical(at: Site, load: Load, found: Measured) -> None:
    low = at.fire(load.backlog, Priority.LOW)
    at.wait_for(low[:1])
    began = time.time()
    (event,) = at.fire(1, Priority.CRITICAL)
    found.critical_s = at.wait_for([event])[event] - began
    at.forget()


def measure(load: Load, *, peer: bool) -> list[Figure]:
    """The figures of ours, beside stock Dagster's when `peer`.

    Raises:
        KordantError: a part did not start, or runs did not.
    """
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as temporary, Status("starting", console=err) as status:
        folder = Path(temporary)
        with EmbeddedPostgres(folder / "postgres") as server:
            with site(folder, server, OurSite) as at:
                ours = measure_system(at, load, lambda words: status.update(f"ours: {words}"))
            stock = None
            if peer:
                with site(folder, server, StockSite) as at:
                    stock = measure_system(at, load.for_peer(), lambda words: status.update(f"{PEER}: {words}"))
    return figures(ours, stock, load)


def figures(ours: Measured, stock: Measured | None, load: Load) -> list[Figure]:
    """Goals: the project's design, the chapter on the engine's speed.

    Stock Dagster's queue was given fewer runs; its time for as many as ours is reckoned from its time for each.
    """
    scale = load.runs / load.for_peer().runs

    def figure(key: str, unit: str, goal: float | None, of: Callable[[Measured], float], by: float = 1.0) -> Figure:
        peer_value = of(stock) * by if stock else None
        peer = PEER if stock else None
        return Figure(key=key, value=of(ours), unit=unit, goal=goal, peer=peer, peer_value=peer_value)

    return [
        figure("event_to_op_p50_s", "s", 0.1, lambda system: statistics.median(system.latencies_s)),
        figure("event_to_op_p99_s", "s", 0.5, lambda system: system.percentile(0.99)),
        figure("queued_100_s", "s", 5.0, lambda system: system.queued_s, by=scale),
        figure("cpu_per_run_s", "s", 0.1, lambda system: system.cpu_per_run_s),
        figure("postgres_cpu_per_run_s", "s", None, lambda system: system.postgres_cpu_per_run_s),
        figure("coalesced_10k_s", "s", 5.0, lambda system: system.coalesced_s),
        figure("critical_behind_1000_s", "s", 2.0, lambda system: system.critical_s),
        figure("idle_core_share", "", 0.02, lambda system: system.idle_core_share),
        figure("peak_rss_mb", "MB", None, lambda system: system.peak_rss_mb),
    ]
