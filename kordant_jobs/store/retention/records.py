"""Plans of clean-ups, and reports of what they deleted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.store.retention.tables import cleanup_plans, cleanup_reports


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The numbers of rows that a clean-up would delete, by kind, as of `clock`."""

    id: UUID
    clock: datetime
    digest: bytes
    figures: Mapping[str, Mapping[str, Any]]


def write_plan(
    connection: Connection, *, clock: datetime, digest: bytes, figures: Mapping[str, Mapping[str, Any]]
) -> Plan:
    """Store a plan."""
    plan = Plan(id=uuid7(), clock=clock, digest=digest, figures=figures)
    connection.execute(sa.insert(cleanup_plans).values(id=plan.id, clock=clock, digest=digest, figures=figures))
    return plan


def read_plan(connection: Connection, plan_id: UUID) -> Plan | None:
    """A stored plan."""
    row = connection.execute(sa.select(cleanup_plans).where(cleanup_plans.c.id == plan_id)).one_or_none()
    return None if row is None else Plan(id=row.id, clock=row.clock, digest=bytes(row.digest), figures=row.figures)


def begin(connection: Connection, plan: Plan, *, dry_run: bool) -> UUID:
    """Open the report of a clean-up that executes `plan`."""
    report_id: UUID = uuid7()
    connection.execute(
        sa.insert(cleanup_reports).values(
            id=report_id, plan_id=plan.id, clock=plan.clock, dry_run=dry_run, digest=plan.digest, figures={}
        )
    )
    return report_id


def note(connection: Connection, report_id: UUID, kind: str, figures: Mapping[str, Any]) -> None:
    """Write the result of one kind."""
    column = cleanup_reports.c
    added = column.figures.op("||")(sa.cast({kind: dict(figures)}, column.figures.type))
    connection.execute(sa.update(cleanup_reports).where(column.id == report_id).values(figures=added))


_ADD = sa.text("""
UPDATE kordant.cleanup_reports r SET figures = r.figures || jsonb_build_object(cast(:kind AS text), was.kind ||
    jsonb_build_object('deleted', coalesce((was.kind ->> 'deleted')::bigint, 0) + :rows,
                       'gone_along', coalesce((was.kind ->> 'gone_along')::bigint, 0) + :along))
FROM (SELECT coalesce(figures -> cast(:kind AS text), '{}') AS kind FROM kordant.cleanup_reports WHERE id = :id
      FOR UPDATE) was
WHERE r.id = :id
""")


def add(connection: Connection, report_id: UUID, kind: str, *, rows: int, along: int) -> None:
    """Count a batch that the caller's transaction deleted, so that the deletions of a killed clean-up are recorded."""
    connection.execute(_ADD, {"id": report_id, "kind": kind, "rows": rows, "along": along})


def gone(connection: Connection, report_id: UUID, kind: str) -> tuple[int, int]:
    """The numbers of rows of a kind that a report has as deleted so far, and of rows deleted with them."""
    column = cleanup_reports.c
    figures = connection.execute(sa.select(column.figures[kind]).where(column.id == report_id)).scalar() or {}
    return figures.get("deleted") or 0, figures.get("gone_along") or 0


def deleted_by_plan(connection: Connection, plan_id: UUID) -> Counter[str]:
    """The rows by kind that earlier clean-ups of this plan deleted; a clean-up that was killed continues."""
    column, found = cleanup_reports.c, Counter[str]()
    for figures in connection.execute(sa.select(column.figures).where(column.plan_id == plan_id)).scalars():
        found.update({kind: one.get("deleted") or 0 for kind, one in figures.items()})
    return found


def close(connection: Connection, report_id: UUID) -> Mapping[str, Mapping[str, Any]]:
    """Close a report. Returns the result of every kind."""
    ended = sa.update(cleanup_reports).where(cleanup_reports.c.id == report_id).values(ended_at=sa.func.now())
    figures: Mapping[str, Mapping[str, Any]] = connection.execute(
        ended.returning(cleanup_reports.c.figures)
    ).scalar_one()
    return figures


def reports(connection: Connection, *, limit: int) -> Sequence[Any]:
    """Rows of reports, the newest first."""
    query = sa.select(cleanup_reports).order_by(cleanup_reports.c.clock.desc(), cleanup_reports.c.id.desc())
    return connection.execute(query.limit(limit)).all()


def last_clock(connection: Connection) -> datetime | None:
    """The time of the newest clean-up."""
    return connection.execute(sa.select(sa.func.max(cleanup_reports.c.clock))).scalar()
