"""Deletes reports whose term is over, and contents that no report refers to any more."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.reports.retention import expires_before
from kordant_jobs.errors import TransientError
from kordant_jobs.ports import ReportStorage
from kordant_jobs.postgres.database import direct_engine
from kordant_jobs.store.people.tables import subscribers, subscriptions
from kordant_jobs.store.reports.tables import report_leftovers, reports
from kordant_jobs.store.retention.holds import held_sql

GRACE = timedelta(hours=1)
"""The time for which a content is kept after its row was deleted or `spare` was called: by then a run that makes the
same report again has written its row."""

LEFTOVERS_MAX = 10_000
"""The most contents deleted by one call, so that it ends in minutes on a slow store; the next call continues."""


@dataclass(frozen=True, kw_only=True)
class RetentionSummary:
    """The counts of what was deleted; `kept` contents could not be deleted, and will be tried again."""

    reports: int
    contents: int
    kept: int


def expire(db: Engine, storage: ReportStorage, *, now: datetime) -> RetentionSummary:
    """Delete reports older than their tier's term, those of forgotten subscribers, and contents without a row. Safe to
    repeat and to interrupt: a trigger records every content that loses its row. If the store does not answer, its
    contents are counted as `kept` and tried by the next call."""
    with db.begin() as connection:
        deleted = sum(connection.execute(sa.delete(reports).where(over)).rowcount for over in _over(now))
    with db.connect() as connection:
        keys = list(
            connection.execute(
                sa.select(report_leftovers.c.storage_key)
                .where(report_leftovers.c.since_at < now - GRACE)
                .order_by(report_leftovers.c.since_at, report_leftovers.c.storage_key)
                .limit(LEFTOVERS_MAX)
            ).scalars()
        )
        named = set(
            connection.execute(sa.select(reports.c.storage_key).where(reports.c.storage_key.in_(keys))).scalars()
        )
    with db.begin() as connection:
        connection.execute(sa.delete(report_leftovers).where(report_leftovers.c.storage_key.in_(named)))
    unnamed = [key for key in keys if key not in named]
    contents = spared = 0
    with suppress(TransientError):  # the store is down: the others would only wait for it, too
        for key in unnamed:
            if _delete(db, key, storage, before=now - GRACE):
                contents += 1
            else:
                spared += 1
    return RetentionSummary(reports=deleted, contents=contents, kept=len(unnamed) - contents - spared)


def count_over(db: Engine, *, now: datetime) -> int:
    """The number of reports that `expire` would delete now."""
    with db.connect() as connection:
        return sum(
            connection.execute(sa.select(sa.func.count(reports.c.id)).where(over)).scalar_one() for over in _over(now)
        )


def unnamed(db: Engine, keys: Collection[str]) -> list[str]:
    """The contents among these that no report refers to."""
    with db.connect() as connection:
        named = sa.select(reports.c.storage_key).where(reports.c.storage_key.in_(keys))
        return sorted(set(keys) - set(connection.execute(named).scalars()))


def note_left_over(db: Engine, keys: Collection[str], *, now: datetime) -> None:
    """Record contents as left over, so that `expire` or `delete_documents` deletes those that no report refers to by
    then."""
    if keys:
        rows = [{"storage_key": key, "since_at": now} for key in keys]
        with db.begin() as connection:
            connection.execute(insert(report_leftovers).on_conflict_do_nothing(), rows)


def delete_documents(db: Engine, storage: ReportStorage, keys: Collection[str]) -> int:
    """Delete these contents now, except those that a report refers to. Returns the number that could not be deleted:
    `expire` tries again."""
    kept = 0
    for key in keys:
        try:
            _delete(db, key, storage, before=datetime.max.replace(tzinfo=UTC))
        except TransientError:
            kept += 1
    return kept


def _delete(db: Engine, key: str, storage: ReportStorage, *, before: datetime) -> bool:
    """Delete one content, unless another row is about to refer to it again. It uses a session lock, so that no
    transaction is open while the store is called."""
    leftover = sa.select(report_leftovers.c.storage_key).where(
        report_leftovers.c.storage_key == key,
        report_leftovers.c.since_at < before,
        ~sa.exists().where(reports.c.storage_key == key),
    )
    with direct_engine(db).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_lock("pg_advisory_lock", key))
        try:
            if connection.execute(leftover).first() is None:
                return False
            storage.delete(key)
            connection.execute(sa.delete(report_leftovers).where(report_leftovers.c.storage_key == key))
            return True
        finally:
            connection.execute(_lock("pg_advisory_unlock", key))


def spare(db: Engine, key: str) -> None:
    """Keep the content of `key` for `GRACE` from now on, for a process that is about to store it and refer to it. Waits
    while it is being deleted: content stored afterwards stays."""
    with db.begin() as connection:
        connection.execute(_lock("pg_advisory_xact_lock", key))
        connection.execute(
            sa.update(report_leftovers)
            .where(report_leftovers.c.storage_key == key)
            .values(since_at=sa.func.clock_timestamp())
        )


def _lock(function: str, key: str) -> sa.TextClause:
    return sa.text(f"SELECT {function}(hashtextextended(:name, 0))").bindparams(name=f"kordant:report {key}")


def _over(now: datetime) -> list[sa.ColumnElement[bool]]:
    """The conditions of reports whose term is over: by tier, and at once for forgotten subscribers. Those on legal hold
    stay."""
    held = held_sql(
        "reports", "reports", owner="kordant.subscriptions.subscriber_id", clock="kordant.reports.created_at"
    )
    of_subscription = sa.and_(reports.c.subscription_id == subscriptions.c.id, sa.text(f"NOT {held}"))
    old = [
        sa.and_(
            of_subscription, subscriptions.c.tier == tier, reports.c.period_end_on < expires_before(tier, now.date())
        )
        for tier in Tier
    ]
    is_forgotten = subscribers.c.forgotten_at.is_not(None)
    return [*old, sa.and_(of_subscription, subscriptions.c.subscriber_id == subscribers.c.id, is_forgotten)]
