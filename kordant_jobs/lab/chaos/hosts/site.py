"""Two hosts, control, Postgres, Redis and the outside parties, up; a small world; and what its books say."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.stack import Stack
from kordant_jobs.domain.access.workflows import WorkflowDefinition
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store import host_rows
from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.darkwatch_scan.drops import register_file
from kordant_jobs.lab.chaos.hosts.app import SYSTEM, OutsideWork
from kordant_jobs.lab.chaos.hosts.network import Network, network
from kordant_jobs.lab.chaos.hosts.quota import cpu_quotas
from kordant_jobs.lab.chaos.site import sink
from kordant_jobs.lab.postgres import TcpPostgres
from kordant_jobs.lab.redis import RedisServer
from kordant_jobs.lab.waiting import wait_until
from kordant_jobs.lab.world.dump_files import write_dumps
from kordant_jobs.lab.world.mail import ALERTS, SENDER, mail_sink
from kordant_jobs.lab.world.population import make_population
from kordant_jobs.lab.world.subscribers import new_subscribers
from kordant_jobs.postgres import database
from kordant_jobs.store import migrate
from kordant_jobs.store.access import workflows
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.master_key import keyring_of, parse_master_keys

HOSTS = ("alpha", "beta")
HOST_RUNS = 4
DATABASE = "hosts"
SUBSCRIBERS, LINES = 120, 3_000
UP_WITHIN_S = 180.0
MAILS_A_BATCH = 2
BY = "chaos"

_LATER = "UPDATE kordant.notification_outbox SET due_at = now() + interval '1 day'"
_SOME_NOW = """
    UPDATE kordant.notification_outbox SET due_at = now() WHERE id IN (
        SELECT id FROM kordant.notification_outbox WHERE due_at > now() + interval '1 hour' ORDER BY id LIMIT :some)
"""
_OPEN = """
    SELECT count(*) FROM kordant.job_requests
    WHERE status IN ('pending', 'running') AND (job = :job OR :job = '') AND run_at < now() + interval '1 hour'
