"""Requests in Postgres: put in, found, changed while they wait. Claiming and ending them is `store.attempts`'."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.catalog import JobRow
from kordant_jobs.domain.requests import Cause, Priority, RequestStatus
from kordant_jobs.store.schema import job_attempts, job_catalogue, job_requests

CHANNEL = "kordant_requests"
"""What the dispatcher LISTENs on: sent when a transaction that touched the queue commits."""


@dataclass(frozen=True, kw_only=True)
class Merge:
    """How requests that share `key` become one while they wait: at most one of DEBOUNCE's or THROTTLE's fields is set.

    `debounce_s`: runs when nothing new came for so long, `at_most_s` after the first at the latest; the last payload
    counts. `throttle_s`: runs at once, then no sooner than so long after its last start.
    """

    key: str
    debounce_s: float | None = None
    at_most_s: float | None = None
    throttle_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class NewRequest:
    """A request to put in. The payload was checked and is plain JSON."""

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


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which requests are meant. What is left out does not narrow."""

    ids: tuple[UUID, ...] | None = None
    job: str | None = None
    statuses: tuple[RequestStatus, ...] | None = None
    entity_key: str | None = None
    tenant: str | None = None
    cause: Cause | None = None
    error_like: str | None = None
    ended_before: datetime | None = None
    ended_after: datetime | None = None
    acknowledged: bool | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As SQL."""
        column = job_requests.c
        as_sql: dict[str, Callable[[Any], sa.ColumnElement[bool]]] = {
            "ids": lambda ids: column.id.in_(ids),
            "job": lambda job: column.job == job,
            "statuses": lambda statuses: column.status.in_([one.value for one in statuses]),
            "entity_key": lambda key: column.entity_key == key,
            "tenant": lambda tenant: column.tenant == tenant,
            "cause": lambda cause: column.cause == cause.value,
            "error_like": lambda words: column.error.icontains(words, autoescape=True),
            "ended_before": lambda moment: column.ended_at < moment,
            "ended_after": lambda moment: column.ended_at >= moment,
            "acknowledged": lambda seen: (column.acknowledged_at.is_(None)) != sa.literal(seen),
        }
        given = {name: getattr(self, name) for name in as_sql}
        return [as_sql[name](value) for name, value in given.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a request is."""

    done: int
    total: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it stands."""

    id: UUID
    job: str
    status: RequestStatus
    priority: Priority
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempt: int
    requested_by: str
    entity_key: str | None
    tenant: str | None
    idempotency_key: str | None
    run_id: str | None
    root_run_id: str | None
    cancel_requested_at: datetime | None
    progress: Progress
    items_failed: int
    summary: Mapping[str, Any] | None
    cause: Cause | None
    error: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Completed, and some of its items failed."""
        return self.status is RequestStatus.COMPLETED and self.items_failed > 0


def sync_catalogue(connection: Connection, rows: Iterable[JobRow]) -> None:
    """Copy the jobs' names to where `kordant.enqueue_job` looks them up. Names that are gone are taken out."""
    wanted = [{"name": row.name, "alias": row.alias, "priority": int(row.priority)} for row in rows]
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kordant:job_catalogue', 0))"))
    there = connection.execute(sa.select(job_catalogue).order_by(job_catalogue.c.name)).mappings()
    if [dict(row) for row in there] == sorted(wanted, key=lambda row: str(row["name"])):
        return
    connection.execute(sa.delete(job_catalogue))
    connection.execute(insert(job_catalogue), wanted)


def notify(connection: Connection, word: str) -> None:
    """Wake the dispatcher when this transaction commits."""
    connection.execute(sa.text("SELECT pg_notify(:channel, :word)"), {"channel": CHANNEL, "word": word})


_INSERT = sa.text("""
    SELECT request_id, fresh FROM kordant.insert_request(
        :id, :job, CAST(:payload AS jsonb), CAST(:priority AS smallint),
        coalesce(:run_at, :at, now()), coalesce(:at, now()), :idempotency_key, :window,
        :merge_key, :debounce, :at_most, :throttle, :entity_key, :tenant, :requested_by)
""").bindparams(
    sa.bindparam("id", type_=sa.Uuid()),
    sa.bindparam("run_at", type_=sa.DateTime(timezone=True)),
    sa.bindparam("at", type_=sa.DateTime(timezone=True)),
    *(sa.bindparam(name, type_=sa.Interval()) for name in ("window", "debounce", "at_most", "throttle")),
)


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def insert_one(connection: Connection, new: NewRequest) -> tuple[UUID, bool]:
    """Put a request in. Returns its id, or the one it is the same as (False): by idempotency key or by merging."""
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
        },
    ).one()
    return row.request_id, row.fresh


_COPIED = "id, job, payload, priority, run_at, turn_at, created_at, idempotency_key, entity_key, tenant, requested_by"


