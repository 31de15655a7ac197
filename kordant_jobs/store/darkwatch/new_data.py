"""Finds new data for real-time scans: breaches and watched identifiers that no scan has covered, and the subscriptions
concerned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.darkwatch.breaches import BreachSource
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.store.darkwatch.tables import breaches
from kordant_jobs.store.schedules.tables import scheduler_config

OVERLAP_OF_SCANS = timedelta(hours=1)
"""The age up to which an identifier counts as new; older ones wait for their tier's next scan."""

AT_ONCE = 10_000
"""The most subscriptions of one run."""


def realtime_tiers(connection: Connection, job: str) -> tuple[Tier, ...]:
    """The tiers for which the price list enables a job in real time, unless their row is paused."""
    column = scheduler_config.c
    is_paused = sa.and_(
        column.paused_at.is_not(None),
        sa.or_(column.paused_until.is_(None), column.paused_until > sa.func.now()),
    )
    query = sa.select(column.tier).where(column.job == job, column.realtime, column.enabled, ~is_paused)
    found = set(connection.execute(query).scalars())
    return tuple(tier for tier in Tier if tier in found)


def newest_breach(connection: Connection) -> str | None:
    """The time at which the newest breach became known, as sortable text; None when there is none. A breach made for a
    dump does not count: the scan that reads the dump creates it."""
    known = sa.select(sa.func.max(breaches.c.known_at)).where(breaches.c.source != BreachSource.DUMP)
    newest = connection.execute(known).scalar()
    return None if newest is None else newest.isoformat()


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """The scans that run, or are due and wait: of whole tiers, and of subscriptions by id."""

    of_tiers: bool
    of_people: bool


def under_way(connection: Connection, job: str, *, requested_by: str) -> UnderWay:
    """The active scans with this requester."""
    query = sa.text(
        """
        SELECT coalesce(bool_or(payload ->> 'subscription_ids' IS NULL), false) AS of_tiers,
               coalesce(bool_or(payload ->> 'subscription_ids' IS NOT NULL), false) AS of_people
        FROM kordant.job_requests
        WHERE job = :job AND requested_by = :by AND (status = 'running' OR (status = 'pending' AND run_at <= now()))
        """
    )
    return UnderWay(**connection.execute(query, {"job": job, "by": requested_by}).mappings().one())


_UNSCANNED = """
SELECT DISTINCT s.id
FROM kordant.watchlist_items i
JOIN kordant.subscriptions s ON s.id = i.subscription_id
LEFT JOIN kordant.scan_watermarks m ON m.subscription_id = s.id AND m.job = :job
WHERE i.created_at > now() - cast(:look_back AS interval) AND i.removed_at IS NULL AND s.status = 'active'
  AND (m.known_until IS NULL OR (i.created_at >= m.known_until AND s.tier = ANY(:tiers)))
UNION
SELECT s.id FROM kordant.subscriptions s
LEFT JOIN kordant.scan_watermarks m ON m.subscription_id = s.id AND m.job = :job
WHERE s.started_at > now() - cast(:look_back AS interval) AND s.status = 'active' AND m.known_until IS NULL
"""

_BUT_QUEUED = """
SELECT u.id FROM ({}) u
WHERE NOT EXISTS (SELECT 1 FROM kordant.job_requests r WHERE r.entity_key = u.id::text AND r.job = :job
                  AND r.status IN ('pending', 'running'))
"""


def unscanned(connection: Connection, job: str, *, tiers: Sequence[Tier], but_queued: bool) -> list[UUID]:
    """Active subscriptions that never had a scan, or (of `tiers`) that added an item since it; at most 10,000. With
    `but_queued` those with a waiting or running request of the job are left out."""
    text = _BUT_QUEUED.format(_UNSCANNED) if but_queued else _UNSCANNED
    values = {"job": job, "tiers": [tier.value for tier in tiers], "look_back": OVERLAP_OF_SCANS, "most": AT_ONCE}
    query = sa.text(f"SELECT id FROM ({text}) found LIMIT :most")  # noqa: S608 - put together from constants
    return list(connection.execute(query, values).scalars())
