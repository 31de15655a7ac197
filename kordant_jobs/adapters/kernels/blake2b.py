"""Keyed BLAKE2b of short texts, many at a time: the same blind index as `store.people.keyring` computes, bit by bit.

A key fills the first block (RFC 7693 §2.8), so the state after it is computed once for each key. Each text of at most
64 bytes then needs one block. LANES texts are hashed at a time, one in each lane of a vector register.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from kordant_jobs.adapters.kernels.machine import word_at

Words = npt.NDArray[np.uint64]
LANES = 8
MAX_BYTES = 64
"""Longer texts are not hashed here."""
DIGEST_BYTES = 16

_WORDS = MAX_BYTES // 8
_MASK = (1 << 64) - 1
# RFC 7693 §2.6 and §2.7
_IV = (
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
)
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_MIXED = (
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
)
_ROUNDS = 12


def state_behind_key(key: bytes, person: bytes) -> Words:
    """The eight words of state after `key` was hashed, for digests of 16 bytes personalised by `person`."""
    parameters = bytes([DIGEST_BYTES, len(key), 1, 1]) + bytes(44) + person.ljust(16, b"\0")
    state = [iv ^ int.from_bytes(parameters[8 * i : 8 * i + 8], "little") for i, iv in enumerate(_IV)]
    block = key.ljust(128, b"\0")
    message = [int.from_bytes(block[8 * i : 8 * i + 8], "little") for i in range(16)]
    v = [*state, *_IV]
    v[12] ^= 128
    for order in (_SIGMA[r % 10] for r in range(_ROUNDS)):
        for g, (a, b, c, d) in enumerate(_MIXED):
            for word, (first, second) in ((order[2 * g], (32, 24)), (order[2 * g + 1], (16, 63))):
                v[a] = (v[a] + v[b] + message[word]) & _MASK
                v[d] = _rotated(v[d] ^ v[a], first)
                v[c] = (v[c] + v[d]) & _MASK
                v[b] = _rotated(v[b] ^ v[c], second)
    return np.array([state[i] ^ v[i] ^ v[i + 8] for i in range(8)], np.uint64)


def _rotated(value: int, by: int) -> int:
    return (value >> by | value << (64 - by)) & _MASK


@intrinsic
def _compress(_: Any, state: Any, message: Any, out: Any) -> Any:
    """Compresses the last block of LANES texts. `message` has 8 words and the count of bytes, each LANES long; `out`
    has two words.

    Written as vector code, since Numba compiles the loop over lanes to a third of the speed (it finds no rotations).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i64, lanes = ir.IntType(64), ir.VectorType(ir.IntType(64), LANES)
        pointers = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        state_at, message_at, out_at = pointers

        def vector(at: Any, place: int) -> Any:
            where = builder.gep(at, [ir.Constant(i64, place * LANES)])
            return builder.bitcast(where, lanes.as_pointer())

        def loaded(place: int) -> Any:
            value = builder.load(vector(message_at, place))
            value.align = 8
            return value

        def constant(value: int) -> Any:
            return ir.Constant(lanes, [value] * LANES)

        def spread(place: int) -> Any:
            value = builder.load(builder.gep(state_at, [ir.Constant(i64, place)]))
            first = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            return builder.shuffle_vector(first, ir.Constant(lanes, ir.Undefined), order)

        def rotated(value: Any, by: int) -> Any:
            return builder.or_(builder.lshr(value, constant(by)), builder.shl(value, constant(64 - by)))

        words = [loaded(place) for place in range(_WORDS)]
        chained = [spread(place) for place in range(8)]
        v = [*chained, *(constant(iv) for iv in _IV)]
        v[12] = builder.xor(v[12], loaded(_WORDS))
        v[14] = constant(~_IV[6] & _MASK)
        for order in (_SIGMA[r % 10] for r in range(_ROUNDS)):
            for g, (a, b, c, d) in enumerate(_MIXED):
                for word, (first, second) in ((order[2 * g], (32, 24)), (order[2 * g + 1], (16, 63))):
                    v[a] = builder.add(v[a], v[b])
                    if word < _WORDS:
                        v[a] = builder.add(v[a], words[word])
                    v[d] = rotated(builder.xor(v[d], v[a]), first)
                    v[c] = builder.add(v[c], v[d])
                    v[b] = rotated(builder.xor(v[b], v[c]), second)
        for place in range(2):
            made = builder.xor(chained[place], builder.xor(v[place], v[place + 8]))
            builder.store(made, vector(out_at, place)).align = 8
        return context.get_dummy_value()

    return types.none(state, message, out), generate


_HIGH = np.uint64(0x8080808080808080)
_ABOVE_A = np.uint64(0x3F3F3F3F3F3F3F3F)  # brings 'A' and all above it to the high bit
_ABOVE_Z = np.uint64(0x2525252525252525)
_FULL = np.uint64(_MASK)
_TWO = np.uint64(2)
_BLOCK = np.uint64(128)


@njit(nogil=True, cache=True)
def blind_spans(text, starts, lengths, count, state, out):
    """Writes the blind indexes of `count` spans of ASCII text, lower-cased, to `out`, as two little-endian words each.

    A span has at most 64 bytes. `text` must be readable for eight bytes beyond the last span.
    """
    message = np.empty((_WORDS + 1) * LANES, np.uint64)
    made = np.empty(2 * LANES, np.uint64)
    first = 0
    while first < count:
        held = min(LANES, count - first)
        for lane in range(LANES):
            span = first + (lane if lane < held else 0)
            start, size = np.int64(starts[span]), np.int64(lengths[span])
            for place in range(_WORDS):
                left = size - 8 * place
                word = np.uint64(0)
                if left > 0:
                    word = word_at(text, start + 8 * place)
                    if left < 8:
                        word &= _FULL >> np.uint64(64 - 8 * left)
                    word |= ((word + _ABOVE_A) & ~(word + _ABOVE_Z) & _HIGH) >> _TWO
                message[place * LANES + lane] = word
            message[_WORDS * LANES + lane] = _BLOCK + np.uint64(size)
        _compress(state, message, made)
        for lane in range(held):
            out[first + lane, 0] = made[lane]
            out[first + lane, 1] = made[LANES + lane]
        first += LANES
