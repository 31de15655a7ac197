"""Clips: stored sealed, read in pieces, and claimed for analysis."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from uuid_utils.compat import uuid7

from kordant_jobs.errors import KeyringError, PermanentError, SettingsError
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.voice.tables import analysis_jobs, analysis_sound

PIECE = 1 << 20
BYTES_MAX = 512 << 20
"""The most bytes of a file. An hour of stereo at CD quality has 635 MB, as FLAC 350 MB."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip to analyse."""

    id: UUID
    subscription_id: UUID
    subscriber_id: UUID
    ending: str
    attempts: int


def add(
    connection: Connection,
    keyring: Keyring,
    subscription_id: UUID,
    file: BinaryIO,
    *,
    ending: str,
    bytes_max: int = BYTES_MAX,
) -> UUID:
    """Store a clip for a subscription, sealed under its subscriber's key. Adding the same file again returns the same
    id.

    Raises:
        SettingsError: there is no such subscription.
        KeyringError: the subscriber was forgotten.
        PermanentError: the file is too large.
    """
    owner = connection.execute(
        sa.text("SELECT subscriber_id FROM kordant.subscriptions WHERE id = :id"), {"id": subscription_id}
    ).scalar()
    if owner is None:
        raise SettingsError(f"there is no subscription {subscription_id}: `kordant-jobs subscribers` makes one.")
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:id))"), {"id": f"voice {subscription_id}"})
    keys = keyring.load_keys(connection, [owner], for_writing=True)
    if owner not in keys:
        raise KeyringError(f"the subscriber of {subscription_id} was forgotten: nothing is taken in for them.")
    job_id, digest, size, place = uuid7(), hashlib.sha256(), 0, 0
    row = {
        "id": job_id, "subscription_id": subscription_id, "subscriber_id": owner, "ending": ending,
        "content_key": job_id.bytes, "bytes": 0,
    }  # fmt: skip
    savepoint = connection.begin_nested()
    connection.execute(sa.insert(analysis_jobs).values(row))
    while (piece := file.read(PIECE)) or place == 0:  # an empty file has a piece, too
        size += len(piece)
        if size > bytes_max:
            raise PermanentError(f"a clip has over {bytes_max >> 20} MiB: cut out the part that matters.")
        digest.update(piece)
        piece_id = uuid7()
        text = base64.b64encode(piece).decode()
        sealed = keys.seal(owner, analysis_sound.c.content_encrypted, piece_id, text)
        connection.execute(
            sa.insert(analysis_sound).values(
                id=piece_id, job_id=job_id, subscriber_id=owner, piece=place, content_encrypted=sealed
            )
        )
        place += 1
    content_key = keyring.sign("voice-clip", subscription_id.bytes + digest.digest())
    known = connection.execute(
        sa.select(analysis_jobs.c.id).where(
            analysis_jobs.c.subscription_id == subscription_id, analysis_jobs.c.content_key == content_key
        )
    ).scalar()
    if known is not None:
        savepoint.rollback()
        return UUID(str(known))
    values = {"content_key": content_key, "bytes": size}
    connection.execute(sa.update(analysis_jobs).where(analysis_jobs.c.id == job_id).values(values))
    savepoint.commit()
    connection.execute(sa.text("SELECT pg_notify('kordant_events', 'voice')"))
    return job_id


_WAITS = """
FROM kordant.analysis_jobs j JOIN kordant.subscriptions s ON s.id = j.subscription_id AND s.status = 'active'
WHERE j.analysed_at IS NULL AND coalesce(j.held_until_at, '-infinity') <= now()
  AND (:has_models OR NOT EXISTS (SELECT FROM kordant.voice_analyses a WHERE a.job_id = j.id))
"""
"""Pending clips of active subscriptions that are not held back. Without models, only those that have no analysis yet:
the others are already marked as waiting for models."""


def pending(
    connection: Connection, *, has_models: bool, subscription_ids: Sequence[UUID] | None = None, limit: int
) -> list[UUID]:
    """The clips to analyse, the oldest first, of active subscriptions only."""
    chosen = "" if subscription_ids is None else "AND j.subscription_id = ANY(cast(:ids AS uuid[]))"
    query = f"SELECT j.id {_WAITS} {chosen} ORDER BY j.created_at, j.id LIMIT :limit"
    values = {"ids": [str(one) for one in subscription_ids or ()], "limit": limit, "has_models": has_models}
    return list(connection.execute(sa.text(query), values).scalars())


def begin(connection: Connection, job_id: UUID, *, is_attempt: bool = True) -> Clip | None:
    """Count an attempt at a clip and return the clip; None: it has a final analysis, or was deleted."""
    row = connection.execute(
        sa.update(analysis_jobs)
        .where(analysis_jobs.c.id == job_id, analysis_jobs.c.analysed_at.is_(None))
        .values(attempts=analysis_jobs.c.attempts + int(is_attempt))
        .returning(
            analysis_jobs.c.id,
            analysis_jobs.c.subscription_id,
            analysis_jobs.c.subscriber_id,
            analysis_jobs.c.ending,
            analysis_jobs.c.attempts,
        )
    ).first()
    return None if row is None else Clip(**row._mapping)


def hold_back(connection: Connection, job_id: UUID, period: timedelta, *, is_attempt: bool) -> None:
    """Delay the next attempt at a clip by `period`. `is_attempt` False: the failure was not the clip's fault, so the
    attempt that `begin` counted is subtracted."""
    connection.execute(
        sa.update(analysis_jobs)
        .where(analysis_jobs.c.id == job_id, analysis_jobs.c.analysed_at.is_(None))
        .values(held_until_at=sa.func.now() + period, attempts=analysis_jobs.c.attempts - int(not is_attempt))
    )


def sound(db: Engine, keyring: Keyring, clip: Clip) -> Iterator[bytes]:
    """The file of a clip, in pieces; none if it was deleted. The connection is released after the last piece.

    Raises:
        KeyringError: the subscriber was forgotten, or the file was sealed with another key.
    """
    table = analysis_sound.c
    with db.connect() as connection:
        keys = keyring.load_keys(connection, [clip.subscriber_id])
        pieces = connection.execute(sa.select(table.id).where(table.job_id == clip.id).order_by(table.piece)).scalars()
        for piece_id in pieces.all():
            sealed = connection.execute(sa.select(table.content_encrypted).where(table.id == piece_id)).scalar_one()
            column = analysis_sound.c.content_encrypted
            yield base64.b64decode(keys.open(clip.subscriber_id, column, piece_id, sealed))


def waiting(connection: Connection, tiers: Sequence[str], *, has_models: bool) -> list[UUID]:
    """Active subscriptions of these tiers that have clips to analyse."""
    query = f"SELECT DISTINCT j.subscription_id {_WAITS} AND s.tier = ANY(:tiers) LIMIT 1000"
    return list(connection.execute(sa.text(query), {"tiers": list(tiers), "has_models": has_models}).scalars())


def active_of(connection: Connection, tiers: Sequence[str], ids: Sequence[UUID]) -> list[UUID]:
    """The subscriptions among `ids` that are active and of these tiers."""
    query = "SELECT id FROM kordant.subscriptions WHERE id = ANY(:ids) AND status = 'active' AND tier = ANY(:tiers)"
    return list(connection.execute(sa.text(query), {"ids": list(ids), "tiers": list(tiers)}).scalars())
