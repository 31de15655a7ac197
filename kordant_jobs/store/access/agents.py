"""Agents as operators see them: whose they are, and what each used and was refused in the last 24 hours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.store.access.bounds import DAY

ENTRIES = 1000
"""The entries of an agent in the audit log, the newest first, among which refusals are counted."""

_AGENTS = """
SELECT a.id AS agent_id, a.owner, a.disabled_at IS NULL AND o.disabled_at IS NULL AS is_enabled,
       (SELECT count(*) FROM kordant.agent_grants g WHERE g.agent_id = a.id) AS grants
FROM kordant.principals a LEFT JOIN kordant.principals o ON o.id = a.owner
WHERE a.role = 'agent' AND {where} ORDER BY a.id LIMIT :limit
"""
_LISTED = sa.text(_AGENTS.format(where="a.id > :after"))
_ONE = sa.text(_AGENTS.format(where="a.id = :agent"))
_TOTALS = sa.text("""
SELECT a.id, requests, open, dead FROM unnest(CAST(:agents AS text[])) a (id) CROSS JOIN LATERAL (
    SELECT count(*) AS requests, count(*) FILTER (WHERE status IN ('pending', 'running')) AS open,
           count(*) FILTER (WHERE status = 'dead') AS dead
    FROM kordant.job_requests r WHERE r.requested_by = a.id AND r.id >= :since
) used
""")
_USES = sa.text("""
WITH mine AS MATERIALIZED (
    SELECT id, job, status FROM kordant.job_requests WHERE requested_by = :agent AND id >= :since
), cpu AS (
    SELECT m.job, sum(a.cpu_s / (SELECT count(*) FROM kordant.job_attempts o WHERE o.lease_id = a.lease_id)) AS cpu_s
    FROM mine m JOIN kordant.job_attempts a ON a.request_id = m.id AND a.cpu_s > 0 GROUP BY 1
)
SELECT job, count(*) AS requests, count(*) FILTER (WHERE status IN ('pending', 'running')) AS open,
       count(*) FILTER (WHERE status = 'dead') AS dead, coalesce(max(cpu_s), 0)::float8 AS cpu_s
FROM mine LEFT JOIN cpu USING (job) GROUP BY 1 ORDER BY 1
""")
_REFUSALS = sa.text("""
SELECT entry::jsonb ->> 'rule' AS rule, count(*), max(recorded_at) FROM (
    SELECT entry, action, recorded_at FROM kordant.audit_log WHERE actor = :agent ORDER BY seq DESC LIMIT :entries
) newest
WHERE action = 'denied' AND recorded_at > :since GROUP BY 1 ORDER BY 2 DESC, 1
""")


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An agent, and how many grants it has. `is_enabled` is false when its owner is disabled, too."""

    agent_id: str
    owner: str | None
    is_enabled: bool
    grants: int


@dataclass(frozen=True, kw_only=True)
class Total:
    """An agent's requests of the last 24 hours: all, those that are still open, and the dead letters."""

    requests: int
    open: int
    dead: int


@dataclass(frozen=True, kw_only=True)
class Use(Total):
    """Like `Total`, but of one job, with the CPU time of the runs that have ended."""

    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Calls of an agent that one rule of the policy refused in the last 24 hours."""

    rule: str
    calls: int
    last_at: datetime


def _since(now: datetime) -> UUID:
    """The lowest id of a request that was made in the last 24 hours: ids are UUIDs of version 7."""
    return UUID(int=int((now - DAY).timestamp() * 1000) << 80)


def listed(connection: Connection, *, after: str, limit: int) -> Sequence[Agent]:
    """Agents by id, those behind `after`."""
    return [Agent(**row) for row in connection.execute(_LISTED, {"after": after, "limit": limit}).mappings()]


def get(connection: Connection, agent_id: str) -> Agent | None:
    """One agent; None when there is none of this id."""
    row = connection.execute(_ONE, {"agent": agent_id, "limit": 1}).mappings().one_or_none()
    return None if row is None else Agent(**row)


def totals(connection: Connection, agent_ids: Sequence[str], *, now: datetime) -> Mapping[str, Total]:
    """The requests of each of these agents, by id."""
    rows = connection.execute(_TOTALS, {"agents": list(agent_ids), "since": _since(now)})
    return {agent_id: Total(requests=requests, open=is_open, dead=dead) for agent_id, requests, is_open, dead in rows}


def uses(connection: Connection, agent_id: str, *, now: datetime) -> Mapping[str, Use]:
    """An agent's use of the last 24 hours, by job."""
    rows = connection.execute(_USES, {"agent": agent_id, "since": _since(now)}).mappings()
    return {row["job"]: Use(**{name: row[name] for name in ("requests", "open", "dead", "cpu_s")}) for row in rows}


def refusals(connection: Connection, agent_id: str, *, now: datetime) -> Sequence[Refusal]:
    """The refusals of an agent in the last 24 hours, the most frequent first, among its newest `ENTRIES` entries."""
    values = {"agent": agent_id, "entries": ENTRIES, "since": now - DAY}
    return [Refusal(rule=rule or "", calls=calls, last_at=at)
            for rule, calls, at in connection.execute(_REFUSALS, values)]  # fmt: skip
