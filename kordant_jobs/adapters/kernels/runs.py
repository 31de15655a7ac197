"""Sorts records of the corpus by their blind index, and looks them up by it.

A blind index is two words. The first `place_bits` of the low word choose the bucket of a record (64 to 128 records in
each), the next 32 bits are its key there, and the high half of the high word confirms it. The other half of the high
word is stored nowhere: it encrypts line and secret, so that only a holder of the whole index can read them.
"""

import numpy as np
from numba import njit

PARTS = 256
"""The number of parts that a run is split into, by the first 8 bits."""

_64, _56, _32 = np.uint64(64), np.uint64(56), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
SECRET_BITS = 3
"""The lowest bits of a place, which hold one of four kinds of secret. The other four values show that it was decrypted
with the wrong index."""
_SECRET_BITS = np.uint64(SECRET_BITS)


@njit(nogil=True, cache=True)
def split(index, line, secret, low, high, place, bounds):
    """Copies records to `low`, `high` and `place` (line and secret in one word), grouped by part. `bounds` has the
    start of each of the PARTS."""
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


_FEW = 512
"""The largest bucket that is sorted by spreading its records over STEPS by the next bits of their keys, which puts them
nearly in order."""
_STEPS = 128
_STEP_SHIFT = np.uint64(64 - 7)


@njit(nogil=True, cache=True)
def _before(one, other):
    return one[0] < other[0] or (one[0] == other[0] and one[1] < other[1])


@njit(nogil=True, cache=True)
def _swap(rows, one, other):
    for word in range(rows.shape[1]):
        rows[one, word], rows[other, word] = rows[other, word], rows[one, word]


@njit(nogil=True, cache=True)
def _sift(rows, root, size):
    while True:
        child = 2 * root + 1
        if child >= size:
            return
        if child + 1 < size and _before(rows[child], rows[child + 1]):
            child += 1
        if not _before(rows[root], rows[child]):
            return
        _swap(rows, root, child)
        root = child


@njit(nogil=True, cache=True)
def _heap_sort(rows):
    size = len(rows)
    for root in range(size // 2 - 1, -1, -1):
        _sift(rows, root, size)
    for last in range(size - 1, 0, -1):
        _swap(rows, 0, last)
        _sift(rows, 0, last)


@njit(nogil=True, cache=True)
def _sort(rows, spare, starts):
    """Sorts by the first word, then the second. Keys are hashes and evenly distributed, so a row is close to its place
    once it is grouped by its step. A large bucket, which many equal records make, is heap-sorted."""
    size = len(rows)
    if size > _FEW:
        _heap_sort(rows)
        return
    starts[:] = 0
    for row in range(size):
        starts[rows[row, 0] >> _STEP_SHIFT] += 1
    start = 0
    for step in range(_STEPS):
        start, starts[step] = start + starts[step], start
    for row in range(size):
        step = rows[row, 0] >> _STEP_SHIFT
        at = starts[step]
        starts[step] = at + 1
        spare[at, 0], spare[at, 1], spare[at, 2] = rows[row, 0], rows[row, 1], rows[row, 2]
    for row in range(size):
        first, second, third = spare[row, 0], spare[row, 1], spare[row, 2]
        at = row
        while at > 0 and (rows[at - 1, 0] > first or (rows[at - 1, 0] == first and rows[at - 1, 1] > second)):
            rows[at, 0], rows[at, 1], rows[at, 2] = rows[at - 1, 0], rows[at - 1, 1], rows[at - 1, 2]
            at -= 1
        rows[at, 0], rows[at, 1], rows[at, 2] = first, second, third


@njit(nogil=True, cache=True)
def order(low, high, place, shard_bits, bucket_bits, directory, key, more, sealed):
    """Sorts one shard's records into `directory` (the start of each of its 2^bucket_bits buckets, and the end), `key`,
    `more` and `sealed` (each as long as the records)."""
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
    rows = np.empty((count, 3), np.uint64)  # key and `more`, place, seal: one write a record into its bucket
    for record in range(count):
        bucket = ((low[record] << behind_shard) >> shift) if bucket_bits else np.uint64(0)
        at = next_at[bucket]
        next_at[bucket] = at + 1
        rows[at, 0] = (((low[record] << behind_bucket) >> _32) << _32) | (high[record] >> _32)
        rows[at, 1] = place[record]
        rows[at, 2] = high[record] & _LOW
    spare, starts = np.empty((_FEW, 3), np.uint64), np.empty(_STEPS, np.int64)
    for bucket in range(buckets):
        first, end = np.int64(directory[bucket]), np.int64(directory[bucket + 1])
        if end - first > 1:
            _sort(rows[first:end], spare, starts)
        for record in range(first, end):
            key[record] = rows[record, 0] >> _32
            more[record] = rows[record, 0] & _LOW
            sealed[record] = rows[record, 1] ^ rows[record, 2]


@njit(nogil=True, cache=True)
def look_up(index, shard_bits, bucket_bits, secret_bits, directory, key, more, sealed, lines, occurrences, secrets):
    """Looks up each of `index`, which belong to one shard: its first line, its number of lines (0: not found), its
    strongest secret. Returns the number found.

    Dumps of the older format have two bits: their secrets are numbered one lower, and 3 means none.
    """
    shift = _64 - np.uint64(bucket_bits)
    behind_shard = np.uint64(shard_bits)
    behind_bucket = np.uint64(shard_bits + bucket_bits)
    width, mask = np.uint64(secret_bits), (np.uint64(1) << np.uint64(secret_bits)) - np.uint64(1)
    kinds, ahead = np.uint64(3 if secret_bits == 2 else 4), np.uint64(secret_bits == 2)
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
                if place & mask >= kinds:  # it was sealed with another index
                    first += 1
                    continue
                line = place >> width
                strongest = max(strongest, (place & mask) + ahead)
                if count == 0:
                    lines[item] = line
                if count == 0 or line != last:
                    count += 1
                last = line
            first += 1
        occurrences[item], secrets[item] = count, strongest
        there += count > 0
    return there
