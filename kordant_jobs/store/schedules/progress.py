"""The progress of each row, and the results of its ticks. Only the process that has `locked` a row decides for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.schedules.cadence import Position, Progress, Span, Start
from kordant_jobs.domain.schedules.rows import StartKind
from kordant_jobs.store.schedules.tables import schedule_progress, schedule_starts

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class RecordedStart:
    """A recorded decision on a start."""

    id: int
    key: Key
    kind: StartKind
    source: str
    start: Start
    decided_at: datetime
    subscriptions: int | None


def add_missing(connection: Connection, fresh: Mapping[Key, Progress]) -> None:
    """Insert the progress of rows that have none yet."""
    values = [{"job": job, "tier": tier, **_columns(one)} for (job, tier), one in fresh.items()]
    connection.execute(insert(schedule_progress).on_conflict_do_nothing(), values)


def locked(connection: Connection, key: Key, fresh: Progress) -> Progress:
    """The row's progress, locked until the transaction ends; `fresh` when it has none yet."""
    connection.execute(
        insert(schedule_progress).values(job=key[0], tier=key[1], **_columns(fresh)).on_conflict_do_nothing()
    )
    column = schedule_progress.c
    query = sa.select(schedule_progress).where(column.job == key[0], column.tier == key[1]).with_for_update()
    one = connection.execute(query).one()
    return Progress(until=one.until, position=Position(one.position_on, one.position_slot), held=one.held)


def read(connection: Connection) -> dict[Key, Progress]:
    """The progress of every row, without a lock."""
    return {
        (one.job, one.tier): Progress(
            until=one.until, position=Position(one.position_on, one.position_slot), held=one.held
        )
        for one in connection.execute(sa.select(schedule_progress))
    }


def _columns(progress: Progress) -> dict[str, Any]:
    position = progress.position
    return {
        "until": progress.until,
        "position_on": position.on,
        "position_slot": position.slot,
        "held": progress.held,
    }


def save(connection: Connection, key: Key, progress: Progress) -> None:
    """Write a row's progress."""
    values = {"job": key[0], "tier": key[1], **_columns(progress)}
    new = insert(schedule_progress).values(values)
    connection.execute(new.on_conflict_do_update(index_elements=["job", "tier"], set_=_columns(progress)))


def record(
    connection: Connection,
    key: Key,
    starts: Iterable[tuple[Start, int | None]],
    *,
    kind: StartKind,
    source: str,
    version: int,
    now: datetime,
) -> None:
    """Record starts, with the number of subscriptions of each."""
    rows = [
        {
            "job": key[0],
            "tier": key[1],
            "kind": kind,
            "source": source,
            "due_at": start.due_at,
            "decided_at": now,
            "spans": [[span.on.isoformat(), span.anchor, span.first, span.past] for span in start.spans],
            "subscriptions": count,
            "version": version,
        }
        for start, count in starts
    ]
    if rows:
        connection.execute(sa.insert(schedule_starts), rows)


def recorded(
    connection: Connection,
    *,
    key: Key | None = None,
    source: str | None = None,
    after_id: int | None = None,
    kind: StartKind | None = StartKind.STARTED,
    limit: int | None = None,
) -> Sequence[RecordedStart]:
    """The recorded decisions, oldest first; with `limit` only the newest ones, newest first."""
    column = schedule_starts.c
    query = sa.select(schedule_starts)
    for given, condition in [
        (key, key and sa.and_(column.job == key[0], column.tier == key[1])),
        (source, column.source == source),
        (after_id, column.id > (after_id or 0)),
        (kind, column.kind == kind),
    ]:
        if given is not None and condition is not None:
            query = query.where(condition)
    query = query.order_by(column.id) if limit is None else query.order_by(column.id.desc()).limit(limit)
    return [
        RecordedStart(
            id=one.id,
            key=(one.job, one.tier),
            kind=StartKind(one.kind),
            source=one.source,
            start=Start(due_at=one.due_at, spans=tuple(_span(*part) for part in one.spans)),
            decided_at=one.decided_at,
            subscriptions=one.subscriptions,
        )
        for one in connection.execute(query)
    ]


def _span(on: str, anchor: int, first: int, past: int) -> Span:
    return Span(on=date.fromisoformat(on), anchor=anchor, first=first, past=past)


def count_old(connection: Connection, *, decided_before: datetime) -> int:
    """The number of decisions older than that."""
    old = sa.select(sa.func.count()).select_from(schedule_starts).where(schedule_starts.c.decided_at < decided_before)
    return int(connection.execute(old).scalar_one())


def prune(connection: Connection, *, decided_before: datetime, limit: int) -> int:
    """Delete up to `limit` decisions older than that; locked ones are skipped. Returns the number deleted."""
    old = sa.select(schedule_starts.c.id).where(schedule_starts.c.decided_at < decided_before)
    some = old.order_by(schedule_starts.c.id).limit(limit).with_for_update(skip_locked=True)
    return connection.execute(sa.delete(schedule_starts).where(schedule_starts.c.id.in_(some))).rowcount
