"""One read of a county: checks whether anything is new, then yields all new or changed documents, whole, in windows."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import MappingProxyType

from kordant_jobs.adapters.counties.description import County, OwnerRoll, TableKind
from kordant_jobs.adapters.counties.drivers import (
    Row,
    TableReader,
    day_of_mark,
    is_before,
    is_future,
    mark_like,
    mark_of,
)
from kordant_jobs.adapters.counties.understand import Understood, cell, cells, keys_in, together, understand
from kordant_jobs.adapters.sources.http import SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.property.addresses import AddressQuery, Candidate, rank
from kordant_jobs.domain.property.rolls import RollEntry, owner_names

Known = Callable[[set[str]], set[str]]
NOTHING: Mapping[str, str] = MappingProxyType({})
ROLL_LEAST = 10
"""From this many watched parcels on, at least half must be on the owner roll; otherwise the roll counts as not read."""
CHANGED_MOST = 2_000
"""The number of changed documents in a window above which everything is read again. That takes fewer requests than one
for each 50 documents."""


@dataclass
class CountyReader:
    """A county that can be read. See `ports.CountyRecords`."""

    county: County
    tables: TableReader
    awaited: dict[TableKind, str] = field(default_factory=dict)
    """After a read: the newest watermark of each table of which no row has arrived yet."""

    def freshness(self) -> str:
        """The source's state by its own report.

        Raises:
            SourceUnavailable: the source gave no usable answer.
        """
        return self.tables.freshness()

    def newest_watermarks(self, *, today: date) -> dict[str, str]:
        """The newest watermark of each table, where the next read begins. Ask for it before the first window.

        Raises:
            SourceUnavailable: the source did not return them.
        """
        found = {kind.value: self.tables.newest_watermark(kind, today=today) for kind in self.county.tables}
        return {kind: mark for kind, mark in found.items() if mark is not None}

    def read(
        self,
        since: Mapping[str, str],
        *,
        today: date,
        after: str | None = None,
        known: Known = lambda _: set(),
        newest: Mapping[str, str] = NOTHING,
    ) -> Iterator[Understood]:
        """All documents with a row that is new or changed since these watermarks, whole, in windows, from the key
        `after` on. `known` returns which of some documents are stored already.

        Only all windows together are an answer: part of a list would read as 'no document'. The same holds for a read
        without the row of a table's `newest` watermark: see `awaited`.

        Raises:
            SourceUnavailable: a part did not come.
        """
        begin = self._beginnings(since, today)
        self.awaited = awaited = {TableKind(kind): mark for kind, mark in newest.items()}
        for window in self.tables.windows(begin, after):
            for kind, mark in list(awaited.items()):
                marks = (mark_of(row, self.county.tables[kind]) for row in window.rows[kind])
                if any(one is not None and not is_before(one, mark) for one in marks):
                    del awaited[kind]
            if begin:
                changed = known(self._changed(window.rows, since))
                if len(changed) > CHANGED_MOST:
                    yield from self.read(
                        {}, today=today, after=after, newest={kind.value: mark for kind, mark in awaited.items()}
                    )
                    return
                self._complete(window.rows, changed)
            made = understand(self.county, window.rows, today=today)
            made.upto = after = window.upto
            if window.upto is None:
                made.problems.update(self.tables.problems)
            yield made

    def _beginnings(self, since: Mapping[str, str], today: date) -> dict[str, str]:
        """The watermarks from which each table is read: its overlap before `since`. Empty, so that everything is read,
        where a watermark has no day to go back from or lies in the future."""
        found = {}
        for kind, mark in since.items():
            if is_future(mark, today):
                return {}
            overlap = self.county.overlap_days(TableKind(kind))
            day = day_of_mark(mark)
            if overlap and day is None:
                return {}
            found[kind] = mark_like(mark, day - timedelta(days=overlap)) if overlap and day else mark
        return found

    def _changed(self, rows: Mapping[TableKind, list[Row]], since: Mapping[str, str]) -> set[str]:
        """The documents with a row newer than the watermarks. Tables with an overlap contribute none: their watermark
        belongs to the document, so all its rows come anyway."""
        return {
            key
            for kind, table in self.county.tables.items()
            if not self.county.overlap_days(kind)
            for row in rows[kind]
            if mark_of(row, table) != since.get(kind) and (key := cell(row, table.columns["key"]))
        }

    def _complete(self, rows: dict[TableKind, list[Row]], changed: set[str]) -> None:
        """Fetch the unchanged rows of these documents: all rows of a stored document that has changed; lots or parties
        of another where they are missing."""
        keys = {kind: keys_in(self.county, kind, found) for kind, found in rows.items()}
        touched = set().union(*keys.values())
        for kind, table in self.county.tables.items():
            lacking = touched - keys[kind] if kind is not TableKind.REFERENCES else set()
            if wanted := sorted(changed | lacking):
                stay = [row for row in rows[kind] if cell(row, table.columns["key"]) not in changed]
                rows[kind] = [*stay, *self.tables.rows_of(kind, wanted)]

    def candidates(self, query: AddressQuery) -> list[Candidate]:
        """The parcels that an address may mean, by the county's address data; empty where the county has none.

        Raises:
            SourceUnavailable: it could not be asked.
        """
        table = self.county.addresses
        if table is None:
            return []
        found = []
        for row in self.tables.rows_at(table, query):
            parcel = self.county.parcel_number("-".join(cells(row, table.columns["parcel"])))
            if parcel is not None:
                found.append((parcel, " ".join(cells(row, table.columns["address"]))))
        return rank(query, found)

    def roll_freshness(self) -> str:
        """The state of the owner roll, as `freshness`.

        Raises:
            SourceUnavailable: the source gave no usable answer.
        """
        return self._roll_reader().freshness()

    def roll(self, parcels: Collection[str]) -> dict[str, RollEntry]:
        """The entries of the county's owner roll for these parcels, as far as it lists them. Only rows of the newest
        year count; owners and addresses of several rows are combined. Empty where the county has no roll.

        Raises:
            SourceUnavailable: it could not be read, or lacks most of them.
        """
        roll = self.county.owner_roll
        if roll is None:
            return {}
        tables, wanted = self._roll_reader(), set(parcels)
        kind = TableKind.INSTRUMENTS
        if self.county.reads_roll_whole:
            rows: Iterator[Row] = (row for window in tables.windows({}, None) for row in window.rows[kind])
        else:
            rows = iter(tables.rows_of(kind, sorted(wanted)))
        found: dict[str, tuple[str, list[Row]]] = {}
        for row in rows:
            parcel = self.county.parcel_number(cell(row, roll.columns["parcel"]) or "")
            if parcel in wanted:
                year = cell(row, roll.columns.get("year")) or ""
                newest, them = found.setdefault(parcel, (year, []))
                if year >= newest:
                    found[parcel] = (year, [*(them if year == newest else []), row])
        if tables.problems or (len(wanted) >= ROLL_LEAST and len(found) * 2 < len(wanted)):
            raise SourceFailed(UnknownReason.UNREADABLE)
        return {parcel: _entry(roll, rows) for parcel, (_, rows) in found.items()}

    def _roll_reader(self) -> TableReader:
        """A reader of the same server with the owner roll as its only table."""
        self.tables.county = self.county.model_copy(update={"tables": {TableKind.INSTRUMENTS: self.county.owner_roll}})
        return self.tables

    def sample(self, size: int, *, today: date) -> Understood:
        """The documents understood from the county's first pages, for `counties check`.

        Raises:
            SourceUnavailable: they did not come.
        """
        small = {kind: table.model_copy(update={"page": size + 1}) for kind, table in self.county.tables.items()}
        self.tables.county = self.county.model_copy(update={"tables": small})
        window = next(self.tables.windows({}, None))
        main = self.county.tables[TableKind.INSTRUMENTS].columns["key"]
        keys = set(list(dict.fromkeys(cell(row, main) for row in window.rows[TableKind.INSTRUMENTS]))[:size])
        rows = {
            kind: [row for row in found if cell(row, self.county.tables[kind].columns["key"]) in keys]
            for kind, found in window.rows.items()
        }
        return understand(self.county, rows, today=today)


def _entry(roll: OwnerRoll, rows: Collection[Row]) -> RollEntry:
    """The entry that the rows of one parcel make together."""
    owners = roll.columns.get("owners")
    cells_of = [str(row[name]).strip() for row in rows for name in (owners.of if owners else ()) if row.get(name)]
    split = owners.split if owners else None
    names = [part for one in cells_of for part in (one.split(split) if split else [one])]
    return RollEntry(
        owners=tuple(dict.fromkeys(name for part in names if part.strip() for name in owner_names(part.strip()))),
        mailing=_said(roll, rows, "mailing"),
        address=_said(roll, rows, "address"),
    )


def _said(roll: OwnerRoll, rows: Collection[Row], meaning: str) -> str:
    return "; ".join(sorted(set(filter(None, (together(row, roll.columns.get(meaning)) for row in rows)))))
