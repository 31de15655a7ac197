"""One file a shard: a directory of buckets and three columns (see `adapters.kernels.runs`), 12 bytes a record.

    64 bytes   eight little-endian words: magic, version, records, bits of shard, bits of bucket, width of a place, 0, 0
    directory  uint32, where each bucket begins, and the end
    key        uint32, the 32 bits of the blind index that follow those of shard and bucket
    more       uint32, 32 bits that confirm it
    place      uint32 (uint64 in a dump of more than 2^29 lines): line and secret, sealed with 32 bits that are nowhere

Of 10^6 watched items, none of which is in a dump, one matches by chance with a probability of 7e-12.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.errors import PermanentError

Words = npt.NDArray[np.uint64]

MAGIC = int.from_bytes(b"KORDANTX", "little")
VERSION = 2
"""Since version 2 a place has three bits of secret, which may be 'mentioned'; shards of version 1 are still read."""
_SECRET_BITS = {1: 2, VERSION: 3}
HEADER_WORDS = 8
SHARD_RECORDS = 2 << 20
"""The approximate number of records in a shard: 25 MB, and 100 MB while it is made."""
MAX_SHARD_BITS = 8
BUCKET_RECORDS = 64
NARROW_LINES = 1 << 29
"""The number of lines below which line and secret fit into 32 bits."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The partition of a dump: 2^shard_bits files of 2^bucket_bits buckets."""

    shard_bits: int
    bucket_bits: int

    @property
    def shards(self) -> int:
        """The number of files."""
        return 1 << self.shard_bits


def cut_of(records: int, shard_records: int = SHARD_RECORDS) -> Cut:
    """The partition for a dump with this number of records.

    >>> cut_of(100_000_000)
    Cut(shard_bits=6, bucket_bits=14)
    """
    shard_bits = min(MAX_SHARD_BITS, max(0, (records - 1) // shard_records).bit_length())
    places = max(0, records // BUCKET_RECORDS - 1).bit_length()
    return Cut(shard_bits=shard_bits, bucket_bits=min(24, max(0, places - 1 - shard_bits)))


@dataclass(frozen=True, kw_only=True)
class Shard:
    """An open shard: in memory, or mapped from its file so that only the parts in use are read."""

    shard_bits: int
    bucket_bits: int
    secret_bits: int
    directory: npt.NDArray[np.uint32]
    key: npt.NDArray[np.uint32]
    more: npt.NDArray[np.uint32]
    place: npt.NDArray[Any]


def made(low: Words, high: Words, place: Words, cut: Cut) -> list[npt.NDArray[Any]]:
    """The arrays of a shard's file, from its records in any order."""
    from kordant_jobs.adapters.kernels.runs import SECRET_BITS, order

    count = len(low)
    wide = bool(count) and int(place.max()) >= NARROW_LINES << SECRET_BITS
    directory = np.empty((1 << cut.bucket_bits) + 1, np.uint32)
    key, more = np.empty(count, np.uint32), np.empty(count, np.uint32)
    sealed = np.empty(count, np.uint64 if wide else np.uint32)
    order(low, high, place, cut.shard_bits, cut.bucket_bits, directory, key, more, sealed)
    header = np.array([MAGIC, VERSION, count, cut.shard_bits, cut.bucket_bits, sealed.itemsize, 0, 0], np.uint64)
    return [header, directory, key, more, sealed]


def opened(data: npt.NDArray[np.uint8]) -> Shard:
    """A shard from the bytes of its file.

    Raises:
        PermanentError: the file is not a shard, or is incomplete.
    """
    header = data[: 8 * HEADER_WORDS].view(np.uint64).tolist() if len(data) >= 8 * HEADER_WORDS else [0] * HEADER_WORDS
    magic, version, count, shard_bits, bucket_bits, width = header[:6]
    if magic != MAGIC or version not in _SECRET_BITS:
        raise PermanentError("a file of the corpus is no shard. Ingest its dump again: `kordant-jobs corpus status`.")
    widths = (4 * ((1 << bucket_bits) + 1), 4 * count, 4 * count, width * count)
    if len(data) != 8 * HEADER_WORDS + sum(widths):
        raise PermanentError("a shard of the corpus is cut short. Ingest its dump again: `kordant-jobs corpus status`.")
    ends = np.cumsum([8 * HEADER_WORDS, *widths]).tolist()
    parts = [data[start:end] for start, end in pairwise(ends)]
    directory, key, more = (np.frombuffer(part, np.uint32) for part in parts[:3])
    place = np.frombuffer(parts[3], np.uint64 if width == 8 else np.uint32)
    return Shard(
        shard_bits=shard_bits,
        bucket_bits=bucket_bits,
        secret_bits=_SECRET_BITS[version],
        directory=directory,
        key=key,
        more=more,
        place=place,
    )


@dataclass(frozen=True, kw_only=True)
class Items:
    """Watched items, sorted by blind index; made once for many dumps."""

    ids: pl.Series
    index: Words

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Items:
        """The items of a frame with `item_id` and `blind_index` (16 bytes each)."""
        index = np.frombuffer(b"".join(frame["blind_index"].to_list()), np.uint64).reshape(-1, 2)
        by_index = np.argsort(index[:, 0])
        return cls(ids=frame["item_id"].gather(by_index), index=np.ascontiguousarray(index[by_index]))

    def of_shard(self, shard: int, shard_bits: int) -> slice:
        """The slice of the items that a shard may hold."""
        if not shard_bits:
            return slice(0, len(self.index))
        bounds = np.array([shard << (64 - shard_bits), ((shard + 1) << (64 - shard_bits)) - 1], np.uint64)
        first = int(np.searchsorted(self.index[:, 0], bounds[0], "left"))
        return slice(first, int(np.searchsorted(self.index[:, 0], bounds[1], "right")))
