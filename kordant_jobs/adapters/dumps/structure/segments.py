"""Assigns stretches of text to readers: a segment is a stretch that one reader understands.

A reader is chosen from at most 500 lines of the text that follows. It is left where a line begins as SQL or JSON does,
or where rows have no person although there are addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from kordant_jobs.adapters.dumps.column_map import ColumnMap
from kordant_jobs.adapters.dumps.columns import role_by_name
from kordant_jobs.adapters.dumps.detect import layout_of, looks_labelled, looks_labelled_within
from kordant_jobs.adapters.dumps.model import IDENTIFYING, USUAL, DumpShape, Layout
from kordant_jobs.adapters.dumps.parts import Part, merged
from kordant_jobs.adapters.dumps.structure import sql
from kordant_jobs.adapters.dumps.structure.keyed import JsonReader, LabelReader, NestedReader
from kordant_jobs.adapters.dumps.structure.lines import LineReader
from kordant_jobs.adapters.dumps.structure.sql import SqlReader
from kordant_jobs.adapters.dumps.window import Window, decoded
from kordant_jobs.errors import DumpUnreadable

_SAMPLE_BYTES, _SAMPLE_LINES, _LINE_BYTES, _FEW_LINES = 1 << 20, 500, 1 << 16, 8
_SQL_WITHIN = 200
"""A line may begin a statement only if values follow within this many lines."""
UNFIT_ROWS = 3
"""The number of consecutive rows without a person at which a reader is left, if the text there reads as something
else."""
_PARTS_AT_ONCE, _ROWS_AT_ONCE = 512, 1 << 18
"""The most parts and rows of one reader that are understood together: each row takes about 200 bytes then."""
_NEWLINE = ord("\n")
CHANGES_PER_MIB = 400
"""Changes of shape per MiB above which the rest of a window is only swept: each change costs as much as a page of text
(0.5 ms), and no dump is known that needs so many."""


class Reader(Protocol):
    """Reads text of one shape."""

    name: str

    def read(self, window: Window, at: int, line: int) -> Part:
        """Read the text from `at` on; the part may end before the window does."""


Judge = Callable[[Part], "np.ndarray[tuple[int], np.dtype[np.bool_]]"]
"""For each row of a part: True when a person was found in it, or may well be."""


class Structure:
    """Follows one document through its windows."""

    def __init__(
        self,
        *,
        phone_region: str,
        given: DumpShape | None = None,
        layout: Layout | None = None,
        columns: ColumnMap | None = None,
        stays: bool = False,
    ) -> None:
        """`layout` is that of the beginning; with `stays` it applies to everything that is not SQL or JSON, as
        `columns` does."""
        self._stays = stays
        self._region, self._given, self._map = phone_region, given, columns
        self._fixed = layout
        self._reader: Reader | None = None
        self._sql: SqlReader | None = None
        self._last_lines: LineReader | None = None
        self._stay_until = 0
        self._unknown_lines, self._stuck_at = 1, -1
        self._changes_left = 0
        self.first: Reader | None = None
        self.given_up = 0
        """Lines that were only swept since the shape changed too often before them."""

    def parts(self, window: Window, fits: Judge) -> Iterator[Part]:
        """The window in parts, in order, without gaps. The last one may end early (`waits`): continue reading there."""
        at, line, waiting, rows = window.start, 0, list[Part](), 0
        self._stay_until, self._stuck_at = 0, -1
        self._changes_left = max(1, window.size >> 20) * CHANGES_PER_MIB
        if window.starts_inside and self._is_line_reader():
            newline = window.raw.find(b"\n", at, window.stop) + 1
            end = newline or window.stop
            yield _unknown(at, end, line, line + bool(newline))
            at, line = end, line + bool(newline)
        while at < window.stop:
            if not self._changes_left:
                part = self._rest(window, at, line)
            else:
                if self._reader is None:
                    self._reader = self._chosen(window, at)
                    self.first = self.first or self._reader
                part = self._next(window, at, line, fits)
            many = len(waiting) >= _PARTS_AT_ONCE or rows >= _ROWS_AT_ONCE
            if waiting and (waiting[-1].reader != part.reader or many):
                yield merged(waiting)
                waiting, rows = [], 0
            if part.end > at or part.bad:
                waiting.append(part)
                rows += part.rows
            at, line = part.end, part.end_line
            if part.waits:
                break
        if waiting:
            yield merged(waiting)

    def _next(self, window: Window, at: int, line: int, fits: Judge) -> Part:
        """The next part, from the current reader; unread lines where no reader makes progress."""
        reader = self._reader
        if reader is None:
            return self._unread(window, at, line)
        part = reader.read(window, at, line)
        self._unknown_lines = 1
        if isinstance(reader, LineReader):
            part = self._while_it_fits(window, part, fits)
        if part.leaves:
            self._reader = None
        if part.end > at or part.waits:
            return part
        again, self._stuck_at = self._stuck_at == at, at
        if again or not self._would_change(window, at, reader):
            self._reader = None
            return self._unread(window, at, line)
        return part

    def _rest(self, window: Window, at: int, line: int) -> Part:
        """The rest of the window, as plain text."""
        end_line = line + int(np.count_nonzero(window.bytes[at : window.stop] == _NEWLINE))
        self.given_up += end_line - line
        self._reader = None
        return _unknown(at, window.stop, line, end_line)

    def begin(self, window: Window) -> bool:
        """Choose the reader for the beginning of a document (`first`) by its first window. False: there is none."""
        self._reader = self.first = self._chosen(window, window.start)
        return self.first is not None

    def refusal(self, window: Window) -> str:
        """The reason why there is no reader."""
        try:
            layout_of(_sample(window, window.start), shape=self._given, phone_region=self._region)
        except DumpUnreadable as error:
            return str(error)
        return "The dump cannot be read."

    def _is_line_reader(self) -> bool:
        return self._reader is None or isinstance(self._reader, LineReader)

    def _would_change(self, window: Window, at: int, reader: Reader | None) -> bool:
        """True when another reader would be chosen where this one stopped without reading anything."""
        chosen = self._chosen(window, at)
        if chosen is None or (reader is not None and chosen.name == reader.name):
            return False
        self._reader = chosen
        return True

    def _while_it_fits(self, window: Window, part: Part, fits: Judge) -> Part:
        """The part up to where its rows no longer fit, if another layout is detected there."""
        if not part.rows or part.end <= self._stay_until or self._stays:
            return part
        good = fits(part)
        row = _first_unfit(good)
        while row is not None:
            start = int(part.row_starts[row])
            if start >= self._stay_until:
                found = self._chosen(window, start)
                same = _alike(found, self._reader)
                if row and found is not None and not same:
                    cut = part.until(row)
                    return cut
                if not row and found is not None and not same and self._fixed is None:
                    self._reader = found
                    return found.read(window, part.start, part.line)
                self._stay_until = start + 4 * max(1 << 14, start - part.start)
            later = int(np.searchsorted(part.row_starts, self._stay_until))
            following = _first_unfit(good[later:]) if later < part.rows else None
            row = None if following is None else later + following
        return part

    def _chosen(self, window: Window, at: int) -> Reader | None:
        self._changes_left = max(0, self._changes_left - 1)
        if self._fixed is not None and self.first is None:
            return LineReader(self._fixed)
        if self._map is None and self._given is None and _is_json_line(window, at):
            return NestedReader(DumpShape.PHP) if _is_php(_sample(window, at, most=_FEW_LINES)) else JsonReader()
        few = _sample(window, at, most=1)
        if few and self._map is None and self._given is None and self._is_sql(window, at, few[0]):
            return self._as_sql()
        lines = _sample(window, at)
        if not lines:
            return None
        if self._map is not None:
            layout = self._map.layout(lines[0], guessed=_likely_delimiter(lines), phone_region=self._region)
            return LineReader(layout)
        if self._given is not None:
            return self._of_given(lines)
        first = lines[0]
        if _is_php(lines):
            return NestedReader(DumpShape.PHP)
        if _begins_json(first):
            return JsonReader()
        if first.lstrip().startswith("<") and _TAG.match(first):
            return NestedReader(DumpShape.XML) if _names_person(lines) else None
        if self._fixed is not None and self._stays:
            return LineReader(self._fixed)
        if len(lines) < _FEW_LINES and self._last_lines is not None:
            return self._last_lines
        return self._of_text(lines, None)

    def _is_sql(self, window: Window, at: int, first: str) -> bool:
        """True when a statement begins here, and values follow within some lines. It reads only as many as are
        needed."""
        if not sql.begins(first.encode()):
            return False
        return _has_values(first) or any(map(_has_values, _sample(window, at, most=_SQL_WITHIN)))

    def _of_given(self, lines: list[str]) -> Reader | None:
        match self._given:
            case DumpShape.SQL_INSERT:
                return self._as_sql() if any(map(_has_values, lines)) else None
            case DumpShape.JSON_LINES:
                return JsonReader() if any(map(_begins_json, lines)) else None
            case DumpShape.LABELS:
                return LabelReader()
            case DumpShape.XML | DumpShape.PHP:
                return NestedReader(self._given)
            case DumpShape.TEXT:
                return None
        return self._of_text(lines, self._given)

    def _as_sql(self) -> SqlReader:
        self._sql = self._sql or SqlReader(phone_region=self._region)
        return self._sql

    def _of_text(self, lines: list[str], given: DumpShape | None) -> Reader | None:
        if given is None and looks_labelled(lines):
            return LabelReader()
        try:
            layout = layout_of(lines, shape=given, phone_region=self._region)
        except DumpUnreadable:
            return LabelReader() if given is None and looks_labelled_within(lines) else None
        is_sheet = layout.shape is DumpShape.CSV and layout.delimiter in USUAL and len(layout.columns) > 1
        if given is None and not is_sheet and looks_labelled_within(lines):
            return LabelReader()
        self._last_lines = LineReader(layout)
        return self._last_lines

    def _unread(self, window: Window, at: int, line: int) -> Part:
        """Lines that no reader knows. Their number grows with each call, so that repeated detection costs little."""
        from kordant_jobs.adapters.kernels.cells import unread_lines

        end, end_line = unread_lines(window.bytes, at, window.stop, line, self._unknown_lines)
        self._unknown_lines = min(4 * self._unknown_lines, 1 << 20)
        return _unknown(at, end, line, end_line)


def _unknown(at: int, end: int, line: int, end_line: int) -> Part:
    return Part(reader=str(DumpShape.TEXT), start=at, end=end, line=line, end_line=end_line)


def _first_unfit(good: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int | None:
    """The first row of a sufficiently long run of unfit rows."""
    bad = ~good
    if np.count_nonzero(bad) < UNFIT_ROWS:
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[0], bad.astype(np.int8), [0]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    long = starts[lengths >= UNFIT_ROWS]
    return int(long[0]) if len(long) else None


def _alike(one: Reader | None, other: Reader | None) -> bool:
    if not isinstance(one, LineReader) or not isinstance(other, LineReader):
        return False
    return (one.layout.shape, one.layout.delimiter, one.layout.columns) == (
        other.layout.shape,
        other.layout.delimiter,
        other.layout.columns,
    )


def _sample(window: Window, at: int, *, most: int = _SAMPLE_LINES) -> list[str]:
    """The first non-blank lines, up to one that begins as SQL or JSON does where the first one does not."""
    from kordant_jobs.adapters.kernels.cells import other_shape

    lines, left, stop = list[str](), _SAMPLE_BYTES, window.stop
    first = other_shape(window.bytes, at)
    while at < stop and left > 0 and len(lines) < most:
        filled = _filled(window, at)
        if filled >= stop:
            break
        at = max(at, window.raw.rfind(b"\n", at, filled) + 1)
        newline = window.raw.find(b"\n", at, window.stop)
        end = newline if newline >= 0 else window.stop
        if lines and not first and other_shape(window.bytes, at) and not sql.begins(lines[0].encode()):
            break
        size = min(end - at, _LINE_BYTES)
        line = decoded(window.slice(at, at + size)).strip("\r\ufeff")
        if line.strip() and (size < _LINE_BYTES or not lines):  # a giant line is damage, unless it is all there is
            lines.append(line)
        left -= size + 1
        at = end + 1
    return lines


_BLANKS = re.compile(rb"\s*")


def _filled(window: Window, at: int) -> int:
    """The first non-blank place."""
    found = _BLANKS.match(window.raw, at, window.stop)
    return found.end() if found else at


def _is_json_line(window: Window, at: int) -> bool:
    """True when the next non-blank line begins as JSON does."""
    start = _filled(window, at)
    if window.raw[start : start + 1] not in (b"{", b"["):
        return False
    return _begins_json(decoded(window.slice(start, min(window.stop, start + 64))).partition("\n")[0])


def _begins_json(line: str) -> bool:
    text = line.lstrip()
    after = text[1:].lstrip()
    if text.startswith("{"):
        return not after or after[0] in "\"'}"
    return text.startswith("[") and (not after or after[0] in "{[\"'")


def _likely_delimiter(lines: list[str]) -> str:
    counts = {one: min((line.count(one) for line in lines[:20]), default=0) for one in ",;\t|:"}
    return max(counts, key=lambda one: counts[one])


_TAG = re.compile(r"\s*<(?:[?!]|/?[A-Za-z_][\w:.-]*(?:\s[^<>]*)?/?>|[A-Za-z_][\w:.-]*\s*$)")
_XML_NAME = re.compile(
    r"""<([A-Za-z_][\w:.-]*)(?=[\s/>])|\s([A-Za-z_][\w:.-]*)(?=\s*=\s*["'])"""
    r"""|(?:(?<=name)|(?<=key)|(?<=field)|(?<=column))=["']([^"']{1,64})"""
)
_SERIALISED = re.compile(r"\s*[aO]:\d+:[{\"]")
_PHP_KEY = re.compile(r"""(?:array\s*\(|[\[(,]|^)\s*(?:["'][^"'\n]{1,64}["']|\d+)\s*=>""")


def _names_person(lines: list[str]) -> bool:
    """True when an element or attribute has the name of an identifying field."""
    words = {word.rpartition(":")[2] for line in lines for found in _XML_NAME.findall(line[:4_096]) for word in found}
    return any(role_by_name(word) in IDENTIFYING for word in words if word)


def _is_php(lines: list[str]) -> bool:
    """True when these are serialised arrays, or the source of some."""
    if _SERIALISED.match(lines[0]):
        return True
    start = lines[0].lstrip()
    if not start.startswith(("<?php", "$", "return", "array", "[", "(", "'", '"', "0 =>", "1 =>")):
        return False
    keyed = sum(_PHP_KEY.search(line[:4_096]) is not None for line in lines)
    return keyed > 0 and keyed >= 0.3 * len(lines)


def _has_values(line: str) -> bool:
    start = line.lstrip()[:12].upper()
    return start.startswith(("INSERT", "REPLACE", "COPY ", "CREATE TABLE"[:12], "INTO ")) or " INSERT " in line[:200]
