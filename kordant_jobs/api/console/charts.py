"""Line charts over weeks as inline SVG. Pure. The page has the same numbers in a table."""

from collections.abc import Sequence
from math import ceil, log10

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 170, 56, 24, 10, 14


def _highest(value: float) -> float:
    """The smallest of 1, 2, 5 and 10 times a power of ten that is not below the value.

    >>> _highest(0), _highest(7), _highest(130), _highest(2001)
    (1.0, 10.0, 200.0, 5000.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** (ceil(log10(value)) - 1)
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def _said(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.3g} s"


def lines(
    labels: Sequence[str], first: Sequence[float | None], second: Sequence[float | None], *, summary: str
) -> Markup:
    """Two lines, in milliseconds, over labelled points from left to right. None is a gap. `summary`: the text for
    screen readers."""
    values = [one for one in (*first, *second) if one is not None]
    top = _highest(max(values, default=0))
    step = (WIDTH - LEFT - RIGHT) / max(len(labels) - 1, 1)

    def place(number: int, value: float) -> tuple[float, float]:
        return LEFT + step * number, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top

    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, summary)]
    for share in (0.0, 0.5, 1.0):
        _, y = place(0, top * share)
        parts.append(
            Markup('<path class="axis" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, _said(top * share / 1000)
            )
        )
    for number in sorted({0, len(labels) - 1}):
        anchor = "start" if number == 0 else "end"
        x, _ = place(number, 0)
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 6, anchor, labels[number])
        )
    for name, line in (("second", second), ("first", first)):
        path, is_open = [], False
        for number, value in enumerate(line):
            if value is None:
                is_open = False
                continue
            x, y = place(number, value)
            path.append(f"{'L' if is_open else 'M'}{x:.1f} {y:.1f}")
            parts.append(Markup('<circle class="{} dot" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(name, x, y))
            is_open = True
        parts.append(Markup('<path class="{}" d="{}"/>').format(name, "".join(path)))
    return Markup("").join([*parts, Markup("</svg>")])
