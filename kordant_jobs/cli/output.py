"""The output of commands: tables and text for people, laid out for the terminal's width; one JSON value with --json;
errors on one line, exit code 1.

Nothing printed is interpreted as markup or as terminal controls: titles of breaches, reasons and errors are text from
others.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.cells import cell_len, chop_cells
from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

from kordant_jobs.errors import KordantError

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


AsJson = Annotated[bool, typer.Option("--json", help="One JSON value instead of words.")]
EXIT_FAILED = 1
"""The exit code of a command that was tried and failed. Usage errors are 2, as everywhere."""
EXIT_INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


class _StatusLines(Status):
    """The progress of a long command, as a line every few seconds, for logs and pipes without bars."""

    def start(self) -> None:
        """Print it once."""
        self._began = self._said_at = time.monotonic()
        self.console.print(f"  {self.status}")

    def stop(self) -> None:
        """Print no more lines."""

    def update(self, status: RenderableType | None = None, **_: Any) -> None:
        """Print it again when the last line is old enough."""
        now = time.monotonic()
        if now - self._said_at >= LINE_EVERY_S:
            self._said_at = now
            self.console.print(f"  {status}, {now - self._began:.0f} s")


class _Errors(Console):
    """Standard error. A long command's progress is shown on every kind of it."""

    def status(self, status: RenderableType, **options: Any) -> Status:
        """See `Console.status`."""
        return super().status(status, **options) if self.is_terminal else _StatusLines(status, console=self)


LINE_EVERY_S = 5.0
"""Seconds between two lines of progress where there is no terminal for a bar."""
err = _Errors(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def bold(words: str, rest: str = "", *, style: str = "bold") -> Text:
    """`words` in bold (or another style), followed by `rest`."""
    return Text.assemble((words, style), rest)


def print_json(value: Any) -> None:
    """Print one JSON value on standard output; times and ids become text."""
    print(json.dumps(value, default=str, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))  # noqa: T201 - as it is


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table for people, without cutting anything: at full width for a file or another program, else laid out
    for the terminal."""
    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    lines = table_lines(columns, cells, out.width if out.is_terminal else None)
    if title:
        out.print(title)
    has_heads = lines[0].split() == " ".join(columns).split()
    for number, line in enumerate(lines):
        out.print(Text(line, style="bold" if has_heads and not number else ""))


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one on each line; counts by name in one line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        counts = isinstance(value, Mapping)
        text = (", ".join(f"{key} {count}" for key, count in value.items()) or "none") if counts else value
        out.print(f"  {name.ljust(width)}  {printable(str(text))}")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error of ours, or of the file system, into one line on standard error and exit code 1; other errors keep
    their traceback."""
    try:
        yield
    except KordantError as error:
        err.print(bold("error:", f" {printable(str(error))}", style="bold red"))
        raise SystemExit(EXIT_FAILED) from None
    except BrokenPipeError:  # the reader of our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_FAILED) from None
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        err.print(bold("error:", f" {printable(str(error.filename))}: {error.strerror}.", style="bold red"))
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        err.print("stopped")
        raise SystemExit(EXIT_INTERRUPTED) from None
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:  # Typer's answer to Ctrl-C
            err.print("stopped")
        raise
