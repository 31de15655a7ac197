"""The limits on an agent that starts a job: its grant's time, priority, open requests, and hourly and daily budgets.

CPU time is counted when a run has ended: a run that exceeds the budget is not stopped, but the next request is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import Filter, RequestStatus, leases, operate
from kordant_jobs.store.access import people

FIRST_TRIGGER = "agent.first_trigger"
OPEN = (RequestStatus.PENDING, RequestStatus.RUNNING)
CHECK_AGAIN = timedelta(seconds=10)
"""The time after which an agent with too many open requests may try again."""


DAY = timedelta(days=1)
_SPENT_SINCE = sa.text("""
    WITH spent AS (
        SELECT a.ended_at,
               a.cpu_s / (SELECT count(*) FROM kordant.job_attempts o WHERE o.lease_id = a.lease_id) AS cpu_s
        FROM kordant.job_attempts a JOIN kordant.job_requests r ON r.id = a.request_id
        WHERE r.requested_by = :agent AND r.job = :job AND a.ended_at > :since AND a.cpu_s > 0)
    SELECT max(ended_at) FROM (SELECT ended_at, sum(cpu_s) OVER (ORDER BY ended_at DESC) AS since_then FROM spent) s
    WHERE since_then >= :most""")
"""The time at which the budget was used up, counted back from now: a day after it there is some again. A run of several
requests is divided among them."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The decision whether an agent may start a job now. `left`: the requests that its budgets still allow; `rule`: the
    rule that forbids it; `at`: when it may try again."""

    left: int = 0
    rule: str | None = None
    at: datetime | None = None


def bound_of(
    connection: Connection,
    agent_id: str,
    job: str,
    priority: Priority,
    *,
    charge: bool,
    now: datetime,
    is_counted: bool = False,
) -> Bound:
    """Decide whether an agent may start a job now. With `charge` the request is counted, in the caller's transaction;
    without it the decision is the same, and nothing is spent. `is_counted`: the request exists and was
    counted, so that the budgets of requests do not bound it again."""
    grant = people.grants(connection, agent_id).get(job)
    if grant is None:
        return Bound(rule="agent.no_grant_of_job")
    if grant.expires_at is not None and grant.expires_at <= now:
        return Bound(rule="agent.grant_expired")
    if grant.ask_first:
        return Bound(rule=FIRST_TRIGGER)
    if priority < grant.max_priority:
        return Bound(rule="agent.priority_above_grant")
    if grant.cpu_s_per_day is not None:
        values = {"agent": agent_id, "job": job, "since": now - DAY, "most": grant.cpu_s_per_day}
        spent_at = connection.execute(_SPENT_SINCE, values).scalar()
        if spent_at is not None:
            return Bound(rule="agent.cpu_s_per_day", at=spent_at + DAY)
    if is_counted:
        return Bound()
    return _budget_of(connection, agent_id, job, grant, charge=charge, now=now)


def _budget_of(
    connection: Connection, agent_id: str, job: str, grant: people.Grant, *, charge: bool, now: datetime
) -> Bound:
    """The bound by open requests, and by requests an hour and a day."""
    if grant.concurrent is not None:
        lock = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
        connection.execute(lock, {"name": f"agent {agent_id} {job}"})
        mine = Filter(requested_by=agent_id, job=job, statuses=OPEN)
        if len(operate.find(connection, mine, limit=grant.concurrent)) >= grant.concurrent:
            return Bound(rule="agent.concurrent", at=now + CHECK_AGAIN)
    budgets = (
        ("agent.requests_per_hour", grant.requests_per_hour, 3600),
        ("agent.requests_per_day", grant.requests_per_day, 86_400),
    )
    left = grant.requests_per_hour
    for rule, most, seconds in budgets:
        if most is None:
            continue
        bucket = f"{agent_id}:{job}" + (":day" if seconds > 3600 else "")
        tokens = leases.open_bucket(connection, bucket, per_s=most / seconds, burst=most, now=now)
        if tokens < 1:
            return Bound(rule=rule, at=leases.next_token_at(connection, bucket, per_s=most / seconds, now=now))
        if charge:
            leases.spend(connection, bucket, 1)
        left = min(left, tokens - charge)
    return Bound(left=left)
