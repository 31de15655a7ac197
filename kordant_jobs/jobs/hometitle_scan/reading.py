"""Saves what a county recorded: reads what is new or changed, window by window, and can be interrupted and
continued."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.counties.description import Capability, County
from kordant_jobs.adapters.counties.drivers import is_before
from kordant_jobs.adapters.counties.understand import NotUnderstood
from kordant_jobs.adapters.sources.http import SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.engine import Progress
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import records

SAVE_BATCH = 20_000
LOADED_TO = "loaded_to"
"""Stored with the watermarks during a full read of a county: the key of the last saved document."""
READ_WHOLE_ON = "read_whole_on"
"""Stored with the watermarks: the day on which the last full read began."""
AWAITED = "awaited"
"""Stored with the watermarks during a full read of a county: the tables whose newest row has not arrived yet."""
AS_HISTORY = "as_history"
"""Stored with the watermarks during the first full read of a county, or one after its description changed."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The position of the next request: the watermarks from which to read (none: everything), the key after which to
    continue, and the watermarks at which the next read starts."""

    since: dict[str, str]
    target: dict[str, str]
    after: str | None
    awaited: dict[str, str]
    is_history: bool


def read_county(
    county: County,
    *,
    db: Engine,
    keyring: Keyring,
    counties: Counties,
    today: date,
    progress: Progress | None = None,
) -> tuple[records.Saved, int]:
    """Save what is new at a county since its own watermark. When its freshness is unchanged, nothing more is requested.

    Raises:
        SourceUnavailable: it could not be read; what is kept of it stays.
    """
    about: dict[str, Any] = {
        "name": county.name,
        "recorder_url": county.recorder_url,
        "has_liens": Capability.LIEN in county.capabilities,
    }
    with db.connect() as connection:
        state = records.states(connection).get(county.id)
    reader = counties.reader(county)
    freshness = reader.freshness()
    if state and freshness == state.freshness and _is_nothing_new(county, state, today):
        with db.begin() as connection:
            records.save_state(connection, county.id, **about)
        return records.Saved(), reader.tables.server.requests
    reading = plan_reading(county, state, lambda: reader.newest_watermarks(today=today), today)
    since, target, after = reading.since, reading.target, reading.after
    saved, rows, as_of = records.Saved(), 0, None
    problems: Counter[str] = Counter()

    def known(keys: set[str]) -> set[str]:
        with db.connect() as connection:
            return set(records.ids_of(connection, county.id, keys))

    for part in reader.read(since, today=today, after=after, known=known, newest=reading.awaited):
        rows, as_of = rows + part.rows, max(filter(None, (as_of, part.as_of)), default=None)
        problems.update(part.problems)
        for begin in range(0, len(part.documents), SAVE_BATCH):
            documents = part.documents[begin : begin + SAVE_BATCH]
            with db.begin() as connection:
                saved += records.save_documents(
                    connection, keyring, county.id, [(one.instrument, one.parcels) for one in documents],
                    order=county.name_order, is_first_load=reading.is_history,
                )  # fmt: skip
            if progress:
                progress.advance(len(documents), f"reading {county.id}")
        if part.upto and not since:
            with db.begin() as connection:
                done = {**target, LOADED_TO: part.upto, AWAITED: " ".join(reader.awaited)}
                done |= {AS_HISTORY: "yes"} if reading.is_history else {}
                records.save_progress(connection, county.id, done, table_version=county.fingerprint, as_of=as_of)
    if reader.awaited or (rows == 0 and not after and state and state.rows):  # it has rows that it did not send
        with db.begin() as connection:
            records.save_progress(connection, county.id, {}, table_version=county.fingerprint, as_of=None)
        raise SourceFailed(UnknownReason.UNREADABLE)
    with db.begin() as connection:
        records.save_state(
            connection,
            county.id,
            watermarks=target,
            freshness=None if after else freshness,  # what changed behind a read that was cut off comes next
            table_version=county.fingerprint,
            as_of=as_of,
            rows=rows,
            problems=problems + Counter({NotUnderstood.KEY_SHARED.value: saved.apart}),
            **about,
        )
    return saved, reader.tables.server.requests


def _is_nothing_new(county: County, state: records.CountyState, today: date) -> bool:
    """True when an unchanged freshness means that nothing is new. A watermark that is a day of recording may hide rows
    that were loaded late or changed in place: its overlap is then read once a day, whatever the source reports."""
    if state.table_version != county.fingerprint or _is_whole_due(county, state.watermarks, today):
        return False
    read_today = state.read_at is not None and state.read_at.date() >= today
    return read_today or not any(map(county.overlap_days, county.tables))


def _is_whole_due(county: County, marks: Mapping[str, str], today: date) -> bool:
    every, last = county.full_read_interval_days, marks.get(READ_WHOLE_ON)
    return every is not None and (last is None or date.fromisoformat(last) <= today - timedelta(days=every))


def plan_reading(
    county: County, state: records.CountyState | None, newest: Callable[[], dict[str, str]], today: date
) -> Reading:
    """The next read of a county. It covers everything the first time, when the description has changed, at regular
    intervals, and when its newest watermark is older than ours; an interrupted full read continues."""
    is_new = state is None or state.table_version != county.fingerprint
    marks = {} if state is None or is_new else dict(state.watermarks)
    after, awaited = marks.pop(LOADED_TO, None), marks.pop(AWAITED, "").split()
    is_history = marks.pop(AS_HISTORY, None) is not None or is_new or (state is not None and state.read_at is None)
    if after:
        left = {kind: mark for kind, mark in marks.items() if kind in awaited}
        return Reading(since={}, target=marks, after=after, awaited=left, is_history=is_history)
    read_whole_on, latest = marks.pop(READ_WHOLE_ON, None), newest()
    fell_back = any(kind not in latest or is_before(latest[kind], mark) for kind, mark in marks.items())
    is_due = read_whole_on is None or _is_whole_due(county, {READ_WHOLE_ON: read_whole_on}, today)
    is_whole = is_new or fell_back or not marks or is_due
    begun = today.isoformat() if is_whole or read_whole_on is None else read_whole_on
    return Reading(
        since={} if is_whole else marks,
        target={**latest, READ_WHOLE_ON: begun},
        after=None,
        awaited=latest,
        is_history=is_history,
    )
