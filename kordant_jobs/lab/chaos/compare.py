"""`chaos --compare`: the same faults on ours and on others, judged by the ledger of the sink that none of them touches.

For each system and fault: a number of jobs is requested, the fault is injected after the first effect, a supervisor
starts again at once what has died, and the ledger is read until all is done or the time-out has passed. A backlog is no
fault, but measured beside them: a critical job is requested once thousands of others wait.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import err, out, print_json, print_table
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.stack import Stack
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.queue.enqueue import Item, enqueue_many
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store import host_rows
from kordant_jobs.errors import KordantError, SettingsError, TransientError
from kordant_jobs.lab.chaos import peers
from kordant_jobs.lab.chaos.app import LEASE_S, SYSTEM, Effect, Poison
from kordant_jobs.lab.chaos.clock import JumpingClock
from kordant_jobs.lab.chaos.site import Site, sink, site
from kordant_jobs.lab.figures import machine
from kordant_jobs.lab.redis import RedisServer
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres

JOBS, WORK_S = 12, 0.4
TIMEOUT_S = 45.0
"""Longer than what brings work back in any of them: leases and heartbeats of 2 to 10 s, a check every 10 s. Celery on
Redis delivers again after an hour (`visibility_timeout`), which counts as lost here."""
POISON_RUNS = 4
"""Of the deadly job: the first and three retries."""
AWAY_S = 1.0
"""The time in which a restarting server is away, in seconds."""
POISON_S = 20.0
"""The time in which the job that kills its process is watched, in seconds."""
JUMPS_S, JUMPED_S = (3600, -3600, 0), 2.0
"""Seconds that the clock of a worker is ahead, in turn, and the seconds that each lasts."""
BACKLOG_JOBS = 2000


@dataclass(frozen=True, kw_only=True)
class Score:
    """The result of one fault on one system. `not_done`: jobs without an effect when the time-out had passed.

    `repeated`: effects that were asked for more than once. The sink has each key's effect once; at a party that takes
    no key they would be doubled. `runs_of_poison`: how often the deadly job began.
    """

    system: str
    fault: str
    asked: int
    not_done: int
    repeated: int
    recovery_s: float | None
    """From the fault, or from the critical request, to the last effect; None: not all were had."""
    runs_of_poison: int | None = None


class Peer(ABC):
    """A system under test, with the database and the broker that it has, and the clock of its workers."""

    def __init__(
        self,
        *,
        postgres: EmbeddedPostgres | None = None,
        redis: RedisServer | None = None,
        clock: JumpingClock | None = None,
    ) -> None:
        self.postgres, self.redis, self.clock = postgres, redis, clock

    @abstractmethod
    def ask(self, numbers: Sequence[int], port: int, *, urgent: bool = False) -> None:
        """Ask for an effect each; `urgent`: before all others."""

    @abstractmethod
    def poison(self, number: int, port: int) -> None:
        """Ask for the job that kills its process."""

    @abstractmethod
    def executing(self) -> list[int]:
        """Processes that execute jobs now."""


Make = Callable[[Path, int], AbstractContextManager[Peer]]


class _Ours(Peer):
    """Ours, with a host behind Redis."""

    def __init__(self, at: Site, host: Path, redis: RedisServer, clock: JumpingClock) -> None:
        super().__init__(postgres=at.postgres, redis=redis, clock=clock)
        self._site, self._host = at, host

    def ask(self, numbers: Sequence[int], port: int, *, urgent: bool = False) -> None:
        items = [Item(payload=Effect(number=number, port=port, work_s=WORK_S)) for number in numbers]
        self._enqueue(items, Priority.CRITICAL if urgent else None)

    def poison(self, number: int, port: int) -> None:
        self._enqueue([Item(payload=Poison(number=number, port=port))])

    def _enqueue(self, items: Sequence[Item], priority: Priority | None = None) -> None:
        with self._site.db.begin() as connection:
            enqueue_many(connection, items, requested_by="chaos", priority=priority, catalog=SYSTEM.rows)

    def executing(self) -> list[int]:
        with suppress(TransientError):
            return [int(pid) for pid in ask(socket_path(self._host), {"op": "ping"})["running"].values()]
        return []


@contextmanager
def ours(folder: Path, port: int) -> Iterator[Peer]:
    """Our system and one host, up."""
    redis, clock = RedisServer(folder), JumpingClock(folder)
    redis.start()
    try:
        more = {"KORDANT_LAUNCHER": "celery", "KORDANT_BROKER_URL": redis.url, "KORDANT_CODE_VERSION": "chaos"}
        with site(folder / "up", **more) as at, ExitStack() as after:
            host = folder / "host"
            environ = {
                **at.stack.environ,
                "KORDANT_STATE_DIR": str(host),
                "DAGSTER_HOME": str(host / "dagster"),
                "KORDANT_HOST_RUNS": str(peers.AT_ONCE),
                **clock.environ,
            }
            config = replace(at.stack.config, state_dir=host, environ=environ, webserver=False, daemon=False, host=True)
            stack = after.enter_context(Stack(config, at.said.append))
            after.callback(_kept(stack))
            _until(partial(_has_slots, at), 120, "no host came up")
            yield _Ours(at, host, redis, clock)
    finally:
        redis.stop()


def _has_slots(at: Site) -> bool:
    with at.db.connect() as connection:
        return any(one.slots for one in host_rows.listed(connection, ttl_s=LEASE_S))


def _kept(stack: Stack) -> Callable[[], None]:
    import threading

    stop = threading.Event()
    thread = threading.Thread(target=stack.wait, args=(stop,), daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end


@dataclass
class _Supervised:
    """A process that is started again at once when it ends, as systemd does."""

    command: Sequence[str]
    environ: Mapping[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None)
    _over: bool = False

    def __enter__(self) -> _Supervised:
        import threading

        self._spawn()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        if self._process:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    child.kill()
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def _spawn(self) -> None:
        self._process = subprocess.Popen(
            self.command, env=dict(self.environ), cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _watch(self) -> None:
        while not self._over:
            if self._process and self._process.poll() is not None:
                self._spawn()
            time.sleep(0.1)


def _peer_process(what: str, **environ: str) -> _Supervised:
    command = [sys.executable, "-m", "kordant_jobs.lab.chaos.peers", what]
    return _Supervised(command, {**os.environ, "PYTHONPATH": str(CHECKOUT), **environ})


class _Celery(Peer):
    """Celery with prefork on Redis."""

    def __init__(self, app: Any, worker: _Supervised, redis: RedisServer, clock: JumpingClock) -> None:
        super().__init__(redis=redis, clock=clock)
        self._app, self._worker = app, worker

    def ask(self, numbers: Sequence[int], port: int, *, urgent: bool = False) -> None:
        priority = peers.CELERY_FIRST if urgent else peers.CELERY_LATER
        for number in numbers:
            self._app.send_task("work", args=[number, port, WORK_S], priority=priority)

    def poison(self, number: int, port: int) -> None:
        self._app.send_task("die", args=[number, port])

    def executing(self) -> list[int]:
        return [child.pid for child in psutil.Process(self._worker.pid).children()]


@contextmanager
def celery(folder: Path, port: int, *, late: bool) -> Iterator[Peer]:
    """Celery, up."""
    redis, clock = RedisServer(folder), JumpingClock(folder)
    redis.start()
    os.environ["CHAOS_BROKER"] = redis.url
    try:
        with _peer_process("celery-worker", CHAOS_LATE=str(int(late)), **clock.environ) as worker:
            yield _Celery(peers.celery_app(late=late), worker, redis, clock)
    finally:
        redis.stop()


class _Procrastinate(Peer):
    """procrastinate: its queue is the database, so it has no broker."""

    def __init__(self, postgres: EmbeddedPostgres, worker: _Supervised, app: Any, clock: JumpingClock) -> None:
        super().__init__(postgres=postgres, clock=clock)
        self._worker, self._app = worker, app

    def ask(self, numbers: Sequence[int], port: int, *, urgent: bool = False) -> None:
        with self._app.open():
            for number in numbers:
                task = self._app.configure_task("work", priority=int(urgent))
                task.defer(number=number, port=port, work_s=WORK_S)

    def poison(self, number: int, port: int) -> None:
        with self._app.open():
            self._app.configure_task("die").defer(number=number, port=port)

    def executing(self) -> list[int]:
        return [self._worker.pid]


@contextmanager
def procrastinate(folder: Path, port: int) -> Iterator[Peer]:
    """procrastinate, up."""
    import procrastinate as library

    with EmbeddedPostgres(folder / "postgres") as postgres:
        url = database.normal_url(postgres.url("postgres")).set(drivername="postgresql")
        conninfo = url.render_as_string(hide_password=False)
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "CHAOS_DATABASE": conninfo}
        schema = [sys.executable, "-m", "kordant_jobs.lab.chaos.peers", "procrastinate-schema"]
        subprocess.run(schema, env=environ, cwd=CHECKOUT, check=True)
        app = library.App(connector=library.SyncPsycopgConnector(conninfo=conninfo))
        clock = JumpingClock(folder)
        with _peer_process("procrastinate-worker", CHAOS_DATABASE=conninfo, **clock.environ) as worker:
            yield _Procrastinate(postgres, worker, app, clock)


class _Stock(Peer):
    """Dagster as it is, with run monitoring and three retries."""

    def __init__(self, stack: Stack, postgres: EmbeddedPostgres, clock: JumpingClock) -> None:
        super().__init__(postgres=postgres, clock=clock)
        self._stack = stack

    def ask(self, numbers: Sequence[int], port: int, *, urgent: bool = False) -> None:
        for number in numbers:
            config = {"number": number, "port": port, "work_s": WORK_S}
            self._launch(Effect.job, Effect.op, config, {"dagster/priority": str(int(urgent))})

    def poison(self, number: int, port: int) -> None:
        self._launch(Poison.job, Poison.op, {"number": number, "port": port})

    def _launch(self, job: str, op: str, config: Mapping[str, object], tags: Mapping[str, str] | None = None) -> None:
        query = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename } }"""
        selector = {
            "repositoryLocationName": "kordant_jobs",
            "repositoryName": "__repository__",
            "jobName": job,
        }
        params: dict[str, Any] = {"runConfigData": {"ops": {op: {"config": config}}}, "selector": selector}
        params["executionMetadata"] = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
        answer = httpx.post(self._stack.graphql_url, json={"query": query, "variables": {"p": params}}, timeout=60)
        if answer.json()["data"]["launchRun"]["__typename"] != "LaunchRunSuccess":
            raise TransientError(f"Dagster did not launch a run: {answer.text[:200]}")

    def executing(self) -> list[int]:
        """The run workers: processes that the code server has spawned."""
        found = []
        for supervisor in self._stack.pids().values():
            with suppress(psutil.NoSuchProcess):
                below = psutil.Process(supervisor).children(recursive=True)
                found += [one.pid for one in below if "spawn_main" in " ".join(one.cmdline())]
        return found


