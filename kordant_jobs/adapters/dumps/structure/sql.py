"""Reads SQL: an INSERT, a REPLACE or a COPY, with the columns of its own list, else of the table's CREATE, else judged
from the first tuples. Other statements are skipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kordant_jobs.adapters.dumps.columns import named_columns, role_by_name, unnamed_columns
from kordant_jobs.adapters.dumps.detect import fields
from kordant_jobs.adapters.dumps.model import BadLine, Column, DumpShape, Layout, Role
from kordant_jobs.adapters.dumps.parts import CODES, Part
from kordant_jobs.adapters.dumps.structure.keyed import names
from kordant_jobs.adapters.dumps.structure.lines import LineReader
from kordant_jobs.adapters.dumps.window import Window, decoded

_NAME = rb"""(?:`[^`\n]{1,128}`|"[^"\n]{1,128}"|\[[^\]\n]{1,128}\]|[\w$#@.\x80-\xff]{1,128})"""
_TABLE = rb"(" + _NAME + rb"(?:\s*\.\s*" + _NAME + rb"){0,3})"
_WORDS = rb"(?:(?:IGNORE|DELAYED|LOW_PRIORITY|HIGH_PRIORITY|OR\s+\w+|INTO|ALL|OVERWRITE|TABLE)\b\s*){0,6}"
_HEAD = re.compile(
    rb"(?i)\s*(?:(?:INSERT|REPLACE)\b\s*" + _WORDS + rb"|INTO\s+)" + _TABLE + rb"\s*(?:\(([^()]*)\))?\s*"
    rb"(?:OVERRIDING\s+\w+\s+VALUE\s*)?(?:(VALUES?)|(SET\s))\s*"
)
_COPY = re.compile(rb"(?i)COPY\s+" + _TABLE + rb"\s*(?:\(([^()]*)\))?\s*FROM\s+stdin([^\n]*)\n")
_AS_CSV = re.compile(r"(?i)\bcsv\b")
_WITH_HEADER = re.compile(r"(?i)\bheader\b(?!\s+(?:false|off|0)\b)")
_DELIMITED_BY = re.compile(r"(?i)\bdelimiters?\s+(?:as\s+)?E?'(\\t|[^'])'")
_QUOTED_BY = re.compile(r"(?i)\bquote\s+(?:as\s+)?E?'(\\?[^'])'")
_CREATE = re.compile(rb"(?i)CREATE\s+(?:\w+\s+){0,3}TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?" + _TABLE + rb"\s*\(")
_STARTS = re.compile(
    rb"(?i)(?:--|#|/\*|\*/|;|\\|(?:SET|DROP|LOCK|UNLOCK|ALTER|BEGIN|START|COMMIT|ROLLBACK|PRAGMA|USE|GO|SELECT|GRANT|REVOKE"
    rb"|DELIMITER|PRINT|EXEC|IF|END|UPDATE|DELETE|TRUNCATE|CREATE|COMMENT|ANALYZE|DECLARE|PROMPT|REM|SPOOL|INSERT|REPLACE"
    rb"|COPY|INTO|VALUES|CONNECT|EXIT)\b)"
)
_NOT_BLANK = re.compile(rb"\s*")
_COLUMN = re.compile(r"""\s*[`"\[]?([\w$ ]{1,128}?)[`"\]]?\s+[\w"\[]""")
_NO_COLUMN = frozenset(
    ["PRIMARY", "KEY", "UNIQUE", "CONSTRAINT", "INDEX", "FULLTEXT", "FOREIGN", "CHECK", "SPATIAL", "EXCLUDE", "LIKE"]
)
_HEAD_MAX, _CREATE_MAX, _SAMPLE_TUPLES, _COLUMNS_MAX, _LAYOUTS_MAX, _TABLES_MAX = (
    1 << 16, 1 << 18, 200, 4_096, 200, 10_000
)  # fmt: skip
_JUDGED_A_TABLE, _JUDGED_MAX = 50, 1_000
"""The tables and statements whose columns are judged by content, which takes a millisecond each."""
_ROW_BYTES, _CELL_BYTES, _AHEAD_MIN, _AHEAD_MAX = 6, 4, 1 << 14, 8 << 20


def begins(line: bytes) -> bool:
    """True when a line can be the start of a statement."""
    return _STARTS.match(line.lstrip()) is not None


