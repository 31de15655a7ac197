"""The text of a digest: several alerts in one mail, grouped by breach, the most urgent first. Pure."""

from dataclasses import dataclass

from kordant_jobs.domain.darkwatch.breaches import BreachSource
from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.domain.identifiers import IdentifierKind, shown
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.choices import Held
from kordant_jobs.domain.notifications.pending import AlertRow, PropertyRow, VoiceRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.alert_message import (
    MailText,
    alert_footer,
    greeting,
    kind_word,
    stolen_classes,
    subject_of,
)
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.jobs.notifications_send.property_message import detail_of, property_facts
from kordant_jobs.jobs.notifications_send.voice_message import clip_subject, voice_facts
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line, severity_word

GROUPS_MAX = 25
"""The most breaches that a digest lists; the others are counted. Mail programs cut a mail off at about 100 kB."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One breach with the subscriber's identifiers in it, masked."""

    title: str
    severity: str
    severity_word: str
    facts: list[tuple[str, str]]
    identifiers: list[str]


@dataclass(frozen=True, kw_only=True)
class Digest(MailText):
    """A mail about several alerts."""

    severity_word: str
    groups: list[Group]
    more: str | None
    actions_title: str
    actions: list[str]


def write_digest(bundle: Bundle) -> Digest:
    """The text of several alerts in one mail. Identifiers are masked."""
    words = wording(Locale(bundle.first.locale))
    groups = [*_clip_groups(words, bundle), *_property_groups(words, bundle), *_groups(words, bundle)]
    count = len(bundle.rows)
    classes = [name for row in bundle.alerts for name in row.data_classes]
    kinds = {row.secret for row in bundle.alerts}
    secret = next((kind for kind in (SecretKind.CLEAR, SecretKind.HASHED) if kind in kinds), SecretKind.NONE)
    actions = [*(words.voice_actions() if bundle.clips else ()), *words.actions(classes, secret)]
    footer = alert_footer(words)
    if any(row.breach_source == BreachSource.HIBP for row in bundle.alerts):
        footer.append(words.say("Facts about the breach: Have I Been Pwned, haveibeenpwned.com (CC BY 4.0)."))
    return Digest(
        locale=bundle.first.locale,
        subject=_subject(words, bundle, count),
        preview=actions[0] if actions else words.say("What happened, and why it is you."),
        severity=bundle.severity,
        severity_word=severity_word(words, bundle.severity),
        greeting=greeting(words, bundle.name),
        headline=_headline(words, bundle, count),
        groups=groups[:GROUPS_MAX],
        more=words.count("And in one more breach.", "And in %(number)s more breaches.", len(groups) - GROUPS_MAX)
        if len(groups) > GROUPS_MAX
        else None,
        actions_title=words.say("What to do now"),
        actions=actions,
        footer=footer,
    )


def _subject(words: Wording, bundle: Bundle, count: int) -> str:
    """The subject line. It has counts only, unless all alerts are about one breach, so that no names of breaches are
    shown."""
    if len({row.breach_name for row in bundle.alerts}) == 1 and not bundle.findings and not bundle.clips:
        return subject_of(words, bundle.alerts[0])
    match bundle.first.held_for:
        case Held.DAILY:
            return words.count("Your day at Kordant: %(number)s alert", "Your day at Kordant: %(number)s alerts", count)
        case Held.WEEKLY:
            return words.count(
                "Your week at Kordant: %(number)s alert", "Your week at Kordant: %(number)s alerts", count
            )
        case _:
            return words.count("Security alert: %(number)s finding", "Security alert: %(number)s findings", count)


def _headline(words: Wording, bundle: Bundle, count: int) -> str:
    """Parcels and clips are no stolen data."""
    if len(bundle.alerts) < count:
        return words.count("Security alert: %(number)s finding", "Security alert: %(number)s findings", count)
    return words.count(
        "Your data was found once in stolen data.", "Your data was found %(number)s times in stolen data.", count
    )


def _alert_row(bundle: Bundle, place: int) -> AlertRow:
    row = bundle.rows[place]
    if not isinstance(row, AlertRow):
        raise TypeError(f"row {place} is about no breach")
    return row


def _groups(words: Wording, bundle: Bundle) -> list[Group]:
    order = list(Severity)
    found: dict[str, list[int]] = {}
    for place, row in enumerate(bundle.rows):
        if isinstance(row, AlertRow):
            found.setdefault(row.breach_name, []).append(place)
    worst = {
        name: max(order.index(Severity(bundle.rows[place].severity)) for place in places)
        for name, places in found.items()
    }
    newest_first = sorted(found, key=lambda name: _alert_row(bundle, found[name][0]).alerted_at, reverse=True)
    return [
        _group(words, bundle, found[name], order[worst[name]])
        for name in sorted(newest_first, key=lambda name: -worst[name])
    ]


def _property_groups(words: Wording, bundle: Bundle) -> list[Group]:
    """Findings on parcels in a digest, one group each."""
    return [
        Group(
            title=words.property_event(row.event),
            severity=Severity(row.severity),
            severity_word=severity_word(words, Severity(row.severity)),
            facts=property_facts(words, row, detail_of(one)),
            identifiers=[],
        )
        for row, one in zip(bundle.rows, bundle.opened, strict=True)
        if isinstance(row, PropertyRow)
    ]


def _clip_groups(words: Wording, bundle: Bundle) -> list[Group]:
    """Clips of voices in a digest, one group each."""
    return [
        Group(
            title=clip_subject(words, [row]),
            severity=Severity(row.severity),
            severity_word=severity_word(words, Severity(row.severity)),
            facts=voice_facts(words, row, one.identifier),
            identifiers=[],
        )
        for row, one in zip(bundle.rows, bundle.opened, strict=True)
        if isinstance(row, VoiceRow)
    ]


def _group(words: Wording, bundle: Bundle, places: list[int], severity: Severity) -> Group:
    row = _alert_row(bundle, places[0])
    unnamed = row.breach_source == BreachSource.DUMP
    facts = []
    if row.breached_on:
        facts.append((words.say("Date of the breach"), words.day(row.breached_on)))
    if stolen := list(dict.fromkeys(name for place in places for name in stolen_classes(_alert_row(bundle, place)))):
        facts.append((words.say("What was stolen"), words.join_list(words.data_classes(stolen))))
    facts.append((words.say("Found by us"), words.moment(row.alerted_at, row.time_zone)))
    return Group(
        title=words.say("A collection of stolen data whose origin is not known")
        if unnamed
        else one_line(row.breach_title, 120),
        severity=severity,
        severity_word=severity_word(words, severity),
        facts=facts,
        identifiers=list(dict.fromkeys(_identifier(words, bundle, place) for place in places)),
    )


def _identifier(words: Wording, bundle: Bundle, place: int) -> str:
    row = _alert_row(bundle, place)
    kind = kind_word(words, row.item_kind)
    masked = shown(IdentifierKind(row.item_kind), bundle.opened[place].identifier)
    if row.secret == SecretKind.CLEAR:
        return words.say("%(kind)s %(masked)s, with a readable password", kind=kind, masked=masked)
    return words.say("%(kind)s %(masked)s", kind=kind, masked=masked)
