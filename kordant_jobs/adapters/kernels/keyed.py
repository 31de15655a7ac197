"""Reads values with names: JSON at any depth, and lines of labels (`Login: …`). A cell is a value whose name has a
role.

Names are compared without case and punctuation, by 64 bits of a hash in a table of known names.
"""

import numpy as np
import numpy.typing as npt
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
    other_shape,
)
from kordant_jobs.adapters.kernels.machine import equal_at, lowest_bit

BASE64 = 4
OBJECT, ARRAY = 1, 2
DEPTH_MAX = 256
STRING_MAX = 8 << 20
_LABEL_WORDS, _LABEL_MAX = 4, 32
"""The most words and bytes of a label within a line: 'Date of Birth', 'Phone Number'."""

_IN_LABEL = np.array(
    [1 if byte >= 128 or chr(byte).isalnum() else 2 * (chr(byte) in " -._()/\"'#]}{") for byte in range(256)]
)
"""1: a letter or digit; 2: another character of a label; 0: none."""
_BEFORE_LABEL = np.array([byte <= 32 or chr(byte) in "-*+>\"#'<{|([" for byte in range(256)])
_BETWEEN_LABELS = np.array([chr(byte) in "\t,-/;|([{" for byte in range(256)])

_FNV, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(nogil=True, cache=True, forceinline=True)
def name_hash(text, start, end):
    """The hash of the letters and digits of a name."""
    value = _FNV
    for at in range(start, end):
        byte = text[at]
        if 65 <= byte <= 90:
            byte |= 32
        elif not (97 <= byte <= 122 or 48 <= byte <= 57 or byte >= 128):
            continue
        value = (value ^ np.uint64(byte)) * _PRIME
    return value


@njit(nogil=True, cache=True, forceinline=True)
def _slot(names, value):
    mask = np.uint64(len(names) - 1)
    slot = (value >> np.uint64(20)) & mask
    while names[slot] != _ZERO and names[slot] != value:
        slot = (slot + _ONE) & mask
    return slot


