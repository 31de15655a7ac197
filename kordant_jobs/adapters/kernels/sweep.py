"""The sweep: finds addresses and numbers in a text of any shape. A span is the place of one.

Each '@' is judged by the characters around it. An address in plain ASCII that ends in a top-level domain is decided
here, in whichever form its '@' is written ('%40', '&#64;', '\\u0040', a full-width '@'). An address with letters
outside ASCII or with other escapes is left as *odd* to `adapters.dumps.sweep`, which decodes it.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from kordant_jobs.adapters.kernels.machine import bits_set, equal_at, lowest_bit, masks_at, zeros_above

MARGIN = 128
"""Bytes before and after the text that may be read. The byte before the text must not be a letter."""
LOCAL_MAX, DOMAIN_MAX = 64, 253
PLAIN, ODD = 1, 2
FORM_NONE, FORM_PLAIN, FORM_WIDE, FORM_PERCENT, FORM_QUOTED, FORM_ENTITY, FORM_UNICODE = range(7)
"""The forms in which the '@' of an odd address is written."""
ODD_BEFORE, ODD_BEHIND = 240, 320
"""The most bytes, escapes included, that an odd address may have before and after its '@'. It ends at the end of the
text."""

_ONE, _ZERO = np.uint64(1), np.uint64(0)
_OTHER, _WORD, _DASH, _DOT, _UNDERSCORE, _EXTRA, _HIGH = range(7)
_FNV, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def _classes() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for byte in range(128):
        if chr(byte).isalnum():
            table[byte] = _WORD
    table[ord("-")], table[ord(".")], table[ord("_")] = _DASH, _DOT, _UNDERSCORE
    table[ord("+")] = table[ord("%")] = table[ord("&")] = _EXTRA
    table[128:] = _HIGH
    return table


CLASSES = _classes()


@njit(nogil=True, cache=True, forceinline=True)
def _hashed(text, start, end):
    value = _FNV
    for at in range(start, end):
        byte = text[at]
        if 65 <= byte <= 90:
            byte |= 32
        value = (value ^ np.uint64(byte)) * _PRIME
    return value


@njit(nogil=True, cache=True, forceinline=True)
def _has(table, value):
    mask = np.uint64(len(table) - 1)
    slot = (value >> np.uint64(32)) & mask
    while table[slot] != _ZERO:
        if table[slot] == value:
            return True
        slot = (slot + _ONE) & mask
    return False


@njit(nogil=True, cache=True)
def _fill(table, values):
    mask = np.uint64(len(table) - 1)
    for value in values:
        slot = (value >> np.uint64(32)) & mask
        while table[slot] != _ZERO and table[slot] != value:
            slot = (slot + _ONE) & mask
        table[slot] = value


def words_table(words: list[str]) -> npt.NDArray[np.uint64]:
    """A set of lower-case ASCII words that the kernels can look up."""
    values = []
    for word in words:
        data = np.frombuffer(word.encode(), np.uint8)
        values.append(_hashed(data, 0, len(data)))
    size = 1 << (2 * max(1, len(words))).bit_length()
    table = np.zeros(size, np.uint64)
    _fill(table, np.array(values, np.uint64))
    return table


@njit(nogil=True, cache=True)
def _domain_end(text, at, classes, tops):
    """The end of the domain that begins at `at`. 0: no domain; negative: it has letters outside ASCII."""
    end, limit = at, at + DOMAIN_MAX
    last_dot, label = -1, at
    while end < limit:
        kind = classes[text[end]]
        if kind == _WORD or kind == _DASH or kind == _UNDERSCORE:
            end += 1
        elif kind == _DOT:
            if end == label:
                break
            last_dot, label = end, end + 1
            end += 1
        elif kind == _HIGH:
            return -1
        else:
            break
    # From the end backwards: the last label that is a top-level domain, perhaps with something behind it.
    dot = last_dot
    while dot > at:
        stop = dot + 1
        while stop < end and classes[text[stop]] == _WORD:
            stop += 1
        before = classes[text[dot - 1]]
        if stop > dot + 2 and before == _WORD and not (48 <= text[dot + 1] <= 57):
            if stop < end and text[stop] == 45 and stop == dot + 5 and text[stop + 1] == 45:  # an A-label, 'xn--…'
                while stop < end and (classes[text[stop]] == _WORD or text[stop] == 45):
                    stop += 1
                return stop
            if _has(tops, _hashed(text, dot + 1, stop)):
                return stop
        end = dot
        dot -= 1
        while dot > at and text[dot] != 46:
            dot -= 1
    return 0


@njit(nogil=True, cache=True)
def _local_start(text, at, classes):
    """The start of the local part that ends before `at`. `at`: there is none; negative: it has letters outside
    ASCII."""
    start, limit = at, at - LOCAL_MAX
    while start > limit:
        kind = classes[text[start - 1]]
        if kind == _HIGH:
            return -1
        if kind != _OTHER:
            start -= 1
        elif text[start - 1] == 39:  # o'brien, but not 'ann, N'ann or x'ann
            inside = start < at and classes[text[start]] == _WORD and classes[text[start - 2]] == _WORD
            if inside and classes[text[start - 3]] == _OTHER and start - 2 > limit:
                inside = (text[start - 2] | 32) == 111 or (text[start - 2] | 32) == 100  # O', D'
            if not inside:
                escaped = text[start - 2] == 92 or text[start - 2] == 39  # o\\'brien, o''brien
                if escaped and start < at and classes[text[start - 3]] == _WORD:
                    return -1
                break
            start -= 1
        else:
            break
    if text[start - 1] == 92:  # an escape before it: \\n, \\u003c, \\x3c
        letter = text[start]
        start += 5 if letter == 117 else 3 if letter == 120 else 1 if letter in (110, 114, 116) else 0
    while start < at and text[start] == 37 and _is_hex(text[start + 1]) and _is_hex(text[start + 2]):
        start += 3
    while start < at and text[start] in (37, 38, 43, 45, 46):
        start += 1
    return min(start, at)


@njit(nogil=True, cache=True)
def _is_hex(byte):
    return 48 <= byte <= 57 or 97 <= (byte | 32) <= 102


@njit(nogil=True, cache=True)
def _is_authority(text, start, domain, end):
    """True when the address is the user of a URL: '//ann@host', '//ann:word@host', or git's 'git@host:path'."""
    before = text[start - 1]
    if before == 47 and text[start - 2] == 47:
        return True
    if domain - start == 4 and text[start] == 103 and text[start + 1] == 105 and text[start + 2] == 116:
        return text[end] == 58 or text[end] == 47
    if before != 58:
        return False
    at, dots = start - 2, 0
    while start - at < 80:
        byte = text[at]
        if byte <= 32 or byte == 64:
            return False
        if byte == 47:
            return text[at - 1] == 47 and text[at - 2] == 58 and dots == 0
        if byte == 46:
            dots += 1
        at -= 1
    return False