"""
_ATTEMPTS = """
    SELECT CAST(r.payload->>'number' AS int) AS number, a.attempt, a.run_id, a.worker, a.outcome,
           extract(epoch FROM a.started_at)::float AS started_at
    FROM kordant.job_attempts a JOIN kordant.job_requests r ON r.id = a.request_id
    WHERE r.job = :job ORDER BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of outside work, and the times of its first and last call by the ledger."""

    number: int
    run_id: str
    worker: str
    outcome: str | None
    began_at: float
    calls: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Books:
    """The requested work by the outside ledgers, our rows and the queue."""

    requests: int
    runs: int
    lost: int
    """Requests that did not complete, and outside work without an effect or a row."""
    doubled: int
    """Outside work with more than one effect or row."""
    beside: int
    """Outside work that two runs called for at the same time."""
    mails: int
    mails_lost: int
    """Notifications that were due and are not sent, or whose mail the server never took."""
    mails_doubled: int
    """Mails under another Message-ID than that of their notification: they do not look like copies."""
    copies: int
    """Mails that the server took again under the same Message-ID."""
    counted: int
    """Such copies that may be, by our own count of interruptions."""
    outcomes: Counter[str]
    attempts: Mapping[int, Sequence[Attempt]]


@dataclass
class HostsSite:
    """The system, and the hands that strike it."""

    folder: Path
    net: Network
    postgres: TcpPostgres
    redis: RedisServer
    db: Engine
    keyring: Keyring
    port: int
    environ: Mapping[str, str]
    said: list[str]
    subscriptions: Sequence[UUID]
    workflow: workflows.Workflow
    asked: list[int] = field(default_factory=list)
    quotas: Mapping[str, Path] = field(default_factory=dict)
    """The file to which a process of each host writes its id, where hosts have a quota of CPU time."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # Hosts

    def start_host(self, host: str) -> None:
        """Start a host, as its service manager does after a boot."""
        if (last := self.processes.pop(host, None)) is not None:
            last.kill()
            last.wait()
        state = self._state(host)
        state.mkdir(mode=0o700, exist_ok=True)
        environ = {**self.environ, "KORDANT_STATE_DIR": str(state), "DAGSTER_HOME": str(state / "dagster")}
        join = ["sh", "-c", 'echo $$ > "$1" && shift && exec "$@"', "sh", str(self.quotas[host])] if self.quotas else []
        command = [*join, *self.net.command(host), sys.executable, "-m", "kordant_jobs.lab.chaos.hosts.host"]
        with (state / "host.log").open("ab") as log:
            self.processes[host] = subprocess.Popen(command, env=environ, cwd=CHECKOUT, stdout=log, stderr=log)

    def stop_host(self, host: str) -> None:
        """SIGTERM to a host, and wait until it has ended."""
        process = self.processes.pop(host)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()

    def stop_hosts(self) -> None:
        """Stop every host."""
        for host in list(self.processes):
            self.stop_host(host)

    def executing(self, host: str) -> Mapping[str, int]:
        """The runs on this host, and the process of each."""
        return {run: int(pid) for run, pid in self._ping(host).get("running", {}).items()}

    def where_is(self, numbers: Sequence[int]) -> list[str]:
        """The hosts on which one of these pieces of outside work is under way."""
        runs = {run for number, run in self.calls() if number in numbers}
        return [host for host in HOSTS if self.executing(host).keys() & runs]

    def warm(self, host: str) -> int | None:
        """The host's warm process."""
        return self._ping(host).get("pid")

    def worker(self, host: str) -> int | None:
        """The host's process that takes runs from Redis."""
        for pid in self.net.pids(host):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[1:4] == [b"-m", SYSTEM.app.encode(), b"host"]:
                return pid
        return None

    def whole(self) -> bool:
        """True if both hosts take runs."""
        with self.db.connect() as connection:
            hosts = host_rows.listed(connection, ttl_s=float(self.environ["KORDANT_LEASE_S"]))
        live = {one.name for one in hosts if one.slots and not one.silent}
        return live >= set(HOSTS) and all(self.warm(host) for host in HOSTS)

    def _state(self, host: str) -> Path:
        return self.folder / host

    def _ping(self, host: str) -> dict[str, Any]:
        try:
            return ask(socket_path(self._state(host)), {"op": "ping"}, timeout_s=5)
        except TransientError:
            return {}

    # Work

    def work_outside(self, work_s: Sequence[float], priority: Priority | None = None) -> list[int]:
        """Ask for outside work; its numbers."""
        numbers = list(range(len(self.asked), len(self.asked) + len(work_s)))
        with self.db.begin() as connection:
            for number, each in zip(numbers, work_s, strict=True):
                payload = OutsideWork(number=number, host=self.net.outside, port=self.port, work_s=each)
                enqueue(connection, payload, requested_by=BY, priority=priority, catalog=SYSTEM.rows)
        self.asked += numbers
        return numbers

    def work_at_jobs(self, jobs: Sequence[str], chance: Random) -> None:
        """Ask for a small run of each of these jobs of ours; some mails become due."""
        with self.db.begin() as connection:
            connection.execute(sa.text(_SOME_NOW), {"some": MAILS_A_BATCH})
            for job in jobs:
                fields = SMALL[job](self, connection, chance)
                enqueue(connection, SYSTEM.rows[job].payload(**fields), requested_by=BY, catalog=SYSTEM.rows)

    def open_requests(self, job: str = "") -> int:
        """Requests that have not ended, of one job or of all."""
        with self.db.connect() as connection:
            return int(connection.execute(sa.text(_OPEN), {"job": job}).scalar_one())

    def stuck(self) -> list[str]:
        """Requests that have not ended well, for a person to look at."""
        with self.db.connect() as connection:
            query = (
                "SELECT job, status, attempt, coalesce(error, '') FROM kordant.job_requests WHERE status <> 'completed'"
            )
            return [" ".join(map(str, row)) for row in connection.execute(sa.text(f"{query} ORDER BY id LIMIT 10"))]

    # Books

    def calls(self) -> Mapping[tuple[int, str], Sequence[float]]:
        """The times of all calls of a piece of work and run, in order, by the outside ledger."""
        found = defaultdict(list)
        for line in self._ledger():
            found[int(line[0]), line[2]].append(float(line[3]))
        return found

    def _ledger(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "ledger").read_text(encoding="ascii").splitlines()]

    def attempts(self) -> Mapping[int, Sequence[Attempt]]:
        """Every attempt of outside work, by its number, in order."""
        calls, found = self.calls(), defaultdict(list)
        with self.db.connect() as connection:
            for row in connection.execute(sa.text(_ATTEMPTS), {"job": OutsideWork.job}):
                times = calls.get((row.number, row.run_id), [])
                began_at = times[0] if times else row.started_at
                found[row.number].append(
                    Attempt(number=row.number, run_id=row.run_id, worker=row.worker, outcome=row.outcome,
                            began_at=began_at, calls=times)
                )  # fmt: skip
        return found

    def books(self) -> Books:
        """Compare everything with what was asked for."""
        attempts = self.attempts()
        effects = Counter(int(line[0]) for line in self._ledger() if line[1] == "new")
        mails = [line.split()[0] for line in (self.folder / "mails").read_text("ascii").splitlines()]
        with self.db.connect() as connection:

            def ask_for(query: str) -> Any:
                return connection.execute(sa.text(query))

            rows = Counter(ask_for("SELECT number FROM chaos_effects").scalars())
            requests = Counter(ask_for("SELECT status FROM kordant.job_requests").scalars())
            outcomes = Counter(ask_for("SELECT coalesce(outcome, 'open') FROM kordant.job_attempts").scalars())
            runs = ask_for("SELECT count(DISTINCT run_id) FROM kordant.job_attempts").scalar_one()
            due = ask_for(
                "SELECT status, coalesce(mail_id, id) AS mail_id, interruptions FROM kordant.notification_outbox "
                "WHERE due_at < now() + interval '1 hour'"
            ).all()
        ids = {f"<{row.mail_id}@{SENDER.domain}>" for row in due}
        return Books(
            requests=requests.total(),
            runs=runs,
            lost=requests.total() - requests["completed"]
            + sum(1 for number in self.asked if not effects[number] or not rows[number]),
            doubled=sum(1 for number in self.asked if effects[number] > 1 or rows[number] > 1),
            beside=sum(map(overlap, attempts.values())),
            mails=len(ids),
            mails_lost=sum(row.status != "sent" or f"<{row.mail_id}@{SENDER.domain}>" not in mails for row in due),
            mails_doubled=len(set(mails) - ids),
            copies=len(mails) - len(set(mails)),
            counted=sum({row.mail_id: row.interruptions for row in due}.values()),
            outcomes=outcomes,
            attempts=attempts,
        )  # fmt: skip


