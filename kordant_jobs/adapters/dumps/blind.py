"""Converts readings to blind indexes. Blocks of a plain combo list are read by compiled loops alone, several times as
fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.adapters.dumps import sweep
from kordant_jobs.adapters.dumps.ledger import Ledger, Segment
from kordant_jobs.adapters.dumps.model import SITES, BlindBatch, DumpShape
from kordant_jobs.adapters.dumps.reading import Reading
from kordant_jobs.adapters.dumps.structure.segments import UNFIT_ROWS
from kordant_jobs.adapters.dumps.text import Block
from kordant_jobs.adapters.dumps.window import MARGIN, Window
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.domain.identifiers.blinding import BlindingKey

Words = npt.NDArray[np.uint64]
_LINE_MIN = 6
"""The bytes of the shortest plain line; a list of shorter lines is not plain."""
_MOSTLY_PLAIN = 0.5
"""The share of plain lines below which the whole block is read the general way."""

General = Callable[[Window, Ledger], Reading]
"""Reads a window of a combo list without the compiled loops."""


class Blinder:
    """Blinds with one key. Thread-safe."""

    def __init__(self, key: BlindingKey) -> None:
        from kordant_jobs.adapters.kernels import blake2b, lines, sweep  # 95 MB and a second, for who blinds

        self._lines, self._blake2b, self._odd = lines, blake2b, sweep.ODD
        self._key = key
        self._states = {str(kind): blake2b.state_behind_key(key.key, kind.encode()) for kind in IdentifierKind}

    def plain_combo(self, block: Block, general: General, *, member: int) -> tuple[BlindBatch, Ledger] | None:
        """The records of a block of `address:password` lines. Lines that the compiled loops cannot decide are read by
        `general`; None: too few lines are plain."""
        window = Window.of(block.data if block.data.endswith(b"\n") else block.data + b"\n", first=block.first)
        text = window.bytes
        room = int(np.count_nonzero(text[window.start : window.stop] == ord("\n")))
        if room > window.size // _LINE_MIN:
            return None
        starts, lengths, numbers, other_starts, other_numbers = (np.empty(room, np.int32) for _ in range(5))
        signs, sign_lines = (np.empty(room + window.size // 16, np.int64) for _ in range(2))
        found, others, lines, more = self._lines.find_addresses(
            text, window.start, window.size, starts, lengths, numbers, other_starts, other_numbers, signs, sign_lines
        )
        if found < _MOSTLY_PLAIN * lines:
            return None
        mentions = sweep.judged(window, signs, sign_lines, more)
        doubtful = np.concatenate(
            [
                mentions[2][mentions[3] == self._odd],
                sweep.other_signs(window, window.stop),
                sweep.numbers(window, window.stop).lines,
            ]
        )
        if len(doubtful):  # the general way reads what stands in them besides
            again = np.isin(numbers[:found], doubtful)
            demoted = int(np.count_nonzero(again))
            other_starts = np.concatenate([other_starts[:others], starts[:found][again]])
            other_numbers = np.concatenate([other_numbers[:others], numbers[:found][again]])
            starts, lengths, numbers = (one[:found][~again] for one in (starts, lengths, numbers))
            found, others = found - demoted, others + demoted
            if found < _MOSTLY_PLAIN * lines:
                return None
            mentions = [one[~np.isin(mentions[2], doubtful)] for one in mentions]
        codes = np.empty(found, np.uint8)
        self._lines.judge_secrets(text, starts, lengths, found, codes)
        index = np.empty((found, 2), np.uint64)
        self._blake2b.blind_spans(text, starts, lengths, found, self._states[IdentifierKind.EMAIL], index)
        first = np.uint64(block.first + 1)
        line = numbers[:found].astype(np.uint64) + first
        sure = codes != self._lines.UNSURE
        parts = [(line, index, codes + np.uint8(1))]
        ledger, swept = Ledger(), 0
        bad: dict[str, int] = {}
        if not sure.all():
            parts = [(line[sure], index[sure], codes[sure] + np.uint8(1))]
        if len(mentions[0]):
            mention = self._mentions(window, mentions, first)
            swept = len(mention[0])
            parts.append(mention)
        if others or not sure.all():
            left_starts = np.concatenate([other_starts[:others], starts[:found][~sure]])
            left_numbers = np.concatenate([other_numbers[:others], numbers[:found][~sure]])
            left, bad, unfit = self._left(window, left_starts, left_numbers, first, general, ledger)
            if unfit:
                return None
            parts.append(left)
        kept = int(np.count_nonzero(sure))
        if kept:
            ledger.add(
                Segment(
                    member=member,
                    reader=str(DumpShape.COMBO),
                    first_line=block.first + 1,
                    last_line=block.first + lines,
                    lines=kept,
                    records=kept + swept,
                    only_swept=swept,
                )
            )
        columns = (
            parts[0] if len(parts) == 1 else tuple(np.concatenate([part[at] for part in parts]) for at in range(3))
        )
        return BlindBatch(line=columns[0], index=columns[1], secret=columns[2], lines=lines, bad_lines=bad), ledger

    def _mentions(
        self, window: Window, mentions: Sequence[npt.NDArray[Any]], first: np.uint64
    ) -> tuple[Words, Words, npt.NDArray[np.uint8]]:
        """The addresses after the one at the start of a line."""
        starts, ends, numbers = mentions[:3]
        index = self._spans(window, starts, ends)
        return numbers.astype(np.uint64) + first, index, np.zeros(len(starts), np.uint8)

    def _left(
        self,
        window: Window,
        starts: npt.NDArray[np.int32],
        numbers: npt.NDArray[np.int32],
        first: np.uint64,
        general: General,
        ledger: Ledger,
    ) -> tuple[tuple[Words, Words, npt.NDArray[np.uint8]], dict[str, int], bool]:
        """The lines that the compiled loops left, with their own numbers; their counts; and True when so many
        consecutive ones name no person that the text may continue in another shape."""
        order = np.argsort(starts)
        raw = window.raw
        texts = [raw[start : raw.index(b"\n", start) + 1] for start in starts[order].tolist()]
        reading = general(Window.of(b"".join(texts)), ledger)
        batch = self.blinded(reading)
        true_numbers = numbers[order].astype(np.uint64) + first
        line = true_numbers[(batch.line - np.uint64(1)).astype(np.int64)]
        for segment in ledger.segments:
            segment.first_line = int(true_numbers[segment.first_line - 1])
            segment.last_line = int(true_numbers[min(segment.last_line, len(true_numbers)) - 1])
        blank = np.array([not text.strip() for text in texts], bool)
        unfit = np.setdiff1d(true_numbers[~blank], line[batch.secret > 0])
        place = unfit - np.searchsorted(true_numbers[blank], unfit).astype(np.uint64)  # blank lines do not count
        apart = place[UNFIT_ROWS - 1 :] - place[: max(0, len(place) - UNFIT_ROWS + 1)]
        in_a_row = bool((apart == UNFIT_ROWS - 1).any())
        return (line, batch.index, batch.secret), dict(batch.bad_lines), in_a_row

    def blinded(self, reading: Reading) -> BlindBatch:
        """A reading with blind indexes in place of identifiers."""
        lines, indexes, secrets = [np.empty(0, np.int64)], [np.empty((0, 2), np.uint64)], [np.empty(0, np.uint8)]
        for found in reading.found:
            if len(found.starts):
                lines.append(found.lines)
                indexes.append(self._spans(reading.window, found.starts, found.ends))
                secrets.append(found.codes)
            for kind, names, at, codes in found.others:
                lines.append(at)
                indexes.append(self._indexes(kind, names))
                secrets.append(codes)
        return BlindBatch(
            line=np.concatenate(lines).astype(np.uint64) + np.uint64(reading.window.first + 1),
            index=np.concatenate(indexes),
            secret=np.concatenate(secrets),
            lines=reading.lines,
            bad_lines=reading.bad,
            sites=self._sites(reading),
        )

    def _sites(self, reading: Reading) -> pl.DataFrame:
        frames = [found.sites for found in reading.found if len(found.sites)]
        if not frames:
            return pl.DataFrame(schema=SITES)
        return pl.concat(frames).with_columns(pl.col("line") + pl.lit(reading.window.first + 1, pl.UInt64))

    def _spans(self, window: Window, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Words:
        lengths = (ends - starts).astype(np.int32)
        index = np.empty((len(starts), 2), np.uint64)
        state = self._states[IdentifierKind.EMAIL]
        self._blake2b.blind_spans(
            window.bytes,
            starts.astype(np.int32),
            np.minimum(lengths, self._blake2b.MAX_BYTES),
            len(starts),
            state,
            index,
        )
        for place in np.flatnonzero(lengths > self._blake2b.MAX_BYTES).tolist():
            name = window.slice(int(starts[place]), int(ends[place])).decode("ascii").lower()
            index[place] = np.frombuffer(self._key.indexes(IdentifierKind.EMAIL, [name])[0], np.uint64)
        return index

    def _indexes(self, kind: str, values: pl.Series) -> Words:
        """The indexes of identifiers. ASCII goes through the compiled loop, which lower-cases it; all canonical
        identifiers except IBANs are lower-case."""
        whole = values.str.join("\n").item() + "\n" if len(values) else ""
        plain = whole.isascii() and whole == whole.lower()
        text = np.frombuffer(whole.encode("utf-8", "replace") + bytes(MARGIN), np.uint8)
        ends = np.flatnonzero(text[: len(text) - MARGIN] == ord("\n")).astype(np.int32)
        starts = np.concatenate([np.zeros(1, np.int32), ends[:-1] + np.int32(1)])
        lengths = ends - starts
        if not plain or len(ends) != len(values) or lengths.max(initial=0) > self._blake2b.MAX_BYTES:
            made = b"".join(self._key.indexes(kind, values))
            return np.frombuffer(made, np.uint64).reshape(-1, 2)
        index = np.empty((len(values), 2), np.uint64)
        self._blake2b.blind_spans(text, starts, lengths, len(values), self._states[kind], index)
        return index
