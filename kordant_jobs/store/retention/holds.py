"""Place, list and release legal holds. Every deletion checks them in its own statement (`held_sql`)."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.retention.policies import Hold
from kordant_jobs.store.retention.kinds import OWNED, TAKEN_ALONG
from kordant_jobs.store.retention.tables import legal_holds

_STANDS = sa.and_(
    legal_holds.c.released_at.is_(None),
    sa.or_(legal_holds.c.until.is_(None), legal_holds.c.until > sa.func.now()),
)

_HELD = """EXISTS (SELECT FROM kordant.legal_holds h WHERE h.released_at IS NULL
  AND (h.until IS NULL OR h.until > now()) AND (h.owner_id IS NULL OR h.owner_id = {owner})
  AND ({whatever_its_age} OR (h.kind IS NULL OR h.kind = '{kind}')
       AND (h.since IS NULL OR {clock} >= h.since) AND (h.before IS NULL OR {clock} < h.before)))"""


def held_sql(kind: str, table: str, *, owner: str, clock: str) -> str:
    """The SQL condition that a row of this kind, in this table, is on hold; `owner` and `clock` are SQL expressions of
    the row. A hold on rows that its foreign keys would delete with it holds the row too, whatever their age."""
    along = TAKEN_ALONG.get(table, ())
    kinds = ", ".join(f"'{one}'" for one in along)
    whatever = f"h.kind IN ({kinds}) OR h.kind IS NULL" if along else "false"
    return _HELD.format(kind=kind, owner=owner, clock=clock, whatever_its_age=whatever)


def place(connection: Connection, hold: Hold) -> None:
    """Place a hold; deletions from the next transaction on respect it."""
    named = {"owner_id": hold.owner_id, "kind": hold.kind, "since": hold.since, "before": hold.before}
    connection.execute(
        sa.insert(legal_holds).values(
            id=hold.id, reason=hold.reason, placed_by=hold.placed_by, until=hold.until, **named
        )
    )


def release(connection: Connection, hold_id: UUID, *, by: str) -> bool:
    """Release a hold. False when it had ended before."""
    ended = sa.update(legal_holds).where(legal_holds.c.id == hold_id, legal_holds.c.released_at.is_(None))
    return connection.execute(ended.values(released_by=by, released_at=sa.func.now())).rowcount > 0


def listed(connection: Connection, *, all_of_them: bool) -> Sequence[Any]:
    """Rows of holds, the newest first; ended ones only with `all_of_them`."""
    query = sa.select(legal_holds).order_by(legal_holds.c.placed_at.desc())
    return connection.execute(query if all_of_them else query.where(_STANDS)).all()


def owners_held(connection: Connection, owner_ids: Collection[UUID]) -> set[UUID]:
    """The subscribers or entities among these with something on hold: none of them may be forgotten. A hold without an
    owner applies to all owners, unless its kind has none."""
    of_people = sa.or_(legal_holds.c.kind.is_(None), legal_holds.c.kind.in_(OWNED))
    named = sa.select(legal_holds.c.owner_id).where(_STANDS, of_people)
    found = set(connection.execute(named).scalars())
    return set(owner_ids) if None in found else set(owner_ids) & found
