"""Where the addresses of a combo list stand: for lines that start with a plain ASCII address. Others are left over."""

from __future__ import annotations

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.machine import hex_masks_at, lowest_bit, masks_at, newlines_at, zeros_above

PADDING = 64
"""Bytes behind the text that may be read and mean nothing."""

_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(nogil=True, cache=True)
def find_addresses(text, size, starts, lengths, numbers, other_starts, other_numbers):
    """Go through `size` bytes of whole lines. Returns how many addresses, other lines, and lines there are.

    An address goes from the line's start to the first delimiter or the line's end, has fewer than 64 bytes, of letters,
    digits and '.-_+' with one '@', and is what `adapters.dumps.bulk` accepts without asking. `numbers` count from 0.
    """
    at, found, others, line = 0, 0, 0, 0
    while at < size:
        newline, delimiter, sign, dot, dash, joiner, digit, letter = masks_at(text, at)
        end = lowest_bit(delimiter)
        sure = False
        if end < 64:
            within = (_ONE << np.uint64(end)) - _ONE
            word = letter | digit
            sign &= within
            domain = within & ~((sign << _ONE) - _ONE)
            stop = (dot | sign) & within
            dots = dot & domain
            last = 63 - zeros_above(dots)
            wrong = (
                (within & ~(word | dot | sign | dash | joiner))
                | (sign & (sign - _ONE))
                | (stop & ((stop << _ONE) | _ONE))
                | (joiner & domain)
                | (dash & domain & ((stop | dash) << _ONE))
                | (dots & (dash << _ONE))
            )
            if (wrong == _ZERO) & (sign != _ZERO) & (dots != _ZERO):
                sure = ((word >> np.uint64(end - 1)) & _ONE) != _ZERO and (
                    (letter >> np.uint64(last + 1)) & _ONE
                ) != _ZERO
        if sure:
            starts[found], lengths[found], numbers[found] = at, end, line
            found += 1
        else:
            other_starts[others], other_numbers[others] = at, line
            others += 1
        while newline == _ZERO:
            at += 64
            newline = newlines_at(text, at) if at < size else _ONE
        at += lowest_bit(newline) + 1
        line += 1
    return found, others, line


UNSURE = 3
"""The code of a secret that `adapters.dumps.secrets` must be asked about; the others are its own."""


@njit(nogil=True, cache=True)
def judge_secrets(text, starts, lengths, count, codes):
    """What stands behind each address: 0 nothing, 1 a hash, 2 clear text, 3 unsure.

    A value that begins with a short run of base64 characters is no hash, and one that begins with such a character is
    not empty unless it says so ('null', 'none', 'n/a'). A run of hex digits of the right length up to the line's end
    is a hash, any other long one up to there is not (base64 of a hash ends with '=').
    """
    for span in range(count):
        at = np.int64(starts[span]) + np.int64(lengths[span])
        if text[at] == 10:
            codes[span] = 0
            continue
        at += 1
        first, second = text[at], text[at + 1]
        if first == 10 or (first == 13 and second == 10):
            codes[span] = 0
            continue
        _newline, base64, lower, upper = hex_masks_at(text, at)
        run = lowest_bit(~base64)
        says_so = (first | 32) == 110 and ((second | 32) == 117 or (second | 32) == 111 or second == 47)
        if run == 0 or says_so:
            codes[span] = UNSURE
        elif run < 16:
            codes[span] = UNSURE if text[at + run] == 36 or text[at + run] == 95 else 2
        elif run == 64 or (first == 48 and second == 120):
            codes[span] = UNSURE
        elif text[at + run] == 10 or (text[at + run] == 13 and text[at + run + 1] == 10):
            within = (_ONE << np.uint64(run)) - _ONE
            is_hex = (lower & within) == within or (upper & within) == within
            codes[span] = 1 if is_hex and run in (32, 40, 56) else 2
        else:
            codes[span] = UNSURE
