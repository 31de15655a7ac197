"""The text of mails about parcels: what was recorded, who gave, who took, and the state before. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.pending import PropertyRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.property.instruments import ROLL, Event, recorder_page
from kordant_jobs.jobs.notifications_send.alert_message import AlertMessage, alert_footer, greeting
from kordant_jobs.jobs.notifications_send.bundle import Bundle, Opened
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line, severity_word

NAMES_MAX = 200
ROWS_MAX = 25
"""The most documents that one mail lists."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """The decrypted facts of one finding, as `Opened.identifier` carries them."""

    parcel: str = field(repr=False)
    givers: list[str] = field(repr=False)
    takers: list[str] = field(repr=False)
    before: list[str] = field(repr=False)


def detail_of(opened: Opened) -> Detail:
    """The decrypted parts of one finding."""
    return Detail(**json.loads(opened.identifier))


def property_subject(words: Wording, row: PropertyRow) -> str:
    """The subject line. It has no names and addresses, since it is shown on locked screens."""
    return words.say("Property alert: %(event)s", event=words.property_event(row.event))


def _names(names: Sequence[str]) -> str:
    return one_line("; ".join(names), NAMES_MAX) or "–"


def _place(words: Wording, row: PropertyRow, detail: Detail) -> str:
    """The masked parcel and its county. A finding of an owner watch may have another parcel."""
    elsewhere = words.say("a parcel that you do not watch")
    return f"{detail.parcel or elsewhere}, {row.county}"


def _reasons(words: Wording, row: PropertyRow) -> list[str]:
    """The reasons why the subscriber gets this; at least that they watch the parcel or the name."""
    said = [reason for code in row.reasons if (reason := words.property_reason(code))]
    return said or [words.say("It was recorded on a property that you asked us to watch.")]


def property_facts(words: Wording, row: PropertyRow, detail: Detail) -> list[tuple[str, str]]:
    """The facts of a finding: giver → taker, event, amount, date, where to read it, and the state before."""
    if row.event in ROLL:
        return _roll_facts(words, row, detail)
    facts = [
        (words.say("Severity"), severity_word(words, Severity(row.severity))),
        (words.say("What was recorded"), f"{words.property_event(row.event)} ({one_line(row.code, 60)})"),
        (words.say("Property"), _place(words, row, detail)),
        (words.say("From"), _names(detail.givers)),
        (words.say("To"), _names(detail.takers)),
    ]
    if row.amount is not None:
        facts.append((words.say("Amount"), f"${words.number(int(row.amount))}"))
    if row.recorded_on is not None:
        facts.append((words.say("Recorded on"), words.day(row.recorded_on)))
    facts.append((words.say("Instrument number"), one_line(row.number or row.key, 60)))
    if page := recorder_page(row.recorder_url, key=row.key, number=row.number):
        facts.append((words.say("Recorder's page"), page))
    if detail.before:
        facts.append((words.say("Owner by the deed before"), _names(detail.before)))
    if row.data_as_of is not None:
        facts.append((words.say("Records as of"), words.day(row.data_as_of)))
    facts.append((words.say("Found by us"), words.moment(row.alerted_at, row.time_zone)))
    return facts


def _roll_facts(words: Wording, row: PropertyRow, detail: Detail) -> list[tuple[str, str]]:
    """The entry of the owner roll now, and the owner by the deeds; it has no document and no page of the recorder's."""
    is_address = row.event == Event.MAILING_ADDRESS_CHANGED
    facts = [
        (words.say("Severity"), severity_word(words, Severity(row.severity))),
        (words.say("What we found"), words.property_event(row.event)),
        (words.say("Property"), _place(words, row, detail)),
        (words.say("Mailing address now") if is_address else words.say("Owner now"), _names(detail.takers)),
    ]
    if detail.before:
        facts.append((words.say("Owner by the last deed"), _names(detail.before)))
    if row.data_as_of is not None:
        facts.append((words.say("Records as of"), words.day(row.data_as_of)))
    return [*facts, (words.say("Found by us"), words.moment(row.alerted_at, row.time_zone))]


def write_property_message(bundle: Bundle) -> AlertMessage:
    """The text of one or several findings in one mail, the most urgent first."""
    words = wording(Locale(bundle.first.locale))
    order = list(Severity)
    pairs = [(row, one) for row, one in zip(bundle.rows, bundle.opened, strict=True) if isinstance(row, PropertyRow)]
    pairs.sort(key=lambda pair: -order.index(Severity(pair[0].severity)))
    shown = pairs[:ROWS_MAX]
    facts = [fact for row, one in shown for fact in property_facts(words, row, detail_of(one))]
    reasons = dict.fromkeys(said for row, _ in shown for said in _reasons(words, row))
    if len(pairs) > 1:  # one list could not say which reason is which document's
        why = words.say("Why it is you")
        facts = [
            fact
            for row, one in shown
            for fact in (*property_facts(words, row, detail_of(one)), (why, " ".join(_reasons(words, row))))
        ]
        reasons = {}
    actions = dict.fromkeys(one for row, _ in shown for one in words.property_actions(row.event, row.severity))
    first = pairs[0][0]
    return AlertMessage(
        locale=bundle.first.locale,
        subject=property_subject(words, first)
        if len(pairs) == 1
        else words.count("Property alert: %(number)s document", "Property alert: %(number)s documents", len(pairs)),
        preview=next(iter(actions), words.say("What happened, and why it is you.")),
        severity=first.severity,
        severity_word=severity_word(words, Severity(first.severity)),
        greeting=greeting(words, bundle.name),
        headline=words.property_event(first.event),
        facts=facts,
        reasons_title=words.say("Why it is you"),
        reasons=list(reasons),
        actions_title=words.say("What to do now"),
        actions=list(actions),
        footer=alert_footer(words),
    )
