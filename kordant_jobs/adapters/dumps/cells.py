"""The text of cells as a column, with escapes decoded."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from kordant_jobs.adapters.dumps.parts import Codes, Part
from kordant_jobs.adapters.dumps.text import lines_as_series
from kordant_jobs.adapters.dumps.window import Places, Window, decoded

PLAIN, DOUBLED, BACKSLASHED, HEXADECIMAL, BASE64, ENTITIES = range(6)
"""The encodings of a cell; the kernels use the same numbers."""
VALUE_MAX = 4_096
"""The most bytes of a cell that are read."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Some cells of a part."""

    starts: Places
    ends: Places
    forms: Codes
    is_json: bool

    @classmethod
    def of(cls, part: Part, cells: Places) -> Cells:
        """The cells at these places."""
        starts = part.cell_starts[cells]
        return cls(
            starts=starts,
            ends=np.minimum(part.cell_ends[cells], starts + VALUE_MAX),
            forms=part.cell_forms[cells],
            is_json=part.parents is not None,
        )


def texts(window: Window, cells: Cells) -> pl.Series:
    """The cells' values."""
    from kordant_jobs.adapters.kernels.cells import joined

    out = np.empty(int((cells.ends - cells.starts).sum()) + len(cells.starts), np.uint8)
    size = joined(window.bytes, cells.starts, cells.ends, out)
    values = lines_as_series(out[:size].tobytes(), len(cells.starts))
    for form in np.unique(cells.forms).tolist():
        if form != PLAIN:
            at = np.flatnonzero(cells.forms == form)
            values = values.scatter(at, _unescaped(values.gather(at), form, is_json=cells.is_json))
    return values


def _unescaped(values: pl.Series, form: int, *, is_json: bool) -> pl.Series:
    if form == DOUBLED:
        return values.str.replace_all('""', '"', literal=True).str.replace_all("''", "'", literal=True)
    undo = {HEXADECIMAL: _of_hex, BASE64: _of_base64, ENTITIES: html.unescape}.get(
        form, _of_json if is_json else _of_backslashes
    )
    return pl.Series([undo(value) for value in values.to_list()], dtype=pl.String)


def _of_json(text: str) -> str:
    try:
        value = json.loads(f'"{text}"')
    except ValueError:
        return _of_backslashes(text)
    return _SURROGATE.sub("\ufffd", str(value))


def _of_backslashes(text: str) -> str:
    return _ESCAPED.sub(lambda match: {"n": "\n", "t": "\t", "r": "\r", "0": ""}.get(match[1], match[1]), text)


def _of_hex(text: str) -> str:
    try:
        return decoded(bytes.fromhex(text.strip()))
    except ValueError:
        return text


def _of_base64(text: str) -> str:
    try:
        return decoded(base64.b64decode(text.strip(), validate=True))
    except (ValueError, binascii.Error):
        return text
