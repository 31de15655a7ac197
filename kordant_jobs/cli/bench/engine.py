"""The engine's speed: ours and stock Dagster, one after the other, on the same job, database and machine.

An event is a row and a notification in one transaction; its clock starts before that commits and stops in the op's
body. CPU is that of every process of the system and of this one's dispatching, Postgres left out for both.
"""

from __future__ import annotations

import os
import select
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from rich.status import Status
from sqlalchemy.engine import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.bench.definitions import __name__ as DEFINITIONS  # noqa: N812
from kordant_jobs.cli.bench.definitions import config_of
from kordant_jobs.cli.bench.figures import Figure
from kordant_jobs.cli.output import err
from kordant_jobs.cli.stack import Stack, StackConfig
from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.daemon.leader import connect, libpq
from kordant_jobs.engine.launcher import tree
from kordant_jobs.engine.launcher.protocol import socket_path
from kordant_jobs.engine.launcher.starter import WarmStarter
from kordant_jobs.engine.runs import RunOrder
from kordant_jobs.errors import TransientError
from kordant_jobs.store import database
from kordant_jobs.store.embedded import EmbeddedPostgres

PEER = "Dagster, tuned"
PEER_EVENTS = 6
"""Each takes seconds there."""
PATIENCE_S = 600.0
IDLE_S = 15.0


@dataclass
class Measured:
    """The raw figures of one system."""

    latencies_s: list[float] = field(default_factory=list)
    queued_s: float = 0.0
    cpu_per_run_s: float = 0.0
    idle_core_share: float = 0.0
    peak_rss_mb: float = 0.0

    def percentile(self, share: float) -> float:
        """A latency that this share of all does not pass."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Site:
    """A running system, its database, and the file in which ops write their clock."""

    stack: Stack
    db: Engine
    stamps: Path
    environ: dict[str, str]

    def fire(self, count: int = 1) -> list[int]:
        """Write events; their ids. The notification goes out when the transaction commits."""
        with self.db.begin() as connection:
            statement = "INSERT INTO bench_events SELECT FROM generate_series(1, :count) RETURNING id"
            ids = [row[0] for row in connection.execute(sa.text(statement), {"count": count})]
            connection.execute(sa.text("NOTIFY kordant_bench"))
            connection.execute(sa.text("NOTIFY kordant_events"))
        return ids

    def wait_for(self, ids: list[int]) -> dict[int, float]:
        """When each op's body ran.

        Raises:
            TransientError: not all ran in ten minutes.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            seen = self.seen()
            if all(event in seen for event in ids):
                return {event: seen[event] for event in ids}
            time.sleep(0.02)
        raise TransientError(f"{len(ids)} runs did not all start in {PATIENCE_S:g} s: see the logs and try again")

    def seen(self) -> dict[int, float]:
        """Event to clock."""
        if not self.stamps.exists():
            return {}
        pairs = (line.split() for line in self.stamps.read_text(encoding="utf-8").splitlines())
        return {int(event): float(clock) for event, clock in pairs}

    def cpu_s(self) -> float:
        """CPU of the system so far, what has ended included; the web server left out."""
        return sum(tree.use(pid, exact_above_mb=float("inf")).cpu_s for pid in self._pids())

    def memory_mb(self) -> float:
        """Memory of the system now, shared pages counted once."""
        return sum(tree.use(pid, exact_above_mb=0).memory_mb for pid in self._pids())

    def _pids(self) -> list[int]:
        return [pid for name, pid in self.stack.pids().items() if name != "webserver"]


