"""The table of breach dumps, from the drop folder to the corpus, or quarantined with a reason."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.darkwatch.exposures import DumpStatus
from kordant_jobs.postgres.database import session_lock
from kordant_jobs.store.darkwatch.tables import breach_dumps

UNREAD = (DumpStatus.REGISTERED, DumpStatus.QUARANTINED)
"""Dumps that may name a subscriber and were not read."""
READ = (DumpStatus.INGESTED, DumpStatus.PARTIAL)
"""Dumps that are in the corpus."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """The facts that identify a dropped file. `key` is the keyed hash of its name, `label` is shown to people instead
    of the name."""

    key: bytes
    label: str
    size: int
    mtime_ns: int
    place: str
    """The id of its drop folder."""


@dataclass(frozen=True, kw_only=True)
class DumpRow:
    """A registered dump. It became known at `known_at`, which an operator may set to an earlier time; `registered_at`
    is when it was registered or retried. Days (partitions) use the first, watermarks the second, so that no dump is
    skipped."""

    id: UUID
    breach_name: str
    status: DumpStatus
    file_key: bytes
    file_size: int
    file_mtime_ns: int
    place: str | None
    told_shape: str | None
    known_at: datetime
    registered_at: datetime


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """The result of reading a dump."""

    shape: str
    compression: str
    encoding: str
    lines: int
    records: int
    bad_lines: Mapping[str, int]
    ledger: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    """The reason why it counts as partly read."""


_ROW = (
    breach_dumps.c.id,
    breach_dumps.c.breach_name,
    breach_dumps.c.status,
    breach_dumps.c.file_key,
    breach_dumps.c.file_size,
    breach_dumps.c.file_mtime_ns,
    breach_dumps.c.place,
    breach_dumps.c.told_shape,
    breach_dumps.c.known_at,
    breach_dumps.c.registered_at,
)


def _row(row: sa.Row[Any]) -> DumpRow:
    return DumpRow(**{**row._mapping, "status": DumpStatus(row.status)})


def seen_files(connection: Connection, status: DumpStatus | None = None) -> set[tuple[bytes, int, int]]:
    """Registered files, by (key, size, mtime): they can be recognised without being read."""
    table = breach_dumps.c
    query = sa.select(table.file_key, table.file_size, table.file_mtime_ns)
    rows = connection.execute(query.where(table.status == status) if status else query)
    return {(row.file_key, row.file_size, row.file_mtime_ns) for row in rows}


def is_registered(connection: Connection, content_sha256: bytes) -> bool:
    """True when a dump with this content is registered."""
    query = sa.select(sa.exists().where(breach_dumps.c.content_sha256 == content_sha256))
    return bool(connection.execute(query).scalar_one())


def register(
    connection: Connection,
    content_sha256: bytes,
    file: FileFacts,
    *,
    breach_name: str,
    known_at: datetime,
    told_shape: str | None = None,
    dump_id: UUID | None = None,
) -> UUID | None:
    """Register a new dump (under `dump_id`, if given). None when a dump with the same content is registered. A
    quarantined dump of the same file is superseded by this one, its repair."""
    table = breach_dumps
    made: UUID | None = connection.execute(
        insert(table)
        .values(
            id=dump_id or uuid7(),
            content_sha256=content_sha256,
            file_key=file.key,
            file_label=file.label,
            file_size=file.size,
            file_mtime_ns=file.mtime_ns,
            place=file.place,
            breach_name=breach_name,
            told_shape=told_shape,
            known_at=known_at,
        )
        .on_conflict_do_nothing(index_elements=["content_sha256"])
        .returning(table.c.id)
    ).scalar()
    if made is None:
        connection.execute(
            sa.update(table)
            .where(table.c.content_sha256 == content_sha256)
            .values(
                file_key=file.key,
                file_label=file.label,
                file_size=file.size,
                file_mtime_ns=file.mtime_ns,
                place=file.place,
            )
        )
        return None
    connection.execute(
        sa.update(table)
        .where(table.c.file_key == file.key, table.c.id != made, table.c.status == DumpStatus.QUARANTINED)
        .values(status=DumpStatus.SUPERSEDED)
    )
    return made


def breach_of_quarantined(connection: Connection, file_key: bytes) -> str | None:
    """The breach of the quarantined dump of this file, the latest where there are several."""
    table = breach_dumps.c
    query = sa.select(table.breach_name).where(table.file_key == file_key, table.status == DumpStatus.QUARANTINED)
    return connection.execute(query.order_by(table.registered_at.desc()).limit(1)).scalar()


def load(connection: Connection, ids: Collection[UUID]) -> list[DumpRow]:
    """These dumps, oldest first."""
    query = (
        sa.select(*_ROW).where(breach_dumps.c.id.in_(list(ids))).order_by(breach_dumps.c.known_at, breach_dumps.c.id)
    )
    return [_row(row) for row in connection.execute(query)]


def known_before(connection: Connection, until: datetime, statuses: Sequence[DumpStatus]) -> list[DumpRow]:
    """Dumps known before `until` in one of `statuses`, oldest first."""
    table = breach_dumps.c
    query = (
        sa.select(*_ROW).where(table.known_at < until, table.status.in_(statuses)).order_by(table.known_at, table.id)
    )
    return [_row(row) for row in connection.execute(query)]


def mark_ingested(connection: Connection, dump_id: UUID, what: Ingested) -> None:
    """Record that the dump is in the corpus, completely or in part."""
    connection.execute(
        sa.update(breach_dumps)
        .where(breach_dumps.c.id == dump_id)
        .values(
            status=DumpStatus.PARTIAL if what.problem else DumpStatus.INGESTED,
            reason=what.problem,
            ingested_at=sa.func.now(),
            shape=what.shape,
            compression=what.compression,
            encoding=what.encoding,
            lines=what.lines,
            records=what.records,
            bad_lines=dict(what.bad_lines),
            ledger=dict(what.ledger),
            begun=0,
        )
    )


def quarantine(connection: Connection, dump_id: UUID, reason: str) -> None:
    """Record that the dump cannot be read; `reason` is one line for the operator. It counts as unknown until it is
    resolved."""
    connection.execute(
        sa.update(breach_dumps).where(breach_dumps.c.id == dump_id).values(status=DumpStatus.QUARANTINED, reason=reason)
    )


def begin(connection: Connection, dump_id: UUID) -> int:
    """Count a start of reading. Returns the number of starts since it last ended."""
    table = breach_dumps
    counted = sa.update(table).where(table.c.id == dump_id).values(begun=table.c.begun + 1).returning(table.c.begun)
    begun: int = connection.execute(counted).scalar_one()
    return begun


def reset_attempts(connection: Connection, dump_id: UUID) -> None:
    """Record that the current attempt to read the dump has saved progress, so that earlier attempts no longer count."""
    table = breach_dumps
    connection.execute(sa.update(table).where(table.c.id == dump_id, table.c.begun > 1).values(begun=1))


MOVABLE = frozenset((DumpStatus.QUARANTINED, DumpStatus.PARTIAL))


def move(connection: Connection, dump_id: UUID, to: DumpStatus, *, told_shape: str | None = None) -> bool:
    """Apply an operator's decision on a dump that is quarantined or partly read: retry (to registered), dismiss or
    accept (to ingested). False when it is neither. Before a retry the caller removes what a partly read dump has in the
    corpus."""
    values: dict[str, Any] = {"status": to, "registered_at": sa.func.now(), "begun": 0}
    if to is DumpStatus.INGESTED:
        del values["registered_at"]
    if told_shape:
        values["told_shape"] = told_shape
    done = connection.execute(
        sa.update(breach_dumps)
        .where(breach_dumps.c.id == dump_id, breach_dumps.c.status.in_(_from(to)))
        .values(**values)
    )
    return done.rowcount > 0


def _from(to: DumpStatus) -> list[DumpStatus]:
    return [DumpStatus.PARTIAL] if to is DumpStatus.INGESTED else sorted(MOVABLE)


def ingesting(db: Engine, dump_id: UUID, *, wait: bool = True) -> AbstractContextManager[bool]:
    """Hold the exclusive right to ingest this dump; False when another process has it. With `wait` this waits for the
    other process. A killed holder loses the right."""
    return session_lock(db, f"kordant_jobs.dump.{dump_id}", wait=wait)
