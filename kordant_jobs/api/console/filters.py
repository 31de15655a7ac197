"""Filters for templates: times, durations, shares, and texts of outside origin."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from babel import numbers
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from kordant_jobs.wording import Wording


def moment(value: datetime | str | None) -> Markup:
    """A time in UTC, to the second."""
    if value is None:
        return Markup("–")
    text = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
    return Markup('<time datetime="{}Z">{}</time>').format(text[:19], text[:19].replace("T", " "))


def brief(value: datetime | None) -> Markup:
    """A time in UTC, to the minute and without the year; the full time is its title."""
    if value is None:
        return Markup("–")
    text = value.astimezone(UTC).isoformat()[:19]
    return Markup('<time datetime="{}Z" title="{}">{}</time>').format(
        text, text.replace("T", " "), text[5:16].replace("T", " ")
    )


def labelled(rows: Markup, heads: Sequence[str]) -> Markup:
    """Rows of a table whose cells have the head of their column as `data-label`, which narrow windows show."""
    place = 0

    def label(found: re.Match[str]) -> str:
        nonlocal place
        if found[1] == "r":
            place = 0
            return found[0]
        place += 1
        is_whole_row = "colspan" in found[2]
        return found[0] if is_whole_row else f'<t{found[1]} data-label="{escape(heads[place - 1])}"{found[2]}>'

    return Markup(re.sub(r"<t([rdh])\b([^>]*)>", label, str(rows)))  # noqa: S704 - the rows are a template's


def span(seconds: float | None) -> str:
    """A duration in its two largest units.

    >>> span(0.25), span(59), span(3700), span(200_000), span(None)
    ('250 ms', '59 s', '1 h 1 min', '2 d 7 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    for unit, size, lower, step in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = int(seconds % size // step)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {lower}" if rest else "")
    return ""


def percent(words: Wording, share: float | None) -> str:
    """A share between 0 and 1 as a percentage. Only exactly 0 and 1 are shown as 0 % and 100 %."""
    if share is None:
        return "–"
    if share in {0.0, 1.0}:
        return words.percent(share)
    nearly = min(max(share * 100, 0.1), 99.9)
    return f"{numbers.format_decimal(nearly, '0.0', locale=words.locale.replace('-', '_'))} %"


def _visible(value: object) -> object:
    """A text of outside origin, without control characters and those that change its direction.

    >>> _visible("exe.\\u202egnp"), _visible("two\\nlines"), _visible(3)
    ('exe.gnp', 'two\\nlines', 3)
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(one for one in value if unicodedata.category(one)[0] != "C" or one == "\n")


ENVIRONMENT = Environment(
    finalize=_visible,
    loader=PackageLoader(__package__),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {
    "moment": moment,
    "brief": brief,
    "span": span,
    "link": urlencode,
    "labelled": labelled,
}
