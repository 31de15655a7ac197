"""Who is to be asked about at which source, what it said, and how that leaves each subscription.

Works in the caller's transaction, after `scans.choose` named the subscriptions in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.exposures import Source
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.ports import Answer, Question
from kordant_jobs.store.bulk import read_frame
from kordant_jobs.store.keyring import Keyring, Sealed
from kordant_jobs.store.schema import source_checks, source_hints, watchlist_items

_ITEMS = """
FROM scope
JOIN kordant.watchlist_items i USING (subscription_id)
JOIN kordant.subscriber_keys k ON k.subscriber_id = i.subscriber_id
LEFT JOIN kordant.source_checks c ON c.item_id = i.id AND c.source = :source
WHERE i.removed_at IS NULL AND i.blind_index IS NOT NULL AND i.kind = ANY(:kinds)
"""

_OPEN = """
  AND (c.item_id IS NULL
       OR (c.verdict = 'unknown' AND c.retry_at IS NOT NULL AND c.retry_at <= {until})
       OR (c.verdict <> 'unknown' AND c.asked_at < cast(:stale_before AS timestamptz))
       OR EXISTS (SELECT 1 FROM kordant.source_hints h WHERE h.item_id = i.id AND h.source = :source
                  AND (c.retry_at IS NULL OR c.retry_at <= {until})))
"""


_DUE = f"""
SELECT i.id, i.subscriber_id, i.kind, i.identifier_encrypted {_ITEMS} {_OPEN.format(until="cast(:now AS timestamptz)")}
ORDER BY EXISTS (SELECT 1 FROM kordant.source_hints h WHERE h.item_id = i.id AND h.source = :source) DESC,
         c.asked_at NULLS FIRST, i.id
LIMIT :limit
"""  # noqa: S608 - put together from constants


@dataclass(frozen=True, kw_only=True)
class Want:
    """Which items a source is asked about: of these kinds, unanswered, or answered before `stale_before`."""

    source: Source
    kinds: Collection[IdentifierKind]
    stale_before: datetime

    def values(self) -> dict[str, Any]:
        """As bound values."""
        kinds = [kind.value for kind in self.kinds]
        return {"source": self.source.value, "kinds": kinds, "stale_before": self.stale_before}


def due(connection: Connection, want: Want, keyring: Keyring, *, now: datetime, limit: int) -> list[Question]:
    """The next questions: what was pushed first, then the longest unasked."""
    rows = connection.execute(sa.text(_DUE), {**want.values(), "now": now, "limit": limit}).all()
    keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))
    return [
        Question(
            item_id=row.id,
            kind=IdentifierKind(row.kind),
            canonical=keys.open(
                Sealed(subscriber_id=row.subscriber_id, row_id=row.id, sealed=bytes(row.identifier_encrypted))
            ),
        )
        for row in rows
        if row.subscriber_id in keys
    ]


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a source still has to be asked: how many items, when the first may be, and some of their subscriptions."""

    items: int
    next_at: datetime | None
    subscription_ids: tuple[UUID, ...]


def left(connection: Connection, want: Want, *, most: int = 10_000) -> Left:
    """What is still to be asked of the chosen subscriptions, now or later."""
    open_ever = _OPEN.format(until="'infinity'")
    values = {**want.values(), "most": most}
    row = connection.execute(
        sa.text(f"SELECT count(*) AS items, min(coalesce(c.retry_at, now())) AS next_at {_ITEMS} {open_ever}"),
        values,
    ).one()
    ids = connection.execute(
        sa.text(f"SELECT DISTINCT i.subscription_id {_ITEMS} {open_ever} LIMIT :most"), values
    ).scalars()
    return Left(items=row.items, next_at=row.next_at, subscription_ids=tuple(ids) if row.items else ())


def save_answers(
    connection: Connection, source: Source, answers: Sequence[tuple[Answer, timedelta | None]], *, now: datetime
) -> None:
    """Note each answer, and for an unknown one after how long it is asked again (None: not before it is stale)."""
    if not answers:
        return
    statement = insert(source_checks)
    failed = source_checks.c.attempts + 1
    unknown = statement.excluded.verdict == "unknown"
    changed = {
        "verdict": statement.excluded.verdict,
        "reason": statement.excluded.reason,
        "asked_at": statement.excluded.asked_at,
        "retry_at": statement.excluded.retry_at,
        "attempts": sa.case((unknown, failed), else_=0),
    }
    rows = [
        {
            "item_id": answer.item_id,
            "source": source,
            "verdict": answer.verdict,
            "reason": answer.reason,
            "asked_at": now,
            "retry_at": now + wait if wait is not None else None,
            "attempts": int(answer.reason is not None),
        }
        for answer, wait in sorted(answers, key=lambda pair: pair[0].item_id)
    ]
    connection.execute(statement.on_conflict_do_update(index_elements=["item_id", "source"], set_=changed), rows)


