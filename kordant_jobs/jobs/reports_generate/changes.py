"""The text on changes since the period before, and on the trend. Pure.

A period in which something could not be checked is never described as better.
"""

from collections.abc import Sequence

from kordant_jobs.domain.darkwatch.breaches import BreachSource
from kordant_jobs.domain.darkwatch.exposures import Source, Verdict
from kordant_jobs.jobs.reports_generate import rules
from kordant_jobs.jobs.reports_generate.rules import ClosedLine, CloseReason, ReportFigures, SourceLine
from kordant_jobs.wording import Wording
from kordant_jobs.wording.texts import one_line

MENTIONS_MAX = 4
"""The most breaches named in one line."""

MENTION_MAX = 60
"""The most characters of a breach's title where it is only mentioned."""


def some(words: Wording, parts: Sequence[str], limit: int) -> str:
    """The first `limit` of the parts, and the number of the others."""
    if len(parts) <= limit:
        return words.join_list(parts)
    rest = len(parts) - limit
    return words.join_list([*parts[:limit], words.count("%(number)s more", "%(number)s more", rest)])


def breach_title(words: Wording, source: str, title: str, limit: int) -> str:
    """The name of a breach. A dump's own name is not shown, since it says nothing."""
    if source == BreachSource.DUMP:
        return words.say("Collection of unknown origin")
    return one_line(title, limit)


def source_name(words: Wording, source: str) -> str:
    """The name of a source."""
    names = {
        Source.DUMPS.value: words.say("Collections of stolen data (our own archive)"),
        Source.HIBP.value: "Have I Been Pwned",
        Source.XPOSEDORNOT.value: "XposedOrNot",
        Source.LEAKCHECK.value: "LeakCheck",
    }
    return names.get(source, source)


def trend(words: Wording, figures: ReportFigures) -> str:
    """A sentence that compares the new exposures, closed ones included, with those of the period before."""
    if figures.first_period:
        return words.say("There is no earlier period to compare this one with yet.")
    before, now = (one.found for one in figures.history[-2:])
    values = {"before": words.number(before), "now": words.number(now), "number": words.number(abs(now - before))}
    if now > before:
        text = words.say(
            "New exposures: %(number)s more than in the period before (%(before)s then, %(now)s now).", **values
        )
    elif now < before:
        text = words.say(
            "New exposures: %(number)s fewer than in the period before (%(before)s then, %(now)s now).", **values
        )
    elif now:
        text = words.say("New exposures: as many as in the period before (%(now)s).", now=values["now"])
    else:
        text = words.say("New exposures: none, as in the period before.")
    if now <= before and any(one.verdict is Verdict.UNKNOWN for one in figures.sources):
        text += " " + words.say("The comparison holds only for what could be checked.")
    return text


def trend_figure(words: Wording, figures: ReportFigures) -> tuple[str, str] | None:
    """The trend as a figure and its label, which gives the direction. None in a first period."""
    if figures.first_period:
        return None
    more = figures.history[-1].found - figures.history[-2].found
    if more > 0:
        return words.number(more), words.say("more new than in the period before")
    if more < 0:
        return words.number(-more), words.say("fewer new than in the period before")
    return words.number(0), words.say("change from the period before")


def changes(words: Wording, figures: ReportFigures) -> list[str]:
    """The changes since the period before, a sentence each; empty only in a first period without any event."""
    said = [*_found(words, figures), *_voices(words, figures)]
    said += [*_closed(words, figures.closed), *_sources(words, figures.sources)]
    if figures.items_added and not figures.first_period:
        said.append(
            words.count(
                "%(number)s identifier more is watched.",
                "%(number)s identifiers more are watched.",
                figures.items_added,
            )
        )
    if figures.items_removed:
        said.append(
            words.count(
                "%(number)s identifier is no longer watched.",
                "%(number)s identifiers are no longer watched.",
                figures.items_removed,
            )
        )
    if not said and not figures.first_period:
        said.append(words.say("Nothing changed since the period before."))
    return said


def _found(words: Wording, figures: ReportFigures) -> list[str]:
    if not figures.new:
        return []
    titles = [
        _mention(words, group.breach.breach_source, group.breach.breach_title) for group in rules.grouped(figures.new)
    ]
    what = some(words, list(dict.fromkeys(titles)), MENTIONS_MAX)
    return [
        words.count(
            "%(number)s new exposure: %(what)s.", "%(number)s new exposures: %(what)s.", len(figures.new), what=what
        )
    ]


def _voices(words: Wording, figures: ReportFigures) -> list[str]:
    if not figures.voice_alerts:
        return []
    return [
        words.count(
            "%(number)s clip came with a voice like a family member's and signs of an artificial voice.",
            "%(number)s clips came with a voice like a family member's and signs of an artificial voice.",
            figures.voice_alerts,
        )
    ]


def _mention(words: Wording, source: str, title: str) -> str:
    return breach_title(words, source, title, MENTION_MAX)


def _closed(words: Wording, closed: Sequence[ClosedLine]) -> list[str]:
    said = []
    for reason in CloseReason:
        lines = [one for one in closed if one.reason is reason]
        if not lines:
            continue
        titles = dict.fromkeys(_mention(words, one.breach_source, one.breach_title) for one in lines)
        said.append(_closing(words, reason, len(lines), some(words, list(titles), MENTIONS_MAX)))
    return said


def _closing(words: Wording, reason: CloseReason, number: int, what: str) -> str:
    match reason:
        case CloseReason.NOT_ME:
            return words.count(
                "%(number)s exposure closed, since you said that it is not yours: %(what)s.",
                "%(number)s exposures closed, since you said that they are not yours: %(what)s.",
                number,
                what=what,
            )
        case CloseReason.CLOSED:
            return words.count(
                "%(number)s exposure closed: %(what)s.", "%(number)s exposures closed: %(what)s.", number, what=what
            )
        case CloseReason.NOT_WATCHED:
            return words.count(
                "%(number)s exposure left out, since its identifier is no longer watched: %(what)s.",
                "%(number)s exposures left out, since their identifiers are no longer watched: %(what)s.",
                number,
                what=what,
            )
        case CloseReason.WITHDRAWN:
            return words.count(
                "%(number)s exposure withdrawn, since the breach did not prove true: %(what)s.",
                "%(number)s exposures withdrawn, since the breaches did not prove true: %(what)s.",
                number,
                what=what,
            )


def _sources(words: Wording, sources: Sequence[SourceLine]) -> list[str]:
    said = []
    for one in sources:
        if one.before is None or one.before is one.verdict:
            continue
        if one.verdict is Verdict.UNKNOWN:
            text = words.say(
                "Not known any more: %(source)s. It answered in the period before.",
                source=source_name(words, one.source),
            )
            said.append(text)
        elif one.before is Verdict.UNKNOWN:
            said.append(words.say("Known again: %(source)s gave an answer.", source=source_name(words, one.source)))
    return said
