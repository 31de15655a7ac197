"""Cuts lines with separators into rows and cells: CSV with its quotes, combo lists, `URL:login:password`.

A cell is a span of the text; only cells of wanted columns are returned. Text that the kernels cannot parse becomes a
cell as it is; what is found in it decides whether the row names a person.
"""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.machine import between_at, bits_set, equal_at, lowest_bit

PLAIN, DOUBLED, BACKSLASHED = 0, 1, 2
"""The encodings of a cell: plain, with doubled quotes, with backslash escapes."""
ENDED, FULL, OTHER_SHAPE, UNFINISHED = 0, 1, 2, 3
"""Why reading stopped: the text ended, the arrays are full, a line of another shape follows, a record is incomplete."""
QUOTED_MAX = 1 << 16
"""The most bytes of a quoted cell. A quote whose end is farther away is an ordinary character."""

_NEWLINE, _RETURN, _BLANK, _BACKSLASH = np.uint8(10), np.uint8(13), np.uint8(32), np.uint8(92)
_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(nogil=True, cache=True, forceinline=True)
def other_shape(text, at):
    """True when a line begins as SQL or JSON does."""
    byte = text[at]
    if byte == 123:  # {
        after = text[at + 1]
        return after == 34 or after == 39 or after == 10
    if byte == 91:  # [
        return text[at + 1] == 123 or text[at + 1] == 10 or (text[at + 1] == 13 and text[at + 2] == 10)
    lower = byte | 32
    if lower == 105:  # insert
        return (
            (text[at + 1] | 32) == 110
            and (text[at + 2] | 32) == 115
            and (text[at + 3] | 32) == 101
            and ((text[at + 4] | 32) == 114 and (text[at + 5] | 32) == 116 and text[at + 6] <= 32)
        )
    if byte == 67:  # COPY, CREATE TABLE
        if text[at + 1] == 79:
            return text[at + 2] == 80 and text[at + 3] == 89 and text[at + 4] == 32
        return (
            text[at + 1] == 82
            and text[at + 2] == 69
            and text[at + 3] == 65
            and text[at + 4] == 84
            and (text[at + 5] == 69 and text[at + 6] == 32)
        )
    return False


@njit(nogil=True, cache=True, forceinline=True)
def _newline_from(text, at, stop):
    while at < stop:
        newline = equal_at(text, at, _NEWLINE)
        if newline != _ZERO:
            return min(stop, at + lowest_bit(newline))
        at += 64
    return stop


@njit(nogil=True, cache=True, forceinline=True)
def _either_from(text, at, stop, delimiter, more, base, marks):
    """The place of the next delimiter or newline, and the 64 bytes judged last: where they begin, and the bit mask of
    both in them."""
    while at < stop:
        if not 0 <= at - base < 64:
            base, marks = at, equal_at(text, at, _NEWLINE) | equal_at(text, at, delimiter)
        found = (marks >> np.uint64(at - base)) << np.uint64(at - base)
        while found != _ZERO:
            place = base + lowest_bit(found)
            if place >= stop:
                return stop, base, marks
            whole = True
            if text[place] != _NEWLINE:
                for ahead in range(len(more)):
                    whole &= text[place + 1 + ahead] == more[ahead]
            if whole:
                return place, base, marks
            found &= found - _ONE
        at = base + 64
    return stop, base, marks


@njit(nogil=True, cache=True, forceinline=True)
def _closing_quote(text, at, stop, quote, delimiter):
    """The place of the quote that ends a cell, the one before a separator or the line's end. -1: none within
    QUOTED_MAX."""
    limit = min(stop, at + QUOTED_MAX)
    while at < limit:
        found = equal_at(text, at, quote)
        if found == _ZERO:
            at += 64
            continue
        at += lowest_bit(found)
        if at >= limit:
            return -1
        after = at + 1
        if text[after] == quote:
            at += 2
            continue
        slashes = 0
        while text[at - 1 - slashes] == _BACKSLASH:
            slashes += 1
        while text[after] == _BLANK and text[after] != delimiter:
            after += 1
        byte = text[after]
        if after >= stop or byte == delimiter or byte == _NEWLINE or byte == _RETURN:
            if slashes % 2 == 0:
                return at
        at += 1
    return -1


@njit(nogil=True, cache=True, forceinline=True)
def _trimmed(text, start, end):
    while end > start and text[end - 1] <= 32:
        end -= 1
    while start < end and text[start] <= 32:
        start += 1
    return start, end


