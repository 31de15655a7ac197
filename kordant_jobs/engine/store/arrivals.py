"""Inserts requests: one by one through the database's own function, or thousands by COPY."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store.requests import notify


@dataclass(frozen=True, kw_only=True)
class Merge:
    """The rule by which waiting requests with the same `key` become one. The fields of either DEBOUNCE or THROTTLE are
    set.

    `debounce_s`: run when nothing new came for this time, at most `at_most_s` after the first request; the last payload
    counts. `throttle_s`: run at once, then at the earliest this time after its last start.
    """

    key: str
    debounce_s: float | None = None
    at_most_s: float | None = None
    throttle_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class NewRequest:
    """A request to insert. Its payload was checked and is plain JSON."""

    id: UUID
    job: str
    payload: Mapping[str, Any]
    priority: Priority
    run_at: datetime | None
    """None: at once."""
    created_at: datetime | None
    """None: now, by the database's clock."""
    requested_by: str
    idempotency_key: str | None = None
    window: timedelta = timedelta(days=1)
    merge: Merge | None = None
    entity_key: str | None = None
    tenant: str | None = None
    head_start: timedelta | None = None
    """The time by which its place in the line of its job and priority is ahead of its due time."""


_INSERT = sa.text("""
    SELECT request_id, fresh FROM kordant.insert_request(
        :id, :job, CAST(:payload AS jsonb), CAST(:priority AS smallint),
        coalesce(:run_at, :at, now()), coalesce(:at, now()), :idempotency_key, :window,
        :merge_key, :debounce, :at_most, :throttle, :entity_key, :tenant, :requested_by, :head_start)
""").bindparams(
    sa.bindparam("id", type_=sa.Uuid()),
    sa.bindparam("run_at", type_=sa.DateTime(timezone=True)),
    sa.bindparam("at", type_=sa.DateTime(timezone=True)),
    *(sa.bindparam(name, type_=sa.Interval()) for name in ("window", "debounce", "at_most", "throttle", "head_start")),
)


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def insert_one(connection: Connection, new: NewRequest) -> tuple[UUID, bool]:
    """Insert a request. Returns its id and True, or the id of the request that it duplicates and False (by idempotency
    key or by merging)."""
    merge = new.merge
    row = connection.execute(
        _INSERT,
        {
            "id": new.id,
            "job": new.job,
            "payload": json.dumps(new.payload),
            "priority": int(new.priority),
            "run_at": new.run_at,
            "at": new.created_at,
            "idempotency_key": new.idempotency_key,
            "window": new.window,
            "merge_key": merge.key if merge else None,
            "debounce": _seconds(merge.debounce_s) if merge else None,
            "at_most": _seconds(merge.at_most_s) if merge else None,
            "throttle": _seconds(merge.throttle_s) if merge else None,
            "entity_key": new.entity_key,
            "tenant": new.tenant,
            "requested_by": new.requested_by,
            "head_start": new.head_start,
        },
    ).one()
    return row.request_id, row.fresh


_COPIED = "id, job, payload, priority, run_at, turn_at, created_at, idempotency_key, entity_key, tenant, requested_by"