def overlap(attempts: Sequence[Attempt]) -> bool:
    """True if a run called after its successor had begun to."""
    called = sorted((one.calls for one in attempts if one.calls), key=lambda calls: calls[0])
    return any(one[-1] >= later[0] for one, later in pairwise(called))


Fields = Mapping[str, Any]


def _one_subscription(at: HostsSite, _: Connection, chance: Random) -> Fields:
    return {"subscription_ids": (chance.choice(at.subscriptions),)}


def _one_report(at: HostsSite, connection: Connection, chance: Random) -> Fields:
    today = datetime.now(UTC).date()
    days = {"period_start_on": today - timedelta(days=7), "period_end_on": today + timedelta(days=1)}
    return {**_one_subscription(at, connection, chance), "kind": "on_demand", "force": True, **days}


def _one_execution(at: HostsSite, connection: Connection, _: Random) -> Fields:
    begun = workflows.begin(connection, at.workflow, inputs={}, started_by=BY, tenant=None, entity_key=None)
    return {"execution_id": begun}


def _nothing(_at: HostsSite, _connection: Connection, _chance: Random) -> Fields:
    return {}


SMALL: Mapping[str, Callable[[HostsSite, Connection, Random], Fields]] = {
    **dict.fromkeys(SYSTEM.rows, _nothing),
    **dict.fromkeys(
        ("darkwatch_scan", "hometitle_scan", "voiceprint_batch", "subscription_changed"), _one_subscription
    ),
    "reports_generate": _one_report,
    "agent_workflow": _one_execution,
    "cleanup": lambda *_: {"dry_run": True},
}
"""The payload of a small run of each job."""


