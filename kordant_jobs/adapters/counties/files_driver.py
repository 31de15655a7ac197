"""Counties that come as files in a drop folder: CSV or fixed width, plain, gzipped or zipped."""

from __future__ import annotations

import csv
import fnmatch
import gzip
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import AddressTable, County, TableKind
from kordant_jobs.adapters.counties.drivers import Row, TableReader
from kordant_jobs.adapters.sources.http import SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.property.addresses import AddressQuery, normalise_address

BYTES_MAX = 16 << 30
"""What one file may unpack to."""
_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, gzip.BadGzipFile, UnicodeDecodeError, csv.Error, RuntimeError)


class Files(TableReader):
    """The files of one county: those whose names fit a table's pattern are its rows, whole each time."""

    def __init__(self, county: County, folder: Path) -> None:
        super().__init__(county, Server())
        self._folder = folder

    def _files(self, kind: TableKind) -> list[Path]:
        try:
            found = [one for one in self._folder.iterdir() if one.is_file()]
        except OSError:
            return []
        pattern = self.county.tables[kind].dataset
        return sorted(one for one in found if fnmatch.fnmatch(one.name.lower(), pattern.lower()))

    def freshness(self) -> str:
        """Names, sizes and times of the files."""
        found = {one for kind in self.county.tables for one in self._files(kind)}
        if not found:
            raise SourceFailed(UnknownReason.UNREACHABLE)
        stats = [(one.name, one.stat()) for one in sorted(found)]
        return " ".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)

    def pages(self, kind: TableKind, since: str | None) -> Iterator[list[Row]]:
        """All rows of all files: a file has no watermark that could be trusted."""
        page: list[Row] = []
        try:
            for path in self._files(kind):
                for row in self._rows(path):
                    page.append(row)
                    if len(page) >= self.county.tables[kind].page:
                        yield page
                        page = []
        except _DAMAGED:
            raise SourceFailed(UnknownReason.UNREADABLE) from None
        if page:
            yield page

    def rows_of(self, kind: TableKind, keys: Sequence[str]) -> list[Row]:
        """None: `pages` gave every row there is."""
        return []

    def rows_at(self, table: AddressTable, query: AddressQuery) -> list[Row]:
        """See `TableReader`; the file is read once, and few rows of it kept."""
        columns = table.columns["address"].of

        def fits(row: Row) -> bool:
            return normalise_address(" ".join(row.get(one) or "" for one in columns)).startswith(f"{query.house} ")

        try:
            paths = sorted(self._folder.glob(table.dataset))
            return [row for path in paths for row in self._rows(path) if fits(row)]
        except _DAMAGED:
            raise SourceFailed(UnknownReason.UNREADABLE) from None

    def _rows(self, path: Path) -> Iterator[Row]:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [one for one in archive.infolist() if not one.is_dir()]
                if sum(one.file_size for one in members) > BYTES_MAX:
                    raise SourceFailed(UnknownReason.TOO_LARGE)
                for member in members:
                    with archive.open(member) as content:
                        yield from self._parsed(content)
            return
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as content:
            yield from self._parsed(content)

    def _parsed(self, content: Any) -> Iterator[Row]:
        text = io.TextIOWrapper(content, self.county.encoding, newline="")
        if self.county.fixed_width:
            for line in text:
                if line.strip():
                    yield {c.name: line[c.first - 1 : c.last].strip() or None for c in self.county.fixed_width}
            return
        reader = csv.DictReader(text, delimiter=self.county.delimiter)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        for row in reader:
            yield {name: value.strip() or None for name, value in row.items() if name and isinstance(value, str)}
