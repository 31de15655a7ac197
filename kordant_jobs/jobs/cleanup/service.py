"""Plans a clean-up, executes it kind by kind, and reports what was deleted."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.domain.access.audit import Entry
from kordant_jobs.domain.retention.policies import ZONE, Action, Policy
from kordant_jobs.errors import KordantError, PermanentError
from kordant_jobs.jobs.cleanup.elsewhere import ELSEWHERE, Means
from kordant_jobs.jobs.cleanup.rules import clock_fault, why_stale, why_stopped
from kordant_jobs.postgres.database import session_lock
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import deleting, policies, records
from kordant_jobs.store.retention.deleting import Batch, Old
from kordant_jobs.store.retention.kinds import STAYS, TABLES
from kordant_jobs.store.retention.policies import Standing
from kordant_jobs.store.retention.records import Plan
from kordant_jobs.store.tables import metadata

JOB = "cleanup"
CHUNKS_MAX = 8
REPORTS_READ = 60
"""The number of past reports in which the last eight clean-ups of a kind are searched."""


@dataclass(frozen=True, kw_only=True)
class CleanupPlan:
    """The plan of the run: a chunk has some of the kinds. `total` counts rows."""

    report_id: UUID
    clock: datetime
    chunks: tuple[tuple[str, ...], ...]
    total: int
    stopped: tuple[tuple[str, str], ...] = ()
    unruled: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """The result of one kind."""

    kind: str
    deleted: int = 0
    left: int = 0
    failed: str | None = None


def check_clock(db: Engine, *, is_attended: bool = False) -> datetime:
    """The database's time, which this run uses for all decisions. See `rules.clock_fault`.

    Raises:
        PermanentError: it cannot be trusted. Nothing is deleted by a wrong clock.
    """
    with db.connect() as connection:
        now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        last = records.last_clock(connection)
    if fault := clock_fault(now, local=datetime.now(UTC), last=last, is_attended=is_attended):
        raise PermanentError(f"{fault}: set the clocks right first; nothing was deleted.")
    return now


def chosen_policies(connection: Connection, kinds: Sequence[str]) -> Mapping[str, Standing]:
    """The policies that delete something, for these kinds or for all.

    Raises:
        PermanentError: there is no such kind, or it is kept.
    """
    standing = policies.load(connection)
    deletes = {kind: one for kind, one in standing.items() if one.policy.action is not Action.KEEP}
    if unknown := sorted(set(kinds) - set(deletes)):
        raise PermanentError(f"{unknown[0]} is no kind that is deleted. Choose from: {', '.join(sorted(deletes))}.")
    return {kind: deletes[kind] for kind in kinds} if kinds else deletes


def make_plan(means: Means, *, kinds: Sequence[str] = (), now: datetime) -> Plan:
    """Count the rows that every kind would lose, and save the counts as a plan."""
    with means.db.connect() as connection:
        standing = chosen_policies(connection, kinds)
        history = records.reports(connection, limit=REPORTS_READ)
        broken = {
            kind: deleting.unindexed_references(connection, TABLES[kind].table) for kind in standing if kind in TABLES
        }
    figures = {}
    for kind, one in standing.items():
        old = count(means, one.policy, now)
        past = [row.figures[kind]["deleted"] for row in history if kind in row.figures and not row.dry_run]
        stopped = why_stopped(one.policy, rows=old.rows, total=old.total, past=past)
        if columns := broken.get(kind):
            stopped = f"no index on {', '.join(columns)}: every row deleted would read that whole table"
        elif stopped is None and _is_first_time(one, kind, history):
            stopped = "its term became shorter: this run only counts it, the next one deletes"
        figures[kind] = {**_shown(old), "stopped": stopped, "version": one.version, "action": one.policy.action.value}
    with means.db.begin() as connection:
        return records.write_plan(connection, clock=now, digest=digest_of(standing, now), figures=figures)


def _is_first_time(one: Standing, kind: str, history: Sequence[Any]) -> bool:
    """True when an operator shortened the term since the last report on the kind."""
    return one.is_shorter and not any(row.figures.get(kind, {}).get("version") == one.version for row in history)


def _shown(old: Old) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(old).items()}


def digest_of(standing: Mapping[str, Standing], now: datetime) -> bytes:
    """The digest of a plan: every kind with its cutoff and the statement that deletes it."""
    today = now.astimezone(ZONE).date()
    parts = [
        f"{kind} {one.policy.cutoff(today).isoformat()} "
        + (f"{deleting.statement_of(TABLES[kind])} {TABLES[kind].drained}" if kind in TABLES else "elsewhere")
        for kind, one in sorted(standing.items())
    ]
    return hashlib.sha256("\n".join(parts).encode()).digest()


def count(means: Means, policy: Policy, now: datetime) -> Old:
    """Count the rows that a deletion of this kind would delete now."""
    cutoff = policy.cutoff(now.astimezone(ZONE).date())
    if policy.kind in TABLES:
        with means.db.connect() as connection:
            return deleting.count(connection, TABLES[policy.kind], cutoff)
    return ELSEWHERE[policy.kind].count(means, cutoff, now)


def plan(means: Means, *, kinds: Sequence[str] = (), plan_id: UUID | None = None, dry_run: bool = False) -> CleanupPlan:
    """Decide what this run deletes. With `plan_id` it is the plan that an operator checked, without further guards.

    Raises:
        PermanentError: the clock cannot be trusted; the plan is not there, too old, or not what would happen now.
    """
    now = check_clock(means.db, is_attended=plan_id is not None)
    if plan_id is None:
        made = make_plan(means, kinds=kinds, now=now)
        stopped = {kind: one["stopped"] for kind, one in made.figures.items() if one["stopped"]}
    else:
        made = _planned(means, plan_id, kinds, now)
        stopped = {}
    with means.db.begin() as connection:
        report_id = records.begin(connection, made, dry_run=dry_run)
        for kind, one in made.figures.items():
            shown = {**one, "planned": one["rows"], "deleted": 0, "stopped": stopped.get(kind)}
            records.note(connection, report_id, kind, shown)
    cleaned = () if dry_run else tuple(kind for kind in made.figures if kind not in stopped)
    return CleanupPlan(
        report_id=report_id,
        clock=made.clock,
        chunks=tuple(cleaned[place::CHUNKS_MAX] for place in range(min(CHUNKS_MAX, len(cleaned)))),
        total=sum(made.figures[kind]["rows"] for kind in cleaned),
        stopped=tuple(stopped.items()),
        unruled=unruled_tables(),
    )


def _planned(means: Means, plan_id: UUID, kinds: Sequence[str], now: datetime) -> Plan:
    with means.db.connect() as connection:
        found = records.read_plan(connection, plan_id)
        if found is None:
            raise PermanentError(f"there is no plan {plan_id}: `kordant-jobs cleanup plan` makes one.")
        standing = chosen_policies(connection, tuple(found.figures))
        before = records.deleted_by_plan(connection, plan_id)
    if digest_of(standing, found.clock) != found.digest:
        raise PermanentError("a retention policy was changed since the plan was made: plan again.")
    for kind, figures in found.figures.items():
        rows = count(means, standing[kind].policy, found.clock).rows
        if stale := why_stale(found.clock, now, figures["rows"], before[kind] + rows):
            raise PermanentError(f"{kind}: {stale}. Plan again.")
    chosen = {kind: found.figures[kind] for kind in found.figures if not kinds or kind in kinds}
    return Plan(id=found.id, clock=found.clock, digest=found.digest, figures=chosen)


def unruled_tables() -> tuple[str, ...]:
    """Tables without a kind and without an entry in STAYS: their rows are kept."""
    ruled = {one.table for one in TABLES.values()} | set(STAYS)
    return tuple(sorted(table.name for table in metadata.tables.values() if table.name not in ruled))


def clean(made: CleanupPlan, kind: str, *, means: Means, progress: Callable[[int, str], None]) -> Cleaned:
    """Delete one kind. A failure is reported and stops no other kind. After a kill, the next run continues here."""
    with means.db.connect() as connection:
        standing = policies.load(connection)[kind]
        deleted, along = records.gone(connection, made.report_id, kind)
    began = datetime.now(UTC)
    longest, failed = 0.0, None
    with session_lock(means.db, f"kordant:cleanup {kind}", wait=False) as is_alone:
        if not is_alone:
            failed = "another clean-up is at it"
        else:
            try:
                for batch in _batches(means, standing.policy, made):
                    deleted, along = deleted + batch.rows, along + batch.along
                    longest = max(longest, batch.seconds)
                    progress(batch.rows, kind)
            except (KordantError, sa.exc.DBAPIError, OSError) as error:
                failed = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    after = count(means, standing.policy, made.clock)
    if kind in TABLES and deleted > deleting.VACUUM_ABOVE * (after.total + deleted):
        deleting.make_free(means.db, TABLES[kind])
    figures = {
        **_shown(after),
        "left": after.rows,
        "deleted": deleted,
        "gone_along": along,
        "longest_batch_s": round(longest, 3),
        "seconds": round((datetime.now(UTC) - began) / timedelta(seconds=1), 1),
        "failed": failed,
        "version": standing.version,
        "action": standing.policy.action.value,
    }
    with means.db.begin() as connection:
        figures["planned"] = deleted + after.rows
        records.note(connection, made.report_id, kind, figures)
    return Cleaned(kind=kind, deleted=deleted, left=after.rows, failed=failed)


def _batches(means: Means, policy: Policy, made: CleanupPlan) -> Iterator[Batch]:
    """Delete a kind; each batch is recorded in its own transaction."""
    kind, report_id = policy.kind, made.report_id
    cutoff = policy.cutoff(made.clock.astimezone(ZONE).date())

    def note(connection: Connection, rows: int, along: int) -> None:
        records.add(connection, report_id, kind, rows=rows, along=along)

    if kind in TABLES:
        yield from deleting.delete(means.db, TABLES[kind], cutoff, note=note)
        return
    for batch in ELSEWHERE[kind].delete(means, cutoff, made.clock):
        with means.db.begin() as connection:
            note(connection, batch.rows, batch.along)
        yield batch


def finish(made: CleanupPlan, *, db: Engine, keyring: Keyring) -> None:
    """Close the report, and write it to the audit log: figures by kind, no personal data."""
    with db.begin() as connection:
        figures = records.close(connection, made.report_id)
        log.record(
            connection,
            keyring,
            Entry(
                actor="service:cleanup",
                role="service",
                source="job",
                action="cleanup",
                target_kind="cleanup_report",
                target_id=str(made.report_id),
                after={kind: {"deleted": one["deleted"], "held": one["held"]} for kind, one in figures.items()},
            ),
        )