@njit(nogil=True, cache=True)
def _hex_value(byte):
    return byte - 48 if byte <= 57 else (byte | 32) - 87


@njit(nogil=True, cache=True)
def _sign_form(text, at):
    """The form of the '@' at `at` (`FORM_…`), its start, and its number of bytes; FORM_NONE: it is not an '@'."""
    byte, before = text[at], text[at - 1]
    if byte == 64:
        return FORM_PLAIN, at, 1
    if byte == 0xEF:
        return FORM_WIDE, at, 3
    if byte == 54:  # '&#64;', found by its '6'
        return (FORM_ENTITY, at - 2, 5) if text[at - 2] == 38 and text[at + 2] == 59 else (FORM_NONE, at, 1)
    if before == 37:
        return FORM_PERCENT, at - 1, 3
    if before == 61:
        return FORM_QUOTED, at - 1, 3
    if before == 48:
        return (FORM_UNICODE, at - 4, 6) if text[at - 4] == 92 else (FORM_NONE, at, 1)
    return (FORM_ENTITY, at - 3, 6) if text[at - 3] == 38 and text[at + 2] == 59 else (FORM_NONE, at, 1)


@njit(nogil=True, cache=True)
def _unit(text, at, form, classes):
    """The class and the number of bytes of the character at `at`, in a domain that is written in a form. A full stop of
    another script is a dot; letters outside ASCII and names of entities are _HIGH, to be decided elsewhere."""
    byte = text[at]
    if byte == 92 and text[at + 1] == 117:  # \\u002e
        value = 0
        for place in range(at + 2, at + 6):
            if not _is_hex(text[place]):
                return _OTHER, 1
            value = value * 16 + _hex_value(text[place])
        return (classes[value] if value < 128 else _HIGH), 6
    if (byte == 37 and form == FORM_PERCENT) or (byte == 61 and form == FORM_QUOTED):
        if byte == 61 and (text[at + 1] == 10 or text[at + 1] == 13):
            return _HIGH, 2
        if _is_hex(text[at + 1]) and _is_hex(text[at + 2]):
            value = _hex_value(text[at + 1]) * 16 + _hex_value(text[at + 2])
            return (classes[value] if value < 128 else _HIGH), 3
        return _OTHER, 1
    if byte == 38 and form == FORM_ENTITY:
        if text[at + 1] == 112:  # &period;
            return _HIGH, 1
        if text[at + 1] != 35:
            return _OTHER, 1
        is_hex = (text[at + 2] | 32) == 120
        place, value = at + 2 + is_hex, 0
        while place < at + 10 and (_is_hex(text[place]) if is_hex else 48 <= text[place] <= 57):
            value = value * (16 if is_hex else 10) + _hex_value(text[place])
            place += 1
        return (classes[value] if value < 128 else _HIGH), place - at + (text[place] == 59)
    if byte >= 128:
        second, third = text[at + 1], text[at + 2]
        if byte == 0xE3 and second == 0x80 and third == 0x82:
            return _DOT, 3
        if byte == 0xEF and ((second == 0xBC and third == 0x8E) or (second == 0xBD and third == 0xA1)):
            return _DOT, 3
        if byte == 0xEF and second == 0xBC and third == 0xA0:  # a full-width '@'
            return _OTHER, 3
        return _HIGH, 1
    return classes[byte], 1


