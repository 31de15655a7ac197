"""One read of a county: is anything new, then all that is new or changed, whole documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from kordant_jobs.adapters.counties.description import County, TableKind
from kordant_jobs.adapters.counties.drivers import Row, TableReader, mark_of
from kordant_jobs.adapters.counties.understand import Understood, cells, keys_in, understand
from kordant_jobs.domain.property.addresses import AddressQuery, Candidate, rank
from kordant_jobs.domain.property.parcels import normalise_parcel


@dataclass(frozen=True, kw_only=True)
class Read:
    """What one read gave: documents, the new watermark of each table, requests that it took."""

    understood: Understood
    watermarks: Mapping[str, str]
    freshness: str
    requests: int = 0


@dataclass
class CountyReader:
    """A county that can be read. See `ports.CountyRecords`."""

    county: County
    tables: TableReader
    _rows: dict[TableKind, list[Row]] = field(default_factory=dict)

    def freshness(self) -> str:
        """What the source says of its own state.

        Raises:
            SourceUnavailable: it did not say.
        """
        return self.tables.freshness()

    def read(self, since: Mapping[str, str], *, today: date) -> Read:
        """All documents of which a row is new or changed since these watermarks. Nothing is given unless all of it
        came: half a page list would look like silence.

        Raises:
            SourceUnavailable: a part did not come.
        """
        before, freshness = self.tables.server.requests, self.tables.freshness()
        marks: dict[str, str] = dict(since)
        rows: dict[TableKind, list[Row]] = {}
        for kind, table in self.county.tables.items():
            rows[kind] = [row for page in self.tables.pages(kind, since.get(kind)) for row in page]
            newest = max((mark for row in rows[kind] if (mark := mark_of(row, table))), default=None)
            if newest is not None:
                marks[kind] = max(newest, marks.get(kind, newest))
        if since:
            self._complete(rows)
        made = understand(self.county, rows, today=today)
        return Read(
            understood=made, watermarks=marks, freshness=freshness, requests=self.tables.server.requests - before
        )

    def _complete(self, rows: dict[TableKind, list[Row]]) -> None:
        """Fetch what belongs to a changed document and did not change itself."""
        if len(self.county.tables) == 1:
            return
        keys = {kind: keys_in(self.county, kind, found) for kind, found in rows.items()}
        touched = set().union(*keys.values())
        for kind in set(rows) - {TableKind.REFERENCES}:
            if lacking := sorted(touched - keys[kind]):
                rows[kind] = [*rows[kind], *self.tables.rows_of(kind, lacking)]

    def candidates(self, query: AddressQuery) -> list[Candidate]:
        """The parcels that an address may mean, by the county's address data; none where it has no such data.

        Raises:
            SourceUnavailable: it could not be asked.
        """
        table = self.county.addresses
        if table is None:
            return []
        found = []
        for row in self.tables.rows_at(table, query):
            parcel = normalise_parcel(self.county.parcel, "-".join(cells(row, table.columns["parcel"])))
            if parcel is not None:
                found.append((parcel, " ".join(cells(row, table.columns["address"]))))
        return rank(query, found)

    def sample(self, size: int, *, today: date) -> Understood:
        """What it would understand of its first pages, for `counties check`.

        Raises:
            SourceUnavailable: they did not come.
        """
        rows = {kind: next(iter(self.tables.pages(kind, None)), [])[:size] for kind in self.county.tables}
        if len(rows) > 1:
            keys = sorted(keys_in(self.county, TableKind.INSTRUMENTS, rows[TableKind.INSTRUMENTS]))
            others = [kind for kind in self.county.tables if kind is not TableKind.INSTRUMENTS]
            rows |= {kind: self.tables.rows_of(kind, keys) or rows[kind] for kind in others}
        return understand(self.county, rows, today=today)
