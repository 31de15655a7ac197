"""Counters of the API that outlive its processes: calls by route, and refusals by the policy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.access.principals import Role
from kordant_jobs.store.operators.tables import http_counts, policy_denials

HTTP_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the durations of calls; the last bucket has none."""


@dataclass(frozen=True, kw_only=True)
class HttpCount:
    """The number of calls of one route with the same status and a duration in one bucket of `HTTP_S`."""

    method: str
    route: str
    status: int
    bucket: int
    calls: int
    sum_s: float


def add_calls(connection: Connection, counts: Iterable[HttpCount]) -> None:
    """Add the counts of a process. Rows are written in one order, so that concurrent processes cannot deadlock."""
    rows = sorted((vars(one) for one in counts), key=lambda row: tuple(map(str, row.values())))
    if not rows:
        return
    adding = insert(http_counts)
    more = {name: http_counts.c[name] + adding.excluded[name] for name in ("calls", "sum_s")}
    connection.execute(adding.on_conflict_do_update(index_elements=http_counts.primary_key, set_=more), rows)


def calls(connection: Connection) -> Sequence[HttpCount]:
    """The counts since the beginning."""
    key = ("method", "route", "status", "bucket")
    query = sa.select(http_counts).order_by(*(http_counts.c[name] for name in key))
    return [HttpCount(**row) for row in connection.execute(query).mappings()]


def add_denial(connection: Connection, rule: str, role: str) -> None:
    """Count one refusal."""
    adding = insert(policy_denials).values(rule=rule, role=role, denials=1)
    more = {"denials": policy_denials.c.denials + 1}
    connection.execute(adding.on_conflict_do_update(index_elements=policy_denials.primary_key, set_=more))


def denials(connection: Connection, role: Role) -> Mapping[str, int]:
    """The number of all calls that were refused to a role, by rule, the most frequent first."""
    column = policy_denials.c
    query = sa.select(column.rule, column.denials).where(column.role == role).order_by(column.denials.desc(), "rule")
    return dict(connection.execute(query).tuples().all())
