"""The text of a report, from its figures: everything the template shows, in the subscriber's language."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from kordant_jobs.domain.darkwatch.breaches import BreachSource
from kordant_jobs.domain.darkwatch.exposures import SecretKind, Source, UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind, shown
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.reports_generate import charts, rules
from kordant_jobs.jobs.reports_generate.changes import (
    MENTION_MAX,
    breach_title,
    changes,
    some,
    source_name,
    trend,
    trend_figure,
)
from kordant_jobs.jobs.reports_generate.clips import ClipSection, clip_section
from kordant_jobs.jobs.reports_generate.figures import NOT_CHECKED
from kordant_jobs.jobs.reports_generate.money import MoneySection, money_section
from kordant_jobs.jobs.reports_generate.properties import PropertySection, property_section
from kordant_jobs.jobs.reports_generate.receipt import ReceiptSection, receipt_section
from kordant_jobs.jobs.reports_generate.removals import RemovalSection, removal_section
from kordant_jobs.jobs.reports_generate.rules import ReportFigures, ReportKind, SourceLine
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line, severity_word

ROW_CLASSES_MAX = 8
"""The most data classes named in one row of a table; the worst breaches hold over fifty."""

ROW_ITEMS_MAX = 6
"""The most watched identifiers named in one row."""

ACTION_BREACHES_MAX = 4
"""The most breaches named beside one action."""

UNCHARTED_MAX = 3
"""Up to so many exposures are a table alone; a chart says something from two bars on."""

NAME_MAX = 120
TITLE_MAX = 300


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The decrypted facts of one report: the name, identifiers by item, parcels by watch, payees' lines by transaction,
    members by analysis."""

    name: str = field(repr=False)
    identifiers: Mapping[UUID, str] = field(repr=False)
    parcels: Mapping[UUID, str] = field(repr=False, default_factory=dict)
    parties: Mapping[UUID, str] = field(repr=False, default_factory=dict)
    payees: Mapping[UUID, str] = field(repr=False, default_factory=dict)
    members: Mapping[UUID, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """One row of the table of checked sources."""

    name: str
    verdict: str
    verdict_word: str
    note: str
    when: str


@dataclass(frozen=True, kw_only=True)
class ExposureRow:
    """One breach in a table of exposures."""

    severity: str
    severity_word: str
    title: str
    about: str
    leaked: str
    yours: list[str]
    password: str


@dataclass(frozen=True, kw_only=True)
class ActionRow:
    """One recommended action, and the breaches that it is for."""

    text: str
    breaches: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure of the summary."""

    value: str
    label: str


@dataclass(frozen=True, kw_only=True)
class ExposureTable:
    """A table of exposures with its heading; `empty` is shown when there are none."""

    title: str
    rows: list[ExposureRow]
    empty: str


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that the template shows. `name` is personal; the rest is masked."""

    lang: str
    title: str
    kind: str
    period: str
    name: str = field(repr=False)
    state: str
    headline: str
    lead: str
    trend: str
    tiles: list[Tile]
    sources: list[SourceRow]
    watched: str
    changes_title: str
    changes: list[str]
    tables: list[ExposureTable]
    actions: list[ActionRow]
    severity_chart: str
    history_chart: str
    removals: RemovalSection
    properties: PropertySection
    money: MoneySection
    clips: ClipSection
    receipt: ReceiptSection
    notes: list[str]
    made_on: str
    identifier: bytes


def _title(words: Wording, kind: ReportKind) -> str:
    return {
        ReportKind.WEEKLY: words.say("Weekly protection report"),
        ReportKind.MONTHLY: words.say("Monthly protection report"),
        ReportKind.ON_DEMAND: words.say("Protection report"),
    }[kind]


def _headline(words: Wording, figures: ReportFigures) -> tuple[str, str]:
    """The current state in one sentence, and its meaning. With an unknown source it never reads as an all-clear."""
    new, opened = len(figures.new), len(figures.exposures)
    gaps = figures.has_unknown_property
    gaps = gaps or any(one.verdict is Verdict.UNKNOWN or one.reason for one in figures.sources)
    gap = " " + words.say("Not every source could be checked, so there may be more.") if gaps else ""
    first, leads = [], []
    if documents := len(figures.documents):
        first.append(
            words.count(
                "%(number)s new document on your property", "%(number)s new documents on your property", documents
            )
        )
        leads.append(words.say("The county recorded it in this period. Check the part on your property first."))
    if alerts := figures.voice_alerts:
        first.append(
            words.count(
                "%(number)s clip with a voice like a family member's",
                "%(number)s clips with a voice like a family member's",
                alerts,
            )
        )
        leads.append(
            words.say("There were signs of an artificial voice, too. The part on clips of voices says what to do.")
        )
    if first:
        text = ", ".join(first)
        if new:
            text += words.count(
                ", %(number)s new exposure of your data", ", %(number)s new exposures of your data", new
            )
        return text, " ".join(leads) + gap
    if new:
        text = words.count("%(number)s new exposure of your data", "%(number)s new exposures of your data", new)
        breaches = len({one.breach_name for one in figures.new})
        if breaches < new:
            text += words.count(", in %(number)s breach", ", in %(number)s breaches", breaches)
        lead = words.say("Your data was found in stolen data that we had not seen before. What to do is below.")
        return text, lead + gap
    if opened:
        text = words.count(
            "Nothing new, %(number)s exposure still open", "Nothing new, %(number)s exposures still open", opened
        )
        return text, words.say("We found nothing new in this period. What was found earlier stays open below.") + gap
    if figures.overall is Verdict.CLEAN and not gaps:
        text = words.say("Nothing was found")
        return text, words.say("Every source was checked in this period, and none of them holds your data.")
    if figures.overall is Verdict.EXPOSED:
        return words.say("Nothing is open"), words.say("What was found earlier has been dealt with.") + gap
    text = words.say("Nothing was found, but not everything could be checked")
    return text, words.say("This is no all clear: the table below says which source gave no answer, and why.")


def _reason(words: Wording, reason: str | None) -> str:
    """A source's reason in the subscriber's language; an unknown reason is shown unchanged."""
    if reason is None:
        return ""
    if reason == NOT_CHECKED:
        return words.say("It was not checked in this period.")
    if reason == "no breach dump was ingested yet":
        return words.say("There was nothing to check against yet.")
    if reason in set(UnknownReason):
        return words.say("It gave no answer to some of our questions yet; we go on asking.")
    if unread := re.fullmatch(r"(\d+) breach dumps? could not be read yet", reason):
        return words.count(
            "%(number)s collection of stolen data could not be read yet.",
            "%(number)s collections of stolen data could not be read yet.",
            int(unread[1]),
        )
    return one_line(reason, 200)


def _source_row(words: Wording, line: SourceLine) -> SourceRow:
    verdicts = {
        Verdict.CLEAN: words.say("Nothing found"),
        Verdict.EXPOSED: words.say("Your data is in it"),
        Verdict.UNKNOWN: words.say("Not known"),
    }
    when = "–"
    if line.checked_on is not None:
        last = words.day(line.checked_on, "medium")
        when = words.count(
            "%(last)s, checked %(number)s time", "%(last)s, checked %(number)s times", line.checks, last=last
        )
    return SourceRow(
        name=source_name(words, line.source),
        verdict=line.verdict.value,
        verdict_word=verdicts[line.verdict],
        note=_reason(words, line.reason),
        when=when,
    )


def _exposure_row(words: Wording, group: rules.BreachGroup, masked: Mapping[UUID, str]) -> ExposureRow:
    breach = group.breach
    about = [breach.breach_domain] if breach.breach_domain and breach.breach_domain != breach.breach_title else []
    if breach.breached_on:
        about.append(words.day(breach.breached_on, "medium").replace(" ", "\u00a0"))
    yours = sorted({masked[one.item_id] for one in group.exposures})
    more = len(yours) - ROW_ITEMS_MAX
    if more > 0:
        yours = [*yours[:ROW_ITEMS_MAX], words.count("%(number)s more", "%(number)s more", more)]
    secrets = {one.secret for one in group.exposures}
    password = ""
    if SecretKind.CLEAR in secrets:
        password = words.say("with a readable password")
    elif SecretKind.HASHED in secrets:
        password = words.say("with a scrambled password")
    return ExposureRow(
        severity=group.severity.value,
        severity_word=severity_word(words, group.severity),
        title=breach_title(words, breach.breach_source, breach.breach_title, TITLE_MAX),
        about=" · ".join(about),
        leaked=some(words, words.data_classes(breach.data_classes), ROW_CLASSES_MAX),
        yours=yours,
        password=password,
    )


def _actions(words: Wording, exposures: Sequence[rules.ExposureLine]) -> list[ActionRow]:
    """The actions over all exposures, each once, with the breaches that require it."""
    callers: dict[str, dict[str, None]] = {}
    wanted: set[str] = set()
    secrets = {one.secret for one in exposures}
    for one in rules.most_urgent_first(exposures):
        for text in words.actions(one.data_classes, SecretKind(one.secret)):
            callers.setdefault(text, {})[breach_title(words, one.breach_source, one.breach_title, MENTION_MAX)] = None
            wanted.add(text)
    everything = [name for one in exposures for name in one.data_classes]
    in_order: dict[str, None] = {}
    for secret in [*secrets, SecretKind.NONE]:
        in_order |= dict.fromkeys(words.actions(everything, SecretKind(secret)))
    return [
        ActionRow(text=text, breaches=some(words, list(callers[text]), ACTION_BREACHES_MAX))
        for text in in_order
        if text in wanted
    ]


def _tiles(words: Wording, figures: ReportFigures) -> list[Tile]:
    unknown = sum(1 for one in figures.sources if one.verdict is Verdict.UNKNOWN)
    tiles = [
        (len(figures.new), words.say("new in this period")),
        (len(figures.exposures), words.say("open in all")),
        (len(figures.items), words.say("identifiers watched")),
        (len(figures.sources) - unknown, words.say("sources that answered")),
    ]
    if figures.voice_alerts:
        tiles.insert(1, (figures.voice_alerts, words.say("voice alerts")))
    if figures.properties:
        tiles.insert(1, (len(figures.documents), words.say("new documents on property")))
    if unknown:
        tiles.append((unknown, words.say("sources without an answer")))
    said = [Tile(value=words.number(value), label=label) for value, label in tiles]
    if compared := trend_figure(words, figures):
        said.insert(1, Tile(value=compared[0], label=compared[1]))
    return said


def _watched(words: Wording, figures: ReportFigures, masked: Mapping[UUID, str]) -> str:
    if not figures.items:
        return words.say("You have not asked us to watch anything yet.")
    alike = Counter(masked[item] for item, _ in figures.items)
    shown = [text if number == 1 else f"{text} (× {words.number(number)})" for text, number in alike.items()]
    return words.say("We watch %(what)s.", what=some(words, shown, 12))


def _notes(words: Wording, figures: ReportFigures) -> list[str]:
    notes = [
        words.say("Identifiers are shown in part, so that this report can be kept and shown without giving them away."),
        words.say("“Not known” means that a source could not be asked or read. It never counts as “nothing found”."),
        words.say(
            "Severity: critical means usable by anybody now (a readable password, a card, a document); high, usable "
            "after some work; medium, helps a fraud; low, a sign only."
        ),
    ]
    if any(one.breach_source in {BreachSource.HIBP, BreachSource.PASTE} for one in figures.exposures):
        notes.append(words.say("Facts about breaches: Have I Been Pwned, haveibeenpwned.com (CC BY 4.0)."))
    if any(one.source == Source.LEAKCHECK for one in figures.sources):
        notes.append(words.say("Powered by LeakCheck."))
    return notes


def _state(figures: ReportFigures) -> str:
    if figures.new or figures.documents or figures.voice_alerts:
        return "new"
    is_gap = figures.overall is Verdict.CLEAN and figures.has_unknown_property
    return Verdict.UNKNOWN.value if is_gap else figures.overall.value


def write_report(figures: ReportFigures, opened: Opened, receipt: str = "") -> ReportContent:
    """The text of one report, with its signed receipt if there is one."""
    words = wording(Locale(figures.locale))
    period = figures.period
    kinds = dict(figures.items)
    masked = {item: shown(IdentifierKind(kind), opened.identifiers[item]) for item, kind in kinds.items()}
    headline, lead = _headline(words, figures)
    span = words.say("%(first)s to %(last)s", first=words.day(period.start_on), last=words.day(period.last_on))
    kind = _title(words, period.kind)
    tables = [
        ExposureTable(
            title=words.say("New in this period"),
            rows=[_exposure_row(words, group, masked) for group in rules.grouped(figures.new)],
            empty=words.say("No new exposure was found in this period."),
        )
    ]
    if figures.earlier:
        rows = [_exposure_row(words, group, masked) for group in rules.grouped(figures.earlier)]
        tables.append(ExposureTable(title=words.say("Found earlier, still open"), rows=rows, empty=""))
    is_charted = len(figures.exposures) > UNCHARTED_MAX
    changed = changes(words, figures)
    if len(changed) == 1 and figures.new and not is_charted:
        changed = []  # the table below says the same
    severities = len({one.severity for one in figures.exposures})
    bars = sum(bar.found > 0 for bar in figures.history)
    return ReportContent(
        lang=figures.locale,
        title=f"{kind}, {span}",
        kind=kind,
        period=span,
        name=one_line(opened.name, NAME_MAX),
        state=_state(figures),
        headline=headline,
        lead=lead,
        trend=trend(words, figures),
        tiles=_tiles(words, figures),
        sources=[_source_row(words, one) for one in figures.sources],
        watched=_watched(words, figures, masked),
        changes_title=words.say("What happened") if figures.first_period else words.say("What changed"),
        changes=changed,
        tables=tables,
        actions=_actions(words, figures.exposures),
        severity_chart=charts.severities(words, figures) if is_charted and severities > 1 else "",
        history_chart=charts.history(words, figures) if is_charted and bars > 1 else "",
        removals=removal_section(words, figures.removals),
        properties=property_section(words, figures.properties, opened.parcels, opened.parties),
        money=money_section(words, figures.money, opened.payees),
        clips=clip_section(words, figures.clips, opened.members, figures.time_zone),
        receipt=receipt_section(words, receipt),
        notes=_notes(words, figures),
        made_on=period.end_on.isoformat(),
        identifier=figures.sha256()[:16],
    )
