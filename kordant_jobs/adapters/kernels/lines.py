"""Finds the addresses of a combo list, in lines that start with a plain ASCII address. Other lines are left to other
readers."""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.machine import equal_at, hex_masks_at, lowest_bit, masks_at, zeros_above
from kordant_jobs.domain.identifiers.email import FILES

FILE_ENDS = np.zeros(1024, np.bool_)
"""The last two letters of file extensions, five bits each."""
for _kind in FILES:
    FILE_ENDS[((ord(_kind[-2]) & 31) << 5) | (ord(_kind[-1]) & 31)] = True

_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(nogil=True, cache=True)
def find_addresses(text, first, size, starts, lengths, numbers, other_starts, other_numbers, signs, sign_lines):
    """Finds addresses in `size` bytes of whole lines from `first` on. Returns the numbers of addresses, of other lines,
    of lines, and of '@' signs after the addresses (`signs`, on `sign_lines`), which must be judged separately. Line
    numbers count from 0.

    An address starts its line and ends at the first delimiter or the line's end. It has fewer than 64 bytes of letters,
    digits and '.-_+' with one '@', and is one that `adapters.dumps.bulk` accepts without further checks.
    """
    at, found, others, line, more, limit = first, 0, 0, 0, 0, first + size
    while at < limit:
        newline, delimiter, sign, dot, dash, joiner, digit, letter = masks_at(text, at)
        every_sign = sign
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
                if FILE_ENDS[(np.int64(text[at + end - 2] & 31) << 5) | (text[at + end - 1] & 31)]:
                    sure = False  # perhaps 'logo@2x.png'
        if sure:
            starts[found], lengths[found], numbers[found] = at, end, line
            found += 1
            every_sign &= ~((_ONE << np.uint64(end)) - _ONE)
        else:
            other_starts[others], other_numbers[others] = at, line
            others += 1
        while True:
            if sure and every_sign != _ZERO:
                every_sign &= newline - _ONE  # all of them where there is no newline: 0 - 1
                every_sign &= ~newline
                while every_sign != _ZERO:
                    signs[more], sign_lines[more] = at + lowest_bit(every_sign), line
                    more += 1
                    every_sign &= every_sign - _ONE
            if newline != _ZERO:
                break
            at += 64
            newline, every_sign = newlines_and_signs_at(text, at) if at < limit else (_ONE, _ZERO)
        at += lowest_bit(newline) + 1
        line += 1
    return found, others, line, more


@njit(nogil=True, cache=True)
def newlines_and_signs_at(text, at):
    """Bit masks of the newlines and of the '@' signs among the 64 bytes from a place on."""
    return equal_at(text, at, np.uint8(10)), equal_at(text, at, np.uint8(64))


UNSURE = 3
"""The code of a secret that `adapters.dumps.secrets` must judge. Other codes are its own."""


@njit(nogil=True, cache=True)
def judge_secrets(text, starts, lengths, count, codes):
    """The kind of secret after each address: 0 none, 1 a hash, 2 clear text, 3 unsure.

    A value that begins with a short run of base64 characters is not a hash, and it is empty only if it is a word such
    as 'null', 'none' or 'n/a'. A run of hex digits of the right length up to the line's end is a hash; any other long
    run up to there is not (base64 of a hash ends with '=').
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
