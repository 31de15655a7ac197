"""Kinds of data that are not rows of one table: whole subscribers, documents, dumps in the corpus, the engine's
history."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.app import SYSTEM
from kordant_jobs.engine.control import operate
from kordant_jobs.ports import ReportStorage
from kordant_jobs.privacy.forget import forget_all
from kordant_jobs.store.darkwatch.tables import breach_dumps
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import retention as reports
from kordant_jobs.store.retention.deleting import Batch, Old
from kordant_jobs.store.retention.holds import owners_held


@dataclass(frozen=True, kw_only=True)
class Means:
    """The resources of a clean-up."""

    db: Engine
    keyring: Keyring
    banks: Banks
    report_storage: ReportStorage
    corpus: Corpus
    maildir: Path
    run_files: Path
    """The folder with one folder for each Dagster run."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The functions that count and delete a kind outside the retention tables. Their arguments are the time before
    which its term is over, and now."""

    count: Callable[[Means, datetime, datetime], Old]
    delete: Callable[[Means, datetime, datetime], Iterator[Batch]]


def _ended(means: Means, cutoff: datetime) -> tuple[list[UUID], set[UUID]]:
    with means.db.connect() as connection:
        found = subscribers.ended_before(connection, cutoff)
        return found, owners_held(connection, found)


def _count_ended(means: Means, cutoff: datetime, now: datetime) -> Old:
    found, held = _ended(means, cutoff)
    with means.db.connect() as connection:
        total = subscribers.count_known(connection)
    return Old(rows=len(found) - len(held), held=len(held), total=total)


def _delete_ended(means: Means, cutoff: datetime, now: datetime) -> Iterator[Batch]:
    found, held = _ended(means, cutoff)
    chosen = [one for one in found if one not in held]
    for seconds in forget_all(
        chosen,
        db=means.db,
        keyring=means.keyring,
        banks=means.banks,
        storage=means.report_storage,
        maildir=means.maildir,
    ):
        yield Batch(rows=1, seconds=seconds)


def _delete_reports(means: Means, cutoff: datetime, now: datetime) -> Iterator[Batch]:
    began = time.monotonic()
    gone = reports.expire(means.db, means.report_storage, now=now)
    yield Batch(rows=gone.reports, seconds=time.monotonic() - began)


def _unnamed_documents(means: Means, cutoff: datetime) -> list[str]:
    return reports.unnamed(means.db, list(means.report_storage.old_keys(cutoff)))


def _delete_documents(means: Means, cutoff: datetime, now: datetime) -> Iterator[Batch]:
    keys = _unnamed_documents(means, cutoff)
    reports.note_left_over(means.db, keys, now=now)
    kept = reports.delete_documents(means.db, means.report_storage, keys)
    yield Batch(rows=len(keys) - kept, seconds=0.0)


def _unnamed_dumps(means: Means) -> list[UUID]:
    lying = means.corpus.dumps()
    with means.db.connect() as connection:
        known = set(connection.execute(sa.select(breach_dumps.c.id)).scalars())
    return [one for one in lying if one not in known]


def _delete_dumps(means: Means, cutoff: datetime, now: datetime) -> Iterator[Batch]:
    for dump_id in _unnamed_dumps(means):
        means.corpus.remove(dump_id)
        yield Batch(rows=1, seconds=0.0)


def _prune(means: Means, now: datetime, *, dry_run: bool) -> int:
    keep = operate.RetentionDays.of(SYSTEM.settings())
    pruned = operate.prune(
        means.db, now=now, keep=keep, more=SYSTEM.prunable, run_files=means.run_files, dry_run=dry_run
    )
    return sum(pruned.counts.values())


ELSEWHERE: Mapping[str, Elsewhere] = {
    "ended_subscribers": Elsewhere(count=_count_ended, delete=_delete_ended),
    "reports": Elsewhere(
        count=lambda means, _cutoff, now: Old(rows=reports.count_over(means.db, now=now)), delete=_delete_reports
    ),
    "orphaned_documents": Elsewhere(
        count=lambda means, cutoff, _now: Old(rows=len(_unnamed_documents(means, cutoff))), delete=_delete_documents
    ),
    "orphaned_corpus": Elsewhere(
        count=lambda means, _cutoff, _now: Old(rows=len(_unnamed_dumps(means))), delete=_delete_dumps
    ),
    "job_history": Elsewhere(
        count=lambda means, _cutoff, now: Old(rows=_prune(means, now, dry_run=True)),
        delete=lambda means, _cutoff, now: iter([Batch(rows=_prune(means, now, dry_run=False), seconds=0.0)]),
    ),
}
"""The functions by kind. Each is safe to interrupt and to repeat."""
