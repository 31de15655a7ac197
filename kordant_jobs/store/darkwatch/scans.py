"""Reads and writes of a dark-web scan, set-based: the subscriptions it covers, its findings, and the resulting state of
each. `store.judging` writes its alerts.

Every function works in the caller's transaction, after `choose` selected the subscriptions in it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.people.subscriptions import SubscriptionStatus
from kordant_jobs.postgres.bulk import read_frame, write_frame
from kordant_jobs.store.darkwatch.tables import scan_watermarks
from kordant_jobs.store.people.tables import subscriptions, watchlist_items

MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The subscriptions that a scan covers: active ones of `tiers` (empty: of all tiers), or only those with these
    ids."""

    tiers: tuple[str, ...] = ()
    subscription_ids: tuple[UUID, ...] | None = None


def choose(connection: Connection, scope: Scope) -> int:
    """Load the subscriptions of `scope` into the transaction's temporary table `scope`. Returns their number."""
    query = sa.select(subscriptions.c.id.label("subscription_id")).where(_covers(scope))
    connection.execute(sa.text("CREATE TEMP TABLE scope (subscription_id uuid) ON COMMIT DROP"))
    chosen = sa.table("scope", sa.column("subscription_id"))
    done = connection.execute(sa.insert(chosen).from_select(["subscription_id"], query))
    connection.execute(
        sa.text("ALTER TABLE scope ADD PRIMARY KEY (subscription_id)")
    )  # sorted once: a third of the time
    connection.execute(sa.text("ANALYZE scope"))
    return done.rowcount


def choose_found(connection: Connection) -> int:
    """Choose, as `choose` does, the active subscriptions with items among the hits saved in this transaction."""
    connection.execute(
        sa.text(
            """
            CREATE TEMP TABLE scope ON COMMIT DROP AS
            SELECT DISTINCT i.subscription_id FROM hits h JOIN kordant.watchlist_items i ON i.id = h.item_id
            JOIN kordant.subscriptions s ON s.id = i.subscription_id WHERE s.status = 'active'
            """
        )
    )
    connection.execute(sa.text("ANALYZE scope"))
    chosen: int = connection.execute(sa.text("SELECT count(*) FROM scope")).scalar_one()
    return chosen


def count_chosen(connection: Connection, scope: Scope) -> int:
    """The number of subscriptions of `scope`."""
    counted: int = connection.execute(
        sa.select(sa.func.count()).select_from(subscriptions).where(_covers(scope))
    ).scalar_one()
    return counted


