"""Saves insights of many entities in one transaction: new, changed, resolved, and no longer dismissed ones."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.insights.insight import ALERTED, ALGORITHM
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.insights.books import Loaded

_CLAIM = sa.text("""
SELECT v.entity_id FROM kordant.entity_versions v
JOIN unnest(cast(:ids AS uuid[]), cast(:versions AS bigint[])) AS d(id, version) ON d.id = v.entity_id
WHERE (v.refreshed_version, coalesce(v.refreshed_at, '-infinity')) <= (d.version, :now)
ORDER BY v.entity_id FOR UPDATE OF v
""")
"""Entities that no other refresh has brought beyond these versions, locked to the end of the transaction: of two
refreshes of an entity the one with later data counts, whichever saves last."""
_STAGE = sa.text("""
CREATE TEMP TABLE IF NOT EXISTS insights_stage (
    entity_id uuid, kind text, dedup_key text, facts text, evidence text, confidence float, unknown_reason text,
    about_on date, material_hash bytea
) ON COMMIT DELETE ROWS
""")
_MERGE = sa.text("""
WITH merged AS (
    INSERT INTO kordant.insights AS i (entity_id, kind, dedup_key, facts, evidence, confidence, unknown_reason,
        about_on, material_hash)
    SELECT entity_id, kind, dedup_key, cast(facts AS jsonb), cast(evidence AS uuid[]), confidence, unknown_reason,
           about_on, material_hash
    FROM insights_stage ORDER BY entity_id, kind, dedup_key
    ON CONFLICT (entity_id, kind, dedup_key) WHERE status <> 'resolved' DO UPDATE SET
        facts = excluded.facts, evidence = excluded.evidence, confidence = excluded.confidence,
        unknown_reason = excluded.unknown_reason, about_on = excluded.about_on,
        material_hash = excluded.material_hash, computed_at = now(),
        status = CASE WHEN i.material_hash <> excluded.material_hash THEN 'new' ELSE i.status END
    WHERE (i.facts, i.evidence, i.confidence, i.unknown_reason, i.material_hash)
          IS DISTINCT FROM (excluded.facts, excluded.evidence, excluded.confidence, excluded.unknown_reason,
                            excluded.material_hash)
    RETURNING i.id, i.entity_id, i.kind, i.dedup_key, i.about_on, i.facts, i.status, (xmax = 0) AS is_first
)
SELECT count(*) FILTER (WHERE is_first) AS new, count(*) FILTER (WHERE NOT is_first) AS changed,
       coalesce(jsonb_agg(jsonb_build_object('id', id, 'entity_id', entity_id, 'kind', kind, 'key', dedup_key,
           'about_on', about_on, 'facts', facts))
           FILTER (WHERE is_first AND about_on >= :announce_from AND kind = ANY(:alerted)), '[]') AS announced
FROM merged
""")
_RESOLVE = sa.text("""
UPDATE kordant.insights i SET status = 'resolved', resolved_at = now()
WHERE i.entity_id = ANY(:ids) AND i.status <> 'resolved'
  AND NOT EXISTS (SELECT FROM insights_stage s
                  WHERE s.entity_id = i.entity_id AND s.kind = i.kind AND s.dedup_key = i.dedup_key)
""")
_REFRESHED = sa.text("""
UPDATE kordant.entity_versions v
SET refreshed_version = d.version, refreshed_at = :now, refreshed_algorithm = :algorithm
FROM unnest(cast(:ids AS uuid[]), cast(:versions AS bigint[])) AS d(id, version)
WHERE v.entity_id = d.id AND d.id = ANY(:claimed)
""")


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The counts of rows written and of entities. `announced` are new insights of kinds that raise alerts."""

    entities: int = 0
    new: int = 0
    changed: int = 0
    resolved: int = 0
    announced: tuple[Mapping[str, Any], ...] = ()


