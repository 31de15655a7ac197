"""Saves the owner roll's entries of watched parcels; a change becomes a record, as a document would."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.counties.description import County
from kordant_jobs.domain.property.addresses import place_of
from kordant_jobs.domain.property.instruments import Event, Instrument, Party, Role
from kordant_jobs.domain.property.rolls import RollEntry, RollState, canonical_mailing, canonical_owners
from kordant_jobs.jobs.hometitle_scan.rules.owners import EXPLAINED_WITHIN, advance, is_explained
from kordant_jobs.store.darkwatch import scans
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import matching, records, rolls, watches

CODE = "OWNER ROLL"
BATCH = 1_000
"""Watches asked for between two writes: twenty requests of fifty parcels."""
_Record = tuple[Instrument, Sequence[str]]
T = TypeVar("T")


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in parts of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def read_roll(
    county: County, scope: scans.Scope, *, db: Engine, keyring: Keyring, counties: Counties, now: datetime
) -> int:
    """Read the owner roll for the watched parcels of `scope` that are due, and record changes. A roll that is read
    completely is read when it, or the set of watched parcels, has changed. Returns the number of requests.

    Raises:
        SourceUnavailable: it could not be read; what was read before the failure is kept.
    """
    roll = county.owner_roll
    if roll is None:
        return 0
    reader, read_before = counties.reader(county), now - timedelta(days=roll.refresh_days)
    if county.reads_roll_whole:
        freshness = reader.roll_freshness()
        with db.begin() as connection:
            read_before = records.roll_changed_at(connection, county.id, freshness)
    with db.begin() as connection:
        scans.choose(connection, scope)
        due = rolls.due(connection, county.id, read_before=read_before)
    for asked in batched(due, max(1, len(due)) if county.reads_roll_whole else BATCH):
        with db.begin() as connection:
            opened = [one for one in watches.load(connection, keyring, ids=asked) if one.parcel]
        entries = reader.roll({one.parcel for one in opened if one.parcel})
        for part in batched(opened, BATCH):
            with db.begin() as connection:
                changed = _keep(connection, keyring, county, part, entries, now.date())
                _record(connection, keyring, county, changed, now.date())
    with db.begin() as connection:
        scans.choose(connection, scope)
        rolls.link_addresses(connection, county.id)
        _decide(connection, keyring, county, now.date())
        records.save_roll_reason(connection, county.id, None)
    return reader.tables.server.requests


def _hash(keyring: Keyring, county: County, parcel: str, text: str) -> bytes | None:
    """The keyed hash of a text, bound to one parcel: equal texts of two parcels have different hashes."""
    return keyring.sign("owner-roll", f"{county.id}|{parcel}|{text}".encode()) if text else None


def _keep(
    connection: Connection,
    keyring: Keyring,
    county: County,
    opened: Sequence[watches.Watch],
    entries: Mapping[str, RollEntry],
    today: date,
) -> list[_Record]:
    """Write the states. Returns records of mailing addresses that changed."""
    known = rolls.states(connection, [one.id for one in opened])
    rows, changed = [], {}
    for watch in opened:
        parcel = watch.parcel or ""
        entry = entries.get(parcel, RollEntry())
        seen = RollState(
            owners=_hash(keyring, county, parcel, canonical_owners(entry.owners)),
            mailing=_hash(keyring, county, parcel, canonical_mailing(entry.mailing)),
        )
        before = known.get(watch.id)
        place = place_of(entry.address)
        state, moved = advance(before, seen, today=today)
        rows.append(
            rolls.RollRow(
                watch_id=watch.id,
                subscriber_id=watch.subscriber_id,
                is_listed=parcel in entries,
                state=state,
                address_index=records.parcel_indexes(keyring, county.id, [place])[0] if place else None,
                waiting_owners=entry.owners if state.waiting else (),
            )
        )
        if moved and before is not None:
            made = _instrument(keyring, county, parcel, Event.MAILING_ADDRESS_CHANGED, (before.mailing, seen.mailing),
                               (entry.mailing,), today)  # fmt: skip
            changed[made.key] = (made, [parcel])
    rolls.save(connection, keyring, rows)
    return list(changed.values())


def _instrument(
    keyring: Keyring,
    county: County,
    parcel: str,
    event: Event,
    states: tuple[bytes | None, bytes | None],
    says: Sequence[str],
    today: date,
) -> Instrument:
    """The change as a record. Its key is the same for all watches of the parcel within one month."""
    before, after = ((one or b"").hex() for one in states)
    change = keyring.sign("owner-roll", f"{county.id}|{parcel}|{event}|{before}|{after}".encode()).hex()
    return Instrument(
        key=f"roll-{change}-{today:%Y%m}",
        event=event,
        code=CODE,
        recorded_on=today,
        parties=tuple(Party(role=Role.GRANTEE, name=one) for one in says),
    )


def _record(connection: Connection, keyring: Keyring, county: County, changed: Sequence[_Record], today: date) -> None:
    """Save records of changes, except those that another watch of the parcel brought this month or last."""
    last = f"{today.replace(day=1) - timedelta(days=1):%Y%m}"
    earlier = {one.key: f"{one.key[:-6]}{last}" for one, _ in changed}
    kept = records.ids_of(connection, county.id, [*earlier, *earlier.values()])
    new = [(one, parcels) for one, parcels in changed if not {one.key, earlier[one.key]} & set(kept)]
    records.save_documents(connection, keyring, county.id, new, order=county.name_order, is_first_load=False)


def _decide(connection: Connection, keyring: Keyring, county: County, today: date) -> None:
    """Decide about new owners on the roll that wait for a document: those that a document explains are accepted; those
    that waited too long are recorded."""
    them = rolls.waiting(connection, keyring, county.id)
    if not them:
        return
    ids = [one.watch_id for one in them]
    opened: dict[UUID, watches.Watch] = {one.id: one for one in watches.load(connection, keyring, ids=ids)}
    histories = matching.histories(connection, ids)
    settled, changed = [], {}
    for one in them:
        watch = opened[one.watch_id]
        known = [records.opened(keyring, row) for row in histories.get(one.watch_id, ())]
        explained = is_explained(one.owners, one.since, known, known_owners=watch.owners)
        if not explained and today - one.since < EXPLAINED_WITHIN:
            continue
        settled.append(one.watch_id)
        if not explained:
            made = _instrument(keyring, county, watch.parcel or "", Event.OWNER_CHANGED_ON_ROLL,
                               (one.state.owners, one.state.waiting), one.owners, today)  # fmt: skip
            changed[made.key] = (made, [watch.parcel or ""])
    rolls.settle(connection, settled)
    _record(connection, keyring, county, list(changed.values()), today)
