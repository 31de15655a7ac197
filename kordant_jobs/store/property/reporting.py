"""Watched parcels for reports and the evidence: verdicts, events, and open charges."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

_WATCHES = """
SELECT w.subscription_id, w.id AS watch_id, w.parcel_encrypted, coalesce(c.name, w.county) AS county,
       v.verdict, v.reason, v.data_as_of, c.has_liens IS NOT FALSE AS has_liens
FROM kordant.watched_properties w
LEFT JOIN kordant.county_states c ON c.county = w.county
LEFT JOIN LATERAL (
    SELECT verdict, reason, data_as_of FROM kordant.property_verdicts v
    WHERE v.subscription_id = w.subscription_id AND v.county = w.county
      AND v.checked_on >= :start AND v.checked_on < :end
    ORDER BY v.checked_on DESC LIMIT 1
) v ON true
WHERE w.subscription_id = ANY(cast(:ids AS uuid[])) AND w.removed_at IS NULL
  AND w.created_at < cast(:end AS date)::timestamp AT TIME ZONE 'UTC'
ORDER BY w.created_at, w.id
"""

_EVENTS = """
SELECT f.watch_id, f.event, f.severity, i.amount, i.recorded_on, coalesce(nullif(i.number, ''), i.key) AS number,
       f.reasons, i.id AS instrument_id, i.parties_encrypted
FROM kordant.property_findings f JOIN kordant.property_instruments i ON i.id = f.instrument_id
WHERE f.watch_id = ANY(cast(:watches AS uuid[])) AND f.is_told AND f.is_news AND f.dismissed_at IS NULL
  AND f.first_seen_at >= cast(:start AS date)::timestamp AT TIME ZONE 'UTC'
  AND f.first_seen_at < cast(:end AS date)::timestamp AT TIME ZONE 'UTC'
ORDER BY i.recorded_on DESC NULLS LAST, i.key
"""

_OPEN = """
SELECT f.watch_id, f.event, f.severity, i.amount, i.recorded_on, coalesce(nullif(i.number, ''), i.key) AS number
FROM kordant.property_findings f JOIN kordant.property_instruments i ON i.id = f.instrument_id
JOIN kordant.watched_properties w ON w.id = f.watch_id AND w.parcel_index IS NOT NULL
WHERE f.watch_id = ANY(cast(:watches AS uuid[])) AND f.event IN ('mortgage', 'lien', 'lis_pendens')
  AND f.dismissed_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM kordant.property_findings r
                  WHERE r.watch_id = f.watch_id AND r.event = 'release' AND r.case_key = i.key)
ORDER BY i.recorded_on DESC NULLS LAST, i.key
"""  # the finding of a release names the charge that it closes as its case


@dataclass(frozen=True, kw_only=True)
class PropertyFacts:
    """The facts for reports on watched parcels: by subscription one row for each watch, and by watch its encrypted
    parcel number. A watch has watch_id, county (its name), has_parcel, verdict (None: not checked in the period),
    reason, data_as_of, has_liens (False: the county publishes none), events and open_charges. These have event,
    severity, amount, recorded_on and number; events also reasons and instrument_id. `parties`: the encrypted names by
    instrument."""

    watches: dict[UUID, list[dict[str, Any]]]
    sealed: dict[UUID, bytes] = field(repr=False)
    parties: dict[UUID, bytes] = field(repr=False, default_factory=dict)


def open_charges(connection: Connection, watch_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """Mortgages, liens and notices of pendency on each watched parcel that no release has closed, the newest first."""
    return _by_watch(connection, _OPEN, watches=list(map(str, watch_ids)))


def property_facts(
    connection: Connection, subscription_ids: Sequence[UUID], *, start: date, end: date
) -> PropertyFacts:
    """Read the watches of these subscriptions, the events that became known in `start` ≤ day < `end`, and the charges
    open now."""
    values = {"ids": list(map(str, subscription_ids)), "start": start, "end": end}
    rows = connection.execute(sa.text(_WATCHES), values).all()
    found = PropertyFacts(watches={}, sealed={})
    ids = [row.watch_id for row in rows]
    if not ids:
        return found
    events = _by_watch(connection, _EVENTS, watches=list(map(str, ids)), start=start, end=end)
    for one in (one for of_watch in events.values() for one in of_watch):
        one["reasons"] = tuple(one["reasons"])
        if (names := one.pop("parties_encrypted")) is not None:
            found.parties[one["instrument_id"]] = bytes(names)
    still_open = open_charges(connection, ids)
    for row in rows:
        shown = dict(row._mapping)
        sealed = shown.pop("parcel_encrypted")
        if sealed is not None:
            found.sealed[row.watch_id] = bytes(sealed)
        shown["has_parcel"] = sealed is not None
        shown["events"] = events.get(row.watch_id, [])
        shown["open_charges"] = still_open.get(row.watch_id, [])
        found.watches.setdefault(shown.pop("subscription_id"), []).append(shown)
    return found


def _by_watch(connection: Connection, query: str, **values: object) -> dict[UUID, list[dict[str, Any]]]:
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in connection.execute(sa.text(query), values):
        shown = dict(row._mapping)
        found.setdefault(shown.pop("watch_id"), []).append(shown)
    return found