def _covers(scope: Scope) -> sa.ColumnElement[bool]:
    table = subscriptions.c
    conditions = [table.status == SubscriptionStatus.ACTIVE]
    if scope.tiers:
        conditions.append(table.tier.in_(scope.tiers))
    if scope.subscription_ids is not None:
        conditions.append(table.id.in_(scope.subscription_ids))
    return sa.and_(*conditions)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The items that a scan looks for: those of `scopes` that existed before `until`. A pair of an item and a dump is
    new from `since` on, else from the subscription's watermark for `job` less `overlap`, else ever."""

    scopes: tuple[Scope, ...]
    job: str
    since: datetime | None
    until: datetime
    overlap: timedelta

    def _since(self) -> sa.ColumnElement[datetime]:
        watermark = scan_watermarks.c.known_until - sa.literal(self.overlap, sa.Interval)
        return watermark if self.since is None else sa.literal(self.since, sa.DateTime(timezone=True))

    def _select(self, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
        item, mark = watchlist_items.c, scan_watermarks.c
        joined = watchlist_items.join(subscriptions, subscriptions.c.id == item.subscription_id).outerjoin(
            scan_watermarks, sa.and_(mark.subscription_id == subscriptions.c.id, mark.job == self.job)
        )
        return (
            sa.select(*columns)
            .select_from(joined)
            .where(
                sa.or_(*map(_covers, self.scopes)),
                item.removed_at.is_(None),
                item.blind_index.is_not(None),
                item.created_at < self.until,
            )
        )


@dataclass(frozen=True, kw_only=True)
class WatchedFacts:
    """The facts of watched items by which a dump is left out. `any_at_once`: for one of them every dump is new;
    `oldest_since`: the earliest time from which a dump is new."""

    items: int
    any_at_once: bool
    oldest_since: datetime | None


def watched_facts(connection: Connection, watched: Watched) -> WatchedFacts:
    """Read the facts, without the items."""
    since = watched._since()
    at_once = sa.func.coalesce(sa.func.bool_or(since.is_(None) | (watchlist_items.c.created_at >= since)), False)
    row = connection.execute(watched._select(sa.func.count(), at_once, sa.func.min(since))).one()
    return WatchedFacts(items=row[0], any_at_once=row[1], oldest_since=row[2])


MOST_PARTS = 256
"""The first byte of a shard's number, in which a corpus sorts blind indexes, divides the items."""


def watched_items(connection: Connection, watched: Watched, *, part: tuple[int, int] = (0, 1)) -> pl.DataFrame:
    """The items. Columns: item_id (text), blind_index (16 bytes), created_at, and since, the time from which a pair
    counts as new, or null for 'ever'. `part` (k, n) reads only the k-th of n parts (a power of two up to
    `MOST_PARTS`): neighbours in a corpus, so that a part needs few of its shards. Parts ascend as corpora do."""
    item, (number, parts) = watchlist_items.c, part
    query = watched._select(item.id, item.blind_index, item.created_at, watched._since())
    if parts > 1:  # the corpus reads an index as two little-endian words: the first one's highest byte is at 7
        query = query.where(sa.func.get_byte(item.blind_index, 7, type_=sa.Integer) * parts // MOST_PARTS == number)
    schema = {"item_id": pl.String, "blind_index": pl.Binary, "created_at": MOMENT, "since": MOMENT}
    return read_frame(connection, query, schema)


def save_hits(connection: Connection, hits: pl.DataFrame) -> int:
    """Write exposures and their evidence; existing ones are only strengthened. Returns the number of new exposures.
    `hits`: item_id, breach_name, dump_id, line, occurrences, secret, seen_at (when the pair became known), sites (a
    list, from stealer logs). Rows are written in the order of items, so that concurrent scans cannot deadlock."""
    connection.execute(sa.text(_HITS))
    columns = ["item_id", "breach_name", "dump_id", "line", "occurrences", "secret", "seen_at", "sites"]
    rows = hits.with_columns(pl.col("secret").cast(pl.String), pl.col("sites").list.join(" ").fill_null(""))
    write_frame(connection, rows, "hits", columns)
    new = connection.execute(sa.text(_SAVE_EXPOSURES)).scalar_one()
    connection.execute(sa.text(_SAVE_EVIDENCE))
    return int(new)


_HITS = """
CREATE TEMP TABLE hits (
    item_id uuid, breach_name text, dump_id uuid, line bigint, occurrences int, secret text, seen_at timestamptz,
    sites text
) ON COMMIT DROP
"""

_STRENGTH = "array_position(array['mentioned', 'none', 'hashed', 'clear'], {})"

_SAVE_EXPOSURES = f"""
WITH saved AS (
    INSERT INTO kordant.exposures AS e (id, item_id, breach_name, secret, first_seen_at, last_seen_at)
    SELECT gen_random_uuid(), item_id, breach_name,
           (array['mentioned', 'none', 'hashed', 'clear'])[max({_STRENGTH.format("secret")})],
           min(seen_at), max(seen_at)
    FROM hits
    GROUP BY item_id, breach_name
    ORDER BY item_id, breach_name
    ON CONFLICT (item_id, breach_name) DO UPDATE SET
        secret = CASE WHEN {_STRENGTH.format("excluded.secret")} > {_STRENGTH.format("e.secret")}
                      THEN excluded.secret ELSE e.secret END,
        first_seen_at = least(e.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(e.last_seen_at, excluded.last_seen_at)
    WHERE {_STRENGTH.format("excluded.secret")} > {_STRENGTH.format("e.secret")}
       OR excluded.first_seen_at < e.first_seen_at OR excluded.last_seen_at > e.last_seen_at
    RETURNING xmax = 0 AS is_new)
SELECT count(*) FILTER (WHERE is_new) FROM saved
"""  # noqa: S608 - put together from constants

_SAVE_EVIDENCE = """
INSERT INTO kordant.exposure_evidence AS v (exposure_id, dump_id, line, occurrences, sites)
SELECT e.id, h.dump_id, h.line, h.occurrences, string_to_array(h.sites, ' ')
FROM hits h JOIN kordant.exposures e USING (item_id, breach_name)
ORDER BY e.id, h.dump_id
ON CONFLICT (exposure_id, dump_id) DO UPDATE
    SET line = least(v.line, excluded.line), occurrences = greatest(v.occurrences, excluded.occurrences),
        sites = CASE WHEN excluded.sites = '{}' THEN v.sites ELSE excluded.sites END
    WHERE excluded.line < v.line OR excluded.occurrences > v.occurrences OR NOT excluded.sites <@ v.sites
"""


def standing(connection: Connection, *, since: datetime | None, until: datetime) -> pl.DataFrame:
    """The state of each chosen subscription at `until` in our own dumps: subscription_id, exposures (alerted ones),
    new_exposures. New are those that became known since `since`; without it, those that no earlier verdict counted."""
    query = sa.text(
        """
        SELECT scope.subscription_id,
               count(e.id) FILTER (WHERE e.first_seen_at < cast(:until AS timestamptz)),
               count(e.id) FILTER (WHERE e.first_seen_at < cast(:until AS timestamptz)
                   AND e.first_seen_at >= coalesce(cast(:since AS timestamptz), last.covered_until, '-infinity'))
        FROM scope
        LEFT JOIN LATERAL (
            SELECT max(v.covered_until) AS covered_until FROM kordant.source_verdicts v
            WHERE v.subscription_id = scope.subscription_id AND v.source = 'dumps'
                AND v.covered_until < cast(:until AS timestamptz)
        ) last ON true
        LEFT JOIN kordant.watchlist_items i ON i.subscription_id = scope.subscription_id AND i.removed_at IS NULL
        LEFT JOIN kordant.exposures e ON e.item_id = i.id AND e.judgement = 'alert' AND e.dismissed_at IS NULL
            AND EXISTS (SELECT 1 FROM kordant.exposure_evidence x WHERE x.exposure_id = e.id)
        GROUP BY scope.subscription_id
        """
    ).bindparams(since=since.isoformat() if since else None, until=until.isoformat())
    return read_frame(
        connection, query, {"subscription_id": pl.String, "exposures": pl.Int64, "new_exposures": pl.Int64}
    )


def move_watermarks(connection: Connection, *, job: str, since: datetime | None, until: datetime) -> None:
    """Record that the chosen subscriptions are covered up to `until`. A scan with `since` moves only those that were
    covered up to there, so that it leaves no gap. Without `since` the scan began at each one's own watermark."""
    connection.execute(
        sa.text(
            """
            INSERT INTO kordant.scan_watermarks AS m (subscription_id, job, known_until)
            SELECT scope.subscription_id, :job, :until FROM scope
            LEFT JOIN kordant.scan_watermarks old ON old.subscription_id = scope.subscription_id AND old.job = :job
            WHERE cast(:since AS timestamptz) IS NULL OR old.known_until >= :since
            ORDER BY scope.subscription_id
            ON CONFLICT (subscription_id, job) DO UPDATE SET known_until = greatest(m.known_until, excluded.known_until)
            """
        ),
        {"job": job, "since": since, "until": until},
    )
