"""Events that were received: each counts once, by who sent it, its source and its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.store.access.tables import received_events

KEPT = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Received:
    """An event that came before. `same_body` False: its id came with another content."""

    request_ids: Sequence[UUID]
    same_body: bool


def claim(
    connection: Connection,
    *,
    principal_id: str,
    source: str,
    event_id: str,
    topic: str,
    body_hash: bytes,
    now: datetime,
) -> Received | None:
    """Take an event for this transaction. None: it is new. While another holds it this waits for that one's end."""
    column = received_events.c
    where = sa.and_(column.principal_id == principal_id, column.source == source, column.id == event_id)
    connection.execute(sa.delete(received_events).where(where, column.at < now - KEPT))
    row = {"principal_id": principal_id, "source": source, "id": event_id, "topic": topic, "body_hash": body_hash,
           "at": now}  # fmt: skip
    if connection.execute(insert(received_events).values(row).on_conflict_do_nothing()).rowcount:
        return None
    stored = connection.execute(sa.select(received_events).where(where)).one()
    return Received(request_ids=stored.request_ids, same_body=bytes(stored.body_hash) == body_hash)


def finish(
    connection: Connection, *, principal_id: str, source: str, event_id: str, request_ids: Sequence[UUID]
) -> None:
    """Keep what an event started, with the effect."""
    column = received_events.c
    where = sa.and_(column.principal_id == principal_id, column.source == source, column.id == event_id)
    connection.execute(sa.update(received_events).where(where).values(request_ids=list(request_ids)))
