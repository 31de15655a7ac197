"""Replies by Idempotency-Key: an effect and its reply are committed together, and a repeated call gets the stored
reply."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.store.access.tables import api_replies

KEPT = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Key:
    """The identity of a reply: its key and the digest of the body."""

    principal_id: str
    operation: str
    key: str
    body: bytes

    @property
    def body_hash(self) -> bytes:
        """A hash that distinguishes another body under the same key."""
        return hashlib.blake2b(self.body, digest_size=16).digest()

    def where(self) -> sa.ColumnElement[bool]:
        """The condition as SQL."""
        column = api_replies.c
        same_caller = sa.and_(column.principal_id == self.principal_id, column.operation == self.operation)
        return sa.and_(same_caller, column.key == self.key)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A stored reply. `same_body` False: the key was used with another body."""

    status: int
    body: dict[str, Any]
    same_body: bool


def lock(connection: Connection, key: Key) -> bool:
    """Lock a key until this transaction ends. False: another call with it is under way."""
    query = sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    name = f"reply {key.principal_id} {key.operation} {key.key}"
    return bool(connection.execute(query, {"name": name}).scalar_one())


def claim(connection: Connection, key: Key, *, now: datetime) -> Reply | None:
    """Claim a key in this transaction, which has locked it. None: it is new."""
    connection.execute(sa.delete(api_replies).where(key.where(), api_replies.c.at < now - KEPT))
    row = {
        "principal_id": key.principal_id,
        "operation": key.operation,
        "key": key.key,
        "body_hash": key.body_hash,
        "at": now,
    }
    if connection.execute(insert(api_replies).values(row).on_conflict_do_nothing()).rowcount:
        return None
    stored = connection.execute(sa.select(api_replies).where(key.where())).one()
    return Reply(status=stored.status, body=stored.reply, same_body=bytes(stored.body_hash) == key.body_hash)


def finish(connection: Connection, key: Key, status: int, body: dict[str, Any]) -> None:
    """Store the answer, in the transaction of its effect."""
    connection.execute(sa.update(api_replies).where(key.where()).values(status=status, reply=body))


def prune(connection: Connection, *, now: datetime) -> int:
    """Delete replies older than their term. Returns their number."""
    return connection.execute(sa.delete(api_replies).where(api_replies.c.at < now - KEPT)).rowcount