def _make_world(db: Engine, keyring: Keyring, folder: Path) -> tuple[Sequence[UUID], workflows.Workflow]:
    """Subscribers with an alert each, whose mails wait; a dump that holds some of them; a workflow of an agent."""
    population = make_population(1, SUBSCRIBERS)
    drop = folder / "drop"
    write_dumps(population, drop, seed=1, lines=LINES)
    steps = [{"type": "stop", "name": "end"}]
    with db.begin() as connection:
        connection.execute(sa.text("CREATE TABLE chaos_effects (number int, run_id text)"))
        keyring.check(connection)
        subscribers.add(connection, new_subscribers(population, datetime.now(UTC)), keyring)
        connection.exec_driver_sql(ALERTS)
        connection.execute(sa.text(_LATER))
        workflow, _ = workflows.propose(
            connection, agent_id="agent:chaos", owner=None, name="chaos",
            definition=WorkflowDefinition.model_validate({"inputs": {}, "steps": steps}), now=datetime.now(UTC),
        )  # fmt: skip
        workflows.approve(connection, workflow.id)
    for file in dropped_files(drop):
        register_file(db, file, keyring)
    return [one.subscription_id for one in population.subscribers], workflow


@contextmanager
def hosts_site(folder: Path, *, lease_s: float, cores: float | None = None, **more: str) -> Iterator[HostsSite]:
    """The system in this folder, up. `cores`: the CPU time that each host may use, in cores; `more`: settings.

    Raises:
        KordantError: a part did not start, or this machine has no network namespaces for us.
    """
    folder.chmod(0o755)  # the database's server is another user where we are root
    said: list[str] = []
    with ExitStack() as after:
        quotas = after.enter_context(cpu_quotas(HOSTS, cores)) if cores else {}
        net = after.enter_context(network(HOSTS))
        for name in ("postgres", "redis"):
            (folder / name).mkdir()
        postgres = TcpPostgres(folder / "postgres", net.inside)
        redis = RedisServer(folder / "redis", address=net.inside)
        for server in (postgres, redis):
            server.start()
            after.callback(server.stop)
        port = after.enter_context(sink(folder, net.outside))
        mails = after.enter_context(mail_sink(folder / "mails", net.outside))
        admin = sa.create_engine(postgres.url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {DATABASE}"))
        url = postgres.url(DATABASE)
        db = database.create_engine(url)
        after.callback(db.dispose)
        migrate.upgrade(db)
        master_key = base64.b64encode(secrets.token_bytes(32)).decode()
        keyring = keyring_of(parse_master_keys(master_key, origin="chaos"))
        subscriptions, workflow = _make_world(db, keyring, folder)
        environ = {
            **os.environ,
            "KORDANT_DATABASE_URL": url,
            "KORDANT_DAGSTER_URL": database.dagster_url(url),
            "KORDANT_BROKER_URL": redis.url,
            "KORDANT_LAUNCHER": "celery",
            "KORDANT_CODE_VERSION": "chaos",
            "KORDANT_HOST_RUNS": str(HOST_RUNS),
            "KORDANT_LEASE_S": f"{lease_s:g}",
            "KORDANT_MASTER_KEY": master_key,
            "KORDANT_SMTP_URL": f"{mails}?starttls=no",
            "KORDANT_DROP_DIR": str(folder / "drop"),
            "KORDANT_CORPUS_URL": f"file://{folder / 'corpus'}",
            "KORDANT_REPORTS_URL": f"file://{folder / 'reports'}",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": str(CHECKOUT),
            **more,
        }
        config = StackConfig(
            checkout=CHECKOUT,
            state_dir=folder / "control",
            environ={**environ, "KORDANT_STATE_DIR": str(folder / "control")},
            web_port=3950,
            webserver=False,
            system=SYSTEM,
        )
        stack = after.enter_context(Stack(config, said.append))
        stop = threading.Event()
        keeping = threading.Thread(target=stack.wait, args=(stop,), daemon=True)
        keeping.start()
        after.callback(keeping.join)
        after.callback(stop.set)
        at = HostsSite(
            folder=folder, net=net, postgres=postgres, redis=redis, db=db, keyring=keyring, port=port, said=said,
            environ=environ, subscriptions=subscriptions, workflow=workflow, quotas=quotas,
        )  # fmt: skip
        after.callback(at.stop_hosts)
        for host in HOSTS:
            at.start_host(host)
        wait_until(at.whole, UP_WITHIN_S, f"the hosts did not come up (see {folder})")
        yield at
