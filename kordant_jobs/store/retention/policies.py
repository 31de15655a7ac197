"""The current retention policy of each kind: the newest version in the table, else the shipped one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.retention.policies import BY_KIND, Action, Policy
from kordant_jobs.store.retention.tables import retention_policies


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A current policy, with its version (0: as shipped) and its author."""

    policy: Policy
    version: int = 0
    set_by: str = "as shipped"
    valid_from: datetime | None = None
    is_shorter: bool = False
    """True when an operator shortened the term, which needs another one's approval."""


def load(connection: Connection) -> Mapping[str, Standing]:
    """The current policy of each kind."""
    table = retention_policies.c
    newest = sa.select(retention_policies).distinct(table.kind).order_by(table.kind, table.version.desc())
    found = {kind: Standing(policy=policy) for kind, policy in BY_KIND.items()}
    for row in connection.execute(newest):
        policy = Policy(
            kind=row.kind,
            action=Action(row.action),
            keep_days=row.keep_days,
            legal_basis=row.legal_basis,
            note=row.note,
        )
        found[row.kind] = Standing(
            policy=policy,
            version=row.version,
            set_by=row.set_by,
            valid_from=row.valid_from,
            is_shorter=row.approved_by is not None,
        )
    return found


def set_term(connection: Connection, policy: Policy, *, by: str, approved_by: str | None) -> int:
    """Add a version of a kind's policy, which applies from now on. Returns its number."""
    version = load(connection)[policy.kind].version + 1
    connection.execute(
        sa.insert(retention_policies).values(
            kind=policy.kind,
            version=version,
            action=policy.action,
            keep_days=policy.keep_days,
            legal_basis=policy.legal_basis,
            note=policy.note,
            set_by=by,
            approved_by=approved_by,
        )
    )
    return version
