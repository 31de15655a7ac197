"""Hashes of names, without case and punctuation, and tables of the known ones."""

import numpy as np
import numpy.typing as npt
from numba import njit

_FNV, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_IN_LABEL = np.array(
    [1 if byte >= 128 or chr(byte).isalnum() else 2 * (chr(byte) in " -._()/\"'#]}{") for byte in range(256)]
)
"""1: a letter or digit; 2: another character of a label; 0: none."""
_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(nogil=True, cache=True, forceinline=True)
def name_hash(text, start, end):
    """The hash of the letters and digits of a name."""
    value = _FNV
    for at in range(start, end):
        byte = text[at]
        if 65 <= byte <= 90:
            byte |= 32
        elif not (97 <= byte <= 122 or 48 <= byte <= 57 or byte >= 128):
            continue
        value = (value ^ np.uint64(byte)) * _PRIME
    return value


@njit(nogil=True, cache=True, forceinline=True)
def _slot(names, value):
    mask = np.uint64(len(names) - 1)
    slot = (value >> np.uint64(20)) & mask
    while names[slot] != _ZERO and names[slot] != value:
        slot = (slot + _ONE) & mask
    return slot


def names_table(roles: dict[str, int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """A hash table of names (letters and digits in lower case) and their roles, numbered from 1."""
    names = np.zeros(2 << (2 * max(1, len(roles))).bit_length(), np.uint64)
    codes = np.zeros(len(names), np.uint8)
    for name, code in roles.items():
        data = np.frombuffer(name.encode("utf-8", "surrogateescape"), np.uint8)
        value = name_hash(data, 0, len(data))
        slot = _slot(names, np.uint64(value))
        names[slot], codes[slot] = value, code
    return names, codes
