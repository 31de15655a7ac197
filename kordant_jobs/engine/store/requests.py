"""Requests in Postgres: find, change, prune. `arrivals` inserts them, `attempts` runs them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.ext.compiler import compiles

from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.requests import Cause, Priority, RequestStatus
from kordant_jobs.engine.store.tables import job_attempts, job_catalogue, job_requests, run_progress

CHANNEL = "kordant_requests"
"""The channel that the dispatcher LISTENs on; notified when a transaction that changed the queue commits."""
EVENTS = "kordant_events"
"""The channel that wakes the sensors."""
CANCELLED = "cancelled"
"""The notification's payload when waiting requests were cancelled."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Conditions that select requests. A field that is None does not restrict."""

    ids: tuple[UUID, ...] | None = None
    job: str | None = None
    statuses: tuple[RequestStatus, ...] | None = None
    entity_key: str | None = None
    tenant: str | None = None
    tenants: tuple[str, ...] | None = None
    entities: tuple[str, ...] | None = None
    priority: Priority | None = None
    requested_by: str | None = None
    cause: Cause | None = None
    error_like: str | None = None
    created_before: datetime | None = None
    created_after: datetime | None = None
    ended_before: datetime | None = None
    ended_after: datetime | None = None
    acknowledged: bool | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The conditions as SQL."""
        column = job_requests.c
        as_sql: dict[str, Callable[[Any], sa.ColumnElement[bool]]] = {
            "ids": column.id.in_,
            "job": lambda job: column.job == job,
            "statuses": lambda statuses: column.status.in_([one.value for one in statuses]),
            "entity_key": lambda key: column.entity_key == key,
            "tenant": lambda tenant: column.tenant == tenant,
            "tenants": column.tenant.in_,
            "entities": column.entity_key.in_,
            "priority": lambda priority: column.priority == int(priority),
            "requested_by": lambda by: column.requested_by == by,
            "cause": lambda cause: column.cause == cause.value,
            "error_like": lambda words: column.error.icontains(words, autoescape=True),
            "created_before": lambda moment: column.created_at < moment,
            "created_after": lambda moment: column.created_at >= moment,
            "ended_before": lambda moment: column.ended_at < moment,
            "ended_after": lambda moment: column.ended_at >= moment,
            "acknowledged": lambda seen: (column.acknowledged_at.is_(None)) != sa.literal(seen),
        }
        given = {name: getattr(self, name) for name in as_sql}
        return [as_sql[name](value) for name, value in given.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a request: its own count, or else its run's."""

    done: int
    total: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request in its current state."""

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
        """True when it is completed and some of its items failed."""
        return self.status is RequestStatus.COMPLETED and self.items_failed > 0


def sync_catalogue(connection: Connection, rows: Iterable[JobRow]) -> None:
    """Copy the jobs' names to the table that `kordant.enqueue_job` reads. Names of removed jobs are deleted."""
    wanted = [{"name": row.name, "alias": row.alias, "priority": int(row.priority), "sla_s": row.sla_s} for row in rows]
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kordant:job_catalogue', 0))"))
    there = connection.execute(sa.select(job_catalogue).order_by(job_catalogue.c.name)).mappings()
    if [dict(row) for row in there] == sorted(wanted, key=lambda row: str(row["name"])):
        return
    connection.execute(sa.delete(job_catalogue))
    connection.execute(insert(job_catalogue), wanted)


def notify(connection: Connection, word: str) -> None:
    """Wake the dispatcher when this transaction commits."""
    connection.execute(sa.text("SELECT pg_notify(:channel, :word)"), {"channel": CHANNEL, "word": word})


def wake_sensors(connection: Connection) -> None:
    """Have the sensors evaluated when this transaction commits."""
    connection.execute(sa.text("SELECT pg_notify(:channel, 'ended')"), {"channel": EVENTS})


def under_way(connection: Connection, *, job: str | None = None, requested_by: str | None = None) -> bool:
    """True when a request of this job, or of this requester, runs, or is due and waits."""
    column = job_requests.c
    wanted = [column.job == job] if job is not None else []
    wanted += [column.requested_by == requested_by] if requested_by is not None else []
    due = sa.and_(column.status == RequestStatus.PENDING, column.run_at <= sa.func.now())
    found = sa.exists().where(*wanted, sa.or_(column.status == RequestStatus.RUNNING, due))
    return bool(connection.execute(sa.select(found)).scalar_one())


