"""A system for the bench: ours or stock Dagster, on a database and a state folder of its own, and events to fire at it.

Ours gets an event as a request in its queue; stock Dagster as a row that its sensor sees. Either way the event is
there when a transaction commits, and its op writes down its clock.
"""

from __future__ import annotations

import base64
import os
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import ClassVar, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.stack import Stack
from kordant_jobs.engine import tree
from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.enqueue import Item, enqueue_many
from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.engine.store import requests
from kordant_jobs.lab.bench.app import CATALOG, SYSTEM, Nudge, Stamp
from kordant_jobs.lab.bench.definitions import EVENTS, LATER, STAMPS, URGENT
from kordant_jobs.lab.waiting import wait_until
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate

TIMEOUT_S = 600.0
BY = "bench"


@dataclass
class Site(ABC):
    """A running system, its database, and the file in which ops write their clock."""

    stack: Stack
    db: Engine
    stamps: Path
    postgres: int | None
    """The server's process, when it is ours."""
    launcher: ClassVar[str]
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @abstractmethod
    def fire(self, number: int = 1, priority: Priority = Priority.NORMAL) -> list[int]:
        """Events, in one transaction, each to become a run; their numbers."""

    @abstractmethod
    def nudge(self, number: int) -> tuple[float, Callable[[], bool]]:
        """Create events that share runs, in one transaction. Returns the time at which it began, and a function that is
        true when all of them are done."""

    @abstractmethod
    def forget(self) -> None:
        """Withdraw the events that did not start."""

    def wait_for(self, events: Sequence[int], timeout_s: float = TIMEOUT_S) -> dict[int, float]:
        """When each op's body ran.

        Raises:
            TransientError: not all ran in time.
        """
        wait_until(lambda: self.seen().keys() >= set(events), timeout_s, f"{len(events)} runs did not all start")
        seen = self.seen()
        return {event: seen[event] for event in events}

    def seen(self) -> dict[int, float]:
        """Event to clock."""
        return {int(event): float(clock) for event, clock in self._lines()}

    def stamped(self) -> list[int]:
        """Every event as often as its op's body ran."""
        return [int(event) for event, _ in self._lines()]

    def _lines(self) -> list[tuple[str, str]]:
        if not self.stamps.exists():
            return []
        pairs = (line.partition(" ") for line in self.stamps.read_text(encoding="utf-8").splitlines())
        return [(event, clock) for event, _, clock in pairs]

    def cpu_s(self) -> float:
        """CPU of the system so far, what has ended included; Postgres left out."""
        return sum(tree.use(pid, exact_above_mb=float("inf")).cpu_s for pid in self.stack.pids().values())

    def postgres_cpu_s(self) -> float:
        """CPU of the database's server so far, of the connections that have ended as well."""
        return tree.use(self.postgres, exact_above_mb=float("inf")).cpu_s if self.postgres else 0.0

    def memory_mb(self) -> float:
        """Memory of the system now, shared pages counted once."""
        return sum(tree.use(pid, exact_above_mb=0).memory_mb for pid in self.stack.pids().values())

    def lasting_memory_mb(self) -> dict[str, float]:
        """Memory of each process that lives as long as the system does; the children of the warm process do not."""
        found = {}
        for name, supervisor in self.stack.pids().items():
            for pid in tree.children(supervisor):
                found[name] = tree.resident_mb(pid)
                if name == "code-server":  # the one that answers keeps the one that has the code loaded as a child
                    found["code"] = sum(map(tree.resident_mb, tree.children(pid)))
        return found

    def database_mb(self) -> float:
        """The database's size on disk in MB, without its write-ahead log."""
        with self.db.connect() as connection:
            size: int = connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()
        return size / 2**20


