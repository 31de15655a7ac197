"""The report's charts as inline SVG. Each has a title, which a screen reader reads in its place, and reads well in
black and white: bars carry their number, and shades go from dark to light."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from markupsafe import Markup, escape

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.jobs.reports_generate import rules
from kordant_jobs.jobs.reports_generate.rules import ReportFigures, ReportKind
from kordant_jobs.wording import Wording
from kordant_jobs.wording.texts import severity_word

SHADES = {
    Severity.CRITICAL: "#7a0f24",
    Severity.HIGH: "#b4471a",
    Severity.MEDIUM: "#d39b3a",
    Severity.LOW: "#b9c2cd",
}
INK, SOFT, ACCENT, PALE = "#17202c", "#566273", "#1f4e79", "#a9bed3"
WIDTH = 228
"""The width in points; two charts fit side by side within the page's 482."""


def _svg(title: str, height: float, body: str) -> str:
    return Markup(  # noqa: S704 - every value in it is a number or was escaped
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}pt" height="{height}pt" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" font-family="Kordant Text" font-size="8.5">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = INK, weight: int = 400) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}" font-weight="{weight}">{escape(text)}</text>'


def severities(words: Wording, figures: ReportFigures) -> str:
    """Open exposures by severity, as bars from left to right."""
    counts = rules.by_severity(figures.exposures)
    most = max(counts.values())
    rows, left, room = [], 52, WIDTH - 52 - 30
    spoken = []
    for place, (name, count) in enumerate(counts.items()):
        word = severity_word(words, Severity(name))
        spoken.append(f"{word}: {words.number(count)}")
        y = place * 22
        width = max(room * count / most, 1.5 if count else 0)
        rows.append(_text(left - 6, y + 13.5, word, anchor="end"))
        if count:
            rows.append(
                f'<rect x="{left}" y="{y + 3}" width="{width:.1f}" height="15" fill="{SHADES[Severity(name)]}"/>'
            )
        rows.append(_text(left + width + 5, y + 13.5, words.number(count), weight=700))
    title = words.say("Open exposures by severity. %(counts)s.", counts=", ".join(spoken))
    return _svg(title, 22 * len(counts), "".join(rows))


def history(words: Wording, figures: ReportFigures) -> str:
    """Exposures by the period in which we first saw them, the oldest at the left, the current one darkest."""
    bars = figures.history
    most = max([1, *(bar.found for bar in bars)])
    step, base, room = WIDTH / len(bars), 74.0, 56.0
    width = min(step * 0.62, 34)
    parts, spoken = [f'<line x1="0" y1="{base}" x2="{WIDTH}" y2="{base}" stroke="{SOFT}" stroke-width="0.6"/>'], []
    for place, bar in enumerate(bars):
        middle = step * (place + 0.5)
        height = room * bar.found / most
        label = _label(words, figures.period.kind, bar)
        spoken.append(f"{label}: {words.number(bar.found)}")
        shade = ACCENT if place == len(bars) - 1 else PALE
        if bar.found:
            parts.append(
                f'<rect x="{middle - width / 2:.1f}" y="{base - height:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}" fill="{shade}"/>'
            )
        parts.append(_text(middle, base - height - 4, words.number(bar.found), anchor="middle", weight=700))
        parts.append(_text(middle, base + 11, label, anchor="middle", fill=SOFT))
    title = words.say("Exposures first seen, by period. %(counts)s.", counts=", ".join(spoken))
    return _svg(title, 88, "".join(parts))


def cash_flow(words: Wording, months: Sequence[tuple[date, Decimal, Decimal]]) -> str:
    """A chart of money in (pale) and out (dark) by month, the oldest at the left, in whole units of the currency."""
    most = max(Decimal(1), *(max(came, went) for _, came, went in months))
    step, base, room = WIDTH / len(months), 74.0, 56.0
    width = min(step * 0.34, 24)
    parts, spoken = [f'<line x1="0" y1="{base}" x2="{WIDTH}" y2="{base}" stroke="{SOFT}" stroke-width="0.6"/>'], []
    for place, (month, came, went) in enumerate(months):
        middle = step * (place + 0.5)
        for left, amount, shade in ((middle - width, came, PALE), (middle, went, ACCENT)):
            height = float(room * float(max(amount, Decimal()) / most))
            place_of = f'x="{left:.1f}" y="{base - height:.1f}"'
            parts.append(f'<rect {place_of} width="{width:.1f}" height="{height:.1f}" fill="{shade}"/>')
        label = words.day(month, "MMM yy")
        parts.append(_text(middle, base + 11, label, anchor="middle", fill=SOFT))
        spoken.append(
            words.say(
                "%(month)s in %(came)s, out %(went)s", month=label, came=words.money(came), went=words.money(went)
            )
        )
    title = words.say("What came in (pale) and went out (dark), by month. %(months)s.", months="; ".join(spoken))
    return _svg(title, 88, "".join(parts))


def _label(words: Wording, kind: ReportKind, bar: rules.HistoryBar) -> str:
    if kind is ReportKind.MONTHLY:
        return words.day(bar.start_on, "MMM yy")
    return words.day(bar.start_on, "d MMM")