@contextmanager
def site(folder: Path, server: EmbeddedPostgres, launcher: str) -> Iterator[Site]:
    """A system on a database and a state folder of its own, up and answering."""
    name = f"bench_{launcher}"
    admin = sa.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    url = server.url(name)
    db = database.create_engine(url)
    database.upgrade(db)
    with db.begin() as connection:
        connection.execute(sa.text("CREATE TABLE bench_events (id bigserial PRIMARY KEY)"))
    state = folder / launcher
    stamps = state / "stamps"
    environ = {
        **os.environ,
        "KORDANT_STATE_DIR": str(state),
        "KORDANT_DATABASE_URL": url,
        "KORDANT_DAGSTER_URL": database.dagster_url(url),
        "KORDANT_DEFINITIONS_MODULE": DEFINITIONS,
        "KORDANT_LAUNCHER": launcher,
        "KORDANT_BENCH_STAMPS": str(stamps),
        "DAGSTER_HOME": str(state / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONPATH": str(CHECKOUT),
    }
    config = StackConfig(checkout=CHECKOUT, state_dir=state, environ=environ, web_port=3960)
    try:
        with Stack(config) as stack:
            yield Site(stack=stack, db=db, stamps=stamps, environ={**environ, **stack.environ})
    finally:
        db.dispose()


@dataclass
class Dispatch:
    """Starts a run an event, as the queue's loop does: LISTEN, look, start. In a thread of this process."""

    at: Site
    cpu_s: float = 0.0
    """What the thread has used."""
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Dispatch while this is held."""
        before = dict(os.environ)
        os.environ.update(self.at.environ)
        try:
            instance = dagster_private.open_instance(dagster_private.dagster_home())
            with dagster_private.open_workspace(instance, str(CHECKOUT / "workspace.yaml")) as context:
                factory = dagster_private.RunFactory(instance, context.create_request_context)
                path = socket_path(self.at.stack.config.state_dir)
                starter = WarmStarter(instance, factory, path, grace_s=5)
                thread = threading.Thread(target=self._loop, args=(starter,), daemon=True)
                thread.start()
                try:
                    yield
                finally:
                    self._stop.set()
                    thread.join()
            dagster_private.pool_of(instance).dispose()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _loop(self, starter: WarmStarter) -> None:
        listening = connect(libpq(self.at.db.url.render_as_string(hide_password=False)))
        with listening.cursor() as cursor:
            cursor.execute("LISTEN kordant_bench")
        last = 0
        while not self._stop.is_set():
            with self.at.db.connect() as connection:
                found = sa.text("SELECT id FROM bench_events WHERE id > :last ORDER BY id")
                events = [row[0] for row in connection.execute(found, {"last": last})]
            for event in events:
                starter.start(RunOrder(job="bench_job", run_config=config_of(event), tags={}))
                last = event
            self.cpu_s = time.thread_time()
            if select.select([listening], [], [], 0.5)[0]:  # after the first look, so that nothing is missed
                listening.poll()
                listening.notifies.clear()
        listening.close()


class _Peaks:
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


def measure_system(at: Site, own: Dispatch, *, runs: int, events: int) -> Measured:
    """Everything that is measured of one system. The first event, which fills caches, does not count."""
    found = Measured()
    at.wait_for(at.fire())
    for _ in range(events):
        time.sleep(0.7)
        began = time.time()
        (event,) = at.fire()
        found.latencies_s.append(at.wait_for([event])[event] - began)
    time.sleep(5)
    cpu_s, wall = at.cpu_s() + own.cpu_s, time.monotonic()
    time.sleep(IDLE_S)
    found.idle_core_share = (at.cpu_s() + own.cpu_s - cpu_s) / (time.monotonic() - wall)
    cpu_s, began = at.cpu_s() + own.cpu_s, time.time()
    peaks = _Peaks(at)
    found.queued_s = max(at.wait_for(at.fire(runs)).values()) - began
    time.sleep(3)
    found.cpu_per_run_s = (at.cpu_s() + own.cpu_s - cpu_s) / runs
    found.peak_rss_mb = peaks.stop()
    return found


def measure(*, runs: int, events: int, peer: bool) -> list[Figure]:
    """The figures of ours, beside stock Dagster's when `peer`.

    Raises:
        KordantError: a part did not start, or runs did not.
    """
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as temporary, Status("measuring", console=err) as status:
        folder = Path(temporary)
        with EmbeddedPostgres(folder / "postgres") as server:
            status.update("measuring ours")
            with site(folder, server, "warm") as at:
                dispatch = Dispatch(at)
                with dispatch.running():
                    ours = measure_system(at, dispatch, runs=runs, events=events)
            stock = None
            if peer:
                status.update(f"measuring {PEER}: some minutes")
                with site(folder, server, "stock") as at:
                    stock = measure_system(at, Dispatch(at), runs=runs, events=min(events, PEER_EVENTS))
    return figures(ours, stock)


def figures(ours: Measured, stock: Measured | None) -> list[Figure]:
    """Goals: the project's design, the chapter on the engine's speed."""

    def figure(key: str, unit: str, goal: float | None, of: Callable[[Measured], float]) -> Figure:
        peer_value = of(stock) if stock else None
        peer = PEER if stock else None
        return Figure(key=key, value=of(ours), unit=unit, goal=goal, peer=peer, peer_value=peer_value)

    return [
        figure("event_to_op_p50_s", "s", 0.1, lambda system: statistics.median(system.latencies_s)),
        figure("event_to_op_p99_s", "s", 0.5, lambda system: system.percentile(0.99)),
        figure("queued_100_s", "s", 5.0, lambda system: system.queued_s),
        figure("cpu_per_run_s", "s", 0.1, lambda system: system.cpu_per_run_s),
        figure("idle_core_share", "", 0.02, lambda system: system.idle_core_share),
        figure("peak_rss_mb", "MB", None, lambda system: system.peak_rss_mb),
    ]