def copy_in(connection: Connection, rows: Sequence[NewRequest]) -> int:
    """Put many in by COPY, in the caller's transaction. Those whose idempotency key is in use are left out.

    The rows share job, priority, window and moment of creation; none merges. Returns how many were put in.
    """
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
    """Of the rows in the temporary table, those whose key is free; the keys are taken in their order, so that two
    bulk enqueues at once wait for each other rather than deadlock.
    """
    put_in: int = connection.execute(
        sa.text(f"""
            WITH mine AS (
                INSERT INTO kordant.idempotency_keys AS k (job, key, request_id, until)
                SELECT DISTINCT ON (job, idempotency_key) job, idempotency_key, id, :until
                FROM pg_temp.arriving_requests WHERE idempotency_key IS NOT NULL
                ORDER BY job, idempotency_key, id
                ON CONFLICT (job, key) DO UPDATE SET request_id = excluded.request_id, until = excluded.until
                    WHERE k.until <= :at
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
    """Each row's place in the line: behind what its tenant has waiting, and behind its own in this batch."""
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


def find(
    connection: Connection, where: Filter, *, limit: int | None = None, after: UUID | None = None
) -> list[Request]:
    """The requests meant, newest first; `after` is the id at which the last page ended."""
    query = sa.select(job_requests).where(*where.conditions()).order_by(job_requests.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(job_requests.c.id < after)
    return [_request(dict(row)) for row in connection.execute(query).mappings()]


def get(connection: Connection, request_id: UUID) -> Request | None:
    """One request, or None."""
    found = find(connection, Filter(ids=(request_id,)))
    return found[0] if found else None


def _request(row: Mapping[str, Any]) -> Request:
    names = set(Request.__dataclass_fields__) - {"progress", "status", "priority", "cause"}
    return Request(
        **{name: row[name] for name in names},
        status=RequestStatus(row["status"]),
        priority=Priority(row["priority"]),
        cause=Cause(row["cause"]) if row["cause"] else None,
        progress=Progress(done=row["progress_done"], total=row["progress_total"], message=row["progress_message"]),
    )


def change_waiting(
    connection: Connection, where: Filter, *, priority: Priority | None, run_at: datetime | None
) -> list[UUID]:
    """Give waiting requests another priority or time. Returns those that still waited."""
    column = job_requests.c
    values: dict[str, Any] = {}
    if priority is not None:
        values["priority"] = int(priority)
    if run_at is not None:
        values["run_at"] = run_at
        values["turn_at"] = sa.literal(run_at) + (column.turn_at - column.run_at)
    changed = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), column.status == RequestStatus.PENDING)
        .values(values)
        .returning(column.id)
    )
    notify(connection, "changed")
    return list(changed.scalars())


def cancel_waiting(connection: Connection, where: Filter, *, now: datetime) -> list[UUID]:
    """Cancel those that wait. Returns them."""
    done = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.PENDING)
        .values(status=RequestStatus.CANCELLED, ended_at=now, cancel_requested_at=now, progress_message="")
        .returning(job_requests.c.id)
    )
    return list(done.scalars())


def ask_to_cancel(connection: Connection, where: Filter, *, now: datetime) -> list[UUID]:
    """Flag those that run, for their run to see. Returns them."""
    flagged = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.RUNNING)
        .values(cancel_requested_at=sa.func.coalesce(job_requests.c.cancel_requested_at, now))
        .returning(job_requests.c.id)
    )
    notify(connection, "cancel")
    return list(flagged.scalars())


def replay(connection: Connection, where: Filter, *, now: datetime) -> list[UUID]:
    """Put dead requests back into the queue with all their attempts before them. Returns them."""
    column = job_requests.c
    back = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), column.status == RequestStatus.DEAD)
        .values(
            status=RequestStatus.PENDING,
            run_at=now,
            turn_at=now,
            forgiven=column.attempt,
            ended_at=None,
            merge_key=None,
            cancel_requested_at=None,
            acknowledged_at=None,
            acknowledged_by=None,
        )
        .returning(column.id)
    )
    notify(connection, "replayed")
    return list(back.scalars())


def acknowledge(connection: Connection, where: Filter, *, by: str, now: datetime) -> list[UUID]:
    """Say that a person has seen these dead requests. Returns them."""
    seen = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.DEAD)
        .values(acknowledged_at=now, acknowledged_by=by)
        .returning(job_requests.c.id)
    )
    return list(seen.scalars())


def expire(connection: Connection, where: Filter) -> list[UUID]:
    """Give dead requests up for good. They stay to be read until retention takes them. Returns them."""
    gone = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.DEAD)
        .values(status=RequestStatus.EXPIRED)
        .returning(job_requests.c.id)
    )
    return list(gone.scalars())


def queue_depth(connection: Connection, *, now: datetime) -> list[tuple[str, Priority, int, datetime]]:
    """(job, priority, due requests, since when the oldest waits) for whatever is due."""
    column = job_requests.c
    rows = connection.execute(
        sa.select(column.job, column.priority, sa.func.count(), sa.func.min(column.run_at))
        .where(column.status == RequestStatus.PENDING, column.run_at <= now)
        .group_by(column.job, column.priority)
        .order_by(column.job, column.priority)
    )
    return [(job, Priority(priority), count, oldest) for job, priority, count, oldest in rows]


def prune(connection: Connection, statuses: Sequence[RequestStatus], *, ended_before: datetime, limit: int) -> int:
    """Delete ended requests with their attempts, the oldest first, at most `limit`. Returns how many."""
    old = (
        sa.select(job_requests.c.id)
        .where(job_requests.c.ended_at < ended_before, job_requests.c.status.in_([one.value for one in statuses]))
        .order_by(job_requests.c.ended_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(old).scalars())
    if ids:
        chosen = sa.any_(sa.cast(sa.literal(ids, sa.ARRAY(sa.Uuid())), sa.ARRAY(sa.Uuid())))
        connection.execute(sa.delete(job_attempts).where(job_attempts.c.request_id == chosen))
        connection.execute(sa.delete(job_requests).where(job_requests.c.id == chosen))
    return len(ids)
