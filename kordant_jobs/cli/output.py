"""How commands speak: tables and words for people, one JSON object with --json; errors in one line, exit code 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from kordant_jobs.errors import KordantError

EXIT_FAILED = 1
"""It was tried and did not succeed. Wrong words on the command line are 2, as everywhere."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON value on standard output; moments and ids become text."""
    print(json.dumps(value, default=str, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))  # noqa: T201 - as it is


PIPED_WIDTH = 10_000
"""Characters: a table that goes to a file or another program is never cut or folded."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """A table for people. Its first column names the row, as other commands want it, and is shown whole."""
    first, *others = columns
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    name = Column(first, no_wrap=True, min_width=max(len(row[0]) for row in [[first], *cells]))
    table = Table(name, *others, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in cells:
        table.add_row(*row)
    (out if out.is_terminal else Console(highlight=False, width=PIPED_WIDTH)).print(table)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Names and values, a line each; counts by name in one line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        counts = isinstance(value, Mapping)
        text = (", ".join(f"{key} {count}" for key, count in value.items()) or "none") if counts else value
        out.print(f"  {name.ljust(width)}  {text}")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error of ours into one line on standard error and exit code 1; others keep their traceback."""
    try:
        yield
    except KordantError as error:
        err.print(f"[bold red]error:[/] {error}", markup=True)
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
