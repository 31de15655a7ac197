"""A block of a dump as blind indexes: by compiled loops where a line is plain enough, else as `Dump.batches` does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.adapters.dumps.model import BlindBatch, DumpBatch, DumpShape, Layout, Role, SecretKind
from kordant_jobs.adapters.dumps.text import Block
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.domain.identifiers.blinding import BlindingKey

Words = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int32]
_MOSTLY_PLAIN = 0.5
"""With fewer plain lines than this the whole block goes the general way."""
_CODES = {SecretKind.NONE: 0, SecretKind.HASHED: 1, SecretKind.CLEAR: 2}


class Blinder:
    """Blinds blocks with one key. May be used by several threads."""

    def __init__(self, key: BlindingKey) -> None:
        from kordant_jobs.adapters.kernels import blake2b, lines  # 95 MB and a second, for who blinds

        self._lines, self._blake2b = lines, blake2b
        self._key = key
        self._states = {str(kind): blake2b.state_behind_key(key.key, kind.encode()) for kind in IdentifierKind}

    def block(self, layout: Layout, block: Block, general: Callable[[Block], DumpBatch]) -> BlindBatch:
        """The records of a block; `general` reads one as columns of text."""
        if layout.shape is not DumpShape.COMBO or layout.columns[0].role is not Role.EMAIL or not block.data:
            return self.records(general(block))
        text = np.frombuffer(b"".join((block.data, b"\n", bytes(self._lines.PADDING + 8))), np.uint8)
        size = len(block.data) + (not block.data.endswith(b"\n"))
        room = int(np.count_nonzero(text[:size] == ord("\n")))
        starts, lengths, numbers, other_starts, other_numbers = (np.empty(room, np.int32) for _ in range(5))
        found, others, lines = self._lines.find_addresses(
            text, size, starts, lengths, numbers, other_starts, other_numbers
        )
        if found < _MOSTLY_PLAIN * lines:
            return self.records(general(block))
        codes = np.empty(found, np.uint8)
        self._lines.judge_secrets(text, starts, lengths, found, codes)
        index = np.empty((found, 2), np.uint64)
        self._blake2b.blind_spans(text, starts, lengths, found, self._states[IdentifierKind.EMAIL], index)
        line = numbers[:found].astype(np.uint64) + np.uint64(block.first + block.lost + 1)
        plain = BlindBatch(line=line, index=index, secret=codes, lines=lines + block.lost, bad_lines={})
        unsure = codes == self._lines.UNSURE
        if not others and not block.lost and not unsure.any():
            return plain
        left_starts = np.concatenate([other_starts[:others], starts[:found][unsure]])
        left_numbers = np.concatenate([other_numbers[:others], numbers[:found][unsure]])
        left = self._left(block, left_starts, left_numbers, general)
        sure = ~unsure
        return BlindBatch(
            line=np.concatenate([line[sure], left.line]),
            index=np.concatenate([index[sure], left.index]),
            secret=np.concatenate([codes[sure], left.secret]),
            lines=plain.lines,
            bad_lines=left.bad_lines,
        )

    def _left(
        self, block: Block, starts: Numbers, numbers: Numbers, general: Callable[[Block], DumpBatch]
    ) -> BlindBatch:
        """Lines that the compiled loops left over, under their own numbers."""
        order = np.argsort(starts)
        data = block.data
        texts = [data[start : data.find(b"\n", start) + 1] or data[start:] for start in starts[order].tolist()]
        batch = self.records(general(Block(data=b"".join(texts), first=0, lost=block.lost)))
        true_numbers = numbers[order].astype(np.uint64) + np.uint64(block.first + block.lost + 1)
        line = true_numbers[(batch.line - np.uint64(1 + block.lost)).astype(np.int64)]
        return BlindBatch(
            line=line, index=batch.index, secret=batch.secret, lines=batch.lines, bad_lines=batch.bad_lines
        )

    def records(self, batch: DumpBatch) -> BlindBatch:
        """A batch of readable records, blinded."""
        records = batch.records
        index = np.empty((records.height, 2), np.uint64)
        for kind in records["kind"].unique().to_list():
            of_kind = records["kind"] == kind
            index[of_kind.to_numpy()] = self._indexes(kind, records["identifier"].filter(of_kind))
        codes = (
            records["secret"]
            .cast(pl.String)
            .replace_strict({str(kind): code for kind, code in _CODES.items()}, return_dtype=pl.UInt8)
        )
        return BlindBatch(
            line=records["line"].to_numpy(),
            index=index,
            secret=codes.to_numpy(),
            lines=batch.lines,
            bad_lines=batch.bad_lines,
        )

    def _indexes(self, kind: str, canonical: pl.Series) -> Words:
        """By the compiled loop, which reads ASCII as lower case: so are all canonical identifiers but IBANs."""
        values = canonical.to_list()
        whole = "".join(values)
        lengths = canonical.str.len_bytes().to_numpy().astype(np.int32)
        plain = whole.isascii() and whole == whole.lower()
        if not plain or lengths.max(initial=0) > self._blake2b.MAX_BYTES:
            made = b"".join(self._key.indexes(kind, values))
            return np.frombuffer(made, np.uint64).reshape(-1, 2)
        text = np.frombuffer(whole.encode("ascii") + bytes(8), np.uint8)
        starts = np.zeros(len(values), np.int32)
        np.cumsum(lengths[:-1], out=starts[1:])
        index = np.empty((len(values), 2), np.uint64)
        self._blake2b.blind_spans(text, starts, lengths, len(values), self._states[kind], index)
        return index
