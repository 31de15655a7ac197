"""The price list in Postgres: its rows, their changes, their history. Triggers store every change and NOTIFY of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.schedules.rows import COLUMNS, Pause, ScheduleRow, StoredScheduleRow, row_from
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.schedules.tables import scheduler_config, scheduler_history

CHANNEL = "kordant_schedules"
"""The channel that is notified when a change is committed."""

CATALOGUE = "catalogue"
"""The author of a row that was not changed since it was seeded."""

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One version of a row: its values from then on (None: deleted), and its author."""

    key: Key
    version: int
    changed_at: datetime
    changed_by: str
    note: str | None
    row: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The valid rows, sorted by name, and the faults of the others."""

    rows: tuple[StoredScheduleRow, ...]
    problems: tuple[str, ...] = ()


def _where(key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(scheduler_config.c.job == key[0], scheduler_config.c.tier == key[1])


def _stored(values: Any) -> StoredScheduleRow:
    pause = None
    if values["paused_at"] is not None:
        pause = Pause(
            reason=values["pause_reason"],
            by=values["paused_by"] or "",
            since=values["paused_at"],
            until=values["paused_until"],
        )
    return StoredScheduleRow(
        row=row_from(values),
        version=values["version"],
        changed_at=values["changed_at"],
        changed_by=values["changed_by"],
        pause=pause,
    )


def load(connection: Connection) -> Loaded:
    """Load every row. A row that was made invalid directly by SQL is reported, and does not stop the others."""
    rows: list[StoredScheduleRow] = []
    problems: list[str] = []
    for values in connection.execute(sa.select(scheduler_config)).mappings():
        try:
            rows.append(_stored(values))
        except PermanentError as error:
            problems.append(f"{values['job']} for {values['tier']}: {error}")
    return Loaded(rows=tuple(sorted(rows, key=lambda one: one.row.name)), problems=tuple(problems))


def get(connection: Connection, key: Key, *, lock: bool = False) -> StoredScheduleRow | None:
    """One row, None when there is none; with `lock` no other transaction can change it until this one ends.

    Raises:
        PermanentError: it was made invalid directly by SQL.
    """
    query = sa.select(scheduler_config).where(_where(key))
    values = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if values is None else _stored(values)


def _sign(connection: Connection, by: str) -> None:
    """Name the author of the changes in this transaction."""
    connection.execute(sa.text("SELECT set_config('kordant.changed_by', :by, true)"), {"by": by})


def _values(row: ScheduleRow) -> dict[str, Any]:
    return {**{name: getattr(row, name) for name in COLUMNS}, "tier": row.key[1], "priority": int(row.priority)}


def seed(connection: Connection, wanted: Iterable[ScheduleRow]) -> int:
    """Insert missing rows, and update unchanged ones to today's catalogue. Returns the number of rows inserted or
    changed. Safe to repeat, and to run concurrently."""
    rows = [_values(row) for row in wanted]
    there = {(one.job, one.tier): one for one in connection.execute(sa.select(scheduler_config))}
    stale = [
        values
        for values in rows
        if (one := there.get((values["job"], values["tier"]))) is None
        or (one.changed_by == CATALOGUE and any(getattr(one, name) != values[name] for name in COLUMNS))
    ]
    if not stale:
        return 0
    _sign(connection, CATALOGUE)
    new = insert(scheduler_config).values(stale)
    changed = new.on_conflict_do_update(
        index_elements=["job", "tier"],
        set_={name: new.excluded[name] for name in COLUMNS if name not in {"job", "tier"}},
        where=scheduler_config.c.changed_by == CATALOGUE,
    )
    return connection.execute(changed).rowcount


def save(connection: Connection, row: ScheduleRow, *, by: str, note: str | None = None) -> StoredScheduleRow:
    """Write a checked row. Returns the stored row. The same values make no new version."""
    _sign(connection, by)
    values = {**_values(row), "note": note}
    new = insert(scheduler_config).values(values)
    kept = {"job", "tier"}
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["job", "tier"], set_={name: new.excluded[name] for name in values if name not in kept}
        )
    )
    found = get(connection, row.key)
    assert found is not None  # noqa: S101 - it was written just now
    return found


def set_pause(connection: Connection, key: Key, pause: Pause | None, *, by: str) -> None:
    """Pause a row, or (None) resume it."""
    _sign(connection, by)
    connection.execute(
        sa.update(scheduler_config)
        .where(_where(key))
        .values(
            pause_reason=pause and pause.reason,
            paused_by=pause and pause.by,
            paused_at=pause and pause.since,
            paused_until=pause and pause.until,
        )
    )


def history(connection: Connection, key: Key | None = None, *, limit: int = 100) -> Sequence[Change]:
    """Versions, the newest first."""
    column = scheduler_history.c
    query = sa.select(scheduler_history).order_by(column.changed_at.desc(), column.version.desc()).limit(limit)
    if key is not None:
        query = query.where(column.job == key[0], column.tier == key[1])
    return [
        Change(
            key=(one.job, one.tier),
            version=one.version,
            changed_at=one.changed_at,
            changed_by=one.changed_by,
            note=one.note,
            row=one.row,
        )
        for one in connection.execute(query)
    ]
