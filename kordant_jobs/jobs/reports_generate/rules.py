"""Rules of a report: its periods, its figures, and the verdict over several sources. Pure."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.insights.insight import Kind
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.voice.verdicts import ClipSummary

EDITION = 4
"""The edition of the report. Increase it when its layout or text changes so much that old reports should be made
again."""

PERIODS_BACK = 5
"""The number of earlier periods that the trend shows."""


class CloseReason(StrEnum):
    """The reason why an exposure is no longer open."""

    NOT_ME = "not_me"
    """The subscriber said that it is not theirs."""
    CLOSED = "closed"
    NOT_WATCHED = "not_watched"
    """Its identifier is no longer watched."""
    WITHDRAWN = "withdrawn"
    """The breach proved not to be one, or may not be reported."""


class ReportKind(StrEnum):
    """The span that a report covers."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    ON_DEMAND = "on_demand"


@dataclass(frozen=True, kw_only=True)
class Period:
    """Days that a report covers: `start_on` ≤ day < `end_on`."""

    kind: ReportKind
    start_on: date
    end_on: date

    @property
    def last_on(self) -> date:
        """The last day covered."""
        return self.end_on - timedelta(days=1)


def period_before(period: Period) -> Period:
    """The period just before: a calendar month for a month, the same number of days for any other.

    >>> march = Period(kind=ReportKind.MONTHLY, start_on=date(2026, 3, 1), end_on=date(2026, 4, 1))
    >>> period_before(march).start_on, period_before(march).end_on
    (datetime.date(2026, 2, 1), datetime.date(2026, 3, 1))
    """
    start, end = period.start_on, period.end_on
    if period.kind is ReportKind.MONTHLY and start.day == 1 and end.day == 1:
        before = (start - timedelta(days=1)).replace(day=1)
    else:
        before = start - (end - start)
    return Period(kind=period.kind, start_on=before, end_on=start)


def is_announced(period: Period, today: date) -> bool:
    """True when a report of this period that is made `today` is announced to subscribers: only the last finished
    period, so that making missed reports sends nothing. A report on demand is delivered by the one who requested it.

    >>> june = Period(kind=ReportKind.MONTHLY, start_on=date(2026, 6, 1), end_on=date(2026, 7, 1))
    >>> [is_announced(june, day) for day in (date(2026, 6, 30), date(2026, 7, 1), date(2026, 7, 30), date(2026, 7, 31))]
    [False, True, True, False]
    """
    scheduled = period.kind is not ReportKind.ON_DEMAND
    return scheduled and period.end_on <= today < period.end_on + (period.end_on - period.start_on)


@dataclass(frozen=True, kw_only=True)
class SourceLine:
    """The answers of one source in the period: its last verdict, and the number of days on which it was asked. Days, so
    that the same answer twice on a day does not change the report."""

    source: str
    verdict: Verdict
    reason: str | None
    checks: int
    checked_on: date | None
    """The day in the subscriber's time zone."""
    before: Verdict | None = None
    """Its last verdict in the period before, None when it gave none."""


@dataclass(frozen=True, kw_only=True)
class ExposureLine:
    """One watched item in one breach."""

    exposure_id: UUID
    item_id: UUID
    severity: Severity
    secret: str
    first_seen_at: datetime
    is_new: bool
    breach_name: str
    breach_source: str
    breach_title: str
    breach_domain: str
    breached_on: date | None
    data_classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClosedLine:
    """One exposure that was alerted and open, and was closed within the period."""

    exposure_id: UUID
    breach_name: str
    breach_source: str
    breach_title: str
    reason: CloseReason


@dataclass(frozen=True, kw_only=True)
class HistoryBar:
    """The number of exposures first seen in one period."""

    start_on: date
    end_on: date
    found: int


@dataclass(frozen=True, kw_only=True)
class RemovalLine:
    """One removal request in a report."""

    broker: str
    state: str
    sent_on: date | None
    deadline_on: date | None
    says_done: bool
    """True when the broker says that it removed the data."""
    check_says: str | None
    checked_on: date | None
    reminders: int = 0
    channel: str | None = None
    can_complain: bool = True
    """True when a law obliges the broker."""
    can_check: bool = True
    """True when its site can be searched for the subscriber."""
    is_unread: bool = False
    """True while a reply of the broker waits for an operator."""


@dataclass(frozen=True, kw_only=True)
class PropertyDocument:
    """One recorded document, without the names in it."""

    event: str
    severity: str
    amount: Decimal | None
    recorded_on: date | None
    number: str
    reasons: tuple[str, ...] = ()
    instrument_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class PropertyLine:
    """One watched parcel or owner in a report; its number stays encrypted."""

    watch_id: UUID
    county: str
    has_parcel: bool
    has_liens: bool
    """False when the county publishes no mortgages and liens, so that none can be known."""
    verdict: str | None
    """None: no scan covered it in the period."""
    reason: str | None
    data_as_of: date | None
    events: tuple[PropertyDocument, ...]
    """The documents that became known in the period."""
    open_charges: tuple[PropertyDocument, ...]


@dataclass(frozen=True, kw_only=True)
class MoneyLine:
    """One insight from an entity's accounts; the payee's line stays encrypted."""

    entity_id: UUID
    kind: Kind
    facts: Mapping[str, Any]
    unknown_reason: str | None
    line_id: UUID | None
    """The transaction whose line names the payee."""


