"""Reads one window of text in both ways, by sweep and by structure, and records the result in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from kordant_jobs.adapters.dumps.folds import JOINED
from kordant_jobs.adapters.dumps.ledger import Ledger, Segment
from kordant_jobs.adapters.dumps.model import (
    IDENTIFYING,
    KIND,
    RECORDS,
    SECRET_KIND,
    BadLine,
    DumpBatch,
    DumpShape,
    Role,
)
from kordant_jobs.adapters.dumps.parts import Part, flags
from kordant_jobs.adapters.dumps.structure.segments import Structure
from kordant_jobs.adapters.dumps.sweep import NUMBER_KINDS, Numbers, addresses, canonical_numbers, numbers
from kordant_jobs.adapters.dumps.understand import MENTIONED, Found, Others, Understanding
from kordant_jobs.adapters.dumps.window import Places, Window
from kordant_jobs.domain.identifiers import IdentifierKind

_LINE_SHAPES = frozenset(
    str(shape) for shape in (DumpShape.COMBO, DumpShape.DELIMITED, DumpShape.CSV, DumpShape.SITE_LOGIN, DumpShape.PLAIN)
)
_WITH_BLANK_LINES = frozenset((str(DumpShape.TEXT), str(DumpShape.LABELS)))
_NEWLINE = 10
_IDENTIFYING = flags(IDENTIFYING)
_NAMED_NUMBERS = flags((Role.PHONE, Role.LOGIN, Role.CARD, Role.IBAN, Role.NATIONAL_ID))


@dataclass(kw_only=True)
class Reading:
    """The result of one window: every person found in it, and how far it was read."""

    window: Window
    found: list[Found] = field(default_factory=list)
    end: int = 0
    lines: int = 0
    """The number of lines that begin in it."""
    ended_lines: int = 0
    bad: dict[str, int] = field(default_factory=dict)

    def records(self) -> Iterator[Others]:
        """All records as text: kind, canonical identifiers, lines from 0 in the window, codes of secrets."""
        for found in self.found:
            if len(found.starts):
                spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
                names = [self.window.slice(start, end).decode("ascii").lower() for start, end in spans]
                yield IdentifierKind.EMAIL, pl.Series(names), found.lines, found.codes
            yield from found.others

    def batch(self) -> DumpBatch:
        """The records as a frame, each (line, kind, identifier) once."""
        parts = [pl.DataFrame(schema=RECORDS)]
        for kind, names, lines, codes in self.records():
            secret = pl.Series(SECRET_KIND.categories.gather(codes), dtype=SECRET_KIND)
            frame = {"line": lines.astype(np.uint64) + np.uint64(self.window.first + 1), "identifier": names}
            parts.append(
                pl.DataFrame(frame).select(
                    "line", pl.lit(str(kind)).cast(KIND).alias("kind"), "identifier", secret=secret
                )
            )
        records = pl.concat(parts).group_by("line", "kind", "identifier").agg(pl.col("secret").max())
        return DumpBatch(records=records.sort("line", "kind", "identifier"), lines=self.lines, bad_lines=self.bad)


def read_window(window: Window, structure: Structure, ledger: Ledger, *, member: int, phone_region: str) -> Reading:
    """Sweep and understand a window. `Reading.end` is the start of an incomplete record at its end."""
    swept = addresses(window, window.stop)
    counted = numbers(window, window.stop)
    reading = Reading(window=window)

    last: Understanding | None = None

    def understood(part: Part) -> Understanding:
        nonlocal last
        if last is None or last.part is not part:
            last = Understanding(window, part, swept, phone_region=phone_region)
        return last

    end = window.start
    for part in structure.parts(window, lambda part: understood(part).fits()):
        found = understood(part).found()
        alone = _numbers_alone(window, part, counted, found.others, phone_region)
        found.others += alone
        reading.found.append(found)
        _account(reading, ledger, part, found, member=member, alone=sum(len(names) for _, names, _, _ in alone))
        end = part.end
    ledger.given_up += structure.given_up
    structure.given_up = 0
    reading.end = end
    read = window.bytes[window.start : end]
    reading.ended_lines = int(np.count_nonzero(read == _NEWLINE))
    goes_on = end >= window.stop and len(read) > 0 and int(read[-1]) != _NEWLINE
    reading.lines = reading.ended_lines + goes_on - window.starts_inside
    return reading


def _numbers_alone(window: Window, part: Part, counted: Numbers, others: Sequence[Others], region: str) -> list[Others]:
    """Numbers that only the sweep found: `others` are those found in cells."""
    from kordant_jobs.adapters.kernels.attach import cells_of

    first, last = np.searchsorted(counted.starts, [part.start, part.end]).tolist()
    if first == last:
        return []
    starts, ends = counted.starts[first:last], counted.ends[first:last]
    lines, kinds = counted.lines[first:last], counted.kinds[first:last]
    roles, row_lines = np.zeros(len(starts), np.uint8), lines.copy()
    if len(part.cell_starts):
        cells = np.full(len(starts), -1, np.int64)
        cells_of(starts, len(starts), part.cell_starts, part.cell_ends, cells)
        inside = np.flatnonzero(cells >= 0)
        roles[inside] = part.cell_roles[cells[inside]]
        row_lines[inside] = part.row_lines[part.cell_rows[cells[inside]]]
    by_cell = _NAMED_NUMBERS[roles]
    alone = []
    for code in np.unique(kinds).tolist():
        kind = NUMBER_KINDS[code]
        of_kind = [one for one in others if one[0] is kind] if by_cell.any() else []
        at = np.flatnonzero(kinds == code)
        known = set[tuple[int, str]]()
        if (
            kind is IdentifierKind.PHONE
        ):  # the cell's own reading counts: it knows extensions, and old ways to write one
            read = np.zeros(int(row_lines.max()) + 1, bool)
            for _, _, of_names, _ in of_kind:
                read[of_names[of_names < len(read)]] = True
            at = at[~(by_cell[at] & read[row_lines[at]])]
        else:
            known = {pair for _, names, of_names, _ in of_kind for pair in zip(of_names.tolist(), names, strict=True)}
        names = canonical_numbers(window, code, starts[at], ends[at], region)
        given = names.is_not_null()
        if known:
            given &= pl.Series([pair not in known for pair in zip(row_lines[at].tolist(), names, strict=True)])
        if given.any():
            kept = np.flatnonzero(given)
            alone.append((kind, names.gather(kept), lines[at[kept]], np.full(len(kept), MENTIONED, np.uint8)))
    return alone


def _account(reading: Reading, ledger: Ledger, part: Part, found: Found, *, member: int, alone: int) -> None:
    from kordant_jobs.adapters.kernels.cells import filled_lines
    from kordant_jobs.adapters.kernels.unread import count_numbered_lines

    bad = dict(part.bad)
    counts, unread = _bad_rows(reading.window, part, found)
    ledger.numbered += unread
    for reason, count in counts.items():
        bad[reason] = bad.get(reason, 0) + count
    records = len(found.starts) + sum(len(names) for _, names, _, _ in found.others)
    undecoded = bad.get(BadLine.UNDECODABLE.value, 0)
    ledger.undecoded += undecoded
    first = reading.window.first + part.line + 1
    if part.reader in _LINE_SHAPES:
        lines = part.rows
    elif part.reader in _WITH_BLANK_LINES:
        lines = int(filled_lines(reading.window.bytes, part.start, part.end))
    else:
        lines = max(1, part.end_line - part.line)
    if part.end > part.start:
        ledger.add(
            Segment(
                member=member,
                reader=part.reader,
                first_line=first,
                last_line=max(first, reading.window.first + part.end_line),
                lines=lines,
                bad=min(lines, sum(bad.values())),
                records=records,
                only_swept=found.only_swept + alone,
            )
        )
    if part.reader == DumpShape.TEXT and lines:
        numbered = int(count_numbered_lines(reading.window.bytes, part.start, part.end))
        ledger.numbered += max(0, numbered - len(_phone_lines(found)))
        bad[BadLine.NO_IDENTIFIER.value] = bad.get(BadLine.NO_IDENTIFIER.value, 0) + lines
    for reason, count in bad.items():
        reading.bad[reason] = reading.bad.get(reason, 0) + count


def _phone_lines(found: Found) -> Places:
    lines = [lines for kind, _, lines, _ in found.others if kind is IdentifierKind.PHONE]
    return np.unique(np.concatenate([np.empty(0, np.int64), *lines]))


def _bad_rows(window: Window, part: Part, found: Found) -> tuple[Mapping[str, int], int]:
    """Rows without a person where one is expected, counted by reason; and the number of them with a phone-like
    number and no phone found."""
    from kordant_jobs.adapters.kernels.cells import find_controls
    from kordant_jobs.adapters.kernels.unread import count_numbered

    if not part.rows:
        return {}, 0
    named = np.zeros(part.rows, bool)
    rows = part.cell_rows[_IDENTIFYING[part.cell_roles]]
    named[rows[rows >= 0]] = True
    every = part.reader in _LINE_SHAPES
    misfit = ~part.fits if part.fits is not None and every else np.zeros(part.rows, bool)
    if part.reader in {str(DumpShape.COMBO), str(DumpShape.PLAIN)}:
        named[:] = True
    wrong = misfit & ~found.row_found
    at = np.flatnonzero(named & ~found.row_found & ~wrong)
    starts = part.row_starts[at]
    at = at[(window.bytes[starts] != ord(JOINED)) | (window.bytes[starts + 1] != _NEWLINE)]
    if not (len(at) or wrong.any()):
        return {}, 0
    ends = part.row_ends if part.row_ends is not None else np.append(part.row_starts[1:], part.end)
    control = np.zeros(len(at), bool)
    find_controls(window.bytes, part.row_starts[at], np.minimum(ends[at], part.row_starts[at] + 4_096), control)
    undecodable = int(np.count_nonzero(control))
    counts = {
        BadLine.UNDECODABLE.value: undecodable,
        BadLine.NO_IDENTIFIER.value: len(at) - undecodable,
        BadLine.WRONG_COLUMNS.value: int(np.count_nonzero(wrong)),
    }
    rows = np.append(at, np.flatnonzero(wrong))
    rows = rows[~np.isin(part.row_lines[rows], _phone_lines(found))]
    numbered = count_numbered(
        window.bytes, part.row_starts[rows], np.minimum(ends[rows], part.row_starts[rows] + 4_096)
    )
    return {reason: count for reason, count in counts.items() if count}, int(numbered)