@njit(nogil=True, cache=True)
def _may_be_local(byte, form, classes):
    if classes[byte] != _OTHER or byte == 39 or byte == 92:
        return True
    if form == FORM_ENTITY:
        return byte == 35 or byte == 59
    return form == FORM_QUOTED and (byte == 61 or byte == 10 or byte == 13)


@njit(nogil=True, cache=True)
def _ends_in_sign(text, at):
    """True when the text before `at` ends in an escaped '@' of another address."""
    if text[at - 1] == 59:
        return text[at - 2] == 52 and text[at - 3] == 54 and text[at - 4] == 35
    if text[at - 1] != 48 or text[at - 2] != 52:
        return False
    before = text[at - 3]
    return before == 37 or before == 61 or (before == 48 and text[at - 4] == 48 and text[at - 5] == 117)


@njit(nogil=True, cache=True)
def _odd_span(text, at, classes, tops):
    """The span of a possible address around the '@' at `at`: start, start and end of the '@', end, and True when it is
    ASCII without escapes and so certainly an address. Start -1: there is none."""
    form, sign, size = _sign_form(text, at)
    behind = sign + size
    if form == FORM_NONE:
        return -1, sign, behind, behind, False
    end, dots, simple = behind, 0, True
    while end - behind < ODD_BEHIND:
        kind, width = _unit(text, end, form, classes)
        if kind == _OTHER or kind == _EXTRA:
            break
        simple &= width == 1 and kind != _HIGH
        dots += kind == _DOT or (kind == _HIGH and width > 1) or (kind == _HIGH and text[end] == 38)
        end += width
        if text[end - width] == 38 and width == 1:  # the name of an entity: up to its end
            while end - behind < ODD_BEHIND and text[end] != 59 and classes[text[end]] == _WORD:
                end += 1
            end += 1
    if dots == 0:
        return -1, sign, behind, behind, False
    start = sign
    while sign - start < ODD_BEFORE and _may_be_local(text[start - 1], form, classes):
        if _ends_in_sign(text, start):
            break
        if form == FORM_QUOTED and text[start - 1] == 10 and text[start - 2] != 61:
            if text[start - 2] != 13 or text[start - 3] != 61:
                break
        start -= 1
        byte = text[start]
        kind = classes[byte]
        simple &= kind != _HIGH and kind != _OTHER and byte != 37 and byte != 38
    if start == sign:
        return -1, sign, behind, behind, False
    if not simple:
        return start, sign, behind, end, False
    stop = _domain_end(text, behind, classes, tops)
    while start < sign and text[start] in (43, 45, 46):
        start += 1
    if stop <= 0 or start == sign or sign - start > LOCAL_MAX:
        return -1, sign, behind, behind, False
    return start, sign, behind, stop, True


