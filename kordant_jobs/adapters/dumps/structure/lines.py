"""Reads lines with separators, as a layout describes them."""

from __future__ import annotations

import numpy as np

from kordant_jobs.adapters.dumps.detect import TITLE_LINES
from kordant_jobs.adapters.dumps.model import IDENTIFYING, DumpShape, Layout, Role
from kordant_jobs.adapters.dumps.parts import CODES, Part
from kordant_jobs.adapters.dumps.window import Places, Window, decoded

_AS_COLUMNS = (Role.SITE, Role.LOGIN, Role.PASSWORD)
_ROW_BYTES, _CELL_BYTES = 12, 6
"""The bytes of text for which the arrays have room for one row and one cell. When they fill up, the rest is read in the
next call."""
_AHEAD_MIN, _AHEAD_MAX = 1 << 18, 1 << 21
"""The bytes of text that arrays are sized for: at first, since the text may soon continue in another shape; and at
most, since rows may be short."""


class LineReader:
    """Reads lines by one layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.name = str(layout.shape)
        roles = [column.role for column in layout.columns]
        self._roles = np.array([0 if role is Role.OTHER else CODES[role] for role in roles], np.uint8)
        self._ahead = _AHEAD_MIN
        self._tail = roles[-1] in (Role.PASSWORD, Role.HASH) or layout.shape is DumpShape.PLAIN
        self._any = layout.is_usual_combo
        identifying = [at for at, role in enumerate(roles) if role in IDENTIFYING]
        self._needed = identifying[0] + 1 if layout.delimiter and identifying and not self._any else 0
        self._codes, self._begun = self._roles, False
        self._delimiter = np.frombuffer((layout.delimiter or "\n").encode(), np.uint8)
        if layout.shape is DumpShape.SITE_LOGIN:
            self._needed = 3
            self._codes = np.array([CODES[role] for role in _AS_COLUMNS], np.uint8)

    def read(self, window: Window, at: int, line: int) -> Part:
        """The rows from `at` on."""
        from kordant_jobs.adapters.kernels import cells as kernel

        size = min(window.stop - at, self._ahead)
        rows_room, cells_room = size // _ROW_BYTES + 64, size // _CELL_BYTES + 64 + len(self._roles)
        row_starts, row_lines, row_cells = (np.empty(rows_room, np.int64) for _ in range(3))
        cell_rows, cell_columns, cell_starts, cell_ends = (np.empty(cells_room, np.int64) for _ in range(4))
        forms = np.empty(cells_room, np.uint8)
        room = (row_starts, row_lines, row_cells, cell_rows, cell_columns, cell_starts, cell_ends, forms)
        layout = self.layout
        delimiter, more = self._delimiter[0], self._delimiter[1:]
        if layout.shape is DumpShape.SITE_LOGIN and not len(more):
            found = kernel.read_sites(window.bytes, at, window.stop, line, delimiter, *room)
        elif self._any:
            found = kernel.read_combo(window.bytes, at, window.stop, line, *room)
        else:
            quote = np.uint8(ord(layout.quote) if layout.quote else 0)
            found = kernel.read_rows(
                window.bytes,
                at,
                window.stop,
                line,
                delimiter,
                more,
                quote,
                self._tail,
                self._roles,
                window.final,
                *room,
            )
        rows, cells, end, end_line, why = found
        if why == kernel.FULL:
            self._ahead = min(4 * self._ahead, _AHEAD_MAX)
        elif end < window.stop:
            self._ahead = _AHEAD_MIN
        columns = cell_columns[:cells]
        roles = self._codes[columns]
        headers = self._headers(window, row_starts[:rows], end)
        for header in headers.tolist():
            first, last = np.searchsorted(cell_rows[:cells], [header, header + 1])
            roles[first:last] = 0
        fits = None
        if self._needed:
            width = np.inf if self._tail else len(layout.columns) + 1  # a separator at the end makes one more
            fits = (row_cells[:rows] >= self._needed) & (row_cells[:rows] <= width)
        return Part(
            reader=self.name,
            start=at,
            end=end,
            line=line,
            end_line=end_line,
            row_starts=row_starts[:rows],
            row_lines=row_lines[:rows],
            fits=fits,
            cell_rows=cell_rows[:cells],
            cell_roles=roles,
            cell_starts=cell_starts[:cells],
            cell_ends=cell_ends[:cells],
            cell_forms=forms[:cells],
            headers=headers if len(headers) else None,
            leaves=why == kernel.OTHER_SHAPE,
            waits=why == kernel.UNFINISHED,
        )

    def _headers(self, window: Window, starts: Places, end: int) -> Places:
        """The rows that are the header, also where it is repeated."""
        header = self.layout.header.encode()
        if not header or not len(starts):
            return np.empty(0, np.int64)
        rows = np.arange(len(starts))
        for ahead in range(min(6, len(header))):
            rows = rows[window.bytes[starts[rows] + ahead] == header[ahead]]
        found = []
        for row in sorted({0, *rows.tolist()}):
            stop = int(starts[row + 1]) if row + 1 < len(starts) else end
            if decoded(window.slice(int(starts[row]), stop)).strip("\ufeff\r\n\t #") == self.layout.header:
                found.append(row)
        if not self._begun and found and found[0] <= TITLE_LINES:  # what stands above it is a title
            found = [*range(found[0]), *found]
        self._begun = True
        return np.array(found, np.int64)
