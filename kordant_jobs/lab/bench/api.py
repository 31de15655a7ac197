"""The API under load: status reads with a million requests in the table, watchers, and enqueue to op over HTTP.

Status reads are asked of `api serve` in two processes, by clients on the same machine, over connections that stay open,
a new request after each answer. The peer is what a first version would be: FastAPI with SQLAlchemy and a response
model, one row by its id, no token, policy or quota; also in two processes, asked in turn with ours. On a busy machine
the CPU time of a read says more than the reads a second.
"""

from __future__ import annotations

import asyncio
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import sqlalchemy as sa
import uvloop
from sqlalchemy import Engine

from kordant_jobs.api.watch import STREAMS_OF_ONE
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.readiness import free_port
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.bench.app import Stamp
from kordant_jobs.lab.bench.console import world
from kordant_jobs.lab.bench.engine import GAP_S, START_S
from kordant_jobs.lab.bench.site import OurSite, site
from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring

PEER = "FastAPI and SQLAlchemy"
WORKERS = 2
CONNECTIONS = 16
WITHIN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Reads:
    """The rate and response times of one server, as clients measured them."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Of the server's processes, for one read."""


def _load(port: int, paths: Sequence[str], token: str, seconds: float, pids: Sequence[int]) -> Reads:
    """Ask over `CONNECTIONS` connections for so long."""
    before = _cpu_s(pids)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = sorted(runner.run(_ask(port, paths, token, seconds)))
    return Reads(
        per_s=len(took) / seconds,
        p50_ms=took[len(took) // 2] * 1000,
        p99_ms=took[int(len(took) * 0.99)] * 1000,
        cpu_ms=(_cpu_s(pids) - before) / len(took) * 1000,
    )


def _cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds of these processes until now."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in stats) / os.sysconf("SC_CLK_TCK")


async def _ask(port: int, paths: Sequence[str], token: str, seconds: float) -> list[float]:
    """Seconds of each read."""
    until = time.perf_counter() + seconds
    took: list[float] = []

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            number += CONNECTIONS
            head = (
                f"GET {paths[number % len(paths)]} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
            )
            writer.write(head.encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not answer.startswith(b"http/1.1 200"):
                raise KordantError(f"a status read was answered {answer[:20]!r}")
            await reader.readexactly(int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one(number) for number in range(CONNECTIONS)))
    return took


async def _enqueue(base: str, token: str, times: int) -> float:
    """Milliseconds until a request is queued: the median of `times` requests, sent one after the other."""
    took = []
    async with httpx.AsyncClient(base_url=f"{base}/api/jobs", timeout=WITHIN_S, trust_env=False) as client:
        for number in range(times):
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"bench-{os.getpid()}-{number}"}
            body = {"job": "notifications_send", "payload": {}, "run_at": "2190-01-01T00:00:00Z"}
            began = time.perf_counter()
            answer = await client.post("/requests", json=body, headers=headers)
            took.append(time.perf_counter() - began)
            if answer.status_code != 202:
                raise KordantError(f"a request was answered {answer.status_code}")
    return statistics.median(took) * 1000


async def _watch(base: str, tokens: Sequence[str], ids: Sequence[UUID], watchers: int) -> float:
    """Seconds until each of `watchers` streams had its snapshot, with all of them open at once."""
    limits = httpx.Limits(max_connections=watchers)
    everyone = asyncio.Barrier(watchers)

    async def one(client: httpx.AsyncClient, place: int) -> float:
        request_id, headers = ids[place % len(ids)], {"Authorization": f"Bearer {tokens[place % len(tokens)]}"}
        path = f"{base}/api/jobs/requests/{request_id}/events"
        began = time.perf_counter()
        async with client.stream("GET", path, params={"timeout_s": 60}, headers=headers) as answer:
            if answer.status_code != 200:
                raise KordantError(f"a stream was answered {answer.status_code}")
            lines = answer.aiter_lines()
            if await anext(lines) != "event: snapshot":
                raise KordantError("a stream began without a snapshot")
            took = time.perf_counter() - began
            await everyone.wait()
            return took

    async with httpx.AsyncClient(limits=limits, timeout=WITHIN_S, trust_env=False) as client:
        return max(await asyncio.gather(*(one(client, place) for place in range(watchers))))


@contextmanager
def _processes(commands: Sequence[Sequence[str]], url: str, environ: dict[str, str]) -> Iterator[list[int]]:
    """The processes of servers that answer at `url` meanwhile."""
    running = [
        subprocess.Popen([sys.executable, *one], cwd=CHECKOUT, env={**os.environ, **environ}) for one in commands
    ]
    try:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            try:
                if httpx.get(url, trust_env=False, timeout=5).status_code < 500:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        else:
            raise KordantError(f"no server answered at {url} within {WITHIN_S:.0f} s")
        time.sleep(2)  # the other process of the port, too
        yield [one.pid for one in running]
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait(20)


def _token(db: Engine, keyring: Keyring, number: int) -> str:
    """A token of an operator of its own: no principal may watch more than `STREAMS_OF_ONE`."""
    name, now = f"user:watcher{number}", datetime.now(UTC)
    with db.begin() as connection:
        people.save_principal(connection, name, Role.OPERATOR, by="bench")
        return people.create_token(connection, keyring, name, tuple(TokenScope), days=1, by="bench", now=now)


