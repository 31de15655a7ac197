"""Insights for readers, with the payee's name decrypted; and the readers' decisions on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.insights.insight import STATUS_MOVES, Kind, Status
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.finance import entities
from kordant_jobs.store.finance.tables import transactions
from kordant_jobs.store.insights.tables import insights
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys


@dataclass(frozen=True, kw_only=True)
class Insight:
    """One insight. `line` is the decrypted statement line of its last piece of evidence; `checked_at` is when it was
    last found to hold or to have ended, `said_at` when it was first found."""

    id: UUID
    entity_id: UUID
    kind: Kind
    status: Status
    facts: Mapping[str, Any]
    evidence: tuple[UUID, ...]
    confidence: float
    unknown_reason: str | None
    said_at: datetime
    checked_at: datetime
    computed_at: datetime
    resolved_at: datetime | None
    line: str | None


_FOUND = sa.text("""
SELECT i.id, i.entity_id, i.kind, i.status, i.facts, i.evidence, i.confidence, i.unknown_reason,
       i.first_computed_at AS said_at, coalesce(i.resolved_at, v.refreshed_at) AS checked_at, i.computed_at,
       i.resolved_at, t.id AS row_id, t.description_encrypted
FROM kordant.insights i
JOIN kordant.entity_versions v ON v.entity_id = i.entity_id
LEFT JOIN kordant.transactions t ON t.id = i.evidence[array_upper(i.evidence, 1)]
WHERE (cast(:id AS uuid) IS NULL OR i.id = :id) AND (cast(:entity AS uuid) IS NULL OR i.entity_id = :entity)
  AND i.kind = ANY(:kinds) AND i.status = ANY(:statuses)
ORDER BY i.entity_id, i.kind, i.about_on DESC NULLS LAST, i.dedup_key DESC LIMIT :limit
""")


def find(
    connection: Connection,
    keyring: Keyring,
    *,
    insight_id: UUID | None = None,
    entity_id: UUID | None = None,
    kinds: Sequence[Kind] = tuple(Kind),
    statuses: Sequence[Status] = tuple(Status),
    limit: int = 200,
) -> list[Insight]:
    """Insights of an entity, of all, or the one with this id; within each kind those of the newest days first."""
    given = {
        "id": insight_id, "entity": entity_id, "kinds": list(kinds), "statuses": list(statuses), "limit": limit,
    }  # fmt: skip
    rows = connection.execute(_FOUND, given).mappings().all()
    keys = entities.load_keys(connection, keyring, sorted({row["entity_id"] for row in rows}))
    return [_read(dict(row), keys) for row in rows]


def _read(row: dict[str, Any], keys: SubscriberKeys) -> Insight:
    sealed, row_id, entity = row.pop("description_encrypted"), row.pop("row_id"), row["entity_id"]
    line = None
    if sealed is not None and entity in keys:
        line = keys.open(entity, transactions.c.description_encrypted, row_id, sealed)
    made = {"kind": Kind(row["kind"]), "status": Status(row["status"]), "evidence": tuple(row["evidence"])}
    return Insight(**{**row, **made, "line": line})


def decide(connection: Connection, insight_id: UUID, status: Status) -> None:
    """Mark an insight as seen, dismissed, or new again.

    Raises:
        PermanentError: it is not there, or cannot become that.
    """
    allowed = [before.value for before, after in STATUS_MOVES.items() if status in after]
    moved = (
        sa.update(insights)
        .where(insights.c.id == insight_id, insights.c.status.in_(allowed))
        .values(status=status.value)
    )
    if not connection.execute(moved).rowcount:
        raise PermanentError(f"{insight_id} is no insight that can become {status.value}.")