@contextmanager
def stock(folder: Path, port: int) -> Iterator[Peer]:
    """Dagster, up: its own daemon, launcher and coordinator, with retries of runs that crash."""
    checkout = folder / "checkout"
    checkout.mkdir()
    text = (CHECKOUT / "dagster.yaml").read_text()
    retries = "run_retries:\n  enabled: true\n  max_retries: 3\n"
    before, _, after = text.partition("run_retries:\n")
    (checkout / "dagster.yaml").write_text(before + retries + after.partition("\n\n")[2])
    with EmbeddedPostgres(folder / "postgres") as postgres:
        url = postgres.url("postgres")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE SCHEMA dagster"))
        engine.dispose()
        clock = JumpingClock(folder)
        environ = {
            **os.environ,
            **clock.environ,  # of all its processes: a run's is a child of the code server
            "KORDANT_STATE_DIR": str(folder / "state"),
            "KORDANT_DAGSTER_URL": database.dagster_url(url),
            "KORDANT_LAUNCHER": "stock",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": str(CHECKOUT),
        }
        config = StackConfig(
            checkout=checkout,
            state_dir=folder / "state",
            environ=environ,
            web_port=3940,
            system=replace(SYSTEM, definitions="kordant_jobs.lab.chaos.stock"),
        )
        with Stack(config, lambda _: None) as stack:
            end = _kept(stack)
            try:
                yield _Stock(stack, postgres, clock)
            finally:
                end()