def _to_op(events: int) -> tuple[float, float]:
    """Seconds from the call to the op's body, and from the same request by SQL: medians of `events` calls, in turn."""
    master, port = os.urandom(32), free_port(3880)
    key, base = base64.b64encode(master).decode(), f"http://127.0.0.1:{port}"
    by_http, by_sql = [], []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="kordant-bench-")))
        server = opened.enter_context(EmbeddedPostgres(folder / "postgres"))
        at = opened.enter_context(site(folder, server, OurSite, KORDANT_MASTER_KEY=key))
        url = at.db.url.render_as_string(hide_password=False)
        environ = {"KORDANT_DATABASE_URL": url, "KORDANT_STATE_DIR": str(folder / "api"), "KORDANT_MASTER_KEY": key}
        command = ["-m", "kordant_jobs.lab.bench.api_site", str(port)]
        opened.enter_context(_processes([command], f"{base}/livez", environ))
        keyring = Keyring(master)
        with at.db.begin() as connection:
            keyring.check(connection)
        headers = {"Authorization": f"Bearer {_token(at.db, keyring, 0)}"}
        client = opened.enter_context(httpx.Client(base_url=f"{base}/api/jobs", headers=headers, trust_env=False))
        at.wait_for(at.fire(), START_S)
        for number in range(-events, 1):  # the first of each fills caches, and does not count
            time.sleep(GAP_S)
            began = time.time()
            (event,) = at.fire()
            by_sql.append(at.wait_for([event])[event] - began)
            time.sleep(GAP_S)
            event, began = number - 1, time.time()
            body = {"job": Stamp.job, "payload": {"event": event}}
            client.post("/requests", json=body, headers={"Idempotency-Key": f"{event}"}).raise_for_status()
            by_http.append(at.wait_for([event])[event] - began)
    return statistics.median(by_http[1:]), statistics.median(by_sql[1:])


def measure(*, requests: int, seconds: float, watchers: int, events: int) -> list[Figure]:
    """Fill the table, and ask both servers in turn; then start runs."""
    to_op = _to_op(events) if events else None
    master = os.urandom(32)
    with world(requests, master=master) as (db, keyring, token):
        url = db.url.render_as_string(hide_password=False)
        with db.connect() as connection:
            query = "SELECT id FROM kordant.job_requests TABLESAMPLE SYSTEM (5) LIMIT 5000"
            ids = list(connection.execute(sa.text(query)).scalars())
            query = "SELECT id FROM kordant.job_requests WHERE status = 'pending' LIMIT 100"
            pending = list(connection.execute(sa.text(query)).scalars())
        tokens = [_token(db, keyring, number) for number in range(watchers // STREAMS_OF_ONE + 1)]
        ours, theirs = free_port(3800), free_port(3840)
        base, paths = f"http://127.0.0.1:{ours}", [f"/api/jobs/requests/{one}" for one in ids]
        serve = ["-m", "kordant_jobs.cli", "api", "serve", "--port", str(ours), "--workers", str(WORKERS)]
        commands = [[*serve, "--worker", str(number + 1)] for number in range(WORKERS)]
        peer = [["-m", "kordant_jobs.lab.bench.api_peer", url, str(theirs)]] * WORKERS
        mine, other = [], []
        with ExitStack() as opened:
            key = base64.b64encode(master).decode()
            state = opened.enter_context(tempfile.TemporaryDirectory(prefix="kordant-bench-"))
            environ = {"KORDANT_DATABASE_URL": url, "KORDANT_STATE_DIR": state, "KORDANT_MASTER_KEY": key}
            pids = opened.enter_context(_processes(commands, f"{base}/livez", environ))
            peers = opened.enter_context(_processes(peer, f"http://127.0.0.1:{theirs}{paths[0]}", {}))
            for seconds_of_turn in (1, seconds, seconds):  # the first turn opens connections and fills caches
                mine.append(_load(ours, paths, token, seconds_of_turn, pids))
                other.append(_load(theirs, paths, token, seconds_of_turn, peers))
            queued_ms = asyncio.run(_enqueue(base, token, 100))
            opened_s = asyncio.run(_watch(base, tokens, pending, watchers)) if watchers else 0.0
    best, theirs_best = (max(some[1:], key=lambda one: one.per_s) for some in (mine, other))
    return [
        Figure(key="status_reads_per_s", value=best.per_s, unit="1/s", goal=1000, direction="min", peer=PEER,
               peer_value=theirs_best.per_s),
        Figure(key="status_cpu_ms", value=best.cpu_ms, unit="ms", goal=None, peer=PEER, peer_value=theirs_best.cpu_ms),
        Figure(key="status_p50_ms", value=best.p50_ms, unit="ms", goal=None, peer=PEER, peer_value=theirs_best.p50_ms),
        Figure(key="enqueue_p50_ms", value=queued_ms, unit="ms", goal=None),
        Figure(key="status_p99_ms", value=best.p99_ms, unit="ms", goal=50, peer=PEER, peer_value=theirs_best.p99_ms),
        *([] if to_op is None else [Figure(key="enqueue_to_op_p50_s", value=to_op[0], unit="s", goal=0.12,
                                           peer="the same by SQL", peer_value=to_op[1])]),
        Figure(key="load", value=os.getloadavg()[0], unit="", goal=None),
        *([Figure(key=f"watchers_{watchers}_open_s", value=opened_s, unit="s", goal=None)] if watchers else []),
    ]  # fmt: skip
