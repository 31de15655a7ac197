"""The systems that `chaos --compare` compares: ours and others, each set up as its documentation advises, and kept up
as a supervisor would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.stack import Stack
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.queue.enqueue import Item, enqueue_many
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store import host_rows
from kordant_jobs.errors import TransientError
from kordant_jobs.lab.chaos import peers
from kordant_jobs.lab.chaos.app import LEASE_S, SYSTEM, Effect, Poison
from kordant_jobs.lab.chaos.clock import JumpingClock
from kordant_jobs.lab.chaos.site import Site, site
from kordant_jobs.lab.redis import RedisServer
from kordant_jobs.lab.waiting import wait_until
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres

WORK_S = 0.4
"""The work of a job before its call, and after it, in seconds."""


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
            wait_until(partial(_has_slots, at), 120, "no host came up")
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
