"""Tables for people, laid out for a width: in full where they fit, or with one long column folded, or as a block of
lines for each row. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, chop_cells

GAP = "  "
FOLDED_AT_LEAST = 24
"""The least width of a folded column: a narrower column of sentences is harder to read than a row in separate lines."""
INDENT = "    "


_COLOURS = re.compile("\x1b\\[[0-9;]*m")


def printable(text: str) -> str:
    """`text` on one line without sequences that move a terminal's cursor or change its colours.

    >>> printable("a\\x1b[31mb\\nc\\x1b[2J")
    'ab c\ufffd[2J'
    """
    text = _COLOURS.sub("", text)
    return "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in text)


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table, heads first, at most `width` cells wide (None: no limit). Nothing is cut off."""
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    if width is None or _total(widths) <= width:
        return [_line(cells, widths) for cells in (columns, *rows)]
    longest = max(range(1, len(widths)), key=lambda place: widths[place], default=0)
    left = width - (_total(widths) - widths[longest])
    if longest and left >= FOLDED_AT_LEAST:
        widths[longest] = left
        return [line for cells in (columns, *rows) for line in _folded(cells, widths, longest)]
    return [line for cells in rows for line in _block(columns, cells, width)] or [*_wrapped(GAP.join(columns), width)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
    return GAP.join(padded).rstrip()


def _folded(cells: Sequence[str], widths: Sequence[int], folded: int) -> Iterator[str]:
    for number, part in enumerate(_wrapped(cells[folded], widths[folded]) or [""]):
        shown = ["" if number else cell for cell in cells]
        shown[folded] = part
        yield _line(shown, widths)


def _block(columns: Sequence[str], cells: Sequence[str], width: int) -> Iterator[str]:
    yield from _wrapped(cells[0], width)
    facts = [f"{name}: {cell}" for name, cell in zip(columns[1:], cells[1:], strict=True) if cell]
    inner = width - len(INDENT) if width > 2 * len(INDENT) else width
    line = ""
    for fact in facts:
        if line and cell_len(line) + 3 + cell_len(fact) <= inner:
            line += f" · {fact}"
            continue
        yield from _indented(line, inner, width)
        line = fact
    yield from _indented(line, inner, width)


def _indented(line: str, inner: int, width: int) -> Iterator[str]:
    return (" " * (width - inner) + part for part in _wrapped(line, inner))


def _wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken between words, or within longer words."""
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, max(width, 2))
    return lines
