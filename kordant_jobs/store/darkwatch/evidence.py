"""The evidence of an exposure: all known facts, without personal data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.darkwatch.exposures import Source


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place where it was found.

    In our own corpus: the dump, the first line with the identifier (from 1), the number of such lines, the reader that
    understood the line ('text': only swept), the member of the archive (from 1; 0: the file itself), and the site of
    the login, from a stealer log. At an outside source: its own key for the breach. `data_classes` are those reported
    by this place.
    """

    source: Source
    first_seen_at: datetime
    last_seen_at: datetime
    reference: str | None = None
    dump_id: UUID | None = None
    file_label: str | None = None
    line: int | None = None
    occurrences: int | None = None
    reader: str | None = None
    member: int | None = None
    sites: tuple[str, ...] = ()
    logged_on: date | None = None
    """The day when a stealer's log was taken from the device, by the name of the log's folder."""
    data_classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One exposure: the breach with its dates and data classes, the judgement on it, and where it was found."""

    exposure_id: UUID
    item_id: UUID
    item_kind: str
    breach_name: str
    breach_title: str
    breached_on: date | None
    added_at: datetime | None
    data_classes: tuple[str, ...]
    secret: str
    judgement: str | None
    judgement_reason: str | None
    severity: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    dismissed_at: datetime | None
    places: tuple[Place, ...]


_EXPOSURES = """
SELECT e.id, e.item_id, i.kind, e.breach_name, b.title, b.breached_on, b.added_at, b.data_classes, e.secret,
       e.judgement, e.judgement_reason, a.severity, e.first_seen_at, e.last_seen_at, e.dismissed_at
FROM kordant.exposures e
JOIN kordant.watchlist_items i ON i.id = e.item_id
JOIN kordant.breaches b ON b.name = e.breach_name
LEFT JOIN kordant.alerts a ON a.exposure_id = e.id
"""

_PLACES = """
SELECT v.exposure_id, 'dumps' AS source, NULL AS reference, v.dump_id, d.file_label, v.line, v.occurrences,
       segment.value ->> 'reader' AS reader, cast(segment.value ->> 'member' AS int) AS member,
       v.sites, log.logged_on, ARRAY[]::text[] AS data_classes, greatest(e.first_seen_at, d.known_at) AS first_seen_at,
       greatest(e.first_seen_at, d.known_at) AS last_seen_at
FROM kordant.exposure_evidence v
JOIN kordant.breach_dumps d ON d.id = v.dump_id
JOIN kordant.exposures e ON e.id = v.exposure_id
LEFT JOIN LATERAL (
    SELECT value FROM jsonb_array_elements(d.ledger -> 'segments')
    WHERE v.line BETWEEN cast(value ->> 'first_line' AS bigint) AND cast(value ->> 'last_line' AS bigint)
    ORDER BY cast(value ->> 'last_line' AS bigint) - cast(value ->> 'first_line' AS bigint) LIMIT 1
) segment ON true
LEFT JOIN LATERAL (
    SELECT cast(value ->> 2 AS date) AS logged_on FROM jsonb_array_elements(d.ledger -> 'logs')
    WHERE v.line BETWEEN cast(value ->> 0 AS bigint) AND cast(value ->> 1 AS bigint) LIMIT 1
) log ON true
WHERE v.exposure_id = ANY(cast(:ids AS uuid[]))
UNION ALL
SELECT exposure_id, source, reference, NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[]::text[], NULL, data_classes,
       first_seen_at, last_seen_at
FROM kordant.source_evidence WHERE exposure_id = ANY(cast(:ids AS uuid[]))
ORDER BY first_seen_at, source, reference
"""


def of_exposures(connection: Connection, exposure_ids: Sequence[UUID]) -> list[Evidence]:
    """The evidence of these exposures, the newest first."""
    return _read(connection, "WHERE e.id = ANY(cast(:ids AS uuid[]))", [str(one) for one in exposure_ids])


def of_subscription(connection: Connection, subscription_id: UUID) -> list[Evidence]:
    """The evidence of all exposures of a subscription's items, the newest first."""
    return _read(connection, "WHERE i.subscription_id = ANY(cast(:ids AS uuid[]))", [str(subscription_id)])


def _read(connection: Connection, where: str, ids: list[str]) -> list[Evidence]:
    rows = connection.execute(sa.text(f"{_EXPOSURES} {where} ORDER BY e.first_seen_at DESC, e.id"), {"ids": ids}).all()
    places: dict[UUID, list[Place]] = {}
    for row in connection.execute(sa.text(_PLACES), {"ids": [str(one.id) for one in rows]}):
        places.setdefault(row.exposure_id, []).append(
            Place(
                source=Source(row.source),
                first_seen_at=row.first_seen_at,
                last_seen_at=row.last_seen_at,
                reference=row.reference,
                dump_id=row.dump_id,
                file_label=row.file_label,
                line=row.line,
                occurrences=row.occurrences,
                reader=row.reader,
                member=row.member,
                sites=tuple(row.sites),
                logged_on=row.logged_on,
                data_classes=tuple(row.data_classes),
            )
        )
    return [
        Evidence(
            exposure_id=row.id,
            item_id=row.item_id,
            item_kind=row.kind,
            breach_name=row.breach_name,
            breach_title=row.title,
            breached_on=row.breached_on,
            added_at=row.added_at,
            data_classes=tuple(row.data_classes),
            secret=row.secret,
            judgement=row.judgement,
            judgement_reason=row.judgement_reason,
            severity=row.severity,
            first_seen_at=row.first_seen_at,
            last_seen_at=row.last_seen_at,
            dismissed_at=row.dismissed_at,
            places=tuple(places.get(row.id, ())),
        )
        for row in rows
    ]
