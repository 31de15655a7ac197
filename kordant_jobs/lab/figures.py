"""Figures against goals, as a table or as JSON, and the exit code that they make."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.table import Table

from kordant_jobs.cli.output import err, out, print_json
from kordant_jobs.errors import KordantError


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value. `goal` is an upper bound ('max') or a lower one ('min'); None: only shown."""

    key: str
    value: float
    unit: str
    goal: float | None
    direction: Literal["max", "min"] = "max"
    peer: str | None = None
    peer_value: float | None = None
    row: str = ""
    """Figures with a row are printed in a table of their own: a line for each row, a column for each key."""

    @property
    def met(self) -> bool:
        """True if the goal is met."""
        if self.goal is None:
            return True
        return self.value <= self.goal if self.direction == "max" else self.value >= self.goal

    @property
    def ratio(self) -> float | None:
        """The factor by which it is better than the peer."""
        if not self.peer_value or not self.value:
            return None
        return self.peer_value / self.value if self.direction == "max" else self.value / self.peer_value

    def to_json(self) -> dict[str, Any]:
        """The figure with what follows from it."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy it was when we began."""
    return {"cpus": os.cpu_count(), "load_1min": os.getloadavg()[0], "system": platform.platform(terse=True)}


def finish(name: str, measure: Callable[[], Sequence[Figure]], *, as_json: bool) -> int:
    """Measure, print, and say how it went: 0 all goals met, 1 one missed, 2 it could not run."""
    where = machine()
    try:
        figures = measure()
    except KordantError as error:
        err.print(f"bench {name} could not run: {error}")
        return 2
    if as_json:
        print_json({"name": name, "machine": where, "figures": [figure.to_json() for figure in figures]})
    else:
        if any(figure.row for figure in figures):
            out.print(_matrix([figure for figure in figures if figure.row]))
        out.print(_table([figure for figure in figures if not figure.row]))
    return 0 if all(figure.met for figure in figures) else 1


def _table(figures: Sequence[Figure]) -> Table:
    table = Table("key", "value", "goal", "met", "peer", "times better")
    for figure in figures:
        bound = "" if figure.goal is None else f"{'≤' if figure.direction == 'max' else '≥'} {figure.goal:g}"
        other = "" if figure.peer_value is None else f"{figure.peer}: {figure.peer_value:.3g} {figure.unit}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.1f}"
        met = "" if figure.goal is None else ("yes" if figure.met else "NO")
        table.add_row(figure.key, f"{figure.value:.3g} {figure.unit}", bound, met, other, ratio)
    return table


def _matrix(figures: Sequence[Figure]) -> Table:
    table = Table("", *dict.fromkeys(figure.key for figure in figures))
    for row in dict.fromkeys(figure.row for figure in figures):
        held = [figure for figure in figures if figure.row == row]
        table.add_row(row, *(f"{one.value:.3g}{'' if one.met else ' NO'}" for one in held))
    return table
