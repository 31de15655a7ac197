"""Change sets in Postgres: propose, find, decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.access.change_sets import WAITS, ChangeKind, ChangeState, digest_of
from kordant_jobs.store.access.tables import change_sets


@dataclass(frozen=True, kw_only=True)
class ChangeSet:
    """The current state of a proposal."""

    id: UUID
    kind: ChangeKind
    job: str
    tier: str
    base_version: int
    changes: Mapping[str, Any]
    digest: str
    state: ChangeState
    proposed_by: str
    owner: str | None
    proposed_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None


def _change_set(row: Mapping[str, Any]) -> ChangeSet:
    return ChangeSet(**{**row, "state": ChangeState(row["state"]), "kind": ChangeKind(row["kind"])})


def propose(
    connection: Connection,
    *,
    job: str,
    tier: str,
    base_version: int,
    changes: Mapping[str, Any],
    by: str,
    owner: str | None,
    now: datetime,
    kind: ChangeKind = ChangeKind.SCHEDULE,
    waits: timedelta = WAITS,
) -> ChangeSet:
    """A new proposal that waits for a person until it expires."""
    expires_at = now + waits
    values = {
        "id": uuid7(),
        "kind": kind,
        "job": job,
        "tier": tier,
        "base_version": base_version,
        "changes": dict(changes),
        "digest": digest_of(f"{job}/{tier}", base_version, changes, expires_at),
        "proposed_by": by,
        "owner": owner,
        "proposed_at": now,
        "expires_at": expires_at,
    }
    row = connection.execute(sa.insert(change_sets).values(values).returning(change_sets)).mappings().one()
    return _change_set(dict(row))


def get(connection: Connection, change_id: UUID, *, lock: bool = False) -> ChangeSet | None:
    """One change set; with `lock` no other transaction can decide it until this one ends."""
    query = sa.select(change_sets).where(change_sets.c.id == change_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else _change_set(dict(row))


def find(connection: Connection, *, proposed_by: str | None, limit: int) -> Sequence[ChangeSet]:
    """Change sets, the newest first, of one proposer or of all."""
    query = sa.select(change_sets).order_by(change_sets.c.id.desc()).limit(limit)
    if proposed_by is not None:
        query = query.where(change_sets.c.proposed_by == proposed_by)
    return [_change_set(dict(row)) for row in connection.execute(query).mappings()]


def move(connection: Connection, change_id: UUID, state: ChangeState, *, by: str, now: datetime) -> None:
    """Set the final state of a proposal. A proposal with a final state keeps it."""
    connection.execute(
        sa.update(change_sets)
        .where(change_sets.c.id == change_id, change_sets.c.state == ChangeState.PROPOSED)
        .values(state=state.value, decided_by=by, decided_at=now)
    )


def expire(connection: Connection, *, now: datetime) -> int:
    """Expire proposals that no person decided in time. Returns their number."""
    return connection.execute(
        sa.update(change_sets)
        .where(change_sets.c.state == ChangeState.PROPOSED, change_sets.c.expires_at <= now)
        .values(state=ChangeState.EXPIRED.value, decided_by="clock", decided_at=now)
    ).rowcount
