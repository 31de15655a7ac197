"""Claims due requests for runs: checks every limit and gives each run a lease, in one transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection

from kordant_jobs.engine.jobs import JobRow, PartyRate
from kordant_jobs.engine.queue.claim_rules import HANDICAP, Room, plan_runs
from kordant_jobs.engine.store import attempts, leases, waiting
from kordant_jobs.engine.store.leases import Lease
from kordant_jobs.engine.store.waiting import Waiting, Want


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run to start: its requests are in the state running and under its lease. `is_there`: Dagster made the run, and
    it waits."""

    job: str
    run_id: str
    is_there: bool
    lease: Lease
    requests: tuple[Waiting, ...]


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """The claims made, and the time of the next claim without a notification: when a token is refilled, or a run's wait
    for more requests is over."""

    claims: tuple[Claim, ...]
    check_again_at: datetime | None


def claim(
    connection: Connection,
    rows: Mapping[str, JobRow],
    parties: Mapping[str, PartyRate],
    *,
    runs: int,
    critical_extra: int = 0,
    worker: str,
    now: datetime,
    ttl_s: float,
    started: int = 0,
) -> Claimed:
    """Claim requests for at most `runs` live runs of all processes together, and for `critical_extra` more that serve
    critical or on-time requests. A paused job gets none. Concurrent claims wait for each other, so no limit is
    exceeded."""
    leases.lock_name(connection, "claim")
    taken = waiting.slots_taken(connection)
    live = sum(taken.values())
    paused = {one.job for one in waiting.paused(connection)}
    by_job = {name: row.concurrency - taken.get(name, 0) for name, row in rows.items() if name not in paused}
    free = runs - live
    if free + critical_extra <= 0:
        return Claimed(claims=(), check_again_at=None)
    tokens = _open_buckets(connection, rows, parties, by_job, now=now)
    wants = []
    for name, free_slots in by_job.items():
        allowed = tokens.get(rows[name].party or "", None)
        slots = free_slots + rows[name].critical_extra
        most = min(slots, max(free, 0) + critical_extra) * rows[name].batch_size
        if slots > 0 and allowed != 0:
            most_rows = most if allowed is None else min(most, allowed)
            wants.append(Want(job=name, rows=most_rows, key_concurrency=rows[name].key_concurrency))
    room = Room(runs=max(free, 0), critical_extra=critical_extra + min(free, 0), by_job=by_job, tokens=tokens)
    plan = plan_runs(
        waiting.waiting(connection, wants, list(HANDICAP.values()), now=now), rows, room, now=now, started=started
    )
    names = [f"job:{run.job}" for run in plan.runs]
    run_ids = [run.waiting_run_id or str(uuid4()) for run in plan.runs]
    given = leases.insert(connection, names, holder=worker, now=now, ttl_s=ttl_s, run_ids=run_ids) if names else []
    claims = tuple(
        Claim(
            job=run.job,
            run_id=run_id,
            is_there=run.waiting_run_id is not None,
            lease=lease,
            requests=run.requests,
        )
        for run, run_id, lease in zip(plan.runs, run_ids, given, strict=True)
    )
    if claims:
        chosen = [(one.id, each.lease) for each in claims for one in each.requests]
        started_ids = attempts.start(connection, chosen, worker=worker, now=now)
        if len(started_ids) < len(chosen):
            claims = _those_started(connection, claims, started_ids)
    moments = _spend(connection, parties, tokens, claims, rows, now=now)
    if plan.check_again_at is not None:
        moments.append(plan.check_again_at)
    return Claimed(claims=claims, check_again_at=min(moments, default=None))


def _those_started(connection: Connection, claims: Sequence[Claim], started: Set[UUID]) -> tuple[Claim, ...]:
    """The claims without the requests that another process holds. A lease without requests is released."""
    kept = [replace(each, requests=tuple(one for one in each.requests if one.id in started)) for each in claims]
    leases.release(connection, [each.lease.id for each in kept if not each.requests])
    return tuple(each for each in kept if each.requests)


def _open_buckets(
    connection: Connection,
    rows: Mapping[str, JobRow],
    parties: Mapping[str, PartyRate],
    by_job: Mapping[str, int],
    *,
    now: datetime,
) -> dict[str, int]:
    """Whole tokens by party, for the parties of jobs with a free slot. The buckets are locked in the order of their
    names."""
    wanted = sorted({row.party for name, row in rows.items() if row.party is not None and by_job.get(name, 0) > 0})
    return {
        party: leases.open_bucket(connection, party, per_s=parties[party].per_s, burst=parties[party].burst, now=now)
        for party in wanted
    }


def _spend(
    connection: Connection,
    parties: Mapping[str, PartyRate],
    tokens: Mapping[str, int],
    claims: Sequence[Claim],
    rows: Mapping[str, JobRow],
    *,
    now: datetime,
) -> list[datetime]:
    """Take a token for each request. Returns the times at which the buckets that are now empty have a token again."""
    used: Counter[str] = Counter()
    for each in claims:
        party = rows[each.job].party
        if party is not None:
            used[party] += len(each.requests)
    refills = []
    for party, there in tokens.items():
        leases.spend(connection, party, used[party])
        if used[party] >= there:
            refills.append(leases.next_token_at(connection, party, per_s=parties[party].per_s, now=now))
    return refills
