"""Reads XML by its elements and attributes, and PHP by its arrays, serialised or as source. A row is what has named
values: an element that contains elements or has attributes, or an array. Names are compared as in `kernels.names`.

Reading starts with nothing open, at any place. It stops, if possible, where a record has just ended at the lowest
depth. So no stack passes from one window to the next, and records stay whole where a window has room for one.
"""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.cells import (
    BACKSLASHED,
    ENDED,
    FULL,
    OTHER_SHAPE,
    PLAIN,
    UNFINISHED,
    _trimmed,
)
from kordant_jobs.adapters.kernels.machine import equal_at, lowest_bit
from kordant_jobs.adapters.kernels.names import _slot, name_hash

ENTITIES = 5
DEPTH_MAX, CLOSED_MAX = 256, 32
"""The most open elements, and the number of innermost ones among which an end tag finds its own; otherwise it ends
none."""
NAME_MAX = 128

_ZERO = np.uint64(0)
_ROW, _START, _LINE, _ROLE, _CONTENT, _NAME, _LEAF = range(7)
WORDS = 7
"""The values kept for an open element: its row or -1, its start, the line there, its role, the start of its content,
the hash of its name, whether its content is text only."""


@njit(nogil=True, cache=True, forceinline=True)
def _found_from(text, at, stop, first, second, third):
    """The next place of three bytes; -1: there is none before `stop`."""
    while at < stop:
        found = equal_at(text, at, first) & equal_at(text, at + 1, second) & equal_at(text, at + 2, third)
        if found != _ZERO:
            place = at + lowest_bit(found)
            return place if place < stop else -1
        at += 64
    return -1


@njit(nogil=True, cache=True, forceinline=True)
def _lines_between(text, at, stop):
    count = 0
    for place in range(at, stop):
        count += text[place] == 10
    return count


@njit(nogil=True, cache=True)
def _is_name(byte):
    return 48 <= byte <= 57 or 65 <= (byte & 0xDF) <= 90 or byte >= 128 or byte in (45, 46, 58, 95)


@njit(nogil=True, cache=True, forceinline=True)
def _role_of(text, start, end, names, codes):
    """The role of a name: of the whole name, else of the part after its prefix ('ns:email')."""
    role = codes[_slot(names, name_hash(text, start, end))]
    if role == 0:
        for at in range(start, min(end, start + NAME_MAX)):
            if text[at] == 58:
                role = codes[_slot(names, name_hash(text, at + 1, end))]
    return role


@njit(nogil=True, cache=True, forceinline=True)
def _value_form(text, start, end):
    for at in range(start, end):
        if text[at] == 38:
            return ENTITIES
    return PLAIN


@njit(nogil=True, cache=True)
def _names_a_field(text, start, end):
    """True when an attribute's name is one that names the field of its element: name, key, field, column."""
    size, first = end - start, text[start] | 32
    if size == 4:
        return first == 110 and (text[start + 1] | 32) == 97 and (text[start + 2] | 32) == 109
    if size == 3:
        return first == 107 and (text[start + 1] | 32) == 101 and (text[start + 2] | 32) == 121
    return (size == 5 and first == 102 and (text[start + 1] | 32) == 105) or (
        size == 6 and first == 99 and (text[start + 1] | 32) == 111 and (text[start + 2] | 32) == 108
    )


