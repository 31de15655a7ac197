"""Reads JSON at any depth: a cell is a value whose name has a role."""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.cells import (
    BACKSLASHED,
    ENDED,
    FULL,
    OTHER_SHAPE,
    PLAIN,
    UNFINISHED,
    _newline_from,
    _trimmed,
)
from kordant_jobs.adapters.kernels.names import _IN_LABEL, _slot, name_hash

OBJECT, ARRAY = 1, 2
DEPTH_MAX = 256
STRING_MAX = 8 << 20


@njit(nogil=True, cache=True, forceinline=True)
def _json_string(text, at, stop, quote):
    """The place where the string ends (-1: not in this text, -2: there is a line break in it), and its encoding."""
    form = PLAIN
    while at < stop:
        byte = text[at]
        if byte == quote:
            return at, form
        if byte == 92:
            form = BACKSLASHED
            at += 2
            continue
        if byte == 10:
            return -2, form
        at += 1
    return -1, form


@njit(nogil=True, cache=True, forceinline=True)
def _holds_value(text, start, end):
    """True for a name below which the value of the name above stands: "S" (DynamoDB), "value"."""
    size = end - start
    if size == 1:
        return text[start] == 83
    return (
        size == 5 and text[start] == 118 and text[start + 1] == 97 and text[start + 2] == 108 and text[end - 1] == 101
    )


@njit(nogil=True, cache=True)
def _is_handle(text, start, end):
    """True for a key that may be a login: short, or with an '@', and from a letter on. Databases' own keys are numbers,
    long, begin with a '-', or are one letter and a number."""
    good, limit = end - start >= 3 and 65 <= (text[start] & 0xDF) <= 90, 19
    good &= not 48 <= text[start + 1] <= 57
    for at in range(start, min(end, start + 65)):
        good &= _IN_LABEL[text[at]] == 1 or text[at] in (43, 45, 46, 64, 95)
        limit = 64 if text[at] == 64 else limit
    return good and end - start <= limit


@njit(nogil=True, cache=True)
def _at_safe(safe, safe_depth, stack, safe_stack, here):
    if safe_depth > DEPTH_MAX:
        return here[0], here[1], here[2], here[3], UNFINISHED, here[4], here[5]
    for level in range(safe[4]):
        for word in range(4):
            stack[level, word] = safe_stack[level, word]
    return safe[0], safe[1], safe[2], safe[3], UNFINISHED, safe[4], safe[5]


