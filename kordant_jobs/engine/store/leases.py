"""Leases and token buckets: limits that hold over all processes and free themselves when a holder dies.

A lease is a row. The holder of the row has the slot and may write; without the row it may not. Only `reap` and
`acquire` decide about expiry, by deleting the row, so that a slow writer and the reaper never both believe they hold
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as insert_row
from uuid_utils.compat import uuid7

from kordant_jobs.engine.store.tables import job_leases, rate_buckets
from kordant_jobs.errors import KordantError


class LeaseLost(KordantError):
    """This process was declared lost and its work given to another: it must stop and write nothing more."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A slot held until it expires. `fence` is a number that grows with every lease, over all limits."""

    id: UUID
    name: str
    fence: int


def lock_name(connection: Connection, name: str) -> None:
    """Wait until no other transaction decides about the limit `name`, and hold that lock until this transaction
    ends."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"kordant:{name}"})


def acquire(connection: Connection, name: str, *, limit: int, holder: str, now: datetime, ttl_s: float) -> Lease | None:
    """A lease on one of `limit` slots named `name` for `ttl_s` seconds; None when all are held. Expired leases are
    reaped first."""
    lock_name(connection, name)
    reap(connection, now=now, name=name)
    held = connection.execute(sa.select(sa.func.count()).where(job_leases.c.name == name)).scalar_one()
    if held >= limit:
        return None
    return insert(connection, [name], holder=holder, now=now, ttl_s=ttl_s)[0]


def insert(
    connection: Connection,
    names: Sequence[str],
    *,
    holder: str,
    now: datetime,
    ttl_s: float,
    run_ids: Sequence[str | None] | None = None,
) -> list[Lease]:
    """A new lease for each name, in that order, with the run that will work under it. The caller has checked the
    limits. One that a run makes for what it claims expires sooner than `ttl_s` if the run loses its own."""
    expires_at = now + timedelta(seconds=ttl_s)
    ids = [uuid7() for _ in names]
    rows = [
        {"id": one, "name": name, "holder": holder, "taken_at": now, "expires_at": expires_at, "run_id": run_id}
        for one, name, run_id in zip(ids, names, run_ids or [None] * len(ids), strict=True)
    ]
    made = connection.execute(sa.insert(job_leases).returning(job_leases.c.id, job_leases.c.fence), rows)
    fences = {row.id: row.fence for row in made}
    return [Lease(id=one, name=name, fence=fences[one]) for one, name in zip(ids, names, strict=True)]


def held_sql(column: str, moment: str = "clock_timestamp()") -> str:
    """The condition, as SQL, that the lease whose id is in `column` is still held at `moment`. The function reads with
    a snapshot of its own, so that a claim which began before another was committed sees the lease of that one."""
    return f"({column} IS NOT NULL AND kordant.lease_is_held({column}, {moment}))"


def release(connection: Connection, lease_ids: Sequence[UUID]) -> None:
    """Release slots."""
    if lease_ids:
        connection.execute(sa.delete(job_leases).where(job_leases.c.id.in_(lease_ids)))


def release_claims(connection: Connection, lease_ids: Sequence[UUID]) -> bool:
    """Release what runs claimed under these leases and have not released. False when there is nothing."""
    done = connection.execute(sa.delete(job_leases).where(job_leases.c.under.in_(lease_ids)))
    return bool(done.rowcount)


def extend(connection: Connection, lease_ids: Sequence[UUID], *, now: datetime, ttl_s: float) -> set[UUID]:
    """Extend leases by another `ttl_s` seconds. Returns the ids of those still held."""
    if not lease_ids:
        return set()
    kept = connection.execute(
        sa.update(job_leases)
        .where(job_leases.c.id.in_(lease_ids))
        .values(expires_at=now + timedelta(seconds=ttl_s))
        .returning(job_leases.c.id)
    )
    return set(kept.scalars())


def extend_launching(connection: Connection, lease_ids: Sequence[UUID], *, now: datetime, ttl_s: float) -> None:
    """Extend leases on behalf of a starter. It skips leases that their run, or the host that took it, renews itself, so
    that their death is noticed."""
    if lease_ids:
        connection.execute(
            sa.update(job_leases)
            .where(job_leases.c.id.in_(lease_ids), ~job_leases.c.adopted, job_leases.c.host.is_(None))
            .values(expires_at=now + timedelta(seconds=ttl_s))
        )


def still_held(connection: Connection, lease_ids: Sequence[UUID]) -> set[UUID]:
    """The leases among these that were neither released nor reaped."""
    return set(connection.execute(sa.select(job_leases.c.id).where(job_leases.c.id.in_(lease_ids))).scalars())


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """A lease that was reaped. `adopted`: its run had begun."""

    id: UUID
    run_id: str | None
    adopted: bool


def reap(connection: Connection, *, now: datetime, name: str | None = None) -> list[Reaped]:
    """Remove every expired lease (of one limit, with `name`). A lease whose holder is writing at this moment is
    left."""
    expired = sa.select(job_leases.c.id).where(job_leases.c.expires_at <= now).with_for_update(skip_locked=True)
    if name is not None:
        expired = expired.where(job_leases.c.name == name)
    gone = connection.execute(
        sa.delete(job_leases)
        .where(job_leases.c.id.in_(expired))
        .returning(job_leases.c.id, job_leases.c.run_id, job_leases.c.adopted)
    )
    return [Reaped(**row) for row in gone.mappings()]


def silent_runs(connection: Connection, *, now: datetime, ttl_s: float) -> list[str]:
    """The runs whose lease has expired and still exists, and those that did not adopt theirs within `ttl_s`."""
    never_adopted = sa.and_(~job_leases.c.adopted, job_leases.c.taken_at <= now - timedelta(seconds=ttl_s))
    found = connection.execute(
        sa.select(job_leases.c.run_id).where(
            job_leases.c.run_id.is_not(None), sa.or_(job_leases.c.expires_at <= now, never_adopted)
        )
    )
    return list(found.scalars())


def next_expiry(connection: Connection) -> datetime | None:
    """The time at which the next lease expires, if it is not extended."""
    first: datetime | None = connection.execute(sa.select(sa.func.min(job_leases.c.expires_at))).scalar_one()
    return first


def fenced(connection: Connection, lease: Lease) -> None:
    """Prove, until this transaction ends, that the lease is still held: call it in every transaction that writes. It
    locks the lease's row against the reaper, not against its own heartbeat.

    Raises:
        LeaseLost: the lease ran out and was taken away. Roll back and stop.
    """
    held = connection.execute(
        sa.select(job_leases.c.id)
        .where(job_leases.c.id == lease.id, job_leases.c.fence == lease.fence)
        .with_for_update(read=True, key_share=True)
    ).scalar()
    if held is None:
        raise LeaseLost(lost_text(lease))


def lost_text(lease: Lease) -> str:
    """The message for a run that lost its lease."""
    return (
        f"the lease {lease.id} was lost: this run was taken for dead and its work was given back to the queue. "
        "Nothing of it may be written; the next attempt does it."
    )


def session_name(run_id: str) -> str:
    """The name of a run's database connections (`application_name`)."""
    return f"kordant run {run_id}"


