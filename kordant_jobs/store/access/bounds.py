"""What bounds an agent when it starts a job: its grant, the grant's priority, and what is left of this hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from kordant_jobs.engine import Priority, leases
from kordant_jobs.store.access import people


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Whether an agent may start a job now. `rule`: what does not let it; `at`: when it may try again."""

    per_hour: int = 0
    rule: str | None = None
    at: datetime | None = None


def bound_of(
    connection: Connection, agent_id: str, job: str, priority: Priority, *, charge: bool, now: datetime
) -> Bound:
    """The bound of an agent on a job. With `charge` the request counts, in the caller's transaction."""
    grant = people.grants(connection, agent_id).get(job)
    if grant is None:
        return Bound(rule="agent.no_grant_of_job")
    if priority < grant.max_priority:
        return Bound(rule="agent.priority_above_grant")
    bucket, per_s = f"{agent_id}:{job}", grant.requests_per_hour / 3600
    if charge and not leases.take_tokens(connection, bucket, 1, per_s=per_s, burst=grant.requests_per_hour, now=now):
        at = leases.next_token_at(connection, bucket, per_s=per_s, now=now)
        return Bound(rule="agent.requests_per_hour", at=at)
    return Bound(per_hour=grant.requests_per_hour)
