"""The faults: each takes a host and returns when it is over. A host that died begins again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random

from kordant_jobs.lab.chaos.hosts.site import HostsSite

AWAY_S = 1.0
"""Seconds for which a server or a host that is restarted is away."""
LONGER_S = 6.0
"""The long cut lasts so much longer than the lease."""

Fault = Callable[[HostsSite, str, Random], None]


def _kill(pid: int | None) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _lease_s(at: HostsSite) -> float:
    return float(at.environ["KORDANT_LEASE_S"])


def kill_run(at: HostsSite, host: str, chance: Random) -> None:
    """SIGKILL to the process of a run."""
    running = sorted(at.executing(host).values())
    _kill(chance.choice(running) if running else None)


def kill_worker(at: HostsSite, host: str, _: Random) -> None:
    """SIGKILL to the process that takes runs from Redis."""
    _kill(at.worker(host))


def kill_warm(at: HostsSite, host: str, _: Random) -> None:
    """SIGKILL to the warm process, and so to every run of the host."""
    _kill(at.warm(host))


def kill_host(at: HostsSite, host: str, _: Random) -> None:
    """SIGKILL to everything on the host; it boots again."""
    at.net.kill(host)
    time.sleep(AWAY_S)
    at.start_host(host)


def cut_short(at: HostsSite, host: str, _: Random) -> None:
    """The link to Postgres and Redis is down for a third of the lease."""
    _cut(at, host, _lease_s(at) / 3)


def cut_long(at: HostsSite, host: str, _: Random) -> None:
    """The link is down for longer than the lease."""
    _cut(at, host, _lease_s(at) + LONGER_S)


def _cut(at: HostsSite, host: str, for_s: float) -> None:
    at.net.cut(host)
    time.sleep(for_s)
    at.net.heal(host)


def empty_redis(at: HostsSite, _host: str, _: Random) -> None:
    """Redis restarts, empty."""
    at.redis.stop()
    time.sleep(AWAY_S)
    at.redis.start()


def restart_database(at: HostsSite, _host: str, _: Random) -> None:
    """Postgres stops under everybody, and comes back."""
    at.postgres.stop()
    time.sleep(AWAY_S)
    at.postgres.start()


FAULTS: Mapping[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_run, kill_worker, kill_warm, kill_host, cut_short, cut_long, empty_redis, restart_database,
    )
}  # fmt: skip
