"""Counties that come as files in a drop folder: CSV or fixed width, plain, gzipped or zipped."""

import codecs
import csv
import fnmatch
import gzip
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
"""Most bytes that one file may unpack to."""
BYTES_AT_ONCE = 16 << 20
"""The bytes of files that are parsed at a time. With the documents made of them they need about fifteen times as much
memory."""
_GZIP_RATIO = 8
_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, gzip.BadGzipFile, UnicodeDecodeError, csv.Error, RuntimeError,
            zlib.error)  # fmt: skip


class Files(TableReader):
    """The files of one county. All files whose names match a table's pattern are its rows, read completely each
    time."""

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

    def _unmatched(self) -> list[Path]:
        """Dropped files that match no table's pattern, except hidden ones. They are not read."""
        others = [one for one in (self.county.addresses, self.county.owner_roll) if one]
        patterns = [one.dataset for one in (*self.county.tables.values(), *others)]
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(
            one
            for one in found
            if one.is_file()
            and not one.name.startswith(".")
            and not any(fnmatch.fnmatch(one.name.lower(), pattern.lower()) for pattern in patterns)
        )

    def freshness(self) -> str:
        """The names, sizes and times of the files, including files that match no table."""
        found = {one for kind in self.county.tables for one in self._files(kind)}
        if not found:
            raise SourceFailed(UnknownReason.UNREACHABLE)
        stats = [(one.name, one.stat()) for one in sorted({*found, *self._unmatched()})]
        return " ".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)

    def windows(self, since: Mapping[str, str], after: str | None) -> Iterator[Window]:
        """All documents of all files, since files have no watermark and no order that can be trusted. Files larger than
        `bytes_at_once` are read several times, a share of the documents each, so that memory stays bounded."""
        self.problems.clear()
        for kind, table in self.county.tables.items():
            if not self._files(kind):
                self.problems[f"{NotUnderstood.FILE_MISSING} {table.dataset}"] = 1
        is_roll = self.county.tables[TableKind.INSTRUMENTS] is self.county.owner_roll
        for path in self._unmatched() if not is_roll else ():
            self.problems[f"{NotUnderstood.FILE_UNMATCHED} {shown_name(path)}"] = 1
        size = sum(map(_size, {path for kind in self.county.tables for path in self._files(kind)}))
        shares = 1 + size // self._bytes_at_once
        for share in range(shares):
            rows = {kind: list(self._share(kind, share, shares)) for kind in self.county.tables}
            yield Window(rows=rows, upto=None if share == shares - 1 else "")

    def _share(self, kind: TableKind, share: int, shares: int) -> Iterator[Row]:
        """One share of a table's rows. A damaged file does not stop the others: the rows before the damage are used,
        and the county is unknown."""
        table = self.county.tables[kind]
        problems: Counter[str] = Counter()
        for path in self._files(kind):
            try:
                for row in self._rows(path, table, problems):
                    if shares == 1 or zlib.crc32((row.get(table.key) or "").encode()) % shares == share:
                        yield row
            except (*_DAMAGED, SourceFailed):
                problems[NotUnderstood.FILE_DAMAGED] = 1
        if share == 0:
            self.problems.update(problems)

    def query(self, table: TableDescription, where: str, order: str, limit: int) -> tuple[list[Row], bool]:
        """No rows: `windows` gives every row."""
        return [], False

    def rows_at(self, table: AddressTable, query: AddressQuery) -> list[Row]:
        """See `TableReader`. The file is read once, and only matching rows are kept."""
        columns = table.columns["address"].of

        def fits(row: Row) -> bool:
            return normalise_address(" ".join(row.get(one) or "" for one in columns)).startswith(f"{query.house} ")

        try:
            paths = sorted(self._folder.glob(table.dataset))
            return [row for path in paths for row in self._rows(path) if fits(row)]
        except _DAMAGED:
            raise SourceFailed(UnknownReason.UNREADABLE) from None

    def _rows(self, path: Path, table: TableDescription | None = None, problems: Any = None) -> Iterator[Row]:
        """The rows of a file. With `table`, damaged rows are left out; they and missing columns are counted in
        `problems`."""
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [one for one in archive.infolist() if not (one.is_dir() or _is_hidden(one.filename))]
                if sum(one.file_size for one in members) > BYTES_MAX:
                    raise SourceFailed(UnknownReason.TOO_LARGE)
                for member in members:
                    with archive.open(member) as content:
                        yield from self._parsed(content, table, problems)
            return
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as content:
            yield from self._parsed(content, table, problems)

    def _parsed(self, content: Any, table: TableDescription | None, problems: Counter[str]) -> Iterator[Row]:
        encoding = codecs.lookup(self.county.encoding).name
        text = io.TextIOWrapper(content, "utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        if self.county.fixed_width:
            least = max((one.first for one in self.county.fixed_width if table and one.name == table.key), default=0)
            for line in text:
                if line.strip() and len(line.rstrip()) < least:
                    problems[NotUnderstood.ROW_DAMAGED] += 1
                elif line.strip():
                    yield {c.name: line[c.first - 1 : c.last].strip() or None for c in self.county.fixed_width}
            return
        rows = csv.reader(text, delimiter=self.county.delimiter, strict=True)  # an unbalanced quote is damage
        header = [name.strip() for name in next(rows, ())]
        if table:
            lacking = set(table.names) - set(header)
            problems.update({f"{NotUnderstood.COLUMN_MISSING} {name}": 1 for name in lacking})
        wanted = [at for at, name in enumerate(header) if table and name in table.names]
        width = len(header)
        for number, row in enumerate(filter(None, rows)):
            if not number and not any(row[width:]):
                width = max(width, len(row))  # an export that ends every row with blanks
            if table and _is_damaged(row, width, wanted):
                problems[NotUnderstood.ROW_DAMAGED] += 1
            else:
                yield {name: value.strip() or None for name, value in zip(header, row, strict=False) if name}


def _is_damaged(row: Sequence[str], width: int, wanted: Sequence[int]) -> bool:
    """True when cells were lost or moved: more cells than the header, too few for a wanted column, or a line break in a
    wanted cell, from a stray quote."""
    return len(row) > width or any(at >= len(row) or "\n" in row[at] for at in wanted)


def _is_hidden(name: str) -> bool:
    """True for a member that a Mac or an editor added to the archive."""
    return any(part == "__MACOSX" or part.startswith(".") for part in name.split("/"))


def shown_name(path: Path) -> str:
    """The name of a dropped file as problems show it. A name with unusual characters may hold personal data and is not
    shown."""
    return path.name if re.fullmatch(r"[A-Za-z0-9._-]{1,60}", path.name) else "(a name with other signs)"


def _size(path: Path) -> int:
    """The bytes that a file unpacks to; an estimate for a gzipped file."""
    if path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                return sum(one.file_size for one in archive.infolist())
        except _DAMAGED:
            return 0
    return path.stat().st_size * (_GZIP_RATIO if path.suffix.lower() == ".gz" else 1)
