"""A scan on two hosts beside one: network namespaces, each with a quota of CPU time, and the same amount of new dumps.

A quota models a machine: a host is as fast alone as beside the other, and the rest of this machine serves Postgres,
Redis and the dispatcher, as machines of their own would.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import sqlalchemy as sa

from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.jobs.darkwatch_scan.drops import register_file
from kordant_jobs.lab.chaos.hosts.app import SYSTEM
from kordant_jobs.lab.chaos.hosts.site import BY, HOSTS, HostsSite, hosts_site
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.waiting import wait_until

FILES = 16
"""The dumps that the lines are spread over. A dump is read by one run: with few of them a host waits at the end."""
GOAL = 1.7
TIMEOUT_S = 300.0
SHARE = 0.25
"""The part of this machine's cores that each host has; at most one core, which is what a run uses."""

_READ = """
    SELECT extract(epoch FROM max(ingested_at))::float FROM kordant.breach_dumps
    WHERE registered_at > to_timestamp(:since) HAVING bool_and(status = 'ingested')
"""
_CPU = """
    SELECT sum(a.cpu_s) FROM kordant.job_attempts a JOIN kordant.job_requests r ON r.id = a.request_id
    WHERE r.job = 'darkwatch_scan' AND a.started_at > to_timestamp(:since) GROUP BY a.worker
"""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The times of one scan from its request on, and the CPU time of each host that took part."""

    read_s: float
    """Until the last new line was in the corpus, and the subscribers found by then were alerted."""
    wall_s: float
    """Until every request had ended, those included that were made for later, for dumps that another run had."""
    cpu_s: Sequence[float]


def _drop(at: HostsSite, lines: int, seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - invented addresses
    drop = Path(at.environ["KORDANT_DROP_DIR"])
    for number in range(FILES):
        text = "".join(
            f"name{chance.randrange(10**9)}@mail.example:{chance.randrange(10**8):08d}\n" for _ in range(lines // FILES)
        )
        (drop / f"new-{seed}-{number}.txt").write_text(text, encoding="ascii")
    for file in dropped_files(drop):
        register_file(at.db, file, at.keyring)


def _scan(at: HostsSite, lines: int, seed: int) -> Scan:
    """Scans of all subscriptions, half of them each, over new dumps."""
    registered = time.time()
    _drop(at, lines, seed)
    began = time.time()
    half = len(at.subscriptions) // 2
    with at.db.begin() as connection:
        for some in (at.subscriptions[:half], at.subscriptions[half:]):
            payload = DarkwatchScan(subscription_ids=tuple(some))
            enqueue(connection, payload, requested_by=BY, catalog=SYSTEM.rows)
    wait_until(lambda: at.open_requests(DarkwatchScan.job) == 0, TIMEOUT_S, "the scans did not end")
    wall_s = time.time() - began
    with at.db.connect() as connection:
        read_at = connection.execute(sa.text(_READ), {"since": registered}).scalar_one()
        cpu_s = connection.execute(sa.text(_CPU), {"since": began}).scalars()
        return Scan(read_s=read_at - began, wall_s=wall_s, cpu_s=[float(one) for one in cpu_s])


def measure(lines: int, rounds: int) -> list[Figure]:
    """So many scans on two hosts first, then on one: what is only done once is on the side of two. Times and ratios are
    medians.

    Raises:
        KordantError: the hosts did not come up, or the scans did not end.
    """
    cores = min(1.0, SHARE * (os.cpu_count() or 1))
    with (
        tempfile.TemporaryDirectory(prefix="kordant-hosts-", ignore_cleanup_errors=True) as folder,
        hosts_site(Path(folder), lease_s=15, cores=cores) as at,
    ):
        _scan(at, 8 * FILES, 1)  # the world's own dumps, and whatever is compiled or read once
        two = [_scan(at, lines, 2 + number) for number in range(rounds)]
        at.stop_host(HOSTS[1])
        one = [_scan(at, lines, 2 + rounds + number) for number in range(rounds)]

    def figure(key: str, of_two: Sequence[float], of_one: Sequence[float]) -> Figure:
        return Figure(
            key=key, value=median(of_two), unit="s", goal=None, peer="one host", peer_value=median(of_one)
        )  # fmt: skip

    read = figure("read_s", [scan.read_s for scan in two], [scan.read_s for scan in one])
    wall = figure("wall_s", [scan.wall_s for scan in two], [scan.wall_s for scan in one])
    cpu = figure("cpu_s", [sum(scan.cpu_s) for scan in two], [sum(scan.cpu_s) for scan in one])
    longest = figure("cpu_of_busier_host_s", [max(scan.cpu_s) for scan in two], [max(scan.cpu_s) for scan in one])
    return [
        Figure(key="lines", value=lines, unit="", goal=None),
        Figure(key="cores_a_host", value=cores, unit="", goal=None),
        read, wall, cpu, longest,
        Figure(key="cpu_bound_part", value=read.ratio or 0.0, unit="x", goal=GOAL, direction="min"),
    ]  # fmt: skip
