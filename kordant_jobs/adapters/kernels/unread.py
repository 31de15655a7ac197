"""Finds phone-like numbers in lines that no reader understood: they may identify a person who was missed."""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.cells import _newline_from
from kordant_jobs.adapters.kernels.machine import between_at, lowest_bit

_DIGITS_MIN, _DIGITS_MAX, _BETWEEN_MAX = 7, 15, 2
_ZERO = np.uint64(0)


@njit(nogil=True, cache=True)
def _is_digit(byte):
    return 48 <= byte <= 57


@njit(nogil=True, cache=True)
def _is_word(byte):
    return _is_digit(byte) or 65 <= (byte & 0xDF) <= 90 or byte == 95


@njit(nogil=True, cache=True)
def _is_between(byte):
    """True for a character that may stand between two digits of a phone number: a blank, '-', '.', '(' or ')'."""
    return byte == 32 or byte == 45 or byte == 46 or byte == 40 or byte == 41


@njit(nogil=True, cache=True)
def _is_time(groups, count, digits, first, dots):
    """True when groups of digits are a date with or without a time, an IP address, or seconds since 1970."""
    if count == 1:
        return (digits == 10 or digits == 13) and first == 49
    if dots == count - 1 and count >= 4:
        return True
    if count < 3:
        return digits >= 8 and groups[0] == 8 and (first == 49 or first == 50) and groups[1] <= 6
    if groups[0] == 4 and groups[1] <= 2 and groups[2] <= 2:
        return True
    return groups[0] <= 2 and groups[1] <= 2 and (groups[2] == 4 or groups[2] == 2)


@njit(nogil=True, cache=True)
def _holds_number(text, start, end, groups):
    at = start
    while at < end:
        digit = between_at(text, at, np.uint8(48), np.uint8(10))
        if digit == _ZERO:
            at += 64
            continue
        at += lowest_bit(digit)
        if at >= end:
            break
        begin, last, digits, count, size, dots = at, at, 0, 0, 0, 0
        while at < end:
            if _is_digit(text[at]):
                digits += 1
                size += 1
                last = at
                at += 1
                continue
            gap = at
            while gap < end and gap - at <= _BETWEEN_MAX and _is_between(text[gap]):
                gap += 1
            if gap == at or gap - at > _BETWEEN_MAX or gap >= end or not _is_digit(text[gap]):
                break
            if count < 15:
                groups[count] = size
                count += 1
            dots += text[at] == 46 and gap - at == 1
            size = 0
            at = gap
        groups[count] = size
        count += 1
        alone = not (begin > start and _is_word(text[begin - 1])) and not (last + 1 < end and _is_word(text[last + 1]))
        if alone and _DIGITS_MIN <= digits <= _DIGITS_MAX:
            if not _is_time(groups, count, digits, text[begin], dots):
                return True
    return False


@njit(nogil=True, cache=True)
def count_numbered(text, starts, ends):
    """The number of spans that hold a phone-like number: 7 to 15 digits, alone or in groups, that are no date or
    time."""
    count, groups = 0, np.zeros(16, np.int64)
    for span in range(len(starts)):
        count += _holds_number(text, starts[span], ends[span], groups)
    return count


@njit(nogil=True, cache=True)
def count_numbered_lines(text, start, end):
    """The number of lines from `start` to `end` that hold such a number."""
    count, groups = 0, np.zeros(16, np.int64)
    while start < end:
        newline = _newline_from(text, start, end)
        count += _holds_number(text, start, newline, groups)
        start = newline + 1
    return count
