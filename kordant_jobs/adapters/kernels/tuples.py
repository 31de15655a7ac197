"""Cuts the tuples of an INSERT into cells, in the dialects of MySQL, PostgreSQL, SQLite, SQL Server and Oracle."""

from numba import njit

from kordant_jobs.adapters.kernels.cells import (
    BACKSLASHED,
    DOUBLED,
    ENDED,
    FULL,
    OTHER_SHAPE,
    PLAIN,
    UNFINISHED,
    _trimmed,
    other_shape,
)
from kordant_jobs.adapters.kernels.names import _slot, name_hash

HEXADECIMAL = 3
TUPLE_MAX = 4 << 20
"""The most bytes of a tuple; a longer one counts as damaged."""


@njit(nogil=True, cache=True, forceinline=True)
def _string_end(text, at, stop, quote, escapes):
    """The place of the quote that ends a string, its encoding, and its line breaks. -1: not in this text; -2: a
    statement begins within it, so its closing quote is missing."""
    form, breaks = PLAIN, 0
    while at < stop:
        byte = text[at]
        if byte == 92:
            after = text[at + 1]
            if after == quote and not escapes:  # 'C:\\' in SQLite and its like, 'it\\'s' in MySQL
                behind = at + 2
                while text[behind] == 32:
                    behind += 1
                if behind >= stop or text[behind] == 44 or text[behind] == 41:
                    return at + 1, form, breaks
            form = BACKSLASHED
            at += 2
            continue
        if byte == quote:
            if text[at + 1] != quote:
                return at, form, breaks
            form = max(form, DOUBLED)
            at += 2
            continue
        if byte == 10:
            breaks += 1
            if other_shape(text, at + 1) and (text[at + 1] | 32) == 105:
                return -2, form, breaks
        at += 1
    return -1, form, breaks


@njit(nogil=True, cache=True, forceinline=True)
def _begins_with(text, at, stop, head):
    size = len(head)
    if at + size > stop:
        return False
    for place in range(size):
        if text[at + place] != head[place]:
            return False
    return True


@njit(nogil=True, cache=True, forceinline=True)
def _skip_blank(text, at, stop, line):
    while at < stop and text[at] <= 32:
        line += text[at] == 10
        at += 1
    return at, line


