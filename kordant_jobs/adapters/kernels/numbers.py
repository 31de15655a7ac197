"""Numbers that may name somebody, wherever they stand: '+' and a phone number, cards, IBANs, national ids as written.

Only form and check digits are judged here; `adapters.dumps.sweep` asks `domain.identifiers` about each that is left.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.machine import between_at, bits_set, equal_at, lowest_bit

PHONE, CARD, IBAN, NATIONAL_ID = 1, 2, 3, 4

_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(nogil=True, cache=True)
def _is_digit(byte):
    return 48 <= byte <= 57


@njit(nogil=True, cache=True)
def _is_word(byte):
    return 48 <= byte <= 57 or 65 <= (byte & 0xDF) <= 90 or byte >= 128 or byte == 95


@njit(nogil=True, cache=True)
def _phone_end(text, at):
    """'+' and 8 to 15 digits, perhaps in groups. 0: none."""
    before = text[at - 1]
    if _is_word(before) or before == 43 or text[at + 1] == 48:
        return 0
    digits, end, gap, last = 0, at + 1, 0, 0
    while end - at < 28:
        byte = text[end]
        if _is_digit(byte):
            digits += 1
            gap = 0
            last = end + 1
        elif byte == 32 or byte == 45 or byte == 46 or byte == 40 or byte == 41:
            gap += 1
            if gap > 2:
                break
        else:
            break
        end += 1
    if not 8 <= digits <= 15 or _is_word(text[last]):
        return 0
    return last


@njit(nogil=True, cache=True)
def _card_end(text, at):
    """13 to 19 digits of a payment scheme, together or in its groups, the last one right (Luhn). 0: none."""
    before = text[at - 1]
    if _is_word(before) or before == 46 or before == 45 or before == 43 or before == 47 or before == 37:
        return 0
    first = text[at] - 48
    second = text[at + 1] - 48
    size = 16
    if first == 3:
        if second != 4 and second != 7:
            return 0
        size = 15
    elif first == 4:
        size = 16
    elif first == 5:
        if not 1 <= second <= 5:
            return 0
    elif first == 6:
        if second != 0 and second != 5 and second != 4:
            return 0
    elif first == 2:
        if not 2 <= second <= 7:
            return 0
    else:
        return 0
    separator, total, digits, end = 0, 0, 0, at
    while digits < size:
        byte = text[end]
        if not _is_digit(byte):
            grouped = digits == 4 or (digits == 10 if size == 15 else digits % 4 == 0)
            if not grouped or (byte != 32 and byte != 45) or (separator and byte != separator):
                return 0
            if not separator and digits != 4:
                return 0
            separator = byte
            end += 1
            continue
        if separator and digits and (digits == 4 or (digits == 10 if size == 15 else digits % 4 == 0)):
            if text[end - 1] != separator:
                return 0
        value = byte - 48
        if (size - digits) % 2 == 0:
            value *= 2
            if value > 9:
                value -= 9
        total += value
        digits += 1
        end += 1
    after = text[end]
    if total % 10 or _is_word(after) or after == 45 or (after == 46 and _is_digit(text[end + 1])):
        return 0
    return end


@njit(nogil=True, cache=True)
def _iban_end(text, at):
    """Two letters, two digits and as many letters and digits as make it right (ISO 7064). 0: none."""
    if _is_word(text[at - 1]):
        return 0
    end, count, value, best = at + 4, 0, np.int64(0), 0
    while count < 30:
        byte = text[end]
        if byte == 32 and (count + 4) % 4 == 0 and count:
            end += 1
            continue
        if _is_digit(byte):
            value = (value * 10 + byte - 48) % 97
        elif 65 <= byte <= 90:
            value = (value * 100 + byte - 55) % 97
        else:
            break
        count += 1
        end += 1
        if count >= 11 and not _is_word(text[end]):
            check = value
            for letter in range(2):
                check = (check * 100 + text[at + letter] - 55) % 97
            check = (check * 100 + (text[at + 2] - 48) * 10 + text[at + 3] - 48) % 97
            if check == 1:
                best = end
    return best


@njit(nogil=True, cache=True)
def _id_end(text, at):
    """An SSN as ddd-dd-dddd or a CPF as ddd.ddd.ddd-dd. 0: none."""
    before = text[at - 1]
    if _is_word(before) or before == 45 or before == 46 or before == 43 or before == 47:
        return 0
    size = 11 if text[at + 3] == 45 else 14
    for place in range(size):
        byte = text[at + place]
        if size == 11:
            good = byte == 45 if place == 3 or place == 6 else _is_digit(byte)
        elif place == 3 or place == 7:
            good = byte == 46
        else:
            good = byte == 45 if place == 11 else _is_digit(byte)
        if not good:
            return 0
    after = text[at + size]
    return 0 if _is_word(after) or after == 45 or after == 46 or after == 47 else at + size


@njit(nogil=True, cache=True)
def find_numbers(text, start, size, line, starts, ends, numbers, kinds):
    """Go through a text from `start`. Returns how many spans there are, the line where it ends, and where that is.

    Room is left for 64 more when it ends early.
    """
    at, stop, found, room = start, start + size, 0, len(starts) - 64
    while at < stop:
        newline = equal_at(text, at, np.uint8(10))
        digit = between_at(text, at, np.uint8(48), np.uint8(10))
        after = between_at(text, at + 1, np.uint8(48), np.uint8(10))
        plus = equal_at(text, at, np.uint8(43)) & (after | equal_at(text, at + 1, np.uint8(40)))
        candidates = plus
        if digit != _ZERO:
            second = between_at(text, at + 2, np.uint8(48), np.uint8(10))
            third = between_at(text, at + 3, np.uint8(48), np.uint8(10))
            begins = digit & ~between_at(text, at - 1, np.uint8(48), np.uint8(10)) & after & second
            four = begins & third & between_at(text, at, np.uint8(50), np.uint8(5))
            marked = begins & (equal_at(text, at + 3, np.uint8(45)) | equal_at(text, at + 3, np.uint8(46)))
            upper = between_at(text, at, np.uint8(65), np.uint8(26)) & between_at(
                text, at + 1, np.uint8(65), np.uint8(26)
            )
            candidates |= four | marked | (upper & second & third)
        else:
            upper = between_at(text, at, np.uint8(65), np.uint8(26)) & between_at(
                text, at + 1, np.uint8(65), np.uint8(26)
            )
            upper &= between_at(text, at + 2, np.uint8(48), np.uint8(10))
            candidates |= upper & between_at(text, at + 3, np.uint8(48), np.uint8(10))
        if stop - at < 64:
            within = (_ONE << np.uint64(stop - at)) - _ONE
            newline, candidates = newline & within, candidates & within
        while candidates != _ZERO:
            place = lowest_bit(candidates)
            candidates &= candidates - _ONE
            where = at + place
            byte = text[where]
            if byte == 43:
                kind, end = PHONE, _phone_end(text, where)
            elif byte >= 65:
                kind, end = IBAN, _iban_end(text, where)
            elif text[where + 3] == 45 or text[where + 3] == 46:
                kind, end = NATIONAL_ID, _id_end(text, where)
            else:
                kind, end = CARD, _card_end(text, where)
            if end:
                below = (_ONE << np.uint64(place)) - _ONE
                starts[found], ends[found], kinds[found] = where, end, kind
                numbers[found] = line + bits_set(newline & below)
                found += 1
        line += bits_set(newline)
        at += 64
        if found >= room:
            break
    return found, line, min(at, stop)
