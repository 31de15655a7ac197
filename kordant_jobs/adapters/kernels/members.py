"""Finds watched blind indexes: a bitmap rejects nearly all others, then a hash table decides."""

import numpy as np
import numpy.typing as npt
from numba import njit

Words = npt.NDArray[np.uint64]
_ONE, _ZERO, _THREE, _SEVEN, _ABOVE = np.uint64(1), np.uint64(0), np.uint64(3), np.uint64(7), np.uint64(20)


@njit(nogil=True, cache=True)
def _fill(keys, bitmap, bits, table, slots):
    for item in range(len(keys)):
        low, high = keys[item, 0], keys[item, 1]
        bit = low & bits
        bitmap[bit >> _THREE] |= np.uint8(1) << np.uint8(bit & _SEVEN)
        slot = (low >> _ABOVE) & slots
        while table[slot] >= 0 and (keys[table[slot], 0] != low or keys[table[slot], 1] != high):
            slot = (slot + _ONE) & slots
        if table[slot] < 0:
            table[slot] = item


@njit(nogil=True, cache=True)
def _find(indexes, count, keys, bitmap, bits, table, slots, places, items):
    hits = 0
    for place in range(count):
        low = indexes[place, 0]
        bit = low & bits
        if (bitmap[bit >> _THREE] >> np.uint8(bit & _SEVEN)) & np.uint8(1):
            slot = (low >> _ABOVE) & slots
            while table[slot] >= 0:
                item = table[slot]
                if keys[item, 0] == low and keys[item, 1] == indexes[place, 1]:
                    places[hits], items[hits] = place, item
                    hits += 1
                    break
                slot = (slot + _ONE) & slots
    return hits


class Members:
    """A set of blind indexes, two words each. 10^6 of them take 28 MB."""

    def __init__(self, keys: Words) -> None:
        """`keys` has the shape (n, 2). Of equal keys the first one counts."""
        size = max(1, len(keys) - 1).bit_length()
        self._keys = np.ascontiguousarray(keys, np.uint64)
        self._slots, self._bits = np.uint64((2 << size) - 1), np.uint64((32 << size) - 1)
        self._table = np.full(2 << size, -1, np.int32)
        self._bitmap = np.zeros(4 << size, np.uint8)
        _fill(self._keys, self._bitmap, self._bits, self._table, self._slots)

    def find(self, indexes: Words, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The matches among the first `count` of `indexes`: their places, and the number of the matching key of
        each."""
        places, items = np.empty(count, np.int32), np.empty(count, np.int32)
        hits = _find(indexes, count, self._keys, self._bitmap, self._bits, self._table, self._slots, places, items)
        return places[:hits], items[:hits]