class SqlReader:
    """Follows the statements of one document from window to window."""

    name = str(DumpShape.SQL_INSERT)

    def __init__(self, *, phone_region: str) -> None:
        self._region = phone_region
        self._created: dict[str, tuple[str, ...]] = {}
        self._roles: dict[tuple[str, ...], npt.NDArray[np.uint8]] = {}
        self._judged: dict[bytes, tuple[int, npt.NDArray[np.uint8]]] = {}
        self._judgements = 0
        self._inside: tuple[bytes, npt.NDArray[np.uint8]] | None = None
        self._copy: LineReader | None = None
        self._escapes = False
        self._no_end_before = 0
        self._copy_columns: dict[tuple[str, ...], tuple[Column, ...]] = {}
        self._copy_ends_at = (-1, -1)  # looked for from, found at
        self._ahead = _AHEAD_MIN  # for so many bytes room is made: a statement may be short
        self.columns: tuple[Column, ...] = ()

    def read(self, window: Window, at: int, line: int) -> Part:
        """Read the next statements, up to the end of one with values."""
        if at == window.start:
            self._no_end_before, self._copy_ends_at = 0, (-1, -1)
        if self._copy is not None:
            return self._copied(window, at, line, self._copy)
        if self._inside is not None:
            return self._tuples(window, at, line, *self._inside)
        raw, stop, pos, pos_line = window.raw, window.stop, at, line
        while pos < stop:
            start = _NOT_BLANK.match(raw, pos, stop).end()  # type: ignore[union-attr]  # it matches nothing, too
            pos_line += raw.count(b"\n", pos, start)
            pos, end = start, min(stop, start + _HEAD_MAX)
            if found := _COPY.match(raw, pos, end):
                listed = [_bare(name) for name in _listed(found[2])] if found[2] else None
                self._copy = self._copy_reader(window, found.end(), _bare(found[1]), listed, decoded(found[3]))
                return self._passed(at, line, found.end(), pos_line + found[0].count(b"\n"))
            if found := _CREATE.match(raw, pos, end):
                behind = self._create(window, pos, _bare(found[1]), found.end())
                if behind is None:
                    return self._passed(at, line, pos, pos_line, waits=True)
                pos, pos_line = behind[0], pos_line + behind[1]
                continue
            found = _HEAD.match(raw, pos, end)
            if found and (window.final or found.end() + 1 < stop):
                return self._insert(window, at, line, found, pos_line + found[0].count(b"\n"))
            if found:
                return self._passed(at, line, pos, pos_line, waits=True)
            newline = raw.find(b"\n", pos, stop)
            known = start >= stop or begins(raw[pos : pos + 64])
            whole = newline >= 0 or window.final or stop - pos >= _HEAD_MAX
            if not (known and whole):
                return self._passed(at, line, pos, pos_line, leaves=not known, waits=known)
            pos, pos_line = (newline + 1, pos_line + 1) if newline >= 0 else (stop, pos_line)
        return self._passed(at, line, min(pos, stop), pos_line)

    def _passed(
        self, at: int, line: int, end: int, end_line: int, *, leaves: bool = False, waits: bool = False
    ) -> Part:
        return Part(reader=self.name, start=at, end=end, line=line, end_line=end_line, leaves=leaves, waits=waits)

    def _create(self, window: Window, start: int, table: str, behind: int) -> tuple[int, int] | None:
        """Store a table's columns. Returns where its statement ends and its number of lines; None: it is not complete
        yet."""
        from kordant_jobs.adapters.kernels.tuples import TUPLE_MAX, statement_end

        end, breaks = -1, 0
        if start >= self._no_end_before:
            end, breaks = statement_end(window.bytes, start, window.stop, self._escapes)
            if end < 0 and not window.final and window.stop - start < TUPLE_MAX:
                return None
        if end < 0:  # it has none: its first line alone is passed over
            self._no_end_before = window.stop
            newline = window.raw.find(b"\n", start, window.stop)
            return (newline + 1, 1) if newline >= 0 else (window.stop, 0)
        text = decoded(window.slice(behind, min(end, behind + _CREATE_MAX)))
        self._escapes = self._escapes or "`" in text
        if len(self._created) < _TABLES_MAX:
            self._created[table] = _created(text)
        return end, breaks

    def _insert(self, window: Window, at: int, line: int, found: re.Match[bytes], end_line: int) -> Part:
        self._escapes = self._escapes or b"`" in found[0]
        if found[4]:
            return self._assigned(window, at, line, found[0], found.end(), end_line)
        listed = tuple(_bare(name) for name in _listed(found[2])) if found[2] else None
        known = listed or self._created.get(_bare(found[1]), ())
        self._inside = (found[0], self._roles_of(window, found.end(), end_line, known, found[1]))
        return self._passed(at, line, found.end(), end_line)

    def _roles_of(
        self, window: Window, at: int, line: int, known: tuple[str, ...], table: bytes
    ) -> npt.NDArray[np.uint8]:
        """The roles of a statement's columns. Those of a table without names are judged for each statement, up to a
        limit; then the fullest judgement counts."""
        if known and known in self._roles:
            return self._roles[known]
        times, best = self._judged.get(table, (0, np.empty(0, np.uint8)))
        if not known and (times >= _JUDGED_A_TABLE or self._judgements >= _JUDGED_MAX):
            return best
        if known and len(self._roles) > _LAYOUTS_MAX:
            columns = tuple(Column(name=name, role=role_by_name(name) or Role.OTHER) for name in known)
        else:
            rows = self._sample(window, at, line, len(known) or 64)
            width = len(known) or max(map(len, rows), default=0)
            whole = [row for row in rows if len(row) == width] or rows
            columns = (
                named_columns(known, whole, self._region) if known else unnamed_columns(whole, width, self._region)
            )
        roles = np.array([0 if column.role is Role.OTHER else CODES[column.role] for column in columns], np.uint8)
        self.columns = self.columns or columns
        if known:
            if len(self._roles) < _TABLES_MAX:
                self._roles[known] = roles
        else:
            self._judgements += 1
            self._judged[table] = (times + 1, max(roles, best, key=np.count_nonzero))
        return roles

    def _sample(self, window: Window, at: int, line: int, width: int) -> list[list[str]]:
        """The values of the first tuples, as text."""
        from kordant_jobs.adapters.kernels.tuples import read_tuples

        everything = np.ones(min(width, _COLUMNS_MAX), np.uint8)
        room = _room(_SAMPLE_TUPLES + 1, (_SAMPLE_TUPLES + 2) * len(everything))
        rows, cells, *_ = read_tuples(
            window.bytes, at, window.stop, line, everything, self._escapes, np.zeros(1, np.uint8), True, *room
        )
        widths, cell_rows, columns, starts, ends = (column.tolist() for column in room[2:7])
        found = [[""] * min(width, widths[row]) for row in range(rows)]
        for cell in range(cells):
            if columns[cell] < len(found[cell_rows[cell]]):
                found[cell_rows[cell]][columns[cell]] = window.text(starts[cell], min(ends[cell], starts[cell] + 512))
        return found

    def _tuples(self, window: Window, at: int, line: int, head: bytes, roles: npt.NDArray[np.uint8]) -> Part:
        from kordant_jobs.adapters.kernels import cells as why_kernel
        from kordant_jobs.adapters.kernels.tuples import read_tuples

        size = min(self._ahead, window.stop - at)
        room = _room(size // _ROW_BYTES + 64, size // _CELL_BYTES + 64 + len(roles))
        rows, cells, end, end_line, why, damaged = read_tuples(
            window.bytes,
            at,
            window.stop,
            line,
            roles,
            self._escapes,
            np.frombuffer(head, np.uint8),
            window.final,
            *room,
        )
        if why == why_kernel.OTHER_SHAPE:
            self._inside = None
        self._ahead = min(self._ahead * 4, _AHEAD_MAX) if why == why_kernel.FULL else max(_AHEAD_MIN, 4 * (end - at))
        wrong = damaged + int(np.count_nonzero(room[2][:rows] != len(roles))) if len(roles) else damaged
        return Part(
            reader=self.name,
            start=at,
            end=end,
            line=line,
            end_line=end_line,
            row_starts=room[0][:rows],
            row_lines=room[1][:rows],
            fits=room[2][:rows] == len(roles),
            cell_rows=room[3][:cells],
            cell_roles=roles[room[4][:cells]] if len(roles) else np.empty(0, np.uint8),
            cell_starts=room[5][:cells],
            cell_ends=room[6][:cells],
            cell_forms=room[7][:cells],
            bad={BadLine.BAD_SQL.value: wrong} if wrong else {},
            waits=why == why_kernel.UNFINISHED,
        )

    def _assigned(self, window: Window, at: int, line: int, head: bytes, start: int, start_line: int) -> Part:
        from kordant_jobs.adapters.kernels import cells as why_kernel
        from kordant_jobs.adapters.kernels.tuples import read_assignments

        size = min(self._ahead, window.stop - start)
        room = _room(size // _ROW_BYTES + 64, size // _CELL_BYTES + 1_024)
        rows, cells, end, end_line, why, damaged = read_assignments(
            window.bytes, start, window.stop, start_line, *names(), self._escapes, np.frombuffer(head, np.uint8),
            window.final, *room
        )  # fmt: skip
        if why == why_kernel.UNFINISHED and not rows:
            return self._passed(at, line, at, line, waits=True)
        return Part(
            reader=self.name,
            start=at,
            end=end,
            line=line,
            end_line=end_line,
            row_starts=room[0][:rows],
            row_lines=room[1][:rows],
            cell_rows=room[3][:cells],
            cell_roles=room[4][:cells].astype(np.uint8),
            cell_starts=room[5][:cells],
            cell_ends=room[6][:cells],
            cell_forms=room[7][:cells],
            bad={BadLine.BAD_SQL.value: damaged} if damaged else {},
        )

    def _copy_reader(
        self, window: Window, at: int, table: str, listed: Sequence[str] | None, options: str
    ) -> LineReader:
        """The reader of the rows after a COPY: separated by tabs, or as its options say ("WITH (FORMAT csv, DELIMITER
        ';')")."""
        as_csv = _AS_CSV.search(options) is not None
        by = _DELIMITED_BY.search(options)
        delimiter = by[1].replace("\\t", "\t") if by and by[1].isascii() else "," if as_csv else "\t"
        quoted = _QUOTED_BY.search(options)
        quote = (quoted[1][-1] if quoted else '"') if as_csv else ""
        has_header = as_csv and _WITH_HEADER.search(options) is not None
        text = decoded(window.slice(at, min(window.stop, at + (1 << 18)))).partition("\n\\.")[0]
        lines = text.split("\n", _SAMPLE_TUPLES + has_header)[: _SAMPLE_TUPLES + has_header]
        named = fields(lines[0].strip(), delimiter, quote) if has_header else ()
        known = tuple(listed or self._created.get(table, ()) or named)
        key = (*(known or (table,)), delimiter)
        columns = self._copy_columns.get(key)
        if columns is None:
            columns = self._columns_of_copy(lines[has_header:], known, delimiter, quote)
            if len(self._copy_columns) < _TABLES_MAX:
                self._copy_columns[key] = columns
        self.columns = self.columns or columns
        return LineReader(
            Layout(
                shape=DumpShape.SQL_INSERT,
                delimiter=delimiter,
                columns=columns,
                quote=quote,
                header=lines[0].strip() if has_header else "",
                phone_region=self._region,
            )
        )

    def _columns_of_copy(
        self, lines: Sequence[str], known: tuple[str, ...], delimiter: str, quote: str
    ) -> tuple[Column, ...]:
        if len(self._copy_columns) > _LAYOUTS_MAX:
            return tuple(Column(name=name, role=role_by_name(name) or Role.OTHER) for name in known)
        rows = [fields(line, delimiter, quote) if quote else line.split(delimiter) for line in lines]
        if known:
            return named_columns(known, rows, self._region)
        width = max(map(len, rows), default=1)
        return unnamed_columns(rows, min(width, _COLUMNS_MAX), self._region)

    def _copied(self, window: Window, at: int, line: int, reader: LineReader) -> Part:
        """Up to the line '\\.'."""
        end = at if window.raw.startswith(b"\\.", at, window.stop) else self._end_of_copy(window, at)
        if end and end > at:
            part = reader.read(window.cut(end), at, line)
            return replace(part, leaves=False) if part.end > at or not part.leaves else self._ended(part)
        if end == at:
            self._copy = None
            newline = window.raw.find(b"\n", at, window.stop) + 1
            return self._passed(at, line, newline or window.stop, line + bool(newline))
        part = reader.read(window, at, line)
        return part if not part.leaves else self._ended(part)

    def _end_of_copy(self, window: Window, at: int) -> int:
        """The place of the next line '\\.'; 0: none in the window. A place that was found is kept."""
        since, found = self._copy_ends_at
        if not 0 <= since <= at or 0 < found <= at:
            found = window.raw.find(b"\n\\.", at, window.stop) + 1
            self._copy_ends_at = (at, found)
        return found

    def _ended(self, part: Part) -> Part:
        """The part, after a statement was found in place of a row: the COPY was truncated."""
        self._copy = None
        return replace(part, leaves=False)


def _room(rows: int, cells: int) -> list[npt.NDArray[Any]]:
    places = [np.empty(size, np.int64) for size in (rows, rows, rows, cells, cells, cells, cells)]
    return [*places, np.empty(cells, np.uint8)]


def _bare(name: bytes | str) -> str:
    text = name if isinstance(name, str) else decoded(name)
    return re.sub(r'[`"\[\]\s]', "", text)


def _listed(text: bytes) -> list[bytes]:
    return text.split(b",")[:_COLUMNS_MAX]


def _created(text: str) -> tuple[str, ...]:
    """The columns of a CREATE TABLE, from the text after its first bracket."""
    found, depth, start, quote = [], 0, 0, ""
    for at, one in enumerate(text):
        if quote:
            quote = "" if one == quote else quote
        elif one in "'\"`":
            quote = one
        elif one == "(":
            depth += 1
        elif one == ")" and depth:
            depth -= 1
        elif (one == "," and not depth) or one == ")":
            column = _COLUMN.match(text, start, at)
            if column is not None and column[1].split(" ")[0].upper() not in _NO_COLUMN:
                found.append(column[1])
            start = at + 1
            if one == ")" or len(found) >= _COLUMNS_MAX:
                break
    return tuple(found)
