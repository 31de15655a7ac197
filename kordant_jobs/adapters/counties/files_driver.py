"""Counties that come as files in a drop folder: CSV or fixed width, plain, gzipped or zipped."""

from __future__ import annotations

import csv
import fnmatch
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import AddressTable, County, TableDescription, TableKind
from kordant_jobs.adapters.counties.drivers import Row, TableReader, Window
from kordant_jobs.adapters.counties.understand import NotUnderstood
from kordant_jobs.adapters.sources.http import SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.property.addresses import AddressQuery, normalise_address

BYTES_MAX = 16 << 30
"""What one file may unpack to."""
BYTES_AT_ONCE = 16 << 20
"""So much of the files is held at once; with the documents made of it, it takes about fifteen times as much memory."""
_GZIP_RATIO = 8
_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, gzip.BadGzipFile, UnicodeDecodeError, csv.Error, RuntimeError,
            zlib.error)  # fmt: skip


class Files(TableReader):
    """The files of one county: those whose names fit a table's pattern are its rows, whole each time."""

    def __init__(self, county: County, folder: Path, *, bytes_at_once: int = BYTES_AT_ONCE) -> None:
        super().__init__(county, Server())
        self._folder = folder
        self._bytes_at_once = bytes_at_once

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

    def windows(self, since: Mapping[str, str], after: str | None) -> Iterator[Window]:
        """All documents of all files: a file has no watermark that could be trusted, and no order. So that no more is
        held than `bytes_at_once` are parsed to, large ones are read several times, a share of the documents each."""
        self.problems.clear()
        size = sum(map(_size, {path for kind in self.county.tables for path in self._files(kind)}))
        shares = 1 + size // self._bytes_at_once
        for share in range(shares):
            rows = {kind: list(self._share(kind, share, shares)) for kind in self.county.tables}
            yield Window(rows=rows, upto=None if share == shares - 1 else "")

    def _share(self, kind: TableKind, share: int, shares: int) -> Iterator[Row]:
        """A damaged file stops no other; what comes before the damage is used, and the county is unknown."""
        key = self.county.tables[kind].key
        for path in self._files(kind):
            try:
                for row in self._rows(path, self.county.tables[kind] if share == 0 else None):
                    if shares == 1 or zlib.crc32((row.get(key) or "").encode()) % shares == share:
                        yield row
            except (*_DAMAGED, SourceFailed):
                self.problems[NotUnderstood.FILE_DAMAGED] = 1

    def query(self, table: TableDescription, where: str, order: str, limit: int) -> tuple[list[Row], bool]:
        """None: `windows` gives every row there is."""
        return [], False

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

    def _rows(self, path: Path, table: TableDescription | None = None) -> Iterator[Row]:
        """The rows of a file; `table`: say which of its columns are not there."""
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [one for one in archive.infolist() if not one.is_dir()]
                if sum(one.file_size for one in members) > BYTES_MAX:
                    raise SourceFailed(UnknownReason.TOO_LARGE)
                for member in members:
                    with archive.open(member) as content:
                        yield from self._parsed(content, table)
            return
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as content:
            yield from self._parsed(content, table)

    def _parsed(self, content: Any, table: TableDescription | None) -> Iterator[Row]:
        text = io.TextIOWrapper(content, self.county.encoding, newline="")
        if self.county.fixed_width:
            for line in text:
                if line.strip():
                    yield {c.name: line[c.first - 1 : c.last].strip() or None for c in self.county.fixed_width}
            return
        reader = csv.DictReader(text, delimiter=self.county.delimiter)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        lacking = set(table.names) - set(reader.fieldnames) if table else ()
        self.problems.update(f"{NotUnderstood.COLUMN_MISSING} {name}" for name in lacking)
        for row in reader:
            yield {name: value.strip() or None for name, value in row.items() if name and isinstance(value, str)}


def _size(path: Path) -> int:
    """What a file unpacks to, of one that is gzipped about."""
    if path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                return sum(one.file_size for one in archive.infolist())
        except _DAMAGED:
            return 0
    return path.stat().st_size * (_GZIP_RATIO if path.suffix.lower() == ".gz" else 1)
