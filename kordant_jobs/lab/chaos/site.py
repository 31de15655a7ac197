"""A system of its own for faults to strike: Postgres, every part of `up`, the sink, and what their books say."""

import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.stack import Stack
from kordant_jobs.engine import tree
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.queue.enqueue import Item, enqueue_many
from kordant_jobs.errors import TransientError
from kordant_jobs.lab.chaos.app import LEASE_S, SYSTEM, Effect
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate

DATABASE = "chaos"
FINISHED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True, kw_only=True)
class Books:
    """The requested numbers by the ledger, by our rows and by the requests."""

    asked: int
    lost: int
    """Numbers without an effect, a row or a completed request."""
    doubled: int
    """Numbers with more than one effect or row."""
    refused: int
    """Calls that the sink knew already: repeats that its key made harmless."""
    attempts: Counter[str]
    """Attempts by outcome."""
    unfinished: int
    """Runs that Dagster still shows as under way."""


@dataclass
class Site:
    """The system, and the hands that strike it."""

    folder: Path
    postgres: EmbeddedPostgres
    stack: Stack
    db: Engine
    port: int
    said: list[str]
    asked: list[int] = field(default_factory=list)

    def enqueue(self, work_s: Sequence[float]) -> list[int]:
        """Ask for an effect each; their numbers."""
        numbers = list(range(len(self.asked), len(self.asked) + len(work_s)))
        items = [
            Item(payload=Effect(number=number, port=self.port, work_s=each))
            for number, each in zip(numbers, work_s, strict=True)
        ]
        with self.db.begin() as connection:
            enqueue_many(connection, items, requested_by="chaos", catalog=SYSTEM.rows)
        self.asked += numbers
        return numbers

    def open_requests(self) -> int:
        """The number of requests that have not ended."""
        with self.db.connect() as connection:
            return int(
                connection.execute(
                    sa.text("SELECT count(*) FROM kordant.job_requests WHERE status IN ('pending', 'running')")
                ).scalar_one()
            )

    def workers(self) -> list[int]:
        """The processes that execute runs now."""
        return [int(pid) for pid in self._ping().get("running", {}).values()]

    def warm(self) -> int | None:
        """The warm process."""
        return self._ping().get("pid")

    def _ping(self) -> dict[str, Any]:
        try:
            return ask(socket_path(self.folder), {"op": "ping"}, timeout_s=5)
        except TransientError:
            return {}

    def part(self, name: str) -> int | None:
        """The process of a part of `up`: the command itself, not its supervisor."""
        supervisor = self.stack.pids().get(name)
        below = tree.children(supervisor) if supervisor else []
        return next((pid for pid in below if tree.start_ticks(pid) is not None), None)

    def whole(self) -> bool:
        """True if every part runs and its standby is ready: a fault strikes a whole system."""
        for name in ("warm", "daemon", "warm-standby", "daemon-standby"):
            pid = self.part(name)
            log = self.folder / "logs" / f"{name}.log"
            if pid is None or not log.exists() or f"process {pid} " not in log.read_text(encoding="utf-8"):
                return False
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.stack.environ["KORDANT_CODE_SERVER_SOCKET"]) == 0

    def daemon(self) -> int | None:
        """The daemon process that leads: it has a thread a daemon, where one that stands by has hardly any."""
        found = [pid for name in ("daemon", "daemon-standby") if (pid := self.part(name)) is not None]
        return max(found, key=lambda pid: len(list(Path(f"/proc/{pid}/task").glob("*"))), default=None)

    def cut_connections(self) -> None:
        """End every session on our database but this one's."""
        with self.db.connect() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    def books(self) -> Books:
        """Compare the three books with what was asked for."""
        lines = [line.split() for line in (self.folder / "ledger").read_text(encoding="utf-8").splitlines()]
        effects = Counter(int(key) for key, kind, *_ in lines if kind == "new")
        with self.db.connect() as connection:
            rows = Counter(connection.execute(sa.text("SELECT number FROM chaos_effects")).scalars())
            done = set(
                connection.execute(
                    sa.text(
                        "SELECT CAST(payload->>'number' AS int) FROM kordant.job_requests WHERE status = 'completed'"
                    )
                ).scalars()
            )
            outcomes = sa.text("SELECT coalesce(outcome, 'open'), count(*) FROM kordant.job_attempts GROUP BY 1")
            attempts: Counter[str] = Counter({row[0]: row[1] for row in connection.execute(outcomes)})
            unfinished = connection.execute(
                sa.text("SELECT count(*) FROM dagster.runs WHERE status <> ALL(:finished)"),
                {"finished": list(FINISHED)},
            ).scalar_one()
        whole = [number for number in self.asked if effects[number] and rows[number] and number in done]
        return Books(
            asked=len(self.asked),
            lost=len(self.asked) - len(whole),
            doubled=sum(1 for number in self.asked if effects[number] > 1 or rows[number] > 1),
            refused=sum(1 for _, kind, *_ in lines if kind == "again"),
            attempts=attempts,
            unfinished=int(unfinished),
        )

    def stuck(self) -> list[tuple[UUID, str, str]]:
        """Requests that have not ended, for a person to look at: id, state, error."""
        with self.db.connect() as connection:
            found = connection.execute(
                sa.text(
                    "SELECT id, status, coalesce(error, '') FROM kordant.job_requests "
                    "WHERE status IN ('pending', 'running', 'dead') ORDER BY id LIMIT 10"
                )
            )
            return [(row[0], row[1], row[2]) for row in found]


@contextmanager
def sink(folder: Path, address: str = "127.0.0.1") -> Iterator[int]:
    """The port of a sink whose ledger is the file `ledger` of this folder."""
    command = [sys.executable, "-m", "kordant_jobs.lab.chaos.sink", str(folder / "ledger"), address]
    (folder / "ledger").touch()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def site(folder: Path, **more: str) -> Iterator[Site]:
    """A system in this folder, up and answering, whose parts come back when they end. `more`: settings.

    Raises:
        KordantError: a part did not start.
    """
    said: list[str] = []
    stop = threading.Event()
    with EmbeddedPostgres(folder / "postgres") as postgres, sink(folder) as port:
        admin = sa.create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {DATABASE}"))
        url = postgres.url(DATABASE)
        db = database.create_engine(url)
        migrate.upgrade(db)
        with db.begin() as connection:
            connection.execute(sa.text("CREATE TABLE chaos_effects (number int, run_id text)"))
        environ = {
            **os.environ,
            "KORDANT_STATE_DIR": str(folder),
            "KORDANT_DATABASE_URL": url,
            "KORDANT_DAGSTER_URL": database.dagster_url(url),
            "KORDANT_LAUNCHER": "warm",
            "KORDANT_LEASE_S": f"{LEASE_S:g}",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": str(CHECKOUT),
            **more,
        }
        config = StackConfig(checkout=CHECKOUT, state_dir=folder, environ=environ, web_port=3930, system=SYSTEM)
        with Stack(config, said.append) as stack:
            keeping = threading.Thread(target=stack.wait, args=(stop,), daemon=True)
            keeping.start()
            try:
                yield Site(folder=folder, postgres=postgres, stack=stack, db=db, port=port, said=said)
            finally:
                stop.set()
                keeping.join()
                db.dispose()
