"""Records of the corpus put in order by their blind index, and looked up by it.

A blind index is two words. The first `place_bits` of the low word say in which bucket a record stands (64 to 128 in
each), the next 32 are its key there, and the high half of the high word confirms it. The other half of the high word
is nowhere written: it seals line and secret, so that who has not the whole index cannot read them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PARTS = 256
"""Into how many parts a run is split, by the first 8 bits."""

_64, _56, _32 = np.uint64(64), np.uint64(56), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_SECRET_BITS, _SECRET = np.uint64(2), np.uint64(3)


@njit(nogil=True, cache=True)
def split(index, line, secret, low, high, place, bounds):
    """Copy records into `low`, `high` and `place` (line and secret in one), part by part; `bounds` says where each
    of PARTS begins."""
    count = len(line)
    next_at = np.zeros(PARTS + 1, np.int64)
    for record in range(count):
        next_at[(index[record, 0] >> _56) + np.uint64(1)] += 1
    for part in range(PARTS):
        next_at[part + 1] += next_at[part]
    bounds[:] = next_at
    for record in range(count):
        part = index[record, 0] >> _56
        at = next_at[part]
        next_at[part] = at + 1
        low[at], high[at] = index[record, 0], index[record, 1]
        place[at] = (line[record] << _SECRET_BITS) | np.uint64(secret[record])


@njit(nogil=True, cache=True)
def _sift(first, root, size, key, place, more, seal):
    while True:
        child = 2 * root + 1
        if child >= size:
            return
        at, right = first + child, first + child + 1
        if child + 1 < size and (key[at] < key[right] or (key[at] == key[right] and place[at] < place[right])):
            child += 1
            at = right
        top = first + root
        if key[top] > key[at] or (key[top] == key[at] and place[top] >= place[at]):
            return
        key[top], key[at] = key[at], key[top]
        place[top], place[at] = place[at], place[top]
        more[top], more[at] = more[at], more[top]
        seal[top], seal[at] = seal[at], seal[top]
        root = child


@njit(nogil=True, cache=True)
def _sort(first, end, key, place, more, seal):
    """By key, then by place. Small buckets by insertion; large ones, which many equal records make, as a heap."""
    size = end - first
    if size > 512:
        for root in range(size // 2 - 1, -1, -1):
            _sift(first, root, size, key, place, more, seal)
        for last in range(size - 1, 0, -1):
            at = first + last
            key[first], key[at] = key[at], key[first]
            place[first], place[at] = place[at], place[first]
            more[first], more[at] = more[at], more[first]
            seal[first], seal[at] = seal[at], seal[first]
            _sift(first, 0, last, key, place, more, seal)
        return
    for record in range(first + 1, end):
        a, b, c, d = key[record], place[record], more[record], seal[record]
        at = record
        while at > first and (key[at - 1] > a or (key[at - 1] == a and place[at - 1] > b)):
            key[at], place[at], more[at], seal[at] = key[at - 1], place[at - 1], more[at - 1], seal[at - 1]
            at -= 1
        key[at], place[at], more[at], seal[at] = a, b, c, d


@njit(nogil=True, cache=True)
def order(low, high, place, shard_bits, bucket_bits, directory, key, more, sealed):
    """Put one shard's records in order: into `directory` (where each of its 2^bucket_bits buckets begins, and the end),
    `key`, `more` and `sealed` (all as long as the records)."""
    count = len(low)
    buckets = 1 << bucket_bits
    shift = _64 - np.uint64(bucket_bits)
    behind_shard = np.uint64(shard_bits)
    behind_bucket = np.uint64(shard_bits + bucket_bits)
    next_at = np.zeros(buckets + 1, np.int64)
    for record in range(count):
        bucket = ((low[record] << behind_shard) >> shift) if bucket_bits else np.uint64(0)
        next_at[bucket + np.uint64(1)] += 1
    for bucket in range(buckets):
        next_at[bucket + 1] += next_at[bucket]
    for bucket in range(buckets + 1):
        directory[bucket] = next_at[bucket]
    opened, seal = np.empty(count, np.uint64), np.empty(count, np.uint32)
    for record in range(count):
        bucket = ((low[record] << behind_shard) >> shift) if bucket_bits else np.uint64(0)
        at = next_at[bucket]
        next_at[bucket] = at + 1
        key[at] = (low[record] << behind_bucket) >> _32
        more[at] = high[record] >> _32
        opened[at] = place[record]
        seal[at] = high[record] & _LOW
    for bucket in range(buckets):
        first, end = np.int64(directory[bucket]), np.int64(directory[bucket + 1])
        if end - first > 1:
            _sort(first, end, key, opened, more, seal)
    for record in range(count):
        sealed[record] = opened[record] ^ np.uint64(seal[record])


@njit(nogil=True, cache=True)
def look_up(index, shard_bits, bucket_bits, directory, key, more, sealed, lines, occurrences, secrets):
    """For each of `index`, all of one shard: the first line, on how many lines, the strongest secret; 0 lines: not
    there. Returns how many are there."""
    shift = _64 - np.uint64(bucket_bits)
    behind_shard = np.uint64(shard_bits)
    behind_bucket = np.uint64(shard_bits + bucket_bits)
    there = 0
    for item in range(len(index)):
        low, high = index[item, 0], index[item, 1]
        bucket = ((low << behind_shard) >> shift) if bucket_bits else np.uint64(0)
        first, end = np.int64(directory[bucket]), np.int64(directory[bucket + np.uint64(1)])
        wanted = np.uint32((low << behind_bucket) >> _32)
        while first < end:
            middle = (first + end) >> 1
            if key[middle] < wanted:
                first = middle + 1
            else:
                end = middle
        end = np.int64(directory[bucket + np.uint64(1)])
        proof, seal = np.uint32(high >> _32), high & _LOW
        count, last, strongest = 0, np.uint64(0), np.uint64(0)
        while first < end and key[first] == wanted:
            if more[first] == proof:
                place = np.uint64(sealed[first]) ^ seal
                if place & _SECRET == _SECRET:  # no secret is 3: it was sealed with another index
                    first += 1
                    continue
                line = place >> _SECRET_BITS
                strongest = max(strongest, place & _SECRET)
                if count == 0:
                    lines[item] = line
                if count == 0 or line != last:
                    count += 1
                last = line
            first += 1
        occurrences[item], secrets[item] = count, strongest
        there += count > 0
    return there
