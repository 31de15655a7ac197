"""A small invented county for the demo: some subscribers watch parcels in it, and some of those are stolen."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.lab.world.county import County, Record
from kordant_jobs.lab.world.county_files import DESCRIPTION, NAME, write_csv
from kordant_jobs.lab.world.county_roll import DESCRIPTION as ROLL
from kordant_jobs.lab.world.county_roll import RollChange, roll_changes, write_roll
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import watches

SEED = 1
LOTS, DOCUMENTS, FRAUDS = 300, 2_000, 12
CALM_LOTS = 12
"""Watched parcels of which nothing is stolen."""
REDIRECTED = 3
"""Calm parcels whose tax bills go elsewhere; the entries of the others are only spelled otherwise."""
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


def _stolen_lots() -> list[int]:
    return sorted({lot for one in _county().records if one.truth.fraud for lot in one.lots})


def _calm_lots() -> list[int]:
    stolen = set(_stolen_lots())
    return [lot for lot in range(LOTS) if lot not in stolen][:CALM_LOTS]


def _watched_lots() -> list[int]:
    return [*_stolen_lots(), *_calm_lots()]


@lru_cache(maxsize=1)
def _roll() -> list[RollChange]:
    """The owner roll's changes for all watched parcels: of the calm ones that are redirected those few."""
    redirected = set(_calm_lots()[:REDIRECTED])
    found: dict[int, RollChange] = {}
    for seed in range(100):
        for one in roll_changes(_county(), seed, _watched_lots(), with_stolen=True):
            if one.redirected == (one.lot in redirected) and not one.usurped:
                found.setdefault(one.lot, one)
    return list(found.values())


def _drop_roll(settings: Settings, *, is_news: bool) -> None:
    entries = [(one.lot, one.after if is_news else one.before) for one in _roll()]
    write_roll(_county(), entries, settings.county_drop / NAME / "roll.txt")


def watch_small_county(db: Engine, keyring: Keyring, settings: Settings, subscription_ids: Sequence[UUID]) -> None:
    """Describe the county, drop its past into its folder, and have these subscribers watch parcels in it."""
    settings.counties.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = (DESCRIPTION + ROLL).replace("latency_days: 4000", f"latency_days: {LATENCY_DAYS}")
    beside = settings.counties / f"{NAME}.tmp"
    beside.write_text(text, "utf-8")
    _drop_roll(settings, is_news=False)
    _drop(settings, "history", [one for one in _county().records if not _is_news(one)])
    beside.replace(settings.counties / f"{NAME}.yaml")
    lots = _watched_lots()
    with db.begin() as connection:
        for place, subscription_id in enumerate(subscription_ids):
            mine = [_county().parcel(lot) for lot in lots[place :: len(subscription_ids)]]
            watches.add(connection, keyring, subscription_id, [watches.NewWatch(county=NAME, parcel=p) for p in mine])


def publish_news(settings: Settings) -> None:
    """Drop what the county recorded lately: sales, mortgages, and the planted frauds."""
    _drop_roll(settings, is_news=True)
    _drop(settings, "news", [one for one in _county().records if _is_news(one)])


def _drop(settings: Settings, name: str, records: Sequence[Record]) -> None:
    write_csv(_county(), records, settings.county_drop / NAME / f"{name}.csv")


def compare_frauds(db: Engine) -> dict[str, int]:
    """Critical alerts against what was planted on the watched parcels, a document each, and redirected mail."""
    lots = set(_watched_lots())
    planted = {one.key for one in _county().records if one.truth.loud and _is_news(one) and lots & set(one.lots)}
    query = """
        SELECT DISTINCT i.key FROM kordant.alerts a JOIN kordant.property_findings f ON f.id = a.finding_id
        JOIN kordant.property_instruments i ON i.id = f.instrument_id
        WHERE i.county = :county AND a.severity = 'critical'
    """
    with db.connect() as connection:
        found = set(connection.execute(sa.text(query), {"county": NAME}).scalars())
        mail = """
            SELECT count(DISTINCT f.watch_id) FROM kordant.alerts a JOIN kordant.property_findings f
            ON f.id = a.finding_id WHERE f.event = 'mailing_address_changed'
        """
        redirected = connection.execute(sa.text(mail)).scalar_one()
        watched = connection.execute(
            sa.text("SELECT count(*) FROM kordant.watched_properties WHERE county = :county"), {"county": NAME}
        ).scalar_one()
    return {
        "watched": watched,
        "planted": len(planted) + REDIRECTED,
        "found": len(found) + redirected,
        "missed": len(planted - found) + max(0, REDIRECTED - redirected),
        "false_hits": len(found - planted) + max(0, redirected - REDIRECTED),
    }
