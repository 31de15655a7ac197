"""Keep what a county recorded: a read of what is new or changed, window by window, that may break off and go on."""

from __future__ import annotations

from collections import Counter
from datetime import date

from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.counties.description import Capability, County
from kordant_jobs.engine import Progress
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import records

SAVE_BATCH = 20_000
LOADED_TO = "loaded_to"
"""Beside the watermarks while a county is read for the first time: the key of the last document that is kept."""


def read_county(
    county: County,
    *,
    db: Engine,
    keyring: Keyring,
    counties: Counties,
    today: date,
    progress: Progress | None = None,
) -> tuple[records.Saved, int]:
    """Keep what is new at a county since its own watermark. When its freshness says that nothing is, no more is asked.

    Raises:
        SourceUnavailable: it could not be read; what is kept of it stays.
    """
    with db.connect() as connection:
        state = records.states(connection).get(county.id)
    reader = counties.reader(county)
    same_table = state is not None and state.table_version == county.version
    freshness = reader.freshness()
    if state and same_table and freshness == state.freshness:
        with db.begin() as connection:
            records.save_state(connection, county.id)
        return records.Saved(), reader.tables.server.requests
    marks = dict(state.watermarks) if state and same_table else {}
    after = marks.pop(LOADED_TO, None)
    since, target = ({}, marks) if after else (marks, {**marks, **reader.newest()})
    first = state is None or state.read_at is None
    saved, rows, as_of = records.Saved(), 0, None
    problems: Counter[str] = Counter()

    def known(keys: set[str]) -> set[str]:
        with db.connect() as connection:
            return set(records.ids_of(connection, county.id, keys))

    for part in reader.read(since, today=today, after=after, known=known):
        rows, as_of = rows + part.rows, max(filter(None, (as_of, part.as_of)), default=None)
        problems.update(part.problems)
        for begin in range(0, len(part.documents), SAVE_BATCH):
            documents = part.documents[begin : begin + SAVE_BATCH]
            with db.begin() as connection:
                saved += records.save_documents(
                    connection, keyring, county.id, [(one.instrument, one.parcels) for one in documents],
                    order=county.name_order, is_first_load=first,
                )  # fmt: skip
            if progress:
                progress.advance(len(documents), f"reading {county.id}")
        if part.upto and not since:
            with db.begin() as connection:
                done = {**target, LOADED_TO: part.upto}
                records.save_progress(connection, county.id, done, table_version=county.version, as_of=as_of)
    with db.begin() as connection:
        records.save_state(
            connection,
            county.id,
            watermarks=target,
            freshness=None if after else freshness,  # what changed behind a read that was cut off comes next
            table_version=county.version,
            as_of=as_of,
            rows=rows,
            problems=problems,
            name=county.name,
            recorder_url=county.recorder_url,
            has_liens=Capability.LIEN in county.capabilities,
        )
    return saved, reader.tables.server.requests