@njit(nogil=True, cache=True)
def read_tuples(
    text, at, stop, line, roles, escapes, head, final, row_starts, row_lines, row_cells, cell_rows, cell_columns,
    cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Cuts the tuples from `at` on, and those of each later statement that begins with `head`. Returns rows, cells, the
    place where it stopped, the line there, why (OTHER_SHAPE: after the last tuple), and the number of damaged tuples.

    `row_cells` counts all values of a tuple.
    """
    rows, cells, damaged, columns = 0, 0, 0, len(roles)
    room, cell_room = len(row_starts) - 1, len(cell_rows) - columns
    while True:
        at, line = _skip_blank(text, at, stop, line)
        if at >= stop:
            return rows, cells, stop, line, ENDED, damaged
        if rows >= room or cells >= cell_room:
            return rows, cells, at, line, FULL, damaged
        byte = text[at]
        if byte == 44:
            at += 1
            continue
        if byte != 40:
            behind, behind_line = at, line
            if byte == 59:
                behind, behind_line = _skip_blank(text, at + 1, stop, line)
            if (text[behind] | 32) == 103 and (text[behind + 1] | 32) == 111 and text[behind + 2] <= 32:  # GO
                behind, behind_line = _skip_blank(text, behind + 2, stop, behind_line)
            if not final and behind + len(head) > stop:
                return rows, cells, at, line, UNFINISHED, damaged
            if not _begins_with(text, behind, stop, head):
                return rows, cells, behind, behind_line, OTHER_SHAPE, damaged
            at, line = behind + len(head), behind_line
            continue
        first_cell, first_line, start = cells, line, at
        at += 1
        column, depth, value, string, string_end, form = 0, 0, at, -1, -1, PLAIN
        whole = False
        while at < stop:
            byte = text[at]
            if byte == 39 or byte == 34:
                end, written, breaks = _string_end(text, at + 1, stop, byte, escapes)
                if end < 0:
                    if end == -2:
                        at += 1
                        while text[at] != 10:
                            at += 1
                        line += 1
                        at += 1
                        break
                    at = stop
                    break
                line += breaks
                if string < 0:
                    string, string_end, form = at + 1, end, written
                    if text[at - 1] | 32 == 120:
                        form = HEXADECIMAL
                at = end + 1
                continue
            if byte == 10:
                line += 1
            elif byte == 40:
                depth += 1
            elif (byte == 44 and depth == 0) or byte == 41:
                if depth:
                    depth -= 1
                    at += 1
                    continue
                if column < columns and roles[column]:
                    begin, end = _trimmed(text, value, at)
                    if string >= 0:
                        begin, end = _trimmed(text, string, string_end)
                    elif text[begin] == 48 and (text[begin + 1] | 32) == 120:
                        begin, form = begin + 2, HEXADECIMAL
                    elif text[begin] == 36 and text[begin + 1] == 36 and text[end - 1] == 36 and end - begin > 4:
                        begin, end = begin + 2, end - 2  # $$…$$ of PostgreSQL
                    elif end - begin == 4 and (text[begin] | 32) == 110 and (text[begin + 1] | 32) == 117:
                        end = begin
                    if end > begin:
                        cell_rows[cells], cell_columns[cells] = rows, column
                        cell_starts[cells], cell_ends[cells], cell_forms[cells] = begin, end, form
                        cells += 1
                column += 1
                at += 1
                value, string, form = at, -1, PLAIN
                if byte == 41:
                    whole = True
                    break
                continue
            at += 1
        if whole:
            row_starts[rows], row_lines[rows], row_cells[rows] = start, first_line, column
            rows += 1
            continue
        cells = first_cell
        if at >= stop:
            if not final and stop - start < TUPLE_MAX:
                return rows, cells, start, first_line, UNFINISHED, damaged
            at, line = start + 1, first_line
            while at < stop and text[at] != 10:
                at += 1
            damaged += 1
            return rows, cells, at, line, OTHER_SHAPE, damaged
        damaged += 1


@njit(nogil=True, cache=True)
def statement_end(text, at, stop, escapes):
    """The end of a statement (after its ';'), and its number of line breaks; -1: not in this text."""
    breaks = 0
    while at < stop:
        byte = text[at]
        if byte == 39 or byte == 34 or byte == 96:
            end, _, within = _string_end(text, at + 1, stop, byte, escapes)
            if end < 0:
                at += 1
                continue
            breaks += within
            at = end + 1
            continue
        if byte == 59:
            return at + 1, breaks
        breaks += byte == 10
        at += 1
    return -1, breaks


@njit(nogil=True, cache=True)
def read_assignments(
    text, at, stop, line, names, codes, escapes, head, final, row_starts, row_lines, row_cells, cell_rows, cell_columns,
    cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Cuts `name = value, …;` from `at` on, and the later statements with the same `head`. Returns the same values as
    `read_tuples`; columns are roles."""
    rows, cells, damaged = 0, 0, 0
    room, cell_room = len(row_starts) - 1, len(cell_rows) - 512
    while at < stop:
        if rows >= room or cells >= cell_room:
            return rows, cells, at, line, FULL, damaged
        start, first_line, first_cell, held, whole = at, line, cells, 0, False
        while at < stop and held < 500:
            at, line = _skip_blank(text, at, stop, line)
            name = at
            while at < stop and text[at] != 61 and text[at] != 59:
                line += text[at] == 10
                at += 1
            if at >= stop or text[at] == 59:
                whole = at < stop
                break
            role = codes[_slot(names, name_hash(text, name, at))]
            at += 1
            value, string, string_end, form, depth = at, -1, -1, PLAIN, 0
            while at < stop:
                byte = text[at]
                if byte == 39 or byte == 34:
                    end, written, breaks = _string_end(text, at + 1, stop, byte, escapes)
                    if end < 0:
                        at = stop
                        break
                    line += breaks
                    if string < 0:
                        string, string_end, form = at + 1, end, written
                    at = end + 1
                    continue
                line += byte == 10
                depth += (byte == 40) - (byte == 41)
                if depth <= 0 and (byte == 44 or byte == 59):
                    break
                at += 1
            if at >= stop and not final:
                break
            begin, end = _trimmed(text, value, at)
            if string >= 0:
                begin, end = _trimmed(text, string, string_end)
            elif end - begin > 2 and text[begin] == 48 and (text[begin + 1] | 32) == 120:
                begin, form = begin + 2, HEXADECIMAL
            elif end - begin == 4 and (text[begin] | 32) == 110 and (text[begin + 1] | 32) == 117:
                end = begin
            if role and end > begin:
                cell_rows[cells], cell_columns[cells] = rows, role
                cell_starts[cells], cell_ends[cells], cell_forms[cells] = begin, end, form
                cells += 1
            held += 1
            if at >= stop or text[at] == 59:
                whole = True
                break
            at += 1
        if not whole and not final and stop - start < TUPLE_MAX:
            return rows, first_cell, start, first_line, UNFINISHED, damaged
        row_starts[rows], row_lines[rows], row_cells[rows] = start, first_line, held
        rows += 1
        behind, behind_line = _skip_blank(text, min(stop, at + 1), stop, line)
        if not final and behind + len(head) > stop:
            return rows, cells, behind, behind_line, ENDED, damaged
        if not _begins_with(text, behind, stop, head):
            return rows, cells, behind, behind_line, OTHER_SHAPE, damaged
        at, line = behind + len(head), behind_line
    return rows, cells, min(at, stop), line, ENDED, damaged