def names_table(roles: dict[str, int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """A hash table of names (letters and digits in lower case) and their roles, numbered from 1."""
    names = np.zeros(2 << (2 * max(1, len(roles))).bit_length(), np.uint64)
    codes = np.zeros(len(names), np.uint8)
    for name, code in roles.items():
        data = np.frombuffer(name.encode("utf-8", "surrogateescape"), np.uint8)
        value = name_hash(data, 0, len(data))
        slot = _slot(names, np.uint64(value))
        names[slot], codes[slot] = value, code
    return names, codes


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


@njit(nogil=True, cache=True, forceinline=True)
def _label_end(text, start, end):
    """The place of the ':', '=' or ' | ' after a line's label, and True when the label has letters and digits only; -1:
    there is none."""
    plain = True
    for at in range(start, min(end, start + 48)):
        byte = text[at]
        if byte == 58 or (byte == 61 and at > start):
            if text[at + 1] == 47 and text[at + 2] == 47:
                return -1, plain
            return at + (byte == 61 and text[at + 1] == 62), plain  # '=', ':' or '=>'
        kind = _IN_LABEL[byte]
        if kind == 1:
            continue
        plain = False
        if byte == 124 and text[at - 1] == 32 and text[at + 1] <= 32:  # psql's expanded display
            return at, plain
        if byte == 59:  # EMAIL;TYPE=…:
            while at < end:
                if text[at] == 58:
                    return at, plain
                at += 1
            return -1, plain
        if kind == 0:
            return -1, plain
    return -1, plain


@njit(nogil=True, cache=True)
def _label_role(text, start, end, names, codes):
    stop = start
    while stop < end and text[stop] != 59:
        stop += 1
    role = codes[_slot(names, name_hash(text, start, stop))]
    if role == 0:  # item1.EMAIL, User(email
        for at in range(start, stop):
            if text[at] in (40, 46, 123):
                role = codes[_slot(names, name_hash(text, at + 1, stop))]
    return role


@njit(nogil=True, cache=True)
def _says_base64(text, start, end):
    """True when a label declares a base64 value: `EMAIL;ENCODING=b`, `;ENCODING=BASE64`."""
    for at in range(start, end - 9):
        if text[at] == 59 and (text[at + 1] | 32) == 101 and (text[at + 2] | 32) == 110 and text[at + 9] == 61:
            return (text[at + 10] | 32) == 98
    return False


@njit(nogil=True, cache=True)
def _is_label_byte(byte):
    return 48 <= byte <= 57 or 65 <= (byte & 0xDF) <= 90 or byte == 95 or byte >= 128


@njit(nogil=True, cache=True, forceinline=True)
def _separates_labels(byte):
    """True for what may stand between a value and the next label."""
    return _BETWEEN_LABELS[byte]


@njit(nogil=True, cache=True, forceinline=True)
def _next_label(text, start, end, names, codes):
    """The next label within a line: its start, the place of its sign, and its role. It has up to four words; one
    without a role (0) must follow a separator. Where there is none, the place of the sign is `end`."""
    at = start
    while at < end:
        signs = equal_at(text, at, np.uint8(58)) | equal_at(text, at, np.uint8(61))
        if signs == _ZERO:
            at += 64
            continue
        at += lowest_bit(signs)
        if at >= end:
            break
        if at == start or text[at + 1] == 47:
            at += 1
            continue
        stop = at
        while stop > start and at - stop < 3 and text[stop - 1] in (32, 34, 39, 41, 93, 125):
            stop -= 1
        word, found, role = stop, -1, np.uint8(0)
        for _ in range(_LABEL_WORDS):
            begin = word
            while begin > start and stop - begin < _LABEL_MAX:
                byte = text[begin - 1]
                joins = byte == 45 and _is_label_byte(text[begin - 2]) and begin < word  # E-mail
                if not (joins or _is_label_byte(byte)):
                    break
                begin -= 1
            if begin == word or begin == start:
                break
            before, quoted = text[begin - 1], 0
            if (before == 34 or before == 39 or before == 58) and begin - 1 > start:  # {"email": …, {:email => …
                before, quoted = text[begin - 2], 1
            of_words = codes[_slot(names, name_hash(text, begin, stop))]
            if of_words and (before <= 32 or _separates_labels(before)):
                found, role = begin - quoted, of_words
            gap = begin
            while gap > start and begin - gap < 2 and text[gap - 1] == 32:
                gap -= 1
            if _separates_labels(text[gap - 1]):
                known_apart = gap < begin or before in (9, 124)
                if found < 0 and known_apart and gap - 1 > start and not 48 <= text[begin] <= 57:
                    found = begin
                break
            if gap == begin:
                break
            word = gap
        if found >= 0:
            return found, at, role
        at += 1
    return end, end, np.uint8(0)


@njit(nogil=True, cache=True)
def _unquoted(text, start, end):
    """The value between quotes, without what stands after the second one; where there is no second one, the rest."""
    close = end - 1
    while close > start and text[close] != text[start]:
        close -= 1
    return start + 1, (close if close > start else end)


@njit(nogil=True, cache=True, forceinline=True)
def _value_end(text, start, end):
    """The end of a value, without what separates it from the next label."""
    closes = False
    while end > start:
        byte = text[end - 1]
        if byte <= 32 or _separates_labels(byte):
            closes |= byte in (40, 91, 123)
        elif not (closes and byte in (41, 93, 125)):
            break
        end -= 1
    return end


@njit(nogil=True, cache=True)
def read_labels(
    text, at, stop, line, final, names, codes, several, secrets, row_starts, row_ends, row_lines, row_cells, cell_rows,
    cell_roles, cell_starts, cell_ends, cell_forms
):  # fmt: skip
    """Reads lines of labels. A row is a record of one or more lines; `row_cells` is the number of known labels in it.
    Returns rows, cells, the place where it stopped, the line there, why, and the number of lines without a label.

    `several`: the roles that a record may have more than once before a secret.
    """
    rows, cells, odd = 0, 0, 0
    room, cell_room = len(row_starts) - 2, len(cell_rows) - 64
    is_open, held = False, _ZERO
    safe_at, safe_line, safe_rows, safe_cells, safe_odd = at, line, 0, 0, 0
    while at < stop:
        if rows >= room or cells >= cell_room:
            return rows, cells, at, line, FULL, odd
        if other_shape(text, at):
            return rows, cells, at, line, OTHER_SHAPE, odd
        newline = _newline_from(text, at, stop)
        start, end = _trimmed(text, at, newline)
        first = text[start]
        if first == 43 or first == 124:  # '+ ----- Login -----+'
            while start < end and (text[start] == 43 or text[start] == 124 or text[start] <= 32):
                start += 1
            first = text[start]
        rule = (
            end - start >= 3
            and first == text[start + 1]
            and first == text[start + 2]
            and first in (61, 45, 42, 95, 35, 126)
        ) or (first == 45 and text[start + 1] == 91)  # '-[ RECORD 1 ]---'
        if start == end or rule:
            is_open, held = False, _ZERO
        elif end - start == 1 and first == 35:  # left by a line that was folded
            pass
        else:
            opened = False
            while start < end and _BEFORE_LABEL[text[start]]:
                opened |= text[start] in (123, 40, 91)
                if text[start] == 45 or text[start] == 42:
                    is_open, held = False, _ZERO
                start += 1
            label, plain = _label_end(text, start, end)
            if label < 0:
                odd += 1
                if is_open:
                    row_ends[rows - 1] = newline
            else:
                role = codes[_slot(names, name_hash(text, start, label))]
                if not plain:
                    role = _label_role(text, start, label, names, codes)
                    for place in range(start, label):
                        opened |= text[place] in (40, 60, 123)
                form = PLAIN
                value = label + 1
                if text[value] == 58:
                    form = BASE64
                    value += 1
                elif not plain and _says_base64(text, start, label):
                    form = BASE64
                count = 0
                while True:
                    word, sign, following = _next_label(text, value, end, names, codes)
                    tail = _value_end(text, value, word) if sign < end else word
                    if opened and sign == end and tail > value and text[tail - 1] in (41, 62, 93, 125):
                        tail -= 1
                    if role:
                        bit = _ONE << np.uint64(role)
                        again = (held & bit) != _ZERO
                        if again and several[role] and not held & secrets:
                            again = False
                        if not is_open or (again and not count):
                            row_starts[rows], row_ends[rows], row_lines[rows], row_cells[rows] = at, newline, line, 0
                            rows += 1
                            is_open, held = True, _ZERO
                        held |= bit
                        count += 1
                        row_cells[rows - 1] += 1
                        begin, finish = _trimmed(text, value, tail)
                        if finish > begin and text[begin] in (34, 39):
                            begin, finish = _unquoted(text, begin, finish)
                        if finish > begin:
                            cell_rows[cells], cell_roles[cells] = rows - 1, role
                            cell_starts[cells], cell_ends[cells], cell_forms[cells] = begin, finish, form
                            cells += 1
                    elif not is_open:
                        row_starts[rows], row_ends[rows], row_lines[rows], row_cells[rows] = at, newline, line, 0
                        rows += 1
                        is_open, held = True, _ZERO
                    if sign >= end or cells >= cell_room:
                        break
                    role, value, form = following, sign + 1 + (text[sign + 1] == 62), PLAIN
                row_ends[rows - 1] = newline
                if count > 1:
                    is_open, held = False, _ZERO
        line += 1
        at = newline + 1
        if not is_open:
            safe_at, safe_line, safe_rows, safe_cells, safe_odd = at, line, rows, cells, odd
    if is_open and safe_rows and not final:
        return safe_rows, safe_cells, min(safe_at, stop), safe_line, UNFINISHED, safe_odd
    return rows, cells, min(at, stop), line, ENDED, odd