@njit(nogil=True, cache=True)
def read_json(
    text, at, stop, line, final, names, codes, inherited, naming, stack, depth, safe_stack, row_starts, row_ends,
    row_lines, row_parents, cell_rows, cell_roles, cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Reads JSON values. A row is an object; `row_parents` is the row of the object around it, or -1. Returns rows,
    cells, the place where it stopped, the line there, why, the depth, and the number of damaged values.

    `stack` has one entry for each open object or list: kind, row, the role of the name that it stands under, and the
    span of that name where it is a login itself, as in `{"users": {"ann": {…}}}`. (-1 for the object around those: its
    name is a plural with a role of `naming`.) `depth` is their number. Each object that was open before gets a row
    again. Where the text continues in a later call, reading stops if possible after an object that closed at the lowest
    depth, with the stack in `safe_stack`, so that records stay whole.
    """
    safe = (np.int64(0), 0, at, line, depth, 0)
    safe_depth = DEPTH_MAX + 1
    half = (stop - at) // 2
    rows, cells, damaged = np.int64(0), 0, 0
    for level in range(depth):
        stack[level, 3] = min(stack[level, 3], 0)
        if stack[level, 0] == OBJECT:
            row_starts[rows], row_ends[rows], row_lines[rows] = at, stop, line
            row_parents[rows] = -1
            for below in range(level - 1, -1, -1):
                if stack[below, 0] == OBJECT:
                    row_parents[rows] = stack[below, 1]
                    break
            stack[level, 1] = rows
            rows += 1
    room, cell_room = len(row_starts) - 2, len(cell_rows) - 2
    role, pending, outside = np.uint8(0), False, 0  # outside: 1 where the value belongs to the object around this one
    key_at, key_end, key_line = at, at, line  # where to go on when a value is not whole
    while at < stop:
        byte = text[at]
        if byte == 10:
            line += 1
            at += 1
            if depth == 0 and rows >= room:
                return rows, cells, at, line, FULL, depth, damaged
            continue
        if byte <= 32 or byte == 44:
            at += 1
            continue
        if rows >= room or cells >= cell_room:
            return rows, cells, key_at if pending else at, key_line if pending else line, FULL, depth, damaged
        broken = False
        if byte == 123 or byte == 91:
            if depth and stack[depth - 1, 0] == OBJECT and not pending:
                broken = True  # the one before was not closed
            elif depth >= DEPTH_MAX:
                broken = True
            else:
                under = role
                if not pending and depth:
                    under = np.uint8(stack[depth - 1, 2])
                if byte == 123:
                    row_starts[rows], row_ends[rows], row_lines[rows] = at, stop, line
                    row_parents[rows] = -1
                    for below in range(depth - 1, -1, -1):
                        if stack[below, 0] == OBJECT:
                            row_parents[rows] = stack[below, 1]
                            break
                    stack[depth, 0], stack[depth, 1] = OBJECT, rows
                    rows += 1
                else:
                    stack[depth, 0], stack[depth, 1] = ARRAY, -1
                    for below in range(depth - 1, -1, -1):
                        if stack[below, 0] == OBJECT:
                            stack[depth, 1] = stack[below, 1]
                            break
                stack[depth, 2], stack[depth, 3] = under, 0
                if pending and byte == 123:
                    if naming[role] and (text[key_end - 1] | 32) == 115:
                        stack[depth, 3] = -1
                    elif role == 0 and stack[depth - 1, 3] == -1 and _is_handle(text, key_at + 1, key_end):
                        stack[depth, 3], stack[depth, 4] = key_at + 1, key_end
                depth += 1
                pending, role = False, np.uint8(0)
                at += 1
                continue
        elif byte == 125 or byte == 93:
            kind = OBJECT if byte == 125 else ARRAY
            if not depth or stack[depth - 1, 0] != kind:
                broken = True
            else:
                depth -= 1
                if kind == OBJECT:
                    row_ends[stack[depth, 1]] = at + 1
                pending, role = False, np.uint8(0)
                at += 1
                if kind == OBJECT and not final and (depth <= safe_depth or at - safe[2] > half):
                    safe, safe_depth = (rows, cells, at, line, depth, damaged), depth
                    for level in range(depth):
                        for word in range(4):
                            safe_stack[level, word] = stack[level, word]
                continue
        elif depth == 0:
            if byte == 59:  # a script's end
                at += 1
                continue
            begin = at
            while text[begin - 1] != 10 and text[begin - 1] != 0:
                begin -= 1
            return rows, cells, at, line, OTHER_SHAPE, depth, damaged
        elif byte == 34 or byte == 39:
            end, form = _json_string(text, at + 1, stop, byte)
            if end == -1:
                if not final and stop - at < STRING_MAX:
                    where = key_at if pending else at
                    return _at_safe(
                        safe,
                        safe_depth,
                        stack,
                        safe_stack,
                        (rows, cells, where, key_line if pending else line, depth, damaged),
                    )
                return rows, cells, stop, line, ENDED, 0, damaged + 1
            if end == -2:
                broken = True
            else:
                in_object = stack[depth - 1, 0] == OBJECT
                if in_object and not pending:
                    behind, behind_line = end + 1, line
                    while behind < stop and text[behind] <= 32:
                        behind_line += text[behind] == 10
                        behind += 1
                    if behind >= stop and not final:
                        return _at_safe(safe, safe_depth, stack, safe_stack, (rows, cells, at, line, depth, damaged))
                    if text[behind] != 58:
                        broken = True
                    else:
                        key_at, key_end, key_line = at, end, line
                        role = codes[_slot(names, name_hash(text, at + 1, end))]
                        outside = 0
                        if role == 0 and depth > 1 and behind - at < 10 and _holds_value(text, at + 1, end):
                            role = np.uint8(stack[depth - 1, 2])
                            outside = int(stack[depth - 2, 0] == OBJECT)
                        pending = True
                        at, line = behind + 1, behind_line
                        continue
                else:
                    if not in_object:
                        role = np.uint8(stack[depth - 1, 2])
                        role = role if inherited[role] else np.uint8(0)
                    elif role == 0 and inherited[stack[depth - 1, 2]]:
                        role = np.uint8(stack[depth - 1, 2])
                    if role and end > at + 1:
                        begin, tail = _trimmed(text, at + 1, end)
                        if tail > begin:
                            name_at = stack[depth - 1, 3]
                            if name_at > 0 and (cells == 0 or cell_starts[cells - 1] < name_at):
                                cell_rows[cells], cell_roles[cells] = stack[depth - 1, 1], stack[depth - 2, 2]
                                cell_starts[cells], cell_ends[cells] = name_at, stack[depth - 1, 4]
                                cell_forms[cells] = PLAIN
                                cells += 1
                            cell_rows[cells] = stack[depth - 1 - outside if in_object else depth - 1, 1]
                            cell_roles[cells] = role
                            cell_starts[cells], cell_ends[cells], cell_forms[cells] = begin, tail, form
                            cells += 1
                    pending, role = False, np.uint8(0)
                    at = end + 1
                    continue
        elif stack[depth - 1, 0] == OBJECT and not pending:
            broken = True
        else:
            end = at
            while end < stop and text[end] > 32 and text[end] not in (44, 93, 125):
                end += 1
            if end >= stop and not final:
                where, where_line = (key_at, key_line) if pending else (at, line)
                return _at_safe(safe, safe_depth, stack, safe_stack, (rows, cells, where, where_line, depth, damaged))
            if stack[depth - 1, 0] == ARRAY:
                role = np.uint8(stack[depth - 1, 2])
            if role and (48 <= text[at] <= 57 or text[at] == 43):
                cell_rows[cells], cell_roles[cells] = stack[depth - 1, 1], role
                cell_starts[cells], cell_ends[cells], cell_forms[cells] = at, end, PLAIN
                cells += 1
            pending, role = False, np.uint8(0)
            at = end
            continue
        if broken:
            damaged += 1
            depth, pending, role = 0, False, np.uint8(0)
            begin = at
            while text[begin - 1] != 10 and text[begin - 1] != 0:
                begin -= 1
            while text[begin] <= 32 and begin < at:
                begin += 1
            if not (begin == at and (byte == 123 or byte == 91)):  # else: go on with this line, as a value of its own
                at = _newline_from(text, at, stop)
    if not final:
        where, where_line = (key_at, key_line) if pending else (min(at, stop), line)
        return _at_safe(safe, safe_depth, stack, safe_stack, (rows, cells, where, where_line, depth, damaged))
    return rows, cells, min(at, stop), line, ENDED, depth, damaged
