"""Deletes old history: ended requests and their attempts, idempotency keys, Dagster's runs, events and ticks.

Waiting or running requests are never touched, nor is anything of a subscription: its alerts, exposures and reports have
their own rules. Rows are deleted in batches, a transaction each, so that no lock is held for long; rows that another
transaction has locked are left for the next time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.engine.store import attempt_counts, history, requests
from kordant_jobs.engine.store.tables import idempotency_keys
from kordant_jobs.engine.system import EngineSettings, Prunable
from kordant_jobs.postgres.schema import DAGSTER_SCHEMA, SCHEMA

BULK = 10_000
"""Rows deleted in one transaction: about 0.3 s."""
EVENTS_A_RUN = 16
"""A batch of runs is smaller by this factor, since each run has many events."""
TIDY_ABOVE = 1_000
"""The number of deleted rows from which VACUUM runs at once, not when autovacuum does."""

DONE = (RequestStatus.COMPLETED, RequestStatus.CANCELLED)
DEAD = (RequestStatus.DEAD, RequestStatus.EXPIRED)
GOOD_RUNS, FAILED_RUNS = ("SUCCESS", "CANCELED"), ("FAILURE",)
"""Dagster's statuses of ended runs. A run in any other status has not ended."""


@dataclass(frozen=True, kw_only=True)
class RetentionDays:
    """Days for which each kind is kept after its end. The settings have the numbers."""

    done_days: float
    """Completed and cancelled requests, successful runs, ticks."""
    dead_days: float
    """Days for dead letters and failed runs: longer, since an operator may still inspect them."""
    tick_days: float
    """Ticks that found nothing to do: several a minute, useful only when a sensor is debugged."""

    @classmethod
    def of(cls, settings: EngineSettings) -> RetentionDays:
        """The days in the settings KORDANT_KEEP_*."""
        return cls(
            done_days=settings.keep_done_days, dead_days=settings.keep_failed_days, tick_days=settings.keep_tick_days
        )


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """The number of rows deleted, or to be deleted, by kind; `runs` and `failed_runs` count runs, whose events are
    deleted with them."""

    counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        """The estimated number of all rows, events of runs included."""
        events = EVENTS_A_RUN * (self.counts.get("runs", 0) + self.counts.get("failed_runs", 0))
        return sum(self.counts.values()) + events


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """One kind: a function that counts old rows, and one that deletes a batch of them and returns its size."""

    count: Callable[[Connection], int]
    delete: Callable[[Connection, int], int]
    weight: int = 1
    dagster: bool = False


def prune(
    db: Engine,
    *,
    now: datetime,
    keep: RetentionDays,
    more: Sequence[Prunable] = (),
    bulk: int = BULK,
    run_files: Path | None = None,
    dry_run: bool = False,
    go_on: Callable[[], bool] = lambda: True,
) -> Pruned:
    """Delete rows older than their term, or with `dry_run` only count them. Safe to repeat and to interrupt; it stops
    between two batches when `go_on` returns False. `run_files` has one folder for each run (captured output, values
    between steps); folders of deleted runs are deleted as well."""
    rules = _rules(now, keep, run_files, more)
    with db.connect() as connection:
        if not history.has_dagster_tables(connection):
            rules = {kind: rule for kind, rule in rules.items() if not rule.dagster}
        if dry_run:
            return Pruned(counts={kind: rule.count(connection) for kind, rule in rules.items()})
    gone = {kind: sum(_bulks(db, rule, max(1, bulk // rule.weight), go_on)) for kind, rule in rules.items()}
    with db.begin() as connection:
        attempt_counts.fold(connection)
    pruned = Pruned(counts=gone)
    if pruned.rows >= TIDY_ABOVE:
        _tidy(db)
    return pruned


def _bulks(db: Engine, rule: _Rule, bulk: int, go_on: Callable[[], bool]) -> Iterator[int]:
    while go_on():
        with db.begin() as connection:
            count = rule.delete(connection, bulk)
        yield count
        if count < bulk:
            return


def _rules(now: datetime, keep: RetentionDays, run_files: Path | None, more: Sequence[Prunable]) -> Mapping[str, _Rule]:
    done, dead, tick = (now - timedelta(days=days) for days in (keep.done_days, keep.dead_days, keep.tick_days))
    return {
        "requests": _requests(DONE, done),
        "dead": _requests(DEAD, dead),
        "idempotency_keys": _keys(now),
        "runs": _runs(GOOD_RUNS, done, run_files),
        "failed_runs": _runs(FAILED_RUNS, dead, run_files),
        "skipped_ticks": _ticks(True, tick),
        "ticks": _ticks(False, done),
        **{one.name: _own(one, done) for one in more},
    }


def _requests(statuses: Sequence[RequestStatus], before: datetime) -> _Rule:
    return _Rule(
        count=lambda connection: requests.count_ended(connection, statuses, ended_before=before),
        delete=lambda connection, bulk: requests.prune(connection, statuses, ended_before=before, limit=bulk),
    )


def _keys(now: datetime) -> _Rule:
    column = idempotency_keys.c
    over = column.until <= now

    def delete(connection: Connection, bulk: int) -> int:
        names = idempotency_keys.primary_key.columns.keys()
        some = sa.select(*(column[name] for name in names)).where(over).limit(bulk)
        chosen = some.with_for_update(skip_locked=True).subquery()
        mine = sa.and_(*(column[name] == chosen.c[name] for name in names))
        return connection.execute(sa.delete(idempotency_keys).where(mine)).rowcount

    return _Rule(
        count=lambda connection: connection.execute(
            sa.select(sa.func.count()).select_from(idempotency_keys).where(over)
        ).scalar_one(),
        delete=delete,
    )


def _runs(statuses: Sequence[str], before: datetime, files: Path | None) -> _Rule:
    def delete(connection: Connection, bulk: int) -> int:
        ids = history.delete_runs(connection, statuses, before=before, limit=bulk)
        if files is not None:
            for run_id in ids:
                shutil.rmtree(files / run_id, ignore_errors=True)
        return len(ids)

    return _Rule(
        count=lambda connection: history.count_runs(connection, statuses, before=before),
        delete=delete,
        weight=EVENTS_A_RUN,
        dagster=True,
    )


def _ticks(skipped: bool, before: datetime) -> _Rule:
    return _Rule(
        count=lambda connection: history.count_ticks(connection, skipped=skipped, before=before),
        delete=lambda connection, bulk: history.delete_ticks(connection, skipped=skipped, before=before, limit=bulk),
        dagster=True,
    )


def _own(one: Prunable, before: datetime) -> _Rule:
    return _Rule(
        count=lambda connection: one.count(connection, before),
        delete=lambda connection, bulk: one.delete(connection, before, bulk),
    )


def _tidy(db: Engine) -> None:
    """Free the space of deleted rows for reuse. A table that another process is vacuuming is skipped."""
    tables = [f"{SCHEMA}.{name}" for name in ("job_requests", "job_attempts", "idempotency_keys", "run_progress")]
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if history.has_dagster_tables(connection):
            tables += [f"{DAGSTER_SCHEMA}.{name}" for name in ("event_logs", "runs", "run_tags", "job_ticks")]
        connection.execute(sa.text(f"VACUUM (SKIP_LOCKED, ANALYZE) {', '.join(tables)}"))