@dataclass(frozen=True, kw_only=True)
class ClipLine(ClipSummary):
    """The result of one clip in a report; the member's name stays encrypted."""

    analysis_id: UUID
    severity: str | None
    """The severity of the alert about it; None: there was none."""

    @property
    def is_urgent(self) -> bool:
        """True when its voice resembles a member's and there are signs of synthesis."""
        return self.severity == Severity.HIGH


@dataclass(frozen=True, kw_only=True)
class ReportFigures:
    """Everything that a report shows, except values that stay encrypted (the name and the identifiers)."""

    subscription_id: UUID
    locale: str
    time_zone: str
    period: Period
    items: tuple[tuple[UUID, str], ...]
    sources: tuple[SourceLine, ...]
    exposures: tuple[ExposureLine, ...]
    history: tuple[HistoryBar, ...]
    closed: tuple[ClosedLine, ...] = ()
    items_added: int = 0
    items_removed: int = 0
    removals: tuple[RemovalLine, ...] = ()
    properties: tuple[PropertyLine, ...] = ()
    money: tuple[MoneyLine, ...] = ()
    clips: tuple[ClipLine, ...] = ()

    @property
    def first_period(self) -> bool:
        """True when the subscription began in this period, so that there is no period to compare with."""
        return len(self.history) < 2

    @property
    def new(self) -> list[ExposureLine]:
        """Exposures that we first saw in the period."""
        return [one for one in self.exposures if one.is_new]

    @property
    def earlier(self) -> list[ExposureLine]:
        """Earlier exposures that are still open."""
        return [one for one in self.exposures if not one.is_new]

    @property
    def documents(self) -> list[PropertyDocument]:
        """The documents that were recorded on watched property in the period."""
        return [one for line in self.properties for one in line.events]

    @property
    def voice_alerts(self) -> int:
        """The number of clips in the period with a voice like a member's and signs of synthesis."""
        return sum(one.is_urgent for one in self.clips)

    @property
    def has_unknown_property(self) -> bool:
        """True when a county could not be checked."""
        return any(line.verdict in {None, "unknown"} for line in self.properties)

    @property
    def overall(self) -> Verdict:
        """The verdict over all sources."""
        return overall([source.verdict for source in self.sources], exposures=len(self.exposures))

    def sha256(self) -> bytes:
        """A hash over all that is shown: equal hashes mean equal reports."""
        shown = asdict(self)
        if not self.removals:  # who asks no broker keeps the report that they have
            del shown["removals"]
        if not self.properties:
            del shown["properties"]
        if not self.money:
            del shown["money"]
        if not self.clips:
            del shown["clips"]
        text = json.dumps([EDITION, shown], sort_keys=True, default=str, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()

    def as_counts(self) -> dict[str, Any]:
        """The part that is stored in the database: counts and ids."""
        return {
            "edition": EDITION,
            "overall": self.overall.value,
            "items": len(self.items),
            "new": len(self.new),
            "open": len(self.exposures),
            "closed": len(self.closed),
            "documents": len(self.documents),
            "voice_alerts": self.voice_alerts,
            "by_severity": by_severity(self.exposures),
            "sources": {one.source: one.verdict.value for one in self.sources},
            "exposure_ids": [str(one.exposure_id) for one in self.exposures],
        }


def overall(verdicts: Collection[Verdict], *, exposures: int) -> Verdict:
    """The verdict over several sources: clean only if every source answered 'clean'.

    >>> overall([Verdict.CLEAN, Verdict.UNKNOWN], exposures=0).value, overall([], exposures=0).value
    ('unknown', 'unknown')
    """
    if exposures or Verdict.EXPOSED in verdicts:
        return Verdict.EXPOSED
    if not verdicts or Verdict.UNKNOWN in verdicts:
        return Verdict.UNKNOWN
    return Verdict.CLEAN


def by_severity(exposures: Sequence[ExposureLine]) -> dict[str, int]:
    """The number of exposures of each severity, the worst first."""
    return {severity.value: sum(1 for one in exposures if one.severity is severity) for severity in worst_first()}


def worst_first() -> list[Severity]:
    """The severities from critical to low."""
    return list(reversed(Severity))


def most_urgent_first(exposures: Sequence[ExposureLine]) -> list[ExposureLine]:
    """Exposures by severity, then the newest first; the order is always the same for the same exposures."""
    rank = {severity: place for place, severity in enumerate(worst_first())}
    return sorted(
        exposures,
        key=lambda one: (rank[one.severity], -one.first_seen_at.timestamp(), one.breach_title, str(one.exposure_id)),
    )


@dataclass(frozen=True, kw_only=True)
class BreachGroup:
    """The exposures of one breach, as one row of a table."""

    severity: Severity
    breach: ExposureLine
    exposures: tuple[ExposureLine, ...]


def grouped(exposures: Sequence[ExposureLine]) -> list[BreachGroup]:
    """Exposures grouped by breach, ordered by the most urgent one of each."""
    groups: dict[str, list[ExposureLine]] = {}
    for one in most_urgent_first(exposures):
        groups.setdefault(one.breach_name, []).append(one)
    return [
        BreachGroup(severity=group[0].severity, breach=group[0], exposures=tuple(group)) for group in groups.values()
    ]