def cut_off(connection: Connection, *, now: datetime) -> int:
    """End the database sessions of runs whose lease has expired, so that `reap` can remove it: a run paused in the
    middle of a transaction would block that for ever. Returns the number of sessions ended."""
    ended = connection.execute(
        sa.text("""
            SELECT count(pg_terminate_backend(a.pid)) FROM kordant.job_leases l
            JOIN pg_stat_activity a ON a.application_name = :prefix || l.run_id AND a.usename = current_user
            WHERE l.expires_at <= :now AND a.datname = current_database() AND a.pid <> pg_backend_pid()
        """).bindparams(sa.bindparam("now", type_=sa.DateTime(timezone=True))),
        {"prefix": session_name(""), "now": now},
    ).scalar_one()
    return int(ended)


def open_bucket(connection: Connection, party: str, *, per_s: float, burst: int, now: datetime) -> int:
    """The whole tokens in an outside party's bucket, which all processes share. It is locked until this transaction
    ends."""
    connection.execute(
        insert_row(rate_buckets).values(party=party, tokens=burst, filled_at=now).on_conflict_do_nothing()
    )
    row = connection.execute(sa.select(rate_buckets).where(rate_buckets.c.party == party).with_for_update()).one()
    gained = per_s * max(0.0, (now - row.filled_at).total_seconds())
    tokens = min(float(burst), row.tokens + gained)
    connection.execute(
        sa.update(rate_buckets)
        .where(rate_buckets.c.party == party)
        .values(tokens=tokens, filled_at=max(row.filled_at, now))
    )
    return int(tokens + 1e-9)


def spend(connection: Connection, party: str, tokens: int) -> None:
    """Take tokens from a bucket that this transaction has opened."""
    if tokens:
        connection.execute(
            sa.update(rate_buckets).where(rate_buckets.c.party == party).values(tokens=rate_buckets.c.tokens - tokens)
        )


def take_tokens(connection: Connection, party: str, wanted: int, *, per_s: float, burst: int, now: datetime) -> int:
    """Take up to `wanted` tokens from an outside party's bucket; 0 when it is empty. A rollback restores them."""
    granted = min(wanted, open_bucket(connection, party, per_s=per_s, burst=burst, now=now))
    spend(connection, party, granted)
    return granted


def next_token_at(connection: Connection, party: str, *, per_s: float, now: datetime) -> datetime:
    """The time at which the bucket holds a whole token again."""
    row = connection.execute(sa.select(rate_buckets).where(rate_buckets.c.party == party)).one_or_none()
    if row is None or row.tokens >= 1:
        return now
    full_at: datetime = row.filled_at + timedelta(seconds=(1 - row.tokens) / per_s)
    return max(now, full_at)