def copy_in(connection: Connection, rows: Sequence[NewRequest]) -> int:
    """Insert many by COPY, in the caller's transaction. Returns the number inserted; those whose idempotency key is in
    use are left out. The rows share job, priority, window and time of creation; none merges."""
    if not rows:
        return 0
    moment = rows[0].created_at or connection.execute(sa.select(sa.func.now())).scalar_one()
    rows = [replace(row, created_at=moment, run_at=row.run_at or moment) for row in rows]
    first = rows[0]
    keyed = any(row.idempotency_key is not None for row in rows)
    turns = _turns(connection, rows, moment)
    buffer = io.StringIO()
    for row, turn_at in zip(rows, turns, strict=True):
        cells: Sequence[object] = (
            row.id,
            row.job,
            json.dumps(row.payload),
            int(row.priority),
            row.run_at,
            turn_at,
            row.created_at,
            row.idempotency_key,
            row.entity_key,
            row.tenant,
            row.requested_by,
        )
        buffer.write("\t".join("\\N" if cell is None else _escaped(str(cell)) for cell in cells) + "\n")
    buffer.seek(0)
    target = "kordant.job_requests"
    if keyed:
        target = "pg_temp.arriving_requests"
        connection.execute(
            sa.text(
                f"""CREATE TEMP TABLE IF NOT EXISTS arriving_requests ON COMMIT DROP AS
                    SELECT {_COPIED} FROM kordant.job_requests WITH NO DATA"""  # noqa: S608 - a constant
            )
        )
        connection.execute(sa.text("TRUNCATE pg_temp.arriving_requests"))
    with cast(Any, connection.connection.driver_connection).cursor() as cursor:
        cursor.copy_expert(f"COPY {target} ({_COPIED}) FROM STDIN", buffer)
    put_in = _insert_unseen(connection, first, moment) if keyed else len(rows)
    notify(connection, first.job)
    return put_in


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _insert_unseen(connection: Connection, first: NewRequest, moment: datetime) -> int:
    """Insert the rows of the temporary table whose key is free. The keys are inserted in order, so that two concurrent
    bulk inserts wait for each other and do not deadlock."""
    put_in: int = connection.execute(
        sa.text(f"""
            WITH mine AS (
                INSERT INTO kordant.idempotency_keys AS k (tenant, caller, job, key, request_id, until)
                SELECT DISTINCT ON (tenant, requested_by, job, idempotency_key)
                    coalesce(tenant, ''), requested_by, job, idempotency_key, id, :until
                FROM pg_temp.arriving_requests WHERE idempotency_key IS NOT NULL
                ORDER BY tenant, requested_by, job, idempotency_key, id
                ON CONFLICT (tenant, caller, job, key) DO UPDATE
                    SET request_id = excluded.request_id, until = excluded.until WHERE k.until <= :at
                RETURNING request_id
            ), put_in AS (
                INSERT INTO kordant.job_requests ({_COPIED})
                SELECT {_COPIED} FROM pg_temp.arriving_requests
                WHERE idempotency_key IS NULL OR id IN (SELECT request_id FROM mine)
                RETURNING 1
            )
            SELECT count(*) FROM put_in
        """),  # noqa: S608 - a constant
        {"until": moment + first.window, "at": moment},
    ).scalar_one()
    return put_in


def _turns(connection: Connection, rows: Sequence[NewRequest], moment: datetime) -> list[datetime]:
    """Each row's place in line: behind its tenant's waiting requests, and behind the tenant's earlier rows in this
    batch."""
    tenants = sorted({row.tenant for row in rows if row.tenant is not None})
    if not tenants:
        return [row.run_at or moment for row in rows]
    found = connection.execute(
        sa.text("""
            SELECT t.tenant, last.turn_at, kordant.tenant_step() AS step
            FROM unnest(CAST(:tenants AS text[])) AS t(tenant)
            LEFT JOIN LATERAL (
                SELECT turn_at FROM kordant.job_requests r
                WHERE r.tenant = t.tenant AND r.job = :job AND r.priority = :priority AND r.status = 'pending'
                  AND r.run_at <= :latest
                ORDER BY turn_at DESC LIMIT 1) last ON true
        """),
        {
            "tenants": tenants,
            "job": rows[0].job,
            "priority": int(rows[0].priority),
            "latest": max(row.run_at or moment for row in rows),
        },
    ).all()
    step: timedelta = found[0].step
    tail: dict[str, datetime | None] = {row.tenant: row.turn_at for row in found}
    turns = []
    for row in rows:
        turn_at = row.run_at or moment
        if row.tenant is not None:
            last = tail[row.tenant]
            turn_at = turn_at if last is None else max(turn_at, last + step)
            tail[row.tenant] = turn_at
        turns.append(turn_at)
    return turns