@njit(nogil=True, cache=True)
def read_xml(
    text, at, stop, line, final, names, codes, stack, row_starts, row_ends, row_lines, row_parents, cell_rows,
    cell_roles, cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Reads elements. Returns rows, cells, the place where it stopped, the line there, why, and the number of damaged
    elements."""
    rows, cells, damaged, depth = 0, 0, 0, 0
    room, cell_room = len(row_starts) - 4, len(cell_rows) - 4
    safe, safe_depth = (0, 0, at, line, 0), DEPTH_MAX + 1
    begin, half, no_end_before = at, (stop - at) // 2, at
    full = False
    while at < stop:
        if rows >= room or cells >= cell_room:
            full = True
            break
        byte = text[at]
        if byte != 60:
            if byte == 10:
                line += 1
                at += 1
                if depth == 0:
                    place = at
                    while place < stop and (text[place] == 32 or text[place] == 9 or text[place] == 13):
                        place += 1
                    if place < stop and text[place] != 60 and text[place] != 10:
                        return rows, cells, at, line, OTHER_SHAPE, damaged
                continue
            found = equal_at(text, at, np.uint8(60)) | equal_at(text, at, np.uint8(10))
            at = at + lowest_bit(found) if found != _ZERO else at + 64
            continue
        second = text[at + 1]
        if second == 33 or second == 63:  # a comment, CDATA, a declaration
            end = np.int64(-1)
            is_data = text[at + 2] == 91
            if at >= no_end_before:
                if second == 63:
                    end = _found_from(text, at + 2, stop, np.uint8(63), np.uint8(62), text[at + 1])
                    close = equal_at(text, at + 2, np.uint8(62))
                    end = at + 2 + lowest_bit(close) + 1 if close != _ZERO else end
                elif text[at + 2] == 45:
                    end = _found_from(text, at + 4, stop, np.uint8(45), np.uint8(45), np.uint8(62))
                    end = end + 3 if end >= 0 else end
                elif is_data:
                    end = _found_from(text, at + 9, stop, np.uint8(93), np.uint8(93), np.uint8(62))
                    end = end + 3 if end >= 0 else end
                else:
                    end = at + 2
                    while end < stop and text[end] != 62 and text[end] != 60:
                        end += 1
                    end += 1
                if end < 0:
                    if not final:
                        break
                    no_end_before = stop
                elif end > stop:
                    end = stop
            if end < 0:
                damaged += 1
                at += 1
                continue
            line += _lines_between(text, at, end)
            at = end
            continue
        if second == 47:  # an end tag
            start = at + 2
            end = start
            while end < stop and end - start < NAME_MAX and _is_name(text[end]):
                end += 1
            close = end
            while close < stop and text[close] <= 32:
                close += 1
            if close >= stop and not final:
                break
            wanted = name_hash(text, start, end)
            level = depth - 1
            while level >= 0 and level >= depth - CLOSED_MAX and np.uint64(stack[level, _NAME]) != wanted:
                level -= 1
            if level < 0 or level < depth - CLOSED_MAX:
                at = end
                continue
            if level == depth - 1 and stack[level, _LEAF] and stack[level, _ROLE] and level > 0:
                first, last = _trimmed(text, stack[level, _CONTENT], at)
                if last - first > 12 and text[first] == 60 and text[first + 1] == 33 and text[last - 1] == 62:
                    first, last = _trimmed(text, first + 9, last - 3)
                    form = PLAIN
                else:
                    form = _value_form(text, first, last)
                if last > first:
                    cell_rows[cells], cell_roles[cells] = stack[level - 1, _ROW], stack[level, _ROLE]
                    cell_starts[cells], cell_ends[cells], cell_forms[cells] = first, last, form
                    cells += 1
            for above in range(level, depth):
                if stack[above, _ROW] >= 0:
                    row_ends[stack[above, _ROW]] = close + 1
            has_row = stack[level, _ROW] >= 0
            depth = level
            at = min(close + 1, stop)
            line += _lines_between(text, end, at)
            if has_row and not final and (depth <= safe_depth or at - safe[2] > half):
                safe, safe_depth = (rows, cells, at, line, damaged), depth
            continue
        if not _is_name(second) or second in (45, 46) or 48 <= second <= 57:
            at += 1
            continue
        # a start tag: its name, then its attributes
        start, start_line = at, line
        end = at + 1
        while end < stop and end - start <= NAME_MAX and _is_name(text[end]):
            end += 1
        role = _role_of(text, start + 1, end, names, codes)
        tag = name_hash(text, start + 1, end)
        if depth >= DEPTH_MAX:
            damaged += 1
            depth = 0
        if depth and stack[depth - 1, _ROW] < 0:
            above = depth - 1
            row_starts[rows], row_lines[rows] = stack[above, _START], stack[above, _LINE]
            row_ends[rows], row_parents[rows] = stop, stack[above - 1, _ROW] if above else -1
            stack[above, _ROW] = rows
            rows += 1
        if depth:
            stack[depth - 1, _LEAF] = 0
        own, whole, closed, cells_before, rows_before = -1, False, False, cells, rows
        pos = end
        while pos < stop:
            byte = text[pos]
            if byte == 62:
                whole = True
                break
            if byte == 60:
                break
            if byte == 47 and text[pos + 1] == 62:
                whole, closed = True, True
                pos += 1
                break
            if byte <= 32 or not _is_name(byte):
                line += byte == 10
                pos += 1
                continue
            key = pos
            while pos < stop and _is_name(text[pos]):
                pos += 1
            key_end = pos
            while pos < stop and text[pos] <= 32:
                line += text[pos] == 10
                pos += 1
            if text[pos] != 61:
                continue
            pos += 1
            while pos < stop and text[pos] <= 32:
                line += text[pos] == 10
                pos += 1
            quote = text[pos]
            if quote == 34 or quote == 39:
                pos += 1
                value = pos
                while pos < stop and text[pos] != quote and text[pos] != 60:
                    line += text[pos] == 10
                    pos += 1
                if text[pos] != quote:
                    break
                value_end = pos
                pos += 1
            else:
                value = pos
                while pos < stop and text[pos] > 32 and text[pos] != 62 and text[pos] != 60:
                    pos += 1
                value_end = pos
            if key_end - key > NAME_MAX or cells >= cell_room + 3:
                continue
            if role == 0 and value_end - value <= NAME_MAX and _names_a_field(text, key, key_end):
                role = codes[_slot(names, name_hash(text, value, value_end))]
                if role:
                    continue
            of_key = _role_of(text, key, key_end, names, codes)
            first, last = _trimmed(text, value, value_end)
            if of_key and last > first:
                if own < 0:
                    own = rows
                    row_starts[rows], row_lines[rows], row_ends[rows] = start, start_line, stop
                    row_parents[rows] = stack[depth - 1, _ROW] if depth else -1
                    rows += 1
                cell_rows[cells], cell_roles[cells] = own, of_key
                cell_starts[cells], cell_ends[cells] = first, last
                cell_forms[cells] = _value_form(text, first, last)
                cells += 1
        if not whole:
            cells, rows = cells_before, rows_before
            if pos >= stop and not final:
                line = start_line
                break
            damaged += 1
            at = max(pos, start + 1)
            continue
        at = pos + 1
        if closed:
            if own >= 0:
                row_ends[own] = at
                if not final and (depth <= safe_depth or at - safe[2] > half):
                    safe, safe_depth = (rows, cells, at, line, damaged), depth
            continue
        stack[depth, _ROW], stack[depth, _START], stack[depth, _LINE] = own, start, start_line
        stack[depth, _ROLE], stack[depth, _CONTENT], stack[depth, _LEAF] = role, at, 1
        stack[depth, _NAME] = np.int64(tag)
        depth += 1
    at = min(at, stop)
    if full and safe[2] == begin:
        return rows, cells, at, line, FULL, damaged
    if full or not final:
        return safe[0], safe[1], safe[2], safe[3], FULL if full else UNFINISHED, safe[4]
    return rows, cells, at, line, ENDED, damaged


@njit(nogil=True, cache=True, forceinline=True)
def _php_string(text, at, stop, quote):
    """The place where a string ends, or -1; and its encoding."""
    form = PLAIN
    while at < stop:
        byte = text[at]
        if byte == quote:
            return at, form
        if byte == 92:
            form = BACKSLASHED
            at += 1
        at += 1
    return -1, form


@njit(nogil=True, cache=True, forceinline=True)
def _serialised_end(text, at, stop, size):
    """The place of the quote that ends a string of `size` bytes from `at` on; where the size is wrong, of the next
    quote that may end it. Otherwise -1. The second value is the place up to which there is none."""
    if at + size < stop and text[at + size] == 34 and (text[at + size + 1] == 59 or text[at + size + 1] == 58):
        return at + size, at
    end = at
    while end < stop and end - at <= (1 << 16):
        if text[end] == 34 and text[end + 1] == 59:
            return end, at
        if text[end] == 10:
            break
        end += 1
    return -1, end


@njit(nogil=True, cache=True)
def read_php(
    text, at, stop, line, final, names, codes, stack, row_starts, row_ends, row_lines, row_parents, cell_rows,
    cell_roles, cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Read arrays: `a:1:{s:5:"email";…}`, `array('email' => …)`, `['email' => …]`. Returns the same as `read_xml`."""
    rows, cells, damaged, depth = 0, 0, 0, 0
    room, cell_room = len(row_starts) - 4, len(cell_rows) - 4
    safe, safe_depth = (0, 0, at, line, 0), DEPTH_MAX + 1
    begin, half, no_end_before = at, (stop - at) // 2, at
    full, no_close_before = False, at
    role, pending = np.uint8(0), False  # of the name that was read last
    while at < stop:
        if rows >= room or cells >= cell_room:
            full = True
            break
        byte = text[at]
        if byte == 10:
            line += 1
            at += 1
            continue
        if byte == 123 or byte == 40 or byte == 91:
            if depth >= DEPTH_MAX:
                damaged += 1
                depth = 0
            row_starts[rows], row_lines[rows], row_ends[rows] = at, line, stop
            row_parents[rows] = stack[depth - 1, _ROW] if depth else -1
            stack[depth, _ROW], stack[depth, _LEAF], stack[depth, _ROLE] = rows, byte == 123, role
            rows += 1
            depth += 1
            role, pending = np.uint8(0), False
            at += 1
            continue
        if byte == 125 or byte == 41 or byte == 93:
            at += 1
            if depth:
                depth -= 1
                row_ends[stack[depth, _ROW]] = at
                role, pending = np.uint8(0), False
                if not final and (depth <= safe_depth or at - safe[2] > half):
                    safe, safe_depth = (rows, cells, at, line, damaged), depth
            continue
        start, end, form, quoted, behind = at, np.int64(-1), PLAIN, False, at + 1
        if byte == 34 or byte == 39:
            if at >= no_end_before:
                end, form = _php_string(text, at + 1, stop, byte)
                if end < 0:
                    if not final:
                        break
                    no_end_before = stop
            if end < 0:
                damaged += 1
                at += 1
                continue
            start, quoted, behind = at + 1, True, end + 1
        elif byte == 115 and text[at + 1] == 58:  # s:5:"email";
            place, size = at + 2, np.int64(0)
            while place < stop and 48 <= text[place] <= 57 and place - at < 12:
                size = size * 10 + text[place] - 48
                place += 1
            if place + 2 >= stop and not final:
                break
            if text[place] == 58 and text[place + 1] == 34:
                if place < no_close_before:
                    damaged += 1
                    at = place + 2
                    continue
                end, no_close_before = _serialised_end(text, place + 2, stop, size)
                if end < 0:
                    if not final and place + 2 + size >= stop and size < (1 << 20):
                        break
                    damaged += 1
                    at = place + 2
                    continue
                start, quoted, behind = place + 2, True, end + 1
        elif (byte == 105 or byte == 100) and text[at + 1] == 58:  # i:5;
            start, end = at + 2, at + 2
            while end < stop and end - at < 40 and text[end] != 59:
                end += 1
            quoted, behind = text[end] == 59, end + 1
        elif byte == 61 and text[at + 1] == 62:
            pending = True
            at += 2
            continue
        elif byte == 44:
            role, pending = np.uint8(0), False
            at += 1
            continue
        elif 48 <= byte <= 57 and depth and not stack[depth - 1, _LEAF]:
            end = at
            while end < stop and 48 <= text[end] <= 57:
                end += 1
            quoted, behind = True, end
        elif depth and stack[depth - 1, _LEAF] and byte == 59 and pending and text[at - 1] != 34:
            role, pending = np.uint8(0), False  # N; as a value
            at += 1
            continue
        if not quoted:
            at += 1
            continue
        if behind > stop and not final:
            break
        is_value = pending and depth > 0
        if depth and not is_value:
            role = codes[_slot(names, name_hash(text, start, min(end, start + NAME_MAX)))]
            pending = stack[depth - 1, _LEAF] != 0
        elif is_value:
            first, last = _trimmed(text, start, end)
            if role and last > first:
                cell_rows[cells], cell_roles[cells] = stack[depth - 1, _ROW], role
                cell_starts[cells], cell_ends[cells], cell_forms[cells] = first, last, form
                cells += 1
            role, pending = np.uint8(0), False
        line += _lines_between(text, at, min(behind, stop))
        at = behind
        if depth and stack[depth - 1, _LEAF] and text[at] == 59:
            at += 1
    at = min(at, stop)
    if full and safe[2] == begin:
        return rows, cells, at, line, FULL, damaged
    if full or not final:
        return safe[0], safe[1], safe[2], safe[3], FULL if full else UNFINISHED, safe[4]
    return rows, cells, at, line, ENDED, damaged
