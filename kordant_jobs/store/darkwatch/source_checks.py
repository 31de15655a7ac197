"""Questions to a source: the items to ask about, its answers, and the resulting state of each subscription.

Works in the caller's transaction, after `scans.choose` selected the subscriptions in it.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.engine.control import leases
from kordant_jobs.ports import Answer, Question
from kordant_jobs.postgres.bulk import read_frame, write_frame
from kordant_jobs.store.darkwatch.source_tables import source_checks, source_hints
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import watchlist_items

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
       OR (c.verdict <> 'unknown' AND c.asked_at < cast(:stale_before AS timestamptz)
           AND (c.retry_at IS NULL OR c.retry_at <= {until}))
       OR EXISTS (SELECT 1 FROM kordant.source_hints h WHERE h.item_id = i.id AND h.source = :source
                  AND (c.retry_at IS NULL OR c.retry_at <= {until})))
"""


_DUE = f"""
SELECT i.id, i.subscriber_id, i.kind, i.identifier_encrypted {_ITEMS} {_OPEN.format(until="cast(:now AS timestamptz)")}
  AND NOT {leases.held_sql("c.lease_id")}
ORDER BY EXISTS (SELECT 1 FROM kordant.source_hints h WHERE h.item_id = i.id AND h.source = :source) DESC,
         c.asked_at NULLS FIRST, i.id
LIMIT :limit
"""  # noqa: S608 - put together from constants


@dataclass(frozen=True, kw_only=True)
class Want:
    """The items that a source is asked about: of these kinds, without an answer or with one from before
    `stale_before`."""

    source: Source
    kinds: Collection[IdentifierKind]
    stale_before: datetime

    def values(self) -> dict[str, Any]:
        """The parameters for SQL."""
        kinds = [kind.value for kind in self.kinds]
        return {"source": self.source.value, "kinds": kinds, "stale_before": self.stale_before}


def due(connection: Connection, want: Want, keyring: Keyring, *, now: datetime, limit: int) -> list[Question]:
    """The next questions: items named by a push first, then those not asked about for the longest time."""
    rows = connection.execute(sa.text(_DUE), {**want.values(), "now": now, "limit": limit}).all()
    keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))
    column = watchlist_items.c.identifier_encrypted
    return [
        Question(
            item_id=row.id,
            kind=IdentifierKind(row.kind),
            canonical=keys.open(row.subscriber_id, column, row.id, row.identifier_encrypted),
        )
        for row in rows
        if row.subscriber_id in keys
    ]


LEASE = timedelta(minutes=2)
"""The time for which a scan owns the questions that it asks; without an answer by then it counts as dead. A batch of 50
requests that all time out takes longer, and is asked twice in the worst case."""


_TAKEN = f"""
SELECT item_id FROM kordant.source_checks WHERE source = :source AND item_id = ANY(:ids)
  AND (asked_at >= :loaded_at OR retry_at > :now OR {leases.held_sql("lease_id")})
"""  # noqa: S608 - put together from constants


def unclaimed(
    connection: Connection, source: Source, questions: Sequence[Question], *, loaded_at: datetime, now: datetime
) -> list[Question]:
    """The questions that no scan has asked or claimed since they were loaded."""
    rows = connection.execute(
        sa.text(_TAKEN),
        {"source": source, "ids": [one.item_id for one in questions], "loaded_at": loaded_at, "now": now},
    )
    taken = set(rows.scalars())
    return [one for one in questions if one.item_id not in taken]


def claim(connection: Connection, source: Source, questions: Sequence[Question], *, now: datetime) -> UUID:
    """Claim these questions under a lease, whose id is returned; `save_answers` releases it. The caller holds the
    source's row, under which all claims are made. Until they are answered, their state stays 'not asked' or the last
    answer; they are due again when the lease ends."""
    lease = leases.insert(connection, [f"ask {source}"], holder="darkwatch_scan", now=now, ttl_s=LEASE.total_seconds())[
        0
    ]
    statement = insert(source_checks)
    rows = [
        {
            "item_id": one.item_id,
            "source": source,
            "verdict": Verdict.UNKNOWN,
            "reason": UnknownReason.NOT_ASKED,
            "asked_at": now,
            "retry_at": now,
            "attempts": 0,
            "lease_id": lease.id,
        }
        for one in sorted(questions, key=lambda one: one.item_id)
    ]
    changed = {"lease_id": statement.excluded.lease_id}
    connection.execute(statement.on_conflict_do_update(index_elements=["item_id", "source"], set_=changed), rows)
    return lease.id


@dataclass(frozen=True, kw_only=True)
class Left:
    """The questions that remain for a source: the number of items, the time of the first, and some of their
    subscriptions. `claimed`: another scan is asking some of them."""

    items: int
    next_at: datetime | None
    claimed: bool
    subscription_ids: tuple[UUID, ...]


def left(connection: Connection, want: Want, *, most: int = 10_000) -> Left:
    """Count the remaining questions about the chosen subscriptions, due now or later."""
    open_ever = _OPEN.format(until="'infinity'")
    values = {**want.values(), "most": most}
    row = connection.execute(
        sa.text(
            "SELECT count(*) AS items, min(coalesce(c.retry_at, now())) AS next_at, "
            f"coalesce(bool_or({leases.held_sql('c.lease_id')}), false) AS claimed "
            f"{_ITEMS} {open_ever}"
        ),
        values,
    ).one()
    ids = connection.execute(
        sa.text(f"SELECT DISTINCT i.subscription_id {_ITEMS} {open_ever} LIMIT :most"), values
    ).scalars()
    subscription_ids = tuple(ids) if row.items else ()
    return Left(items=row.items, next_at=row.next_at, claimed=row.claimed, subscription_ids=subscription_ids)


