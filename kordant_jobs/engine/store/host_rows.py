"""Hosts of workers: which are alive, what they run, which runs they took, and orders to them.

The broker carries runs to hosts and may lose them; these tables have the true state of runs and hosts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.engine.store.tables import job_attempts, job_hosts, job_leases

ORDERS = "kordant_hosts"
"""The channel that every host listens to: `{"stop": run, "cause": …}` or `{"drain": host}`."""
KEPT = timedelta(days=1)
"""The time for which a silent host stays in the list."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host as lists show it. `runs` is the number of its runs that have not ended. `silent`: no heartbeat for the
    time of a lease."""

    name: str
    code_version: str
    slots: int
    runs: int
    draining: bool
    silent: bool
    since: datetime
    seen_at: datetime


def register(
    connection: Connection, name: str, *, place: str, code_version: str, slots: int, now: datetime, ttl_s: float
) -> bool:
    """Register a host that starts. False: another host of this name sent a heartbeat within `ttl_s`."""
    connection.execute(sa.delete(job_hosts).where(job_hosts.c.seen_at < now - KEPT))
    facts = {"place": place, "code_version": code_version, "slots": slots, "draining": False}
    row = insert(job_hosts).values(name=name, since=now, seen_at=now, **facts)
    row = row.on_conflict_do_update(
        index_elements=["name"],
        set_={**facts, "since": now, "seen_at": now},
        where=(job_hosts.c.place == place) | (job_hosts.c.seen_at < now - timedelta(seconds=ttl_s)),
    )
    return connection.execute(row.returning(job_hosts.c.name)).one_or_none() is not None


def beat(
    connection: Connection,
    name: str,
    *,
    place: str,
    slots: int,
    run_ids: Sequence[str],
    now: datetime,
    ttl_s: float,
) -> bool | None:
    """Record a heartbeat of the host and how many runs it takes at once, and extend the leases of those of its runs
    that have not adopted them yet. A run that it does not know (its process was killed after it took the run, or the
    answer was lost) is not among them: its lease runs out, and its work is given to another. Returns whether the host
    should drain; None when another host has its name now."""
    row = connection.execute(
        sa.update(job_hosts)
        .where(job_hosts.c.name == name, job_hosts.c.place == place)
        .values(seen_at=now, slots=slots)
        .returning(job_hosts.c.draining)
    ).one_or_none()
    if row is None:
        return None
    connection.execute(
        sa.update(job_leases)
        .where(job_leases.c.host == name, job_leases.c.run_id.in_(run_ids), ~job_leases.c.adopted)
        .values(expires_at=now + timedelta(seconds=ttl_s))
    )
    return bool(row.draining)


def leave(connection: Connection, name: str, *, place: str) -> None:
    """Remove a host that ends from the list."""
    connection.execute(sa.delete(job_hosts).where(job_hosts.c.name == name, job_hosts.c.place == place))


def take(connection: Connection, run_id: str, host: str, *, now: datetime, ttl_s: float) -> bool:
    """Assign a run to the host that received it. False: another host has it, its work was returned, or it has ended; do
    nothing."""
    lease = connection.execute(
        sa.update(job_leases)
        .where(
            job_leases.c.run_id == run_id,
            job_leases.c.name.startswith("job:"),
            job_leases.c.host.is_(None),
            ~job_leases.c.adopted,
        )
        .values(host=host, expires_at=now + timedelta(seconds=ttl_s))
        .returning(job_leases.c.id)
    ).scalar_one_or_none()
    if lease is None:
        return False
    connection.execute(sa.update(job_attempts).where(job_attempts.c.lease_id == lease).values(worker=host))
    return True


def not_taken(connection: Connection, run_ids: Sequence[str]) -> set[str]:
    """The runs among these that still wait for a host."""
    if not run_ids:
        return set()
    waiting = sa.select(job_leases.c.run_id).where(
        job_leases.c.run_id.in_(run_ids), job_leases.c.host.is_(None), ~job_leases.c.adopted
    )
    return set(connection.execute(waiting).scalars())


def live_slots(connection: Connection, *, code_version: str, now: datetime, ttl_s: float) -> int:
    """The number of runs that the live hosts of this version may run at once; 0 when there is none."""
    found: int = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(job_hosts.c.slots), 0)).where(
            job_hosts.c.code_version == code_version,
            ~job_hosts.c.draining,
            job_hosts.c.seen_at > now - timedelta(seconds=ttl_s),
        )
    ).scalar_one()
    return found


def listed(connection: Connection, *, ttl_s: float) -> list[Host]:
    """Every host, by name. A host without a heartbeat for `ttl_s` is silent."""
    runs = (
        sa.select(sa.func.count()).where(job_leases.c.host == job_hosts.c.name).correlate(job_hosts).scalar_subquery()
    )
    column = job_hosts.c
    shown = (column.name, column.code_version, column.slots, column.draining, column.since, column.seen_at)
    silent = column.seen_at < sa.func.now() - timedelta(seconds=ttl_s)
    query = sa.select(*shown, runs.label("runs"), silent.label("silent")).order_by(column.name)
    rows = connection.execute(query)
    return [Host(**row) for row in rows.mappings()]


def drain(connection: Connection, name: str) -> bool:
    """Have a host take no more runs, and end after its runs. False: there is no host of this name."""
    done = connection.execute(sa.update(job_hosts).where(job_hosts.c.name == name).values(draining=True))
    order(connection, {"drain": name})
    return bool(done.rowcount)


def order(connection: Connection, words: dict[str, Any]) -> None:
    """Send an order to every host, once this transaction commits."""
    connection.execute(sa.text("SELECT pg_notify(:channel, :words)"), {"channel": ORDERS, "words": json.dumps(words)})


def stop_run(connection: Connection, run_id: str, *, cause: str, grace_s: float) -> None:
    """Have the host of a run stop it. A host that cannot receive this is cut off, so the run ends itself."""
    order(connection, {"stop": run_id, "cause": cause, "grace_s": grace_s})
