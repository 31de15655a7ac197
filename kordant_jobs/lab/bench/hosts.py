"""A scan on two hosts beside one: network namespaces with a core each, and the same amount of new dumps."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from random import Random

import sqlalchemy as sa

from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.jobs.darkwatch_scan.drops import register_file
from kordant_jobs.lab.chaos.hosts.app import SYSTEM
from kordant_jobs.lab.chaos.hosts.site import BY, HOSTS, HostsSite, hosts_site, wait_until
from kordant_jobs.lab.figures import Figure

FILES = 8
"""The dumps that the lines are spread over: a dump is read by one run."""
GOAL = 1.7
TIMEOUT_S = 300.0

_CPU = """
    SELECT sum(a.cpu_s) FROM kordant.job_attempts a JOIN kordant.job_requests r ON r.id = a.request_id
    WHERE r.job = 'darkwatch_scan' AND a.started_at > to_timestamp(:since) GROUP BY a.worker
"""


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


def _scan(at: HostsSite, lines: int, seed: int) -> tuple[float, list[float]]:
    """Wall time of scans of all subscriptions, and the CPU time of each host that took part."""
    _drop(at, lines, seed)
    began = time.time()
    half = len(at.subscriptions) // 2
    with at.db.begin() as connection:
        for some in (at.subscriptions[:half], at.subscriptions[half:]):
            payload = DarkwatchScan(subscription_ids=tuple(some))
            enqueue(connection, payload, requested_by=BY, catalog=SYSTEM.rows)
    wait_until(lambda: at.open_requests(DarkwatchScan.job) == 0, TIMEOUT_S, "the scans did not end")
    took_s = time.time() - began
    with at.db.connect() as connection:
        return took_s, [float(cpu_s) for cpu_s in connection.execute(sa.text(_CPU), {"since": began}).scalars()]


def measure(lines: int) -> list[Figure]:
    """Two hosts first, then one: what is only done once is on the side of one.

    Raises:
        KordantError: the hosts did not come up, or the scans did not end.
    """
    cores = {host: core for core, host in enumerate(HOSTS)}
    with (
        tempfile.TemporaryDirectory(prefix="kordant-hosts-", ignore_cleanup_errors=True) as folder,
        hosts_site(Path(folder), lease_s=15, cores=cores) as at,
    ):
        _scan(at, 8 * FILES, 1)  # the world's own dumps, and whatever is compiled or read once
        two_s, two_cpu_s = _scan(at, lines, 2)
        at.stop_host(HOSTS[1])
        one_s, one_cpu_s = _scan(at, lines, 3)
    return [
        Figure(key="lines", value=lines, unit="", goal=None),
        Figure(key="wall_s", value=two_s, unit="s", goal=None, peer="one host", peer_value=one_s),
        Figure(key="cpu_s", value=sum(two_cpu_s), unit="s", goal=None, peer="one host", peer_value=sum(one_cpu_s)),
        # waiting for Postgres and for cores that others use is not the hosts': their longest share of CPU time is
        Figure(key="cpu_bound_part", value=sum(one_cpu_s) / max(two_cpu_s), unit="x", goal=GOAL, direction="min"),
    ]
