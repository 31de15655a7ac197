"""Sync runs and the result of each connection in them. Warns of consents that end soon and of stale data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.finance.limits import STALE_AFTER, warning_due
from kordant_jobs.domain.finance.states import ErrorClass, NoticeKind, SyncOutcome
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.store.finance import notices
from kordant_jobs.store.finance.connections import Planned
from kordant_jobs.store.finance.tables import bank_connections, bank_consents, sync_results, sync_runs


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """The result of one connection in one run."""

    connection_id: UUID
    outcome: SyncOutcome
    error_class: ErrorClass | None = None
    error_code: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    data_as_of: datetime | None = None
    duration_ms: int = 0


def begin(connection: Connection, run_id: UUID, planned: Planned, *, now: datetime) -> None:
    """Record the plan of a run."""
    row = {
        "id": run_id,
        "planned": len(planned.due),
        "active": planned.active,
        "deferred": dict(planned.deferred),
        "started_at": now,
    }
    connection.execute(sa.insert(sync_runs), row)


def note(connection: Connection, run_id: UUID, result: SyncResult, *, now: datetime) -> None:
    """Record the result of a connection. A repeated attempt replaces the former result."""
    values = {
        "outcome": result.outcome.value,
        "error_class": result.error_class and result.error_class.value,
        "error_code": result.error_code,
        "counts": dict(result.counts),
        "data_as_of": result.data_as_of,
        "duration_ms": result.duration_ms,
        "ended_at": now,
    }
    statement = insert(sync_results).values(sync_run_id=run_id, connection_id=result.connection_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["sync_run_id", "connection_id"], set_=values))


def last_failed_with(connection: Connection, connection_id: UUID, code: str) -> int:
    """The number of a connection's most recent attempts in a row that failed with this code."""
    query = sa.text("""
    SELECT count(*) FROM kordant.sync_results r WHERE r.connection_id = :id AND r.error_code = :code
      AND NOT EXISTS (SELECT FROM kordant.sync_results o WHERE o.connection_id = :id AND o.ended_at > r.ended_at
                      AND o.error_code IS DISTINCT FROM :code)
    """)
    found: int = connection.execute(query, {"id": connection_id, "code": code}).scalar_one()
    return found


def end(connection: Connection, run_id: UUID, deferred: Mapping[str, int], *, now: datetime) -> tuple[int, int]:
    """End a run. Returns the numbers of connections that were read completely, and of the others. `deferred` were
    deferred during the run."""
    counted = sa.text("""
    UPDATE kordant.sync_runs r SET ended_at = :now, successful = f.good, failed = f.bad,
        deferred = r.deferred || (SELECT coalesce(jsonb_object_agg(key, coalesce((r.deferred ->> key)::int, 0)
                                                                        + value::int), '{}')
                                  FROM jsonb_each_text(cast(:deferred AS jsonb)))
    FROM (SELECT count(*) FILTER (WHERE outcome = 'complete') AS good,
                 count(*) FILTER (WHERE outcome <> 'complete') AS bad
          FROM kordant.sync_results WHERE sync_run_id = :id) f
    WHERE r.id = :id RETURNING r.successful, r.failed
    """)
    given = {"id": run_id, "now": now, "deferred": json.dumps(dict(deferred))}
    row = connection.execute(counted, given).one()
    return row.successful, row.failed


def warn_of_consents(connection: Connection, *, now: datetime) -> int:
    """Send owners a notice of consents that end in 30, 7 and 1 days, once each. Returns the number of notices."""
    table = bank_consents.c
    soon = (
        sa.select(table.id, table.entity_id, table.connection_id, table.expires_at, table.told_days)
        .where(table.ended_at.is_(None), table.expires_at <= now + timedelta(days=30), table.expires_at > now)
        .with_for_update(skip_locked=True)
    )
    warned = 0
    for row in connection.execute(soon).all():
        days = warning_due(row.expires_at, row.told_days, now)
        if days is None:
            continue
        connection.execute(sa.update(bank_consents).where(table.id == row.id).values(told_days=days))
        warned += notices.queue(
            connection,
            entity_id=row.entity_id,
            connection_id=row.connection_id,
            kind=NoticeKind.CONSENT_EXPIRING,
            key=f"expiring {row.id} {row.expires_at.date()} {days}",
            severity=Severity.MEDIUM if days == 1 else Severity.LOW,
            facts={"days": days, "expires_at": row.expires_at, **_bank(connection, row.connection_id)},
        )
    return warned


_STALE = sa.text("""
SELECT id, entity_id, institution, provider_data_as_of, key FROM (
    SELECT c.*, 'stale ' || c.id || ' ' || (c.provider_data_as_of AT TIME ZONE 'UTC')::date AS key
    FROM kordant.bank_connections c
    WHERE c.status = 'active' AND c.provider <> 'file' AND c.provider_data_as_of < :before) s
WHERE NOT EXISTS (SELECT FROM kordant.finance_notices n WHERE n.entity_id = s.entity_id AND n.dedup_key = s.key)
""")


def warn_of_stale(connection: Connection, *, now: datetime) -> int:
    """Send owners a notice of connections whose data the provider has not refreshed for too long: once, and again after
    a refresh. Returns the number of notices."""
    found = connection.execute(_STALE, {"before": now - STALE_AFTER}).all()
    return sum(
        notices.queue(
            connection,
            entity_id=row.entity_id,
            connection_id=row.id,
            kind=NoticeKind.STALE,
            key=row.key,
            severity=Severity.LOW,
            facts={"institution": row.institution, "data_as_of": row.provider_data_as_of},
        )
        for row in found
    )


def _bank(connection: Connection, connection_id: UUID | None) -> dict[str, str]:
    table = bank_connections.c
    name = connection.execute(sa.select(table.institution).where(table.id == connection_id)).scalar()
    return {"institution": name} if name else {}
