"""The report's section on watched property: each parcel, the answer of its county and its age, recorded documents, and
open mortgages and liens. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.findings import UnknownReason, Verdict
from kordant_jobs.domain.property.instruments import ROLL
from kordant_jobs.domain.property.parcels import masked_parcel
from kordant_jobs.jobs.reports_generate.rules import PropertyDocument, PropertyLine
from kordant_jobs.wording import Wording
from kordant_jobs.wording.texts import severity_word

ROWS_MAX = 50
"""The most watched parcels in one report; the others are counted. Those with events come first, then unknown ones."""
DOCUMENTS_MAX = 12
"""The most documents listed for one parcel."""
NUMBER_MAX = 40
_ANSWERS = {Verdict.CLEAN.value, Verdict.FOUND.value}
COUNTY_MAX = 60
NAMES_MAX = 160
"""The most characters of the names in one document."""
NO_NAMES: Mapping[UUID, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class PropertyTableRow:
    """One watched parcel. `parcel` is masked."""

    parcel: str
    county: str
    state: str
    as_of: str
    events: list[str]
    open_charges: list[str]


@dataclass(frozen=True, kw_only=True)
class PropertySection:
    """The section; `rows` is empty where no property is watched."""

    title: str
    heads: tuple[str, str, str, str]
    rows: list[PropertyTableRow]
    more: str


def _state(words: Wording, line: PropertyLine) -> str:
    if line.verdict is None:
        return words.say("Not known: not checked in this period")
    if line.verdict == Verdict.UNKNOWN:
        return {
            UnknownReason.NEVER_READ.value: words.say("Not known: the county's records were not read yet"),
            UnknownReason.STALE.value: words.say("Not known: the county has published nothing for longer than usual"),
            UnknownReason.ROLL_NOT_READ.value: words.say(
                "Not known: the county's list of owners could not be read, or does not name every parcel you watch"
            ),
            UnknownReason.ROWS_NOT_UNDERSTOOD.value: words.say(
                "Not known: a part of the county's records could not be understood"
            ),
            UnknownReason.SOURCE_FAILED.value: words.say("Not known: the county's records could not be read"),
        }.get(line.reason or "", words.say("Not known"))
    if line.events:
        return words.count("%(number)s new document", "%(number)s new documents", len(line.events))
    return words.say("Nothing new recorded")


def _document(words: Wording, one: PropertyDocument) -> str:
    parts = [words.property_event(one.event)]
    if one.amount is not None:
        parts.append(f"${words.number(int(one.amount))}")
    if one.recorded_on is not None:
        parts.append(words.day(one.recorded_on, "medium"))
    if one.event not in ROLL:
        parts.append(words.say("no. %(number)s", number=one.number[:NUMBER_MAX]))
    return ", ".join(parts)


def _event(words: Wording, one: PropertyDocument, parties: Mapping[UUID, str]) -> str:
    """The text of a document with its severity, givers and takers, and reasons."""
    said = [f"{severity_word(words, Severity(one.severity))}: {_document(words, one)}"]
    if one.instrument_id is not None and parties.get(one.instrument_id):
        said.append(parties[one.instrument_id][:NAMES_MAX])
    said += [reason for code in one.reasons if (reason := words.property_reason(code))]
    return ". ".join(part.rstrip(".") for part in said) + "."


def _documents(
    words: Wording, found: Sequence[PropertyDocument], parties: Mapping[UUID, str] | None = None
) -> list[str]:
    said = [_document(words, one) if parties is None else _event(words, one, parties) for one in found[:DOCUMENTS_MAX]]
    if len(found) > DOCUMENTS_MAX:
        said.append(words.count("%(number)s more", "%(number)s more", len(found) - DOCUMENTS_MAX))
    return said


def _open_charges(words: Wording, line: PropertyLine) -> list[str]:
    """The open charges; never 'none' where the county could not know of any."""
    if not line.has_parcel:
        return ["–"]
    if line.open_charges:
        return _documents(words, line.open_charges)
    if not line.has_liens:
        return [words.say("Not known: this county does not publish them")]
    return [words.say("none known") if line.verdict in _ANSWERS else words.say("Not known")]


def _row(
    words: Wording, line: PropertyLine, parcels: Mapping[UUID, str], parties: Mapping[UUID, str]
) -> PropertyTableRow:
    number = parcels.get(line.watch_id)
    as_of = words.day(line.data_as_of, "medium") if line.data_as_of else words.say("not known")
    return PropertyTableRow(
        parcel=masked_parcel(number) if number else words.say("An owner's name, in the whole county"),
        county=line.county[:COUNTY_MAX],
        state=_state(words, line),
        as_of=as_of,
        events=_documents(words, sorted(line.events, key=_urgency), parties),
        open_charges=_open_charges(words, line),
    )


def _urgency(one: PropertyDocument) -> int:
    """The rank of a document by severity, for a stable sort with the most urgent first."""
    return -list(Severity).index(Severity(one.severity))


def property_section(
    words: Wording,
    lines: Sequence[PropertyLine],
    parcels: Mapping[UUID, str],
    parties: Mapping[UUID, str] = NO_NAMES,
) -> PropertySection:
    """The section of one report. `parcels`: the decrypted number of each watch that has one; `parties`: givers and
    takers, by document."""

    def urgency(line: PropertyLine) -> tuple[int, bool]:
        return min(map(_urgency, line.events), default=1), line.verdict in _ANSWERS

    found = sorted(lines, key=urgency)
    left_out = len(found) - ROWS_MAX
    return PropertySection(
        title=words.say("Your property in county records"),
        heads=(
            words.say("Watched"),
            words.say("What the records say"),
            words.say("Open mortgages and liens"),
            words.say("Records as of"),
        ),
        rows=[_row(words, line, parcels, parties) for line in found[:ROWS_MAX]],
        more=words.count("And one more parcel.", "And %(number)s more parcels.", left_out) if left_out > 0 else "",
    )
