"""Received events: each counts once, by its sender, its source and its id."""

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
    """An event that was received before. `same_body` False: this time it has another content."""

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
    """Claim an event in this transaction. None: it is new. While another transaction has it, this waits for its end."""
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
    """Store the requests that an event started, in the same transaction."""
    column = received_events.c
    where = sa.and_(column.principal_id == principal_id, column.source == source, column.id == event_id)
    connection.execute(sa.update(received_events).where(where).values(request_ids=list(request_ids)))