@njit(nogil=True, cache=True)
def read_rows(
    text, at, stop, line, delimiter, more, quote, tail, roles, final, row_starts, row_lines, row_cells, cell_rows,
    cell_columns, cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Cuts rows. Returns rows, cells, the place where it stopped, the line there, and why. Blank lines make no row.

    `roles` has one entry for each column, 0 for columns that are not wanted. `tail`: the last column holds the rest of
    the line. `more`: the bytes of a longer delimiter after its first.
    """
    rows, cells, columns = 0, 0, len(roles)
    room, cell_room = len(row_starts) - 1, len(cell_rows) - columns
    no_quote_before, base, marks = 0, at - 64, _ZERO
    while at < stop:
        if rows >= room or cells >= cell_room:
            return rows, cells, at, line, FULL
        if other_shape(text, at):
            return rows, cells, at, line, OTHER_SHAPE
        by_quotes = quote != 0
        while True:
            column, pos, held, first_cell, breaks, broken = 0, at, 0, cells, 0, False
            unfinished = False
            while True:
                start = pos
                form = PLAIN
                closed = -1
                if by_quotes:
                    opened = pos
                    while text[opened] == _BLANK and delimiter != _BLANK:
                        opened += 1
                    if text[opened] == quote and opened >= no_quote_before:
                        closed = _closing_quote(text, opened + 1, stop, quote, delimiter)
                        if closed < 0:
                            if not final and stop - opened < QUOTED_MAX:
                                unfinished = True
                                break
                            no_quote_before = min(stop, opened + QUOTED_MAX)
                if closed >= 0:
                    start = opened + 1
                    end = closed
                    for place in range(start, end, 64):
                        within = ~_ZERO if end - place >= 64 else (_ONE << np.uint64(end - place)) - _ONE
                        breaks += bits_set(equal_at(text, place, _NEWLINE) & within)
                        if equal_at(text, place, quote) & within:
                            form = DOUBLED
                        elif form == PLAIN and equal_at(text, place, _BACKSLASH) & within:
                            form = BACKSLASHED
                    pos = closed + 1
                    while text[pos] == _BLANK and delimiter != _BLANK:
                        pos += 1
                    if text[pos] == _RETURN and text[pos + 1] == _NEWLINE:
                        pos += 1
                elif tail and column == columns - 1:
                    pos = _newline_from(text, pos, stop)
                    end = pos
                else:
                    pos, base, marks = _either_from(text, pos, stop, delimiter, more, base, marks)
                    end = pos
                start, end = _trimmed(text, start, end)
                if end > start:
                    held = column + 1
                    if column < columns and roles[column]:
                        cell_rows[cells], cell_columns[cells] = rows, column
                        cell_starts[cells], cell_ends[cells], cell_forms[cells] = start, end, form
                        cells += 1
                column += 1
                if pos >= stop or text[pos] == _NEWLINE:
                    break
                pos += 1 + len(more)
            if unfinished:
                return rows, first_cell, at, line, UNFINISHED
            broken = breaks > 0 and held != columns
            if broken and by_quotes:  # a stray quote has swallowed lines
                by_quotes = False
                cells = first_cell
                continue
            break
        row_starts[rows], row_lines[rows], row_cells[rows] = at, line, column
        if held:
            rows += 1
        line += 1 + breaks
        at = pos + 1
    return rows, cells, min(at, stop), line, ENDED


@njit(nogil=True, cache=True, forceinline=True)
def _after_site(text, at, end, separator):
    """The place of the separator after the address of a site at the start of a line; -1: there is none."""
    scheme = -1
    for place in range(at, min(end, at + 24)):
        if text[place] == 58 and text[place + 1] == 47 and text[place + 2] == 47:
            scheme = place + 3
            break
        if not (48 <= text[place] <= 57 or 65 <= (text[place] & 0xDF) <= 90 or text[place] == 45):
            break
    pos = scheme if scheme > 0 else at
    while pos < end:
        if text[pos] == separator:
            if separator == 58:  # a port is part of the address
                after = pos + 1
                while after < end and 48 <= text[after] <= 57 and after - pos <= 5:
                    after += 1
                if pos < after - 1 and after < end and (text[after] == 47 or text[after] == 58):
                    slash = text[after] == 47
                    colons = 0
                    for rest in range(after, end):
                        colons += text[rest] == 58
                    if (slash and colons) or (not slash and colons >= 2):
                        pos = after
                        continue
            return pos
        pos += 1
    return -1


@njit(nogil=True, cache=True)
def read_sites(
    text, at, stop, line, separator, row_starts, row_lines, row_cells, cell_rows, cell_columns, cell_starts,
    cell_ends, cell_forms
):  # fmt: skip
    """Cuts lines into site, login and password, in this order (columns 0, 1, 2). Returns the same values as
    `read_rows`."""
    rows, cells = 0, 0
    room, cell_room = len(row_starts) - 1, len(cell_rows) - 4
    while at < stop:
        if rows >= room or cells >= cell_room:
            return rows, cells, at, line, FULL
        if other_shape(text, at):
            return rows, cells, at, line, OTHER_SHAPE
        end = _newline_from(text, at, stop)
        start, tail = _trimmed(text, at, end)
        held = 0
        if tail > start:
            first = _after_site(text, start, tail, separator)
            row_starts[rows], row_lines[rows] = at, line
            if first > 0:
                login = first + 1
                while login < tail and text[login] == separator and separator <= 32:
                    login += 1
                second = login
                while second < tail and text[second] != separator:
                    second += 1
                for column in range(3):
                    one = start if column == 0 else login if column == 1 else min(tail, second + 1)
                    two = first if column == 0 else second if column == 1 else tail
                    one, two = _trimmed(text, one, two)
                    if two > one:
                        cell_rows[cells], cell_columns[cells] = rows, column
                        cell_starts[cells], cell_ends[cells], cell_forms[cells] = one, two, PLAIN
                        cells += 1
                        held += 1
            row_cells[rows] = held
            rows += 1
        line += 1
        at = end + 1
    return rows, cells, min(at, stop), line, ENDED


@njit(nogil=True, cache=True)
def joined(text, starts, ends, out):
    """Copies spans to `out`, one on each line; line breaks within a span become blanks. Returns the number of bytes."""
    size = 0
    for span in range(len(starts)):
        for at in range(starts[span], ends[span]):
            byte = text[at]
            out[size] = _BLANK if byte == _NEWLINE or byte == _RETURN else byte
            size += 1
        out[size] = _NEWLINE
        size += 1
    return size


@njit(nogil=True, cache=True)
def _separates(byte):
    return byte in (58, 59, 44, 124, 9, 32)


@njit(nogil=True, cache=True, forceinline=True)
def _behind_mark(text, start, end):
    """The place behind a mark and its blanks, as `1. `, `- `, `[+] ` or a bullet; `start` where there is none."""
    at = start
    while at < end and 48 <= text[at] <= 57:
        at += 1
    if at > start:
        if text[at] != 46 and text[at] != 41:
            return start
        at += 1
    else:
        while (
            at < end
            and at - start < 12
            and not (
                text[at] <= 32
                or text[at] in (34, 39, 60, 64, 95)
                or 48 <= text[at] <= 57
                or 65 <= (text[at] & 0xDF) <= 90
            )
        ):
            at += 1
    if at == start or at >= end or text[at] > 32:
        return start
    while at < end and text[at] <= 32:
        at += 1
    return at if at < end else start


@njit(nogil=True, cache=True)
def read_combo(
    text, at, stop, line, row_starts, row_lines, row_cells, cell_rows, cell_columns, cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Cuts lines at their first separator of any kind, and strips quotes from the part before it. Returns the same
    values as `read_rows`."""
    rows, cells = 0, 0
    room, cell_room = len(row_starts) - 1, len(cell_rows) - 2
    while at < stop:
        if rows >= room or cells >= cell_room:
            return rows, cells, at, line, FULL
        if other_shape(text, at):
            return rows, cells, at, line, OTHER_SHAPE
        newline = _newline_from(text, at, stop)
        start, end = _trimmed(text, at, newline)
        start = _behind_mark(text, start, end)
        while start < end and text[start] in (34, 39, 60, 32):
            start += 1
        if start < end:
            row_starts[rows], row_lines[rows], row_cells[rows] = at, line, 1
            first = start
            while first < end and not _separates(text[first]):
                first += 1
            tail = first
            while tail > start and text[tail - 1] in (34, 39, 62):
                tail -= 1
            rest, _ = _trimmed(text, min(end, first + 1), end)
            for column in range(2):
                one, two = (start, tail) if column == 0 else (rest, end)
                if two > one:
                    cell_rows[cells], cell_columns[cells] = rows, column
                    cell_starts[cells], cell_ends[cells], cell_forms[cells] = one, two, PLAIN
                    cells += 1
                    row_cells[rows] = column + 1
            rows += 1
        line += 1
        at = newline + 1
    return rows, cells, min(at, stop), line, ENDED


@njit(nogil=True, cache=True)
def find_controls(text, starts, ends, found):
    """Sets `found` to True for each span with a control character, other than blanks, in its first line."""
    for span in range(len(starts)):
        found[span] = False
        for at in range(starts[span], ends[span]):
            byte = text[at]
            if byte == _NEWLINE:
                break
            if byte < 9 or 13 < byte < 32 or byte == 127:
                found[span] = True
                break


@njit(nogil=True, cache=True)
def filled_lines(text, start, end):
    """The number of non-blank lines between two places."""
    count, filled = 0, False
    for at in range(start, end, 64):
        newline, held = equal_at(text, at, _NEWLINE), between_at(text, at, np.uint8(33), np.uint8(223))
        if end - at < 64:
            within = (_ONE << np.uint64(end - at)) - _ONE
            newline, held = newline & within, held & within
        while newline != _ZERO:
            before = (newline & (~newline + _ONE)) - _ONE
            count += filled or (held & before) != _ZERO
            filled = False
            held &= ~before
            newline &= newline - _ONE
        filled |= held != _ZERO
    return count + filled


@njit(nogil=True, cache=True)
def unread_lines(text, at, stop, line, count):
    """The place after `count` lines, or earlier where a line begins as SQL or JSON does, and the line there."""
    while count > 0 and at < stop:
        newline = _newline_from(text, at, stop)
        if newline >= stop:
            return stop, line
        at, line = newline + 1, line + 1
        count -= 1
        if at < stop and other_shape(text, at):
            break
    return at, line