SYSTEMS: Mapping[str, Make] = {
    "ours": ours,
    "celery": partial(celery, late=False),
    "celery, acks late": partial(celery, late=True),
    "procrastinate": procrastinate,
    "stock dagster": stock,
}
KILL, DATABASE, BROKER, CLOCK = "worker killed", "database restarted", "broker emptied", "clock changed"
POISON, BACKLOG = "poison job", "backlog"
FAULTS = ((KILL, DATABASE, BROKER, CLOCK, POISON), (BACKLOG,))
"""Those that strike one after the other; each group a system that was just started, the poison last."""
ASKED = {CLOCK: 3 * JOBS, BACKLOG: BACKLOG_JOBS}
"""The jobs of faults that last."""


def _until(done: Callable[[], bool], timeout_s: float, failed: str) -> float:
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > timeout_s:
            raise TransientError(f"{failed} in {timeout_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


def _calls(ledger: Path) -> Counter[int]:
    return Counter(int(line.split()[0]) for line in ledger.read_text().splitlines())


def strike(system: str, fault: str, peer: Peer, ledger: Path, port: int, numbers: Sequence[int]) -> Score | None:
    """One fault amid these jobs. None: it cannot happen to this system."""
    dead = numbers[-1] + 1
    if (fault == DATABASE and peer.postgres is None) or (fault == BROKER and peer.redis is None):
        return None
    if fault == CLOCK and not (peer.clock and peer.clock.is_there):
        err.print("no clock is changed: there is no C compiler (apt-get install gcc libc6-dev)")
        return None
    peer.ask(numbers, port)
    _until(lambda: any(_calls(ledger)[one] for one in numbers), 60, f"{system} did not begin")
    struck = time.monotonic()
    match fault:
        case "worker killed":
            time.sleep(1.5 * WORK_S)  # the first ones are over: those that run now have had no effect yet
            _until(lambda: bool(peer.executing()), 10, f"{system} executes nothing")
            with suppress(ProcessLookupError):
                os.kill(peer.executing()[0], signal.SIGKILL)
        case "poison job":
            peer.poison(dead, port)
        case "backlog":
            numbers = [dead]
            peer.ask(numbers, port, urgent=True)
        case "clock changed":
            assert peer.clock is not None  # noqa: S101 - see above
            for ahead_s in JUMPS_S:
                peer.clock.set_ahead(ahead_s)
                time.sleep(JUMPED_S)
        case "database restarted" | "broker emptied":
            server = peer.postgres if fault == DATABASE else peer.redis
            assert server is not None  # noqa: S101 - see above
            server.stop()
            time.sleep(AWAY_S)
            server.start()
    recovery: float | None = None
    with suppress(TransientError):
        _until(lambda: all(_calls(ledger)[one] for one in numbers), TIMEOUT_S, "")
        recovery = time.monotonic() - struck
    if fault == POISON:
        time.sleep(max(0.0, struck + POISON_S - time.monotonic()))
    else:
        time.sleep(2 * WORK_S + LEASE_S)  # what comes twice comes now
    calls = _calls(ledger)
    return Score(
        system=system,
        fault=fault,
        asked=len(numbers),
        not_done=sum(1 for one in numbers if not calls[one]),
        repeated=sum(1 for one in numbers if calls[one] > 1),
        recovery_s=recovery,
        runs_of_poison=calls[dead] if fault == POISON else None,
    )


def scores(only: Sequence[str]) -> Iterator[Score]:
    """Every fault on every system."""
    if unknown := set(only) - set(SYSTEMS):
        raise SettingsError(f"there is no system {min(unknown)!r}; there are {', '.join(SYSTEMS)}.")
    for name, faults in product(only or SYSTEMS, FAULTS):
        with tempfile.TemporaryDirectory(prefix="kordant-compare-", ignore_cleanup_errors=True) as place:
            folder = Path(place)
            folder.chmod(0o755)
            with sink(folder) as port, SYSTEMS[name](folder, port) as peer:
                for number, fault in enumerate(faults):
                    err.print(f"{name}: {fault} …")
                    numbers = range(1000 * number, 1000 * number + ASKED.get(fault, JOBS))
                    found = strike(name, fault, peer, folder / "ledger", port, numbers)
                    if found is not None:
                        err.print(f"  {found}")
                        yield found


def is_kept(one: Score) -> bool:
    """True if our promise held: every effect was had, and the poison was given up."""
    return not one.not_done and (one.runs_of_poison or 0) <= POISON_RUNS


def compare(only: Sequence[str], *, as_json: bool) -> int:
    """Print the table. 0: ours lost nothing, and gave the poison up; 1: it did not; 2: it could not run."""
    where, found = machine(), []
    try:
        for one in scores(only):
            found.append(one)
    except KordantError as error:
        err.print(f"chaos --compare could not run: {error}")
        return 2
    if as_json:
        print_json({"machine": where, "scores": [vars(one) for one in found]})
    else:
        rows = [
            (
                one.system,
                one.fault,
                f"{one.not_done} of {one.asked}",
                one.repeated,
                "never" if one.recovery_s is None else f"{one.recovery_s:.1f}",
                one.runs_of_poison,
            )
            for one in found
        ]
        print_table(
            ["system", "fault", f"not done in {TIMEOUT_S:g} s", "asked again", "recovered s", "runs of the poison"],
            rows,
        )
        out.print("")
    return int(not all(is_kept(one) for one in found if one.system == "ours"))