def save(
    connection: Connection, loaded: Loaded, assessed: pl.DataFrame, *, announce_from: date, now: datetime
) -> Saved:
    """Write all insights of the loaded entities, and record the version that they were refreshed to. Entities that were
    forgotten, or refreshed from later data, are skipped. Unchanged insights are not written. Safe to repeat: there is
    one open insight for each entity, kind and key."""
    read = {"ids": list(loaded.ids), "versions": list(loaded.versions), "now": now}
    claimed = list(connection.execute(_CLAIM, read).scalars())
    connection.execute(_STAGE)
    staged = _staged(loaded, assessed).filter(pl.col("entity_id").is_in([str(one) for one in claimed]))
    write_frame(connection, staged, "insights_stage")
    connection.execute(sa.text("ANALYZE insights_stage"))
    alerted = sorted(kind.value for kind in ALERTED)
    given = {"announce_from": announce_from, "alerted": alerted}
    merged = connection.execute(_MERGE, given).one()
    resolved = connection.execute(_RESOLVE, {"ids": claimed}).rowcount
    connection.execute(_REFRESHED, {**read, "claimed": claimed, "algorithm": ALGORITHM})
    return Saved(
        entities=len(claimed),
        new=merged.new,
        changed=merged.changed,
        resolved=resolved,
        announced=tuple(merged.announced),
    )


def _staged(loaded: Loaded, assessed: pl.DataFrame) -> pl.DataFrame:
    entities = pl.Series([str(one) for one in loaded.ids])
    return assessed.select(
        entities.gather(assessed["entity"].cast(pl.UInt32)).alias("entity_id"), "kind",
        pl.col("key").alias("dedup_key"), "facts",
        pl.concat_str(pl.lit("{"), pl.col("evidence").list.join(","), pl.lit("}")).alias("evidence"), "confidence",
        pl.col("unknown").alias("unknown_reason"),
        pl.from_epoch("day", time_unit="d").alias("about_on"),
        pl.concat_str("kind", "material", pl.col("unknown").fill_null(""), separator="|")
        .map_elements(_hash, return_dtype=pl.Binary).alias("material_hash"),
    )  # fmt: skip


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def stale_entities(
    connection: Connection,
    *,
    day_began: datetime,
    ids: Sequence[UUID] | None = None,
    between: tuple[UUID, UUID] | None = None,
) -> list[UUID]:
    """Entities, optionally those of `ids` and `between` two ids (both included), whose data or rules changed since
    their refresh, or which were not refreshed since the day began: forecasts and overdue payments change with time
    alone."""
    given = {"began": day_began, "algorithm": ALGORITHM, **_chosen(ids, between)}
    return list(connection.execute(_STALE, given).scalars())


def _chosen(ids: Sequence[UUID] | None, between: tuple[UUID, UUID] | None) -> dict[str, Any]:
    low, high = between or (None, None)
    return {"ids": None if ids is None else list(ids), "low": low, "high": high}


_CHOSEN = """
e.forgotten_at IS NULL AND (cast(:ids AS uuid[]) IS NULL OR e.id = ANY(:ids))
  AND (cast(:low AS uuid) IS NULL OR e.id BETWEEN :low AND :high)
"""
_STALE = sa.text(f"""
SELECT v.entity_id FROM kordant.entity_versions v JOIN kordant.entities e ON e.id = v.entity_id
WHERE {_CHOSEN}
  AND (v.data_version > v.refreshed_version
       OR (v.data_version > 0
           AND (v.refreshed_at IS NULL OR v.refreshed_at < :began OR v.refreshed_algorithm <> :algorithm)))
ORDER BY v.entity_id
""")  # noqa: S608 - put together from constants
_ALL = sa.text(f"SELECT e.id FROM kordant.entities e WHERE {_CHOSEN} ORDER BY e.id")  # noqa: S608 - as above


def all_entities(
    connection: Connection, *, ids: Sequence[UUID] | None = None, between: tuple[UUID, UUID] | None = None
) -> list[UUID]:
    """Entities that were not forgotten, selected as in `stale_entities`."""
    return list(connection.execute(_ALL, _chosen(ids, between)).scalars())
