"""A small invented county for the demo: some subscribers watch parcels in it, and some of those are stolen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.lab.world.county import County, Record
from kordant_jobs.lab.world.county_files import DESCRIPTION, NAME, write_csv
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import watches

SEED = 1
LOTS, DOCUMENTS, FRAUDS = 300, 2_000, 12
CALM_LOTS = 12
"""Watched parcels of which nothing is stolen."""
LATENCY_DAYS = 30


@lru_cache(maxsize=1)
def _county() -> County:
    """The county, its days moved so that its newest document is of yesterday."""
    county = County(SEED, lots=LOTS, documents=DOCUMENTS, frauds=FRAUDS)
    newest = max(one.recorded_on for one in county.records)
    moved = datetime.now(UTC).date() - timedelta(days=1) - newest
    county.records = [
        replace(one, recorded_on=one.recorded_on + moved, executed_on=one.executed_on + moved) for one in county.records
    ]
    return county


def _is_news(record: Record) -> bool:
    first = min(one.recorded_on for one in _county().records if one.truth.fraud)
    return record.recorded_on >= first


def _watched_lots() -> list[int]:
    stolen = sorted({lot for one in _county().records if one.truth.fraud for lot in one.lots})
    calm = [lot for lot in range(LOTS) if lot not in set(stolen)][:CALM_LOTS]
    return [*stolen, *calm]


def watch_small_county(db: Engine, keyring: Keyring, settings: Settings, subscription_ids: Sequence[UUID]) -> None:
    """Describe the county, drop its past into its folder, and have these subscribers watch parcels in it."""
    settings.counties.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = DESCRIPTION.replace("latency_days: 4000", f"latency_days: {LATENCY_DAYS}")
    beside = settings.counties / f"{NAME}.tmp"
    beside.write_text(text, "utf-8")
    _drop(settings, "history", [one for one in _county().records if not _is_news(one)])
    beside.replace(settings.counties / f"{NAME}.yaml")
    lots = _watched_lots()
    with db.begin() as connection:
        for place, subscription_id in enumerate(subscription_ids):
            mine = [_county().parcel(lot) for lot in lots[place :: len(subscription_ids)]]
            watches.add(connection, keyring, subscription_id, [watches.NewWatch(county=NAME, parcel=p) for p in mine])


def publish_news(settings: Settings) -> None:
    """Drop what the county recorded lately: sales, mortgages, and the planted frauds."""
    _drop(settings, "news", [one for one in _county().records if _is_news(one)])


def _drop(settings: Settings, name: str, records: Sequence[Record]) -> None:
    write_csv(_county(), records, settings.county_drop / NAME / f"{name}.csv")


def compare_frauds(db: Engine) -> dict[str, int]:
    """Critical alerts against what was planted on the watched parcels, a document each."""
    lots = set(_watched_lots())
    planted = {one.key for one in _county().records if one.truth.loud and _is_news(one) and lots & set(one.lots)}
    query = """
        SELECT DISTINCT i.key FROM kordant.alerts a JOIN kordant.property_findings f ON f.id = a.finding_id
        JOIN kordant.property_instruments i ON i.id = f.instrument_id
        WHERE i.county = :county AND a.severity = 'critical'
    """
    with db.connect() as connection:
        found = set(connection.execute(sa.text(query), {"county": NAME}).scalars())
        watched = connection.execute(
            sa.text("SELECT count(*) FROM kordant.watched_properties WHERE county = :county"), {"county": NAME}
        ).scalar_one()
    return {
        "watched": watched,
        "planted": len(planted),
        "found": len(found),
        "missed": len(planted - found),
        "false_hits": len(found - planted),
    }