class OurSite(Site):
    """Ours: an event is a request."""

    launcher = "warm"

    def fire(self, number: int = 1, priority: Priority = Priority.NORMAL) -> list[int]:
        """Requests of the job whose op writes down its clock."""
        events = [next(self._numbers) for _ in range(number)]
        items = [Item(payload=Stamp(event=event)) for event in events]
        with self.db.begin() as connection:
            enqueue_many(connection, items, requested_by=BY, priority=priority, catalog=CATALOG)
        return events

    def nudge(self, number: int) -> tuple[float, Callable[[], bool]]:
        """Requests of the job that coalesces. Done: each of them is 'completed'."""
        before = self._completed()
        items = [Item(payload=Nudge(event=next(self._numbers))) for _ in range(number)]
        began = time.time()
        with self.db.begin() as connection:
            enqueue_many(connection, items, requested_by=BY, catalog=CATALOG)
        return began, lambda: self._completed() - before >= number

    def forget(self) -> None:
        """Cancel what waits."""
        with self.db.begin() as connection:
            operate.cancel(connection, requests.Filter(job=Stamp.job), now=DatabaseClock(self.db).now())

    def _completed(self) -> int:
        query = sa.text("SELECT count(*) FROM kordant.job_requests WHERE job = :job AND status = :status")
        with self.db.connect() as connection:
            values = {"job": Nudge.job, "status": RequestStatus.COMPLETED}
            completed: int = connection.execute(query, values).scalar_one()
        return completed


class StockSite(Site):
    """Stock Dagster: an event is a row that a sensor sees."""

    launcher = "stock"

    def fire(self, number: int = 1, priority: Priority = Priority.NORMAL) -> list[int]:
        """Rows, and a run each."""
        kind = {Priority.CRITICAL: URGENT, Priority.LOW: LATER}.get(priority, Stamp.job)
        return self._insert(number, kind)

    def nudge(self, number: int) -> tuple[float, Callable[[], bool]]:
        """Rows, and a run for all. Done: its op's body ran."""
        began = time.time()
        first = self._insert(number, Nudge.job)[0]
        return began, lambda: first in self.seen()

    def forget(self) -> None:
        """Nothing waits in a queue of ours: Dagster's own ends with its database."""

    def _insert(self, number: int, kind: str) -> list[int]:
        events = [next(self._numbers) for _ in range(number)]
        statement = sa.text(f"INSERT INTO {EVENTS} SELECT unnest(CAST(:events AS bigint[])), :kind")
        with self.db.begin() as connection:
            connection.execute(statement, {"events": events, "kind": kind})
        return events


ASite = TypeVar("ASite", bound=Site)


@contextmanager
def site(folder: Path, server: EmbeddedPostgres, kind: type[ASite], **settings: str) -> Iterator[ASite]:
    """A system on a database and a state folder of its own, up; parts that end are started again.

    `settings` are more of the environment.

    Raises:
        KordantError: a part did not start.
    """
    name = f"bench_{kind.launcher}"
    admin = sa.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    url = server.url(name)
    db = database.create_engine(url)
    migrate.upgrade(db)
    with db.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE {EVENTS} (id bigint PRIMARY KEY, kind text NOT NULL)"))
    state = folder / kind.launcher
    environ = {
        **os.environ,
        "KORDANT_STATE_DIR": str(state),
        "KORDANT_DATABASE_URL": url,
        "KORDANT_DAGSTER_URL": database.dagster_url(url),
        "KORDANT_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "KORDANT_LAUNCHER": kind.launcher,
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONPATH": str(CHECKOUT),
        **settings,
    }
    config = StackConfig(
        checkout=CHECKOUT, state_dir=state, environ=environ, web_port=3960, webserver=False, system=SYSTEM
    )
    stop = threading.Event()
    try:
        with Stack(config) as stack:
            watching = threading.Thread(target=stack.wait, args=(stop,), daemon=True)
            watching.start()
            try:
                yield kind(stack=stack, db=db, stamps=state / STAMPS, postgres=server.status().pid)
            finally:
                stop.set()
                watching.join()
    finally:
        db.dispose()
