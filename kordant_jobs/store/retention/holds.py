"""Place, list and release legal holds. Deletions look at them in their own statement (see `deleting`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.retention.holds import Hold
from kordant_jobs.store.retention.tables import legal_holds

_STANDS = sa.and_(
    legal_holds.c.released_at.is_(None),
    sa.or_(legal_holds.c.until.is_(None), legal_holds.c.until > sa.func.now()),
)


def place(connection: Connection, hold: Hold) -> None:
    """Put a hold; whatever is deleted from the next transaction on heeds it."""
    named = {"owner_id": hold.owner_id, "kind": hold.kind, "since": hold.since, "before": hold.before}
    connection.execute(
        sa.insert(legal_holds).values(
            id=hold.id, reason=hold.reason, placed_by=hold.placed_by, until=hold.until, **named
        )
    )


def release(connection: Connection, hold_id: UUID, *, by: str) -> bool:
    """End a hold. False when it ended before."""
    ended = sa.update(legal_holds).where(legal_holds.c.id == hold_id, legal_holds.c.released_at.is_(None))
    return connection.execute(ended.values(released_by=by, released_at=sa.func.now())).rowcount > 0


def listed(connection: Connection, *, all_of_them: bool) -> Sequence[Any]:
    """Rows of holds, the newest first; those that ended only with `all_of_them`."""
    query = sa.select(legal_holds).order_by(legal_holds.c.placed_at.desc())
    return connection.execute(query if all_of_them else query.where(_STANDS)).all()


def owners_held(connection: Connection, owner_ids: Collection[UUID], *, now: datetime | None = None) -> set[UUID]:
    """Those of these subscribers or entities of whom something is on hold: none of them may be forgotten.

    A hold of a kind or of a range that names no owner holds everybody.
    """
    named = sa.select(legal_holds.c.owner_id).where(_STANDS)
    found = set(connection.execute(named).scalars())
    return set(owner_ids) if None in found else set(owner_ids) & found
