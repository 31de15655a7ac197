"""Finds the host in an address."""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.sweep import _hashed

_COLON, _SLASH, _BACKSLASH, _AT, _DOT = ord(":"), ord("/"), ord("\\"), ord("@"), ord(".")


@njit(nogil=True, cache=True)
def _is_of_host(byte):
    letter = byte | 32
    return (97 <= letter <= 122) or (48 <= byte <= 57) or byte == 45 or byte == 46 or byte == 95


@njit(nogil=True, cache=True)
def find_hosts(text, starts, ends, host_starts, host_ends):
    """The host in each span, without 'www.'; for an Android app its name. Empty where there is none.

    It reads `scheme://user@host:port/path`, where every part but the host may be missing and slashes may be escaped as
    in JSON.
    """
    for place in range(len(starts)):
        start, end = starts[place], ends[place]
        while start < end and text[start] <= 32:
            start += 1
        at = start
        while at < end and text[at] != _COLON and text[at] != _SLASH and text[at] != _AT:
            at += 1
        if at + 2 < end and text[at] == _COLON:
            behind, slashes = at + 1, 0
            while behind < end and (text[behind] == _SLASH or text[behind] == _BACKSLASH):
                slashes += text[behind] == _SLASH
                behind += 1
            if slashes >= 2:
                start = behind
        stop = start
        while stop < end and text[stop] != _SLASH and text[stop] != _BACKSLASH and text[stop] > 32:
            if text[stop] == _AT:
                start = stop + 1
            stop += 1
        stop, dots = start, 0
        while stop < end and _is_of_host(text[stop]):
            dots += text[stop] == _DOT
            stop += 1
        if stop - start > 4 and text[start + 3] == _DOT and dots > 1:
            if (text[start] | 32) == 119 and (text[start + 1] | 32) == 119 and (text[start + 2] | 32) == 119:
                start += 4
                dots -= 1
        good = dots > 0 and text[start] != _DOT and text[stop - 1] != _DOT
        good = good and (stop == end or text[stop] == _COLON or not (text[stop] > 127 or text[stop] == _AT))
        host_starts[place], host_ends[place] = start, stop if good else start


@njit(nogil=True, cache=True)
def number_distinct(text, starts, ends, codes, firsts):
    """Numbers the distinct spans, whatever their case: `codes` of all (-1: empty), and the first span of each number.
    Returns how many numbers there are."""
    size = 1
    while size < 2 * len(starts):
        size *= 2
    slots, hashes, count = np.zeros(size, np.int64), np.empty(len(starts), np.uint64), 0
    for span in range(len(starts)):
        codes[span] = -1
        if starts[span] >= ends[span]:
            continue
        value = _hashed(text, starts[span], ends[span])
        slot = np.int64(value >> np.uint64(32)) & (size - 1)
        while slots[slot] and hashes[slots[slot] - 1] != value:
            slot = (slot + 1) & (size - 1)
        if not slots[slot]:
            firsts[count], hashes[count] = span, value
            count += 1
            slots[slot] = count
        codes[span] = slots[slot] - 1
    return count
