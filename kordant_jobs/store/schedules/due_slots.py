"""Assigns each subscription to the row that serves it, and to a slot in its day. Written set-based; each tick reads it
through one index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.schedules.cadence import SLOTS, Span
from kordant_jobs.store.schedules.tables import due_slots


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The place of a subscription in one job's schedule: its anchor (weekday, day of the month, or 0 for none) and its
    slot, a stable number below `SLOTS`."""

    subscription_id: UUID
    job: str
    tier: str
    anchor: int
    slot: int


_WANTED = f"""
SELECT s.id AS subscription_id, c.job, c.tier,
       CASE WHEN c.anchor = 'calendar' THEN 0
            WHEN c.cadence = 'weekly' THEN extract(isodow FROM s.started_at AT TIME ZONE 'UTC')
            WHEN c.cadence = 'monthly' THEN extract(day FROM s.started_at AT TIME ZONE 'UTC')
            ELSE 0 END::smallint AS anchor,
       (('x' || substr(md5(s.id::text || ':' || c.job), 1, 8))::bit(32)::bigint & {SLOTS - 1})::int AS slot
FROM kordant.subscriptions s
JOIN kordant.scheduler_config c ON c.tier = s.tier AND c.cadence <> 'every_tick' AND c.enabled
WHERE s.status = 'active' AND (cast(:ids AS uuid[]) IS NULL OR s.id = ANY(cast(:ids AS uuid[])))
"""  # noqa: S608 - put together from constants
"""The correct slots of all subscriptions, by md5, whose value is the same on every server."""

_PUT = f"""
INSERT INTO kordant.due_slots AS d (subscription_id, job, tier, anchor, slot)
SELECT subscription_id, job, tier, anchor, slot FROM ({_WANTED}) wanted ORDER BY subscription_id, job
ON CONFLICT (subscription_id, job) DO UPDATE
    SET tier = excluded.tier, anchor = excluded.anchor, slot = excluded.slot, since = now()
    WHERE (d.tier, d.anchor, d.slot) IS DISTINCT FROM (excluded.tier, excluded.anchor, excluded.slot)
"""  # noqa: S608 - put together from constants

_TAKE = f"""
DELETE FROM kordant.due_slots d
WHERE (cast(:ids AS uuid[]) IS NULL OR d.subscription_id = ANY(cast(:ids AS uuid[])))
  AND NOT EXISTS (SELECT 1 FROM ({_WANTED}) w WHERE w.subscription_id = d.subscription_id AND w.job = d.job)
"""  # noqa: S608 - put together from constants

_MISPLACED = f"""
SELECT 1 FROM ({_WANTED}) w FULL JOIN kordant.due_slots d USING (subscription_id, job)
WHERE (w.tier, w.anchor, w.slot) IS DISTINCT FROM (d.tier, d.anchor, d.slot) LIMIT 1
"""  # noqa: S608 - put together from constants


def place(connection: Connection, subscription_ids: Sequence[UUID] | None = None) -> int:
    """Update the rows of these subscriptions (None: of all) from tiers, statuses and the price list. Returns the number
    of rows changed. Safe to repeat."""
    ids = None if subscription_ids is None else list(subscription_ids)
    put = connection.execute(sa.text(_PUT), {"ids": ids}).rowcount
    return put + connection.execute(sa.text(_TAKE), {"ids": ids}).rowcount


def misplaced(connection: Connection) -> bool:
    """True when `place` would change a row. Reads the rows of all subscriptions: 0.2 s for 100,000 of them."""
    return connection.execute(sa.text(_MISPLACED), {"ids": None}).scalar() is not None


def remove(connection: Connection, subscription_ids: Sequence[UUID]) -> int:
    """Delete the rows of these subscriptions. Returns their number."""
    gone = connection.execute(sa.delete(due_slots).where(due_slots.c.subscription_id.in_(subscription_ids)))
    return gone.rowcount


def of_subscription(connection: Connection, subscription_id: UUID) -> list[Slot]:
    """The jobs that serve a subscription, by name."""
    query = sa.select(due_slots).where(due_slots.c.subscription_id == subscription_id).order_by(due_slots.c.job)
    return [
        Slot(subscription_id=one.subscription_id, job=one.job, tier=one.tier, anchor=one.anchor, slot=one.slot)
        for one in connection.execute(query)
    ]


TICK = """
SELECT part.on_day, part.anchor, string_agg(d.subscription_id::text, ',')
FROM unnest(cast(:days AS date[]), cast(:anchors AS smallint[]), cast(:firsts AS int[]), cast(:pasts AS int[]))
     AS part(on_day, anchor, first, past)
JOIN kordant.due_slots d ON d.job = :job AND d.tier = :tier AND d.anchor = part.anchor
                        AND d.slot >= part.first AND d.slot < part.past
GROUP BY part.on_day, part.anchor
"""
"""A tick's query, whatever its size: an index range for each span. It returns one text for each day, since a hundred
thousand separate values take the client half a second."""


def span_parameters(key: tuple[str, str], spans: Sequence[Span]) -> dict[str, object]:
    """The parameters of `TICK` for these spans."""
    return {
        "job": key[0],
        "tier": key[1],
        "days": [span.on for span in spans],
        "anchors": [span.anchor for span in spans],
        "firsts": [span.first for span in spans],
        "pasts": [span.past for span in spans],
    }


def served_by(connection: Connection, key: tuple[str, str], spans: Sequence[Span]) -> dict[tuple[date, int], list[str]]:
    """The subscriptions in these spans by day and anchor, their ids as text. Empty where no subscription is due."""
    found: dict[tuple[date, int], list[str]] = {}
    for on, anchor, ids in connection.execute(sa.text(TICK), span_parameters(key, spans)):
        found[(on, anchor)] = found.get((on, anchor), []) + ids.split(",")
    return found


PLACES = """
SELECT anchor, string_agg(slot::text, ',' ORDER BY slot) FROM kordant.due_slots
WHERE job = :job AND tier = :tier GROUP BY anchor
"""
"""It returns one row for each anchor; one for each slot would take the client five times as long."""


def places(connection: Connection, key: tuple[str, str]) -> dict[int, list[int]]:
    """The slots of a row's subscriptions by anchor, sorted, for simulations."""
    found = connection.execute(sa.text(PLACES), {"job": key[0], "tier": key[1]})
    return {anchor: [*map(int, slots.split(","))] for anchor, slots in found}