def attempts_of(connection: Connection, source: Source, item_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many questions about each item failed in a row."""
    table = source_checks.c
    query = sa.select(table.item_id, table.attempts).where(table.source == source, table.item_id.in_(item_ids))
    return {row.item_id: row.attempts for row in connection.execute(query)}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One finding as it is written: the item, the breach as we call it, and as the source does."""

    item_id: UUID
    breach_name: str
    reference: str
    data_classes: tuple[str, ...] = ()


def save_findings(connection: Connection, source: Source, found: Sequence[Found], *, now: datetime) -> int:
    """Write exposures with the source's evidence; what is there stays, seen once more. Returns new exposures."""
    if not found:
        return 0
    rows = [
        {
            "item_id": str(one.item_id),
            "breach_name": one.breach_name,
            "source": source.value,
            "reference": one.reference,
            "data_classes": list(one.data_classes),
            "now": now,
        }
        for one in sorted(found, key=lambda one: (one.item_id, one.breach_name, one.reference))
    ]
    return sum(int(connection.execute(sa.text(_SAVE_FINDING), row).scalar_one()) for row in rows)


_SAVE_FINDING = """
WITH exposed AS (
    INSERT INTO kordant.exposures AS e (id, item_id, breach_name, secret, first_seen_at, last_seen_at)
    SELECT gen_random_uuid(), i.id, :breach_name, 'none', :now, :now
    FROM kordant.watchlist_items i WHERE i.id = cast(:item_id AS uuid)
    ON CONFLICT (item_id, breach_name) DO UPDATE SET last_seen_at = greatest(e.last_seen_at, excluded.last_seen_at)
    RETURNING id, xmax = 0 AS is_new
), seen AS (
    INSERT INTO kordant.source_evidence AS v
        (exposure_id, source, reference, data_classes, first_seen_at, last_seen_at)
    SELECT id, :source, :reference, cast(:data_classes AS text[]), :now, :now FROM exposed
    ON CONFLICT (exposure_id, source, reference) DO UPDATE SET
        last_seen_at = greatest(v.last_seen_at, excluded.last_seen_at),
        data_classes = CASE WHEN excluded.data_classes = '{}' THEN v.data_classes ELSE excluded.data_classes END
)
SELECT count(*) FROM exposed WHERE is_new
"""


def hints_of(connection: Connection, source: Source, item_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """What was pushed about these items and not taken up yet."""
    table = source_hints.c
    found: dict[UUID, list[str]] = {}
    query = sa.select(table.item_id, table.reference).where(table.source == source, table.item_id.in_(item_ids))
    for row in connection.execute(query):
        found.setdefault(row.item_id, []).append(row.reference)
    return found


def drop_hints(connection: Connection, source: Source, taken_up: Sequence[tuple[UUID, str]]) -> None:
    """What was pushed was taken up."""
    table = source_hints.c
    if taken_up:
        pair = sa.tuple_(table.item_id, table.reference)
        connection.execute(sa.delete(source_hints).where(table.source == source, pair.in_(list(taken_up))))


def keep_range_indexes(connection: Connection, indexes: Mapping[UUID, bytes]) -> None:
    """Note by which keyed hash a range notification finds an item."""
    if indexes:
        table = watchlist_items
        connection.execute(
            sa.update(table)
            .where(table.c.id == sa.bindparam("item"), table.c.range_index.is_(None))
            .values(range_index=sa.bindparam("digest")),
            [{"item": item, "digest": digest} for item, digest in sorted(indexes.items())],
        )


def standing(connection: Connection, want: Want, *, until: datetime) -> pl.DataFrame:
    """How each chosen subscription that the source can be asked about stands there: subscription_id, exposures (told
    ones), new_exposures (since its last verdict), unanswered, reason (of most of those)."""
    query = sa.text(
        """
        SELECT subscription_id, sum(told)::bigint, sum(fresh)::bigint, count(*) FILTER (WHERE reason IS NOT NULL),
               mode() WITHIN GROUP (ORDER BY reason)
        FROM (
            SELECT scope.subscription_id, i.id,
                   CASE WHEN c.item_id IS NULL THEN 'not_asked' ELSE c.reason END AS reason,
                   count(v.first_seen_at) AS told,
                   count(*) FILTER (WHERE v.first_seen_at >= coalesce(last.covered_until, '-infinity')) AS fresh
            FROM scope
            JOIN kordant.watchlist_items i USING (subscription_id)
            LEFT JOIN kordant.source_checks c ON c.item_id = i.id AND c.source = :source
            LEFT JOIN LATERAL (
                SELECT max(s.covered_until) AS covered_until FROM kordant.source_verdicts s
                WHERE s.subscription_id = scope.subscription_id AND s.source = :source
                  AND s.covered_until < cast(:until AS timestamptz)
            ) last ON true
            LEFT JOIN kordant.exposures e ON e.item_id = i.id AND e.judgement = 'alert' AND e.dismissed_at IS NULL
            LEFT JOIN LATERAL (
                SELECT min(first_seen_at) AS first_seen_at FROM kordant.source_evidence
                WHERE exposure_id = e.id AND source = :source
            ) v ON true
            WHERE i.removed_at IS NULL AND i.blind_index IS NOT NULL AND i.kind = ANY(string_to_array(:kinds, ','))
            GROUP BY 1, 2, 3
        ) items GROUP BY subscription_id
        """
    ).bindparams(
        source=want.source.value, kinds=",".join(sorted(kind.value for kind in want.kinds)), until=until.isoformat()
    )
    schema = {
        "subscription_id": pl.String,
        "exposures": pl.Int64,
        "new_exposures": pl.Int64,
        "unanswered": pl.Int64,
        "reason": pl.String,
    }
    return read_frame(connection, query, schema)