def save_answers(
    connection: Connection,
    source: Source,
    answers: Sequence[tuple[Answer, timedelta | None]],
    *,
    lease_id: UUID,
    now: datetime,
) -> None:
    """Save each answer, and for an unknown one the time until the next attempt (None: not before it is stale). Releases
    the lease of the questions."""
    leases.release(connection, [lease_id])
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
        "lease_id": None,
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
    """The number of consecutive failed questions about each item."""
    table = source_checks.c
    query = sa.select(table.item_id, table.attempts).where(table.source == source, table.item_id.in_(item_ids))
    return {row.item_id: row.attempts for row in connection.execute(query)}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One finding to write: the item, and the breach under our name and the source's."""

    item_id: UUID
    breach_name: str
    reference: str
    data_classes: tuple[str, ...] = ()


def save_findings(connection: Connection, source: Source, found: Sequence[Found], *, now: datetime) -> int:
    """Write exposures with the source's evidence; existing ones are marked as seen again. Returns the number of new
    exposures."""
    if not found:
        return 0
    connection.execute(sa.text(_FINDINGS))
    columns = ["item_id", "breach_name", "reference", "data_classes"]
    rows = [(str(one.item_id), one.breach_name, one.reference, json.dumps(one.data_classes)) for one in found]
    write_frame(connection, pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row"), "findings")
    values = {"source": source.value, "now": now}
    new = connection.execute(sa.text(_SAVE_EXPOSURES), values).scalar_one()
    connection.execute(sa.text(_SAVE_EVIDENCE), values)
    connection.execute(sa.text("DROP TABLE findings"))  # there may be those of another source in this transaction
    return int(new)


_FINDINGS = """
CREATE TEMP TABLE findings (item_id uuid, breach_name text, reference text, data_classes jsonb) ON COMMIT DROP
"""

_SAVE_EXPOSURES = """
WITH saved AS (
    INSERT INTO kordant.exposures AS e (id, item_id, breach_name, secret, first_seen_at, last_seen_at)
    SELECT gen_random_uuid(), f.item_id, f.breach_name, 'none', :now, :now
    FROM (SELECT DISTINCT item_id, breach_name FROM findings) f
    JOIN kordant.watchlist_items i ON i.id = f.item_id
    ORDER BY f.item_id, f.breach_name
    ON CONFLICT (item_id, breach_name) DO UPDATE SET last_seen_at = greatest(e.last_seen_at, excluded.last_seen_at)
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) FROM saved
"""

_SAVE_EVIDENCE = """
INSERT INTO kordant.source_evidence AS v (exposure_id, source, reference, data_classes, first_seen_at, last_seen_at)
SELECT DISTINCT ON (e.id, f.reference) e.id, :source, f.reference,
       ARRAY(SELECT jsonb_array_elements_text(f.data_classes)), cast(:now AS timestamptz), cast(:now AS timestamptz)
FROM findings f JOIN kordant.exposures e USING (item_id, breach_name)
ORDER BY e.id, f.reference, jsonb_array_length(f.data_classes) DESC
ON CONFLICT (exposure_id, source, reference) DO UPDATE SET
    last_seen_at = greatest(v.last_seen_at, excluded.last_seen_at),
    data_classes = CASE WHEN excluded.data_classes = '{}' THEN v.data_classes ELSE excluded.data_classes END
"""


def hints_of(connection: Connection, source: Source, item_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Unused hints about these items from pushes."""
    table = source_hints.c
    found: dict[UUID, list[str]] = {}
    query = sa.select(table.item_id, table.reference).where(table.source == source, table.item_id.in_(item_ids))
    for row in connection.execute(query):
        found.setdefault(row.item_id, []).append(row.reference)
    return found


def drop_hints(connection: Connection, source: Source, taken_up: Sequence[tuple[UUID, str]]) -> None:
    """Delete used hints."""
    table = source_hints.c
    if taken_up:
        pair = sa.tuple_(table.item_id, table.reference)
        connection.execute(sa.delete(source_hints).where(table.source == source, pair.in_(list(taken_up))))


def keep_range_indexes(connection: Connection, indexes: Mapping[UUID, bytes]) -> None:
    """Store the keyed hash by which a range notification finds an item."""
    if indexes:
        table = watchlist_items
        connection.execute(
            sa.update(table)
            .where(table.c.id == sa.bindparam("item"), table.c.range_index.is_(None))
            .values(range_index=sa.bindparam("digest")),
            [{"item": item, "digest": digest} for item, digest in sorted(indexes.items())],
        )


def standing(connection: Connection, want: Want, *, until: datetime) -> pl.DataFrame:
    """The state of each chosen subscription that the source can be asked about: subscription_id, exposures (alerted
    ones), new_exposures (since its last verdict), unanswered, reason (of most of those)."""
    query = sa.text(
        """
        SELECT subscription_id, sum(alerted)::bigint, sum(fresh)::bigint, count(*) FILTER (WHERE reason IS NOT NULL),
               mode() WITHIN GROUP (ORDER BY reason)
        FROM (
            SELECT scope.subscription_id, i.id,
                   CASE WHEN c.item_id IS NULL THEN 'not_asked' ELSE c.reason END AS reason,
                   count(v.first_seen_at) AS alerted,
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
