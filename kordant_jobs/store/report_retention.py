"""Deletes reports whose time is over, and contents that no report names any more. How long is `domain.reports`'."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.reports import expires_before
from kordant_jobs.domain.tiers import Tier
from kordant_jobs.errors import TransientError
from kordant_jobs.ports import ReportStorage
from kordant_jobs.store.schema import report_leftovers, reports, subscribers, subscriptions

GRACE = timedelta(hours=1)
"""A content is left for so long after its row went: a run that makes the same report again has written its row."""

LEFTOVERS_MAX = 10_000
"""Contents deleted by one call, so that it ends in minutes on a slow store; the next call goes on."""


@dataclass(frozen=True, kw_only=True)
class RetentionSummary:
    """What was deleted; `kept` contents could not be, and will be tried again."""

    reports: int
    contents: int
    kept: int


def expire(db: Engine, storage: ReportStorage, *, now: datetime) -> RetentionSummary:
    """Delete reports that are older than their tier keeps them, those of subscribers who were forgotten, and contents
    that no row names. Safe to repeat and to cut off: a trigger notes every content that loses its row.

    A store that does not answer costs nothing: its contents are counted as `kept` and tried by the next call.
    """
    with db.begin() as connection:
        deleted = sum(connection.execute(statement).rowcount for statement in _over(now))
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
    unnamed = [key for key in keys if key not in named]
    deleted_keys = _delete(unnamed, storage)
    with db.begin() as connection:
        connection.execute(
            sa.delete(report_leftovers).where(report_leftovers.c.storage_key.in_([*named, *deleted_keys]))
        )
    return RetentionSummary(reports=deleted, contents=len(deleted_keys), kept=len(unnamed) - len(deleted_keys))


def _delete(keys: list[str], storage: ReportStorage) -> list[str]:
    """Those that were deleted, up to the first that the store would not: the others would only wait for it too."""
    deleted: list[str] = []
    with suppress(TransientError):
        for key in keys:
            storage.delete(key)
            deleted.append(key)
    return deleted


def _over(now: datetime) -> list[sa.Delete]:
    """Statements that delete rows whose time is over: of each tier, and of the forgotten at once."""
    whose = reports.c.subscription_id == subscriptions.c.id
    old = [
        sa.delete(reports).where(
            whose, subscriptions.c.tier == tier, reports.c.period_end_on < expires_before(tier, now.date())
        )
        for tier in Tier
    ]
    forgotten = sa.delete(reports).where(
        whose, subscriptions.c.subscriber_id == subscribers.c.id, subscribers.c.forgotten_at.is_not(None)
    )
    return [*old, forgotten]