@njit(nogil=True, cache=True, forceinline=True)
def _usual_span(text, at, tops):
    """The start and end of the address around the '@' at `at`, if it is one as nearly all are: decided by the 64 bytes
    on either side, with the same result as the rules for all others. (0, 0): they must decide."""
    _, _, _, dot, dash, joiner, digit, letter = masks_at(text, at + 1)
    stop = lowest_bit(~(dot | dash | digit | letter))
    stop -= stop > 0 and text[at + stop] == 46  # a sentence's end
    if stop == 64 or stop < 4 or text[at + 1 + stop] >= 128 or (joiner >> np.uint64(stop)) & _ONE:
        return 0, 0
    within = (_ONE << np.uint64(stop)) - _ONE
    dots = dot & within
    last = 63 - zeros_above(dots)
    if last < 1 or stop - last < 3 or dots & ((dots << _ONE) | _ONE) or (dash >> np.uint64(last - 1)) & _ONE:
        return 0, 0
    if ~letter & within & ~((_ONE << np.uint64(last + 1)) - _ONE) or not _has(
        tops, _hashed(text, at + 2 + last, at + 1 + stop)
    ):
        return 0, 0
    _, _, _, dot, dash, joiner, digit, letter = masks_at(text, at - 64)
    size = zeros_above(~(dot | dash | joiner | digit | letter))
    first, before = text[at - size], text[at - size - 1]
    if size == 0 or size == 64 or before >= 128 or before in (37, 38, 39, 92) or first in (43, 45, 46):
        return 0, 0
    return at - size, at + 1 + stop


@njit(nogil=True, cache=True)
def judge_signs(text, signs, lines, count, classes, tops, starts, ends, numbers, kinds, odd):
    """Judges the '@' at each of `signs`. Returns the number of spans: `kinds` is PLAIN or ODD, `numbers` has the lines.

    An odd span has the place of its '@' as start and end, and in `odd` the values of `_odd_span`.
    """
    found = 0
    for sign in range(count):
        at = np.int64(signs[sign])
        start, end = np.int64(-1), np.int64(-1)
        if text[at] == 64:
            start, end = _usual_span(text, at, tops)
        if text[at] == 64 and end == 0:
            end = _domain_end(text, at + 1, classes, tops)
            if end == 0:
                continue
            start = _local_start(text, at, classes)
            if start == at:
                continue
        if end < 0 or start < 0:
            low, place, behind, high, simple = _odd_span(text, at, classes, tops)
            if low >= 0:
                starts[found], ends[found], numbers[found], kinds[found] = at, at, lines[sign], ODD
                odd[found, 0], odd[found, 1], odd[found, 2], odd[found, 3] = low, place, behind, high
                odd[found, 4] = simple
                found += 1
            continue
        if text[start - 1] == 64 or _is_authority(text, start, at + 1, end):
            continue
        starts[found], ends[found], numbers[found], kinds[found] = start, end, lines[sign], PLAIN
        found += 1
    return found


@njit(nogil=True, cache=True)
def find_signs(text, start, size, line, signs, lines, plain):
    """Finds each '@' in a text from `start` on (if `plain`), and each other form of it. Returns their number, the last
    line, and the place to continue from: it stops early when `signs` and `lines` are full."""
    at, found, room = start, 0, len(signs) - 64
    stop = start + size
    while at < stop:
        newline = equal_at(text, at, np.uint8(10))
        sign = equal_at(text, at, np.uint8(64)) if plain else _ZERO
        other = equal_at(text, at, np.uint8(52)) & equal_at(text, at + 1, np.uint8(48))  # '40'
        if other != _ZERO:
            sure = equal_at(text, at - 1, np.uint8(37)) | equal_at(text, at - 1, np.uint8(61))  # '%', '='
            zeros = equal_at(text, at - 1, np.uint8(48)) & equal_at(text, at - 2, np.uint8(48))
            sure |= zeros & equal_at(text, at - 3, np.uint8(117))  # '\\u00'
            letter = equal_at(text, at - 1, np.uint8(120)) | equal_at(text, at - 1, np.uint8(88))
            other &= sure | (letter & equal_at(text, at - 2, np.uint8(35)))  # '#x'
        entity = equal_at(text, at, np.uint8(54)) & equal_at(text, at - 1, np.uint8(35))  # '#6'
        wide = equal_at(text, at, np.uint8(0xEF)) & equal_at(text, at + 1, np.uint8(0xBC))
        if entity | wide != _ZERO:
            entity &= equal_at(text, at + 1, np.uint8(52))
            wide &= equal_at(text, at + 2, np.uint8(0xA0))
            other |= entity | wide
        left = stop - at
        if left < 64:
            within = (_ONE << np.uint64(left)) - _ONE
            newline, sign, other = newline & within, sign & within, other & within
        sign |= other
        while sign != _ZERO:
            place = lowest_bit(sign)
            below = (_ONE << np.uint64(place)) - _ONE
            signs[found], lines[found] = at + place, line + bits_set(newline & below)
            found += 1
            sign &= sign - _ONE
        line += bits_set(newline)
        at += 64
        if found >= room:
            break
    return found, line, min(at, stop)
