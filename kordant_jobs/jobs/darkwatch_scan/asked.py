"""Records the result of asking a source: verdicts of the subscriptions, and a request for the remaining questions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import polars as pl
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.engine import Merge, Priority
from kordant_jobs.jobs.darkwatch_scan.drops import now_of
from kordant_jobs.jobs.darkwatch_scan.rules.asking import RECHECK_AFTER, source_verdict
from kordant_jobs.ports import Answer, ExposureSource
from kordant_jobs.store.darkwatch import breach_lookups, source_checks, verdicts
from kordant_jobs.store.darkwatch.source_checks import Want

LATER = timedelta(seconds=30)
"""The shortest time between two scans that only ask remaining questions."""
MOST_LATER = 10_000
"""The most subscriptions that one request covers; further ones come with the next."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The result of asking one source. `left` is the number of items for a later scan, of which `next_at` is the
    earliest."""

    source: Source
    asked: int = 0
    clean: int = 0
    exposed: int = 0
    unknown: int = 0
    new_exposures: int = 0
    left: int = 0
    next_at: datetime | None = None
    left_subscriptions: tuple[UUID, ...] = ()
    why: UnknownReason | None = None
    wait_s: float = 0.0
    """Seconds until the source's rate or circuit breaker lets a question through."""

    def with_answers(self, answers: Sequence[Answer], new: int) -> Asked:
        """The result with one more batch, which gave `new` exposures."""
        verdicts = [answer.verdict for answer in answers]
        reasons = [answer.reason for answer in answers if answer.reason is not None]
        return replace(
            self,
            asked=self.asked + len(answers),
            clean=self.clean + verdicts.count(Verdict.CLEAN),
            exposed=self.exposed + verdicts.count(Verdict.EXPOSED),
            unknown=self.unknown + verdicts.count(Verdict.UNKNOWN),
            new_exposures=self.new_exposures + new,
            why=reasons[-1] if reasons else None,
        )


def want_of(connection: Connection, source: ExposureSource, now: datetime) -> Want:
    """The items that a source is asked about: of the kinds that it accepts, without an answer or with one older than
    its latest news."""
    stale = now - RECHECK_AFTER[source.source]
    if source.source is Source.HIBP:
        newest = breach_lookups.newest_at(connection)
        stale = max(stale, newest) if newest is not None else stale
    kinds = frozenset(kind for kind in IdentifierKind if source.requests_for(kind))
    return Want(source=source.source, kinds=kinds, stale_before=stale)


def ask_later(asked: Sequence[Asked], *, db: Engine) -> UUID | None:
    """Queue a scan for the remaining questions, at the time when the first may be asked; None when none remain. Scans
    with the same remaining subscriptions queue one request."""
    left = [one for one in asked if one.left and one.next_at is not None]
    ids = sorted({one for result in left for one in result.left_subscriptions})[:MOST_LATER]
    if not ids:
        return None
    with db.begin() as connection:
        now = now_of(connection)
        run_at = max(now + LATER, min(one.next_at for one in left if one.next_at is not None))
        key = hashlib.sha256(b"".join(one.bytes for one in ids)).hexdigest()
        return enqueue(
            connection,
            DarkwatchScan(subscription_ids=tuple(ids)),
            requested_by="darkwatch_scan.sources",
            priority=Priority.LOW,
            run_at=run_at,
            merge=Merge(key=f"sources:{key}"),
        )


def save_verdicts(connection: Connection, sources: Sources, *, until: datetime) -> None:
    """Write a verdict for each source and each subscription that it can be asked about. Call `scans.choose` before."""
    for source in sources.on.values():
        want = want_of(connection, source, until)
        standing = source_checks.standing(connection, want, until=until)
        judged = [
            source_verdict(exposures=exposures, unknown={reason: unanswered} if unanswered else {})
            for exposures, unanswered, reason in standing.select("exposures", "unanswered", "reason").iter_rows()
        ]
        frame = standing.with_columns(
            pl.Series("verdict", [verdict for verdict, _ in judged], dtype=pl.String),
            pl.Series("reason", [reason for _, reason in judged], dtype=pl.String),
        )
        verdicts.save(connection, frame, source=source.source, checked_on=until.date(), until=until)
