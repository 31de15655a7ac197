"""Loads the books of stale entities, assesses them together, saves the changes. Each batch is committed on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.finance.states import NoticeKind
from kordant_jobs.domain.finance.values import ZONE
from kordant_jobs.domain.insights.assess import assess
from kordant_jobs.domain.insights.forecast import backtest, corrections
from kordant_jobs.domain.insights.insight import ALERT_DAYS
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.errors import KordantError
from kordant_jobs.store.finance import notices
from kordant_jobs.store.insights import books, correcting, saving
from kordant_jobs.store.insights.saving import Saved

JOB = "insights_refresh"
CHUNKS_MAX = 16
BATCH = 1_000
"""Entities in one transaction: some 100,000 rows, 100 MB."""
Progress = Callable[[int, str], None]


@dataclass(frozen=True, kw_only=True)
class RefreshPlan:
    """The entities to refresh, and the time of the refresh. A chunk is a range of ids, both ends included."""

    now: datetime
    chunks: tuple[tuple[UUID, UUID], ...]
    total: int
    named: tuple[UUID, ...] = ()
    force: bool = False
    uncorrected: str | None = None
    """The reason why forecasts keep older corrections; None: they do not."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An entity whose books could not be assessed. `error` is the type of the error; its text could hold data of the
    books."""

    entity_id: UUID
    error: str


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The result of a chunk."""

    entities: int = 0
    new: int = 0
    changed: int = 0
    resolved: int = 0
    announced: int = 0
    failed: tuple[Failure, ...] = ()

    def __add__(self, other: Refreshed) -> Refreshed:
        return Refreshed(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def _day_began(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(ZONE).date(), time(), ZONE).astimezone(UTC)


def _due(db: Engine, plan: RefreshPlan, *, between: tuple[UUID, UUID] | None = None) -> list[UUID]:
    named = list(plan.named) or None
    with db.connect() as connection:
        if plan.force:
            return saving.all_entities(connection, ids=named, between=between)
        return saving.stale_entities(connection, day_began=_day_began(plan.now), ids=named, between=between)


def plan(*, named: Sequence[UUID], force: bool, db: Engine, now: datetime) -> RefreshPlan:
    """Distribute the stale entities over chunks. An entity that another run refreshes before its chunk starts is
    skipped."""
    uncorrected = correct(db=db, now=now)
    made = RefreshPlan(now=now, chunks=(), total=0, named=tuple(named), force=force)
    due = _due(db, made)
    size = max(BATCH, -(-len(due) // CHUNKS_MAX))
    parts = [due[start : start + size] for start in range(0, len(due), size)]
    chunks = tuple((part[0], part[-1]) for part in parts)
    return replace(made, chunks=chunks, total=len(due), uncorrected=uncorrected)


def correct(*, db: Engine, now: datetime) -> str | None:
    """Once a week, measure the errors of past forecasts on a sample of entities. Returns the error when that fails; the
    corrections of the week before then stay."""
    try:
        with db.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
            if not correcting.are_old(connection, now):
                return None
            loaded = books.load(connection, correcting.sample(connection))
        past = backtest(loaded.books, today=now.astimezone(ZONE).date())
    except (KordantError, sa.exc.OperationalError):
        raise
    except Exception as error:  # noqa: BLE001 - as in `_refresh_some`: one entity's books must not stop the others
        return type(error).__name__
    with db.begin() as connection:
        correcting.save(connection, corrections(past), now=now)
    return None


def refresh(
    made: RefreshPlan, chunk: tuple[UUID, UUID], *, db: Engine, progress: Progress, batch: int = BATCH
) -> Refreshed:
    """Refresh the entities of a chunk that are still stale. Safe to repeat: after a kill it continues at the first
    batch that was not committed. An entity whose books cannot be assessed does not stop the others: it stays stale."""
    due = _due(db, made, between=chunk)
    done = Refreshed()
    for start in range(0, len(due), batch):
        for result in _refresh_some(due[start : start + batch], db=db, now=made.now):
            done += result
        progress(len(due[start : start + batch]), JOB)
    return done


def _refresh_some(ids: Sequence[UUID], *, db: Engine, now: datetime) -> Iterator[Refreshed]:
    """Refresh entities together; when that fails, in halves, down to the one that causes the error."""
    try:
        yield _refresh_together(ids, db=db, now=now)
    except (KordantError, sa.exc.OperationalError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever one entity's books bring about must not stop the others
        if len(ids) == 1:
            yield Refreshed(failed=(Failure(entity_id=ids[0], error=type(error).__name__),))
            return
        middle = len(ids) // 2
        yield from _refresh_some(ids[:middle], db=db, now=now)
        yield from _refresh_some(ids[middle:], db=db, now=now)


def _refresh_together(ids: Sequence[UUID], *, db: Engine, now: datetime) -> Refreshed:
    today = now.astimezone(ZONE).date()
    with db.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        loaded = books.load(connection, ids)
        known = correcting.load(connection)
    assessed = assess(loaded.books, today=today, corrections=known)
    announce_from = today - timedelta(days=ALERT_DAYS)
    with db.begin() as connection:
        saved = saving.save(connection, loaded, assessed, announce_from=announce_from, now=now)
        announced = _queue_notices(connection, saved)
    return Refreshed(
        entities=saved.entities, new=saved.new, changed=saved.changed, resolved=saved.resolved, announced=announced
    )


def _queue_notices(connection: sa.Connection, saved: Saved) -> int:
    """Send owners notices of new insights. Keys have the month: a balance may fall below zero again in another
    month."""
    return sum(
        notices.queue(
            connection,
            entity_id=UUID(one["entity_id"]),
            connection_id=None,
            kind=NoticeKind.INSIGHT,
            key=f"{one['kind']} {one['key']} {one['about_on'][:7]}",
            severity=Severity.MEDIUM,
            facts={"insight_id": one["id"], "kind": one["kind"]},
        )
        for one in saved.announced
    )
