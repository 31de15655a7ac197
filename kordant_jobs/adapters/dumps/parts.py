"""The parts that a structure's reader makes of a stretch of text: rows, and their cells with a role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from kordant_jobs.adapters.dumps.model import Role
from kordant_jobs.adapters.dumps.window import Places

ROLES = tuple(Role)
CODES: Mapping[Role, int] = MappingProxyType({role: at + 1 for at, role in enumerate(ROLES)})
"""A number for each role; 0 means no role."""
Codes = npt.NDArray[np.uint8]


def flags(roles: Iterable[Role]) -> npt.NDArray[np.bool_]:
    """For each code: True when it is that of one of `roles`."""
    table = np.zeros(len(ROLES) + 1, bool)
    table[[CODES[role] for role in roles]] = True
    return table


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of text from `start` to `end`, which is the beginning of line `end_line` (from 0 in the window). Rows
    and cells are in the order of the text. `parents`: for JSON the row around each row, else None. `fits`: True when a
    row has the form that the reader expects, whatever is found in it."""

    reader: str
    start: int
    end: int
    line: int
    end_line: int
    row_starts: Places = field(default_factory=lambda: np.empty(0, np.int64))
    row_lines: Places = field(default_factory=lambda: np.empty(0, np.int64))
    row_ends: Places | None = None
    parents: Places | None = None
    fits: npt.NDArray[np.bool_] | None = None
    cell_rows: Places = field(default_factory=lambda: np.empty(0, np.int64))
    cell_roles: Codes = field(default_factory=lambda: np.empty(0, np.uint8))
    cell_starts: Places = field(default_factory=lambda: np.empty(0, np.int64))
    cell_ends: Places = field(default_factory=lambda: np.empty(0, np.int64))
    cell_forms: Codes = field(default_factory=lambda: np.empty(0, np.uint8))
    bad: Mapping[str, int] = field(default_factory=dict)
    headers: Places | None = None
    """Rows of column names, which rightly have no person."""
    leaves: bool = False
    """True when the text continues in another shape."""
    waits: bool = False
    """True when the rest of the window must be read together with the next window."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.row_starts)

    def until(self, row: int) -> Part:
        """The part before a row; another reader reads the text from there on."""
        cells = int(np.searchsorted(self.cell_rows, row)) if self.parents is None else len(self.cell_rows)
        return replace(
            self,
            end=int(self.row_starts[row]),
            end_line=int(self.row_lines[row]),
            row_starts=self.row_starts[:row],
            row_lines=self.row_lines[:row],
            row_ends=None if self.row_ends is None else self.row_ends[:row],
            fits=None if self.fits is None else self.fits[:row],
            headers=None if self.headers is None else self.headers[self.headers < row],
            cell_rows=self.cell_rows[:cells],
            cell_roles=self.cell_roles[:cells],
            cell_starts=self.cell_starts[:cells],
            cell_ends=self.cell_ends[:cells],
            cell_forms=self.cell_forms[:cells],
            leaves=True,
            waits=False,
        )


def merged(parts: Sequence[Part]) -> Part:
    """Consecutive parts of one reader, as one part."""
    if len(parts) == 1:
        return parts[0]
    ahead = np.cumsum([0, *(part.rows for part in parts[:-1])])
    bad: dict[str, int] = {}
    for part in parts:
        for reason, count in part.bad.items():
            bad[reason] = bad.get(reason, 0) + count

    def shifted(rows: Places, by: int) -> Places:
        return np.where(rows >= 0, rows + by, rows)

    last = parts[-1]
    return replace(
        last,
        start=parts[0].start,
        line=parts[0].line,
        row_starts=np.concatenate([part.row_starts for part in parts]),
        row_lines=np.concatenate([part.row_lines for part in parts]),
        row_ends=None if last.row_ends is None else np.concatenate([_ends(part) for part in parts]),
        parents=None
        if last.parents is None
        else np.concatenate([shifted(_parents(part), by) for part, by in zip(parts, ahead.tolist(), strict=True)]),
        fits=None
        if last.fits is None
        else np.concatenate([np.ones(part.rows, bool) if part.fits is None else part.fits for part in parts]),
        headers=np.concatenate(
            [part.headers + by for part, by in zip(parts, ahead.tolist(), strict=True) if part.headers is not None]
        )
        if any(part.headers is not None for part in parts)
        else None,
        cell_rows=np.concatenate([shifted(part.cell_rows, by) for part, by in zip(parts, ahead.tolist(), strict=True)]),
        cell_roles=np.concatenate([part.cell_roles for part in parts]),
        cell_starts=np.concatenate([part.cell_starts for part in parts]),
        cell_ends=np.concatenate([part.cell_ends for part in parts]),
        cell_forms=np.concatenate([part.cell_forms for part in parts]),
        bad=bad,
    )


def _ends(part: Part) -> Places:
    return part.row_ends if part.row_ends is not None else np.append(part.row_starts[1:], part.end)[: part.rows]


def _parents(part: Part) -> Places:
    return part.parents if part.parents is not None else np.full(part.rows, -1, np.int64)