def after_run(connection: Connection, run_id: str) -> str | None:
    """The next state of the requests of a failed run, as text for its log."""
    column = job_requests.c
    found = connection.execute(
        sa.select(column.status, sa.func.count().label("number"), sa.func.min(column.run_at).label("run_at"))
        .where(column.run_id == run_id, column.status.in_((RequestStatus.PENDING, RequestStatus.DEAD)))
        .group_by(column.status)
    ).all()
    words = {
        RequestStatus.PENDING: "{} to be tried again at {:%H:%M:%S} UTC",
        RequestStatus.DEAD: "{} given up: `kordant-jobs dead list`",
    }
    sentences = [words[RequestStatus(row.status)].format(row.number, row.run_at.astimezone(UTC)) for row in found]
    return f"Of this run's requests: {'; '.join(sentences)}." if sentences else None


def find(
    connection: Connection, where: Filter, *, limit: int | None = None, after: UUID | None = None
) -> list[Request]:
    """The selected requests, newest first. `after` is the id at which the last page ended."""
    conditions = where.conditions()
    if after is not None:
        conditions.append(job_requests.c.id < after)
    narrow = (where.ids, where.entity_key, where.tenant, where.tenants, where.entities, where.requested_by)
    if limit is not None and (where.job or where.statuses) and not any(narrow):
        conditions = [job_requests.c.id.in_(_newest(where, conditions, limit))]
    query = selected().where(*conditions).order_by(job_requests.c.id.desc()).limit(limit)
    return [of_row(dict(row)) for row in connection.execute(query).mappings()]


def selected() -> sa.Select[Any]:
    """The columns of a `Request`, for all requests."""
    progress = run_progress.c
    query = sa.select(job_requests, progress.done, progress.total, progress.message)
    return query.outerjoin(run_progress, progress.run_id == job_requests.c.run_id)


def _newest(where: Filter, conditions: Sequence[sa.ColumnElement[bool]], limit: int) -> sa.Select[Any]:
    """The ids of the newest `limit`, from those of each job and status. Each of these is one scan along the index (job,
    status, id), so that a page of a rare status is as fast as one of a common status. Jobs are found by skipping along
    it."""
    column = job_requests.c
    if where.job is None:
        first = sa.select(sa.func.min(column.job).label("job")).cte("jobs", recursive=True)
        next_job = sa.select(sa.func.min(column.job)).where(column.job > first.c.job).scalar_subquery()
        jobs: sa.FromClause = first.union_all(sa.select(next_job).where(first.c.job.is_not(None)))
    else:
        jobs = sa.values(sa.column("job", sa.Text), name="jobs").data([(where.job,)])
    statuses = sa.values(sa.column("status", sa.Text), name="statuses").data(
        [(one.value,) for one in where.statuses or RequestStatus]
    )
    newest = (
        sa.select(column.id)
        .where(column.job == jobs.c.job, column.status == statuses.c.status, *conditions)
        .order_by(column.id.desc())
        .limit(limit)
        .correlate(jobs, statuses)
        .lateral("newest")
    )
    joined = jobs.join(statuses, sa.true()).join(newest, sa.true())
    return sa.select(newest.c.id).select_from(joined).order_by(newest.c.id.desc()).limit(limit).correlate(None)


def ids(connection: Connection, where: Filter) -> list[UUID]:
    """The ids of the selected requests, newest first."""
    query = sa.select(job_requests.c.id).where(*where.conditions()).order_by(job_requests.c.id.desc())
    return list(connection.execute(query).scalars())


class _Explained(sa.Executable, sa.ClauseElement):
    """EXPLAIN of a query, with its values as the query binds them."""

    inherit_cache = False

    def __init__(self, query: sa.Select[Any]) -> None:
        self.query = query


@compiles(_Explained)
def _explained(element: _Explained, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.query, **options)}"


def estimate(connection: Connection, where: Filter) -> int:
    """The estimated number of selected requests, from the planner's statistics: a count of a million would take
    seconds."""
    plan = connection.execute(_Explained(sa.select(job_requests.c.id).where(*where.conditions()))).scalar_one()
    return int((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])


@dataclass(frozen=True, kw_only=True)
class DeadGroup:
    """Dead requests of one job with one cause. `error` is that of the one that ended last."""

    job: str
    cause: Cause | None
    count: int
    unseen: int
    first_at: datetime
    last_at: datetime
    error: str | None


