"""Reads lines of labels (`Login: …`): a cell is a value whose label has a role."""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.cells import (
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
from kordant_jobs.adapters.kernels.names import _IN_LABEL, _slot, name_hash

BASE64 = 4
_LABEL_WORDS, _LABEL_MAX = 4, 32
"""The most words and bytes of a label within a line: 'Date of Birth', 'Phone Number'."""

_BEFORE_LABEL = np.array([byte <= 32 or chr(byte) in "-*+>\"#'<{|([" for byte in range(256)])
_BETWEEN_LABELS = np.array([chr(byte) in "\t,-/;|([{" for byte in range(256)])

_ONE, _ZERO = np.uint64(1), np.uint64(0)


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
