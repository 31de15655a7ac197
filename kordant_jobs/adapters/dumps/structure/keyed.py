"""Values with names: JSON at any depth, XML, PHP's arrays, and lines of labels."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from kordant_jobs.adapters.dumps.columns import known_names
from kordant_jobs.adapters.dumps.model import SECRET, BadLine, DumpShape, Role
from kordant_jobs.adapters.dumps.parts import CODES, Part, flags
from kordant_jobs.adapters.dumps.window import Window

_INHERITED = (Role.EMAIL, Role.PHONE)
"""Roles that a nameless value inherits from the name above it: {"phone": {"value": …}}."""
_NAMES_OF_PEOPLE = ("screenname", "nickname")
_ROW_BYTES, _CELL_BYTES = 6, 6
_AHEAD_MAX = 1 << 20
"""The bytes of text that arrays are sized for. When they fill up, the rest is read in the next call."""


@cache
def names(labels: bool = False) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """The names with a role, for the kernels. With `labels`, names that also occur as values in logs are left out."""
    from kordant_jobs.adapters.kernels.names import names_table

    roles = known_names()
    if labels:
        roles = {name: role for name, role in roles.items() if role is not Role.USERNAME or name in _NAMES_OF_PEOPLE}
    return names_table({name: CODES[role] for name, role in roles.items()})


class JsonReader:
    """Reads JSON over any number of windows: a value on each line, one array, or a wrapper around records."""

    name = str(DumpShape.JSON_LINES)

    def __init__(self) -> None:
        from kordant_jobs.adapters.kernels.keyed import DEPTH_MAX

        self._stack = np.zeros((DEPTH_MAX + 2, 5), np.int64)
        self._safe = np.zeros((DEPTH_MAX + 2, 4), np.int64)
        self._depth = 0
        self._inherited, self._naming = flags(_INHERITED), flags((Role.LOGIN, Role.USERNAME))

    def read(self, window: Window, at: int, line: int) -> Part:
        """The objects from `at` on."""
        from kordant_jobs.adapters.kernels import cells as why_kernel
        from kordant_jobs.adapters.kernels import keyed as kernel

        size = window.stop - at
        rows_room, cells_room = size // _ROW_BYTES + 2 * kernel.DEPTH_MAX, size // _CELL_BYTES + 64
        row_starts, row_ends, row_lines, parents = (np.empty(rows_room, np.int64) for _ in range(4))
        cell_rows, cell_starts, cell_ends = (np.empty(cells_room, np.int64) for _ in range(3))
        cell_roles, forms = np.empty(cells_room, np.uint8), np.empty(cells_room, np.uint8)
        rows, cells, end, end_line, why, self._depth, damaged = kernel.read_json(
            window.bytes, at, window.stop, line, window.final, *names(), self._inherited, self._naming, self._stack,
            self._depth, self._safe, row_starts, row_ends, row_lines, parents, cell_rows, cell_roles, cell_starts,
            cell_ends, forms
        )  # fmt: skip
        return Part(
            reader=self.name,
            start=at,
            end=end,
            line=line,
            end_line=end_line,
            row_starts=row_starts[:rows],
            row_lines=row_lines[:rows],
            row_ends=np.minimum(row_ends[:rows], end),
            parents=parents[:rows],
            cell_rows=cell_rows[:cells],
            cell_roles=cell_roles[:cells],
            cell_starts=cell_starts[:cells],
            cell_ends=cell_ends[:cells],
            cell_forms=forms[:cells],
            bad={BadLine.BAD_JSON.value: damaged} if damaged else {},
            leaves=why == why_kernel.OTHER_SHAPE,
            waits=why == why_kernel.UNFINISHED,
        )


class LabelReader:
    """Reads lines of labels; a record ends with an empty line, a rule, or a repeated label."""

    name = str(DumpShape.LABELS)

    def __init__(self) -> None:
        self._several = flags((Role.EMAIL, Role.PHONE))
        self._secrets = np.uint64(sum(1 << CODES[role] for role in SECRET))

    def read(self, window: Window, at: int, line: int) -> Part:
        """The records from `at` on."""
        from kordant_jobs.adapters.kernels import cells as why_kernel
        from kordant_jobs.adapters.kernels import labels as kernel

        size = window.stop - at
        rows_room, cells_room = size // _ROW_BYTES + 64, size // _CELL_BYTES + 128
        row_starts, row_ends, row_lines, row_cells = (np.empty(rows_room, np.int64) for _ in range(4))
        cell_rows, cell_starts, cell_ends = (np.empty(cells_room, np.int64) for _ in range(3))
        cell_roles, forms = np.empty(cells_room, np.uint8), np.empty(cells_room, np.uint8)
        rows, cells, end, end_line, why, odd = kernel.read_labels(
            window.bytes, at, window.stop, line, window.final, *names(labels=True), self._several, self._secrets,
            row_starts, row_ends, row_lines, row_cells, cell_rows, cell_roles, cell_starts, cell_ends, forms
        )  # fmt: skip
        return Part(
            reader=self.name,
            start=at,
            end=end,
            line=line,
            end_line=end_line,
            row_starts=row_starts[:rows],
            row_lines=row_lines[:rows],
            row_ends=row_ends[:rows],
            fits=row_cells[:rows] > 0,
            cell_rows=cell_rows[:cells],
            cell_roles=cell_roles[:cells],
            cell_starts=cell_starts[:cells],
            cell_ends=cell_ends[:cells],
            cell_forms=forms[:cells],
            bad={BadLine.NO_IDENTIFIER.value: odd} if odd else {},
            leaves=why == why_kernel.OTHER_SHAPE,
            waits=why == why_kernel.UNFINISHED,
        )


class NestedReader:
    """Reads XML, or PHP's arrays."""

    def __init__(self, shape: DumpShape) -> None:
        from kordant_jobs.adapters.kernels import nested as kernel

        self.name = str(shape)
        self._read = kernel.read_xml if shape is DumpShape.XML else kernel.read_php
        self._stack = np.zeros((kernel.DEPTH_MAX + 2, kernel.WORDS), np.int64)

    def read(self, window: Window, at: int, line: int) -> Part:
        """The elements or arrays from `at` on."""
        from kordant_jobs.adapters.kernels import cells as why_kernel

        size = min(window.stop - at, _AHEAD_MAX)
        rows_room, cells_room = size // _ROW_BYTES + 64, size // _CELL_BYTES + 64
        row_starts, row_ends, row_lines, parents = (np.empty(rows_room, np.int64) for _ in range(4))
        cell_rows, cell_starts, cell_ends = (np.empty(cells_room, np.int64) for _ in range(3))
        cell_roles, forms = np.empty(cells_room, np.uint8), np.empty(cells_room, np.uint8)
        rows, cells, end, end_line, why, damaged = self._read(
            window.bytes, at, window.stop, line, window.final, *names(), self._stack, row_starts, row_ends, row_lines,
            parents, cell_rows, cell_roles, cell_starts, cell_ends, forms
        )  # fmt: skip
        order = np.argsort(cell_starts[:cells], kind="stable")
        return Part(
            reader=self.name,
            start=at,
            end=end,
            line=line,
            end_line=end_line,
            row_starts=row_starts[:rows],
            row_lines=row_lines[:rows],
            row_ends=np.minimum(row_ends[:rows], end),
            parents=parents[:rows],
            cell_rows=cell_rows[:cells][order],
            cell_roles=cell_roles[:cells][order],
            cell_starts=cell_starts[:cells][order],
            cell_ends=cell_ends[:cells][order],
            cell_forms=forms[:cells][order],
            bad={BadLine.NO_IDENTIFIER.value: damaged} if damaged else {},
            leaves=why == why_kernel.OTHER_SHAPE,
            waits=why == why_kernel.UNFINISHED,
        )
