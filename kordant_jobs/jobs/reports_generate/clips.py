"""The report's section on clips of voices: the result of each, and a picture of its windows over time. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from markupsafe import Markup, escape

from kordant_jobs.domain.voice.verdicts import Match, Synthesis
from kordant_jobs.jobs.reports_generate.rules import ClipLine
from kordant_jobs.wording import Wording
from kordant_jobs.wording.voices import clip_result, clip_word

ROWS_MAX = 40
"""The most clips in one report; the others are counted."""
BAR_WIDTH, BAR_HEIGHT = 96, 14
SHADES = {Synthesis.SIGNS: ("#7a0f24", 14), Synthesis.INCONCLUSIVE: ("#d39b3a", 8), Synthesis.NO_SIGNS: ("#b9c2cd", 3)}
"""Colour and height of a window's bar. The height makes it readable in black and white, too."""


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One clip. `received` has its time, mark and length, a line each; `lines` are labels with texts, `picture` is an
    SVG or empty."""

    received: str
    lines: list[tuple[str, str]]
    picture: str


@dataclass(frozen=True, kw_only=True)
class ClipSection:
    """The section; `rows` is empty where there were no clips."""

    title: str
    limits: str
    heads: tuple[str, str, str]
    rows: list[ClipRow]
    legend: str
    more: str
    actions: list[str]


def clip_section(words: Wording, lines: Sequence[ClipLine], members: Mapping[UUID, str], time_zone: str) -> ClipSection:
    """The section of one report, the most urgent clips first, then the newest. `members`: the decrypted name of the
    member that a clip is consistent with."""
    ranked = sorted(lines, key=_urgency)
    left_out = len(lines) - ROWS_MAX
    return ClipSection(
        title=words.voice("labels.clips"),
        limits=words.voice("limits"),
        heads=(words.voice("labels.received"), words.voice("labels.result"), words.voice("labels.over_time")),
        rows=[
            ClipRow(
                received=f"{words.moment(line.received_at, time_zone)}\n{clip_word(words, line)}",
                lines=clip_result(words, line, members.get(line.analysis_id, "")),
                picture=_picture(words, line.windows),
            )
            for line in ranked[:ROWS_MAX]
        ],
        legend=words.voice("labels.legend") if any(line.windows for line in ranked[:ROWS_MAX]) else "",
        more=words.voice("labels.more", number=words.number(left_out)) if left_out > 0 else "",
        actions=words.voice_actions(),
    )


def _urgency(line: ClipLine) -> tuple[bool, bool, bool, bool, float]:
    """Sorts alerts before signs of synthesis, those before matches, those before the rest, and each by time."""
    return (
        not line.is_urgent,
        line.synthesis != Synthesis.SIGNS,
        line.match != Match.CONSISTENT,
        line.severity is None,
        -line.received_at.timestamp(),
    )


def _picture(words: Wording, windows: Sequence[str]) -> str:
    """One bar for each window, high where there are signs of older synthesis."""
    if not windows:
        return ""
    step = BAR_WIDTH / len(windows)
    bars = [
        f'<rect x="{place * step:.1f}" y="{BAR_HEIGHT - height}" width="{max(step - 1, 1):.1f}" height="{height}" '
        f'fill="{colour}"/>'
        for place, window in enumerate(windows)
        for colour, height in (SHADES[Synthesis(window)],)
    ]
    title = words.voice(
        "labels.picture",
        signs=words.number(windows.count(Synthesis.SIGNS)),
        unclear=words.number(windows.count(Synthesis.INCONCLUSIVE)),
        number=words.number(len(windows)),
    )
    return Markup(  # noqa: S704 - every value in it is a number or was escaped
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{BAR_WIDTH}pt" height="{BAR_HEIGHT}pt" '
        f'viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" role="img"><title>{escape(title)}</title>{"".join(bars)}</svg>'
    )