def dead_groups(connection: Connection, where: Filter) -> list[DeadGroup]:
    """The dead ones of the selected requests, by job and cause; groups with the most unseen ones first."""
    column = job_requests.c
    of_group = (column.job, column.cause)
    dead = (*where.conditions(), column.status == RequestStatus.DEAD)
    unseen = sa.func.count().filter(column.acknowledged_at.is_(None))
    newest = sa.func.array_agg(aggregate_order_by(column.error, column.ended_at.desc()))[1]
    counted = (
        sa.select(*of_group, sa.func.count(), unseen, sa.func.min(column.ended_at), sa.func.max(column.ended_at),
                  newest)
        .where(*dead).group_by(*of_group).order_by(unseen.desc(), *of_group)
    )  # fmt: skip
    return [
        DeadGroup(job=job, cause=Cause(cause) if cause else None, count=count, unseen=new, first_at=first_at,
                  last_at=last_at, error=error)
        for job, cause, count, new, first_at, last_at, error in connection.execute(counted)
    ]  # fmt: skip


def get(connection: Connection, request_id: UUID) -> Request | None:
    """One request, or None."""
    found = find(connection, Filter(ids=(request_id,)))
    return found[0] if found else None


_AS_THEY_ARE = tuple(sorted(set(Request.__dataclass_fields__) - {"progress", "status", "priority", "cause"}))


def of_row(row: Mapping[str, Any]) -> Request:
    """The request in a row of `selected`."""
    progress = Progress(done=row["progress_done"], total=row["progress_total"], message=row["progress_message"])
    if not progress.total and row["total"] is not None:
        progress = Progress(done=row["done"], total=row["total"], message=row["message"])
    return Request(
        **{name: row[name] for name in _AS_THEY_ARE},
        status=RequestStatus(row["status"]),
        priority=Priority(row["priority"]),
        cause=Cause(row["cause"]) if row["cause"] else None,
        progress=progress,
    )


def change_waiting(
    connection: Connection, where: Filter, *, priority: Priority | None, run_at: datetime | None
) -> list[UUID]:
    """Give waiting requests another priority or time. Returns the ids of those that still waited."""
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
    """Cancel waiting requests. Returns their ids."""
    done = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.PENDING)
        .values(status=RequestStatus.CANCELLED, ended_at=now, cancel_requested_at=now, progress_message="")
        .returning(job_requests.c.id)
    )
    notify(connection, CANCELLED)
    return list(done.scalars())


def ask_to_cancel(connection: Connection, where: Filter, *, now: datetime) -> list[UUID]:
    """Flag running requests as to be cancelled, for their run to notice. Returns their ids."""
    flagged = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.RUNNING)
        .values(cancel_requested_at=sa.func.coalesce(job_requests.c.cancel_requested_at, now))
        .returning(job_requests.c.id)
    )
    notify(connection, "cancel")
    return list(flagged.scalars())


def replay(connection: Connection, where: Filter, *, now: datetime) -> list[UUID]:
    """Put dead requests back into the queue with all their attempts. Returns their ids."""
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
    """Record that a person has seen these dead requests. Returns their ids."""
    seen = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.DEAD)
        .values(acknowledged_at=now, acknowledged_by=by)
        .returning(job_requests.c.id)
    )
    return list(seen.scalars())


def expire(connection: Connection, where: Filter) -> list[UUID]:
    """Give up dead requests for good. They stay readable until retention deletes them. Returns their ids."""
    gone = connection.execute(
        sa.update(job_requests)
        .where(*where.conditions(), job_requests.c.status == RequestStatus.DEAD)
        .values(status=RequestStatus.EXPIRED)
        .returning(job_requests.c.id)
    )
    return list(gone.scalars())


def _ended(statuses: Sequence[RequestStatus], before: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(job_requests.c.ended_at < before, job_requests.c.status.in_([one.value for one in statuses]))


def count_ended(connection: Connection, statuses: Sequence[RequestStatus], *, ended_before: datetime) -> int:
    """The number of requests that `prune` would delete, without a limit."""
    found: int = connection.execute(
        sa.select(sa.func.count()).select_from(job_requests).where(_ended(statuses, ended_before))
    ).scalar_one()
    return found


def prune(connection: Connection, statuses: Sequence[RequestStatus], *, ended_before: datetime, limit: int) -> int:
    """Delete ended requests with their attempts, at most `limit`, the oldest first. Returns the number deleted."""
    old = (
        sa.select(job_requests.c.id)
        .where(_ended(statuses, ended_before))
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
