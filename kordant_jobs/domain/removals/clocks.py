"""Legal terms: the day by which a broker must confirm, answer, or answer after an extension. Pure.

Sources: CCPA regulations, 11 CCR §7021 (confirm within 10 business days, answer within 45 calendar days, 45 more with
notice) and §7026(f) (opt-out of sale: 15 business days); GDPR art. 12(3) (one month, two further months with notice),
counted as Regulation 1182/71 does (the same day of the month, else its last); LGPD art. 19 II (15 days for a complete
answer); Texas Bus. & Com. Code §541.052 and Oregon ORS 646A.576 (45 days, 45 more; likewise the other states listed);
Iowa Code §715D.3(2) (90 days, 45 more with notice). Verification does not stop the term.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a tenth of a second to import
    from holidays import HolidayBase


class Law(StrEnum):
    """The law that a request relies on."""

    CCPA = "ccpa"
    GDPR = "gdpr"
    UK_GDPR = "uk_gdpr"
    LGPD = "lgpd"
    TEXAS = "tdpsa"
    OREGON = "ocpa"
    VIRGINIA = "vcdpa"
    COLORADO = "cpa"
    CONNECTICUT = "ctdpa"
    IOWA = "icdpa"
    OTHER_STATE = "us_state"
    """Another US state with a consumer privacy law of the usual form."""
    VOLUNTARY = "voluntary"
    """No law gives the right; the broker is asked nevertheless."""


class Ask(StrEnum):
    """The demand to the broker."""

    DELETION = "deletion"
    OPT_OUT = "sale:opt-out"


class Unit(StrEnum):
    """The unit of a term."""

    DAYS = "days"
    BUSINESS_DAYS = "business_days"
    MONTHS = "months"


@dataclass(frozen=True, kw_only=True)
class Term:
    """A period in the unit that a law uses."""

    number: int
    unit: Unit = Unit.DAYS


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The terms of one law; `country` and `state` decide which holidays count."""

    answer: Term
    confirm: Term | None = None
    extension: Term | None = None
    opt_out: Term | None = None
    country: str = "US"
    state: str | None = None
    ground: str
    """The article that a message to the broker cites."""


def _us(state: str | None, ground: str) -> Clock:
    days = Term(number=45)
    return Clock(answer=days, extension=days, state=state, ground=ground)


CLOCKS: Mapping[Law, Clock] = {
    Law.CCPA: Clock(
        confirm=Term(number=10, unit=Unit.BUSINESS_DAYS),
        answer=Term(number=45),
        extension=Term(number=45),
        opt_out=Term(number=15, unit=Unit.BUSINESS_DAYS),
        state="CA",
        ground="California Civil Code §1798.105 and §1798.120",
    ),
    Law.GDPR: Clock(
        answer=Term(number=1, unit=Unit.MONTHS),
        extension=Term(number=2, unit=Unit.MONTHS),
        country="DE",
        ground="Articles 17 and 21 of Regulation (EU) 2016/679 (GDPR)",
    ),
    Law.UK_GDPR: Clock(
        answer=Term(number=1, unit=Unit.MONTHS),
        extension=Term(number=2, unit=Unit.MONTHS),
        country="GB",
        ground="Articles 17 and 21 of the UK GDPR",
    ),
    Law.LGPD: Clock(answer=Term(number=15), country="BR", ground="art. 18, IV e VI, da Lei 13.709/2018 (LGPD)"),
    Law.TEXAS: _us("TX", "Texas Business & Commerce Code §541.051"),
    Law.OREGON: _us("OR", "ORS 646A.574 (Oregon Consumer Privacy Act)"),
    Law.VIRGINIA: _us("VA", "Code of Virginia §59.1-577"),
    Law.COLORADO: _us("CO", "Colorado Revised Statutes §6-1-1306"),
    Law.CONNECTICUT: _us("CT", "Connecticut General Statutes §42-518"),
    Law.IOWA: Clock(answer=Term(number=90), extension=Term(number=45), state="IA", ground="Iowa Code §715D.3"),
    Law.OTHER_STATE: _us(None, "the consumer privacy law of my state"),
    Law.VOLUNTARY: Clock(answer=Term(number=45), ground="your privacy policy"),
}

EU = frozenset(re.findall("..", "ATBEBGHRCYCZDEDKEEESFIFRGRHUIEITLTLULVMTNLPLPTROSESISKISLINO"))
"""The European Economic Area."""
STATE_LAWS: Mapping[str, Law] = {
    "CA": Law.CCPA,
    "TX": Law.TEXAS,
    "OR": Law.OREGON,
    "VA": Law.VIRGINIA,
    "CO": Law.COLORADO,
    "CT": Law.CONNECTICUT,
    "IA": Law.IOWA,
    **dict.fromkeys(("UT", "MT", "DE", "NJ", "NH", "NE", "TN", "MN", "MD", "IN", "KY", "RI"), Law.OTHER_STATE),
}


def law_of(country: str, state: str | None) -> Law:
    """The law that protects a resident of this place.

    >>> law_of("US", "CA").value, law_of("US", "NY").value, law_of("FR", None).value, law_of("BR", "SP").value
    ('ccpa', 'voluntary', 'gdpr', 'lgpd')
    """
    if country == "US":
        return STATE_LAWS.get(state or "", Law.VOLUNTARY)
    if country in EU:
        return Law.GDPR
    return {"GB": Law.UK_GDPR, "BR": Law.LGPD}.get(country, Law.VOLUNTARY)


@lru_cache
def _holidays(country: str, state: str | None) -> HolidayBase:
    from holidays import country_holidays

    return country_holidays(country, subdiv=state)


@lru_cache(4096)
def add_business_days(start: date, days: int, country: str, state: str | None = None) -> date:
    """The day that is `days` business days after `start` in this jurisdiction; the next day is the first one counted.

    >>> add_business_days(date(2026, 7, 1), 2, "US", "CA").isoformat()  # 3 July: Independence Day, observed
    '2026-07-06'
    """
    holidays, day = _holidays(country, state), start
    while days:
        day += timedelta(days=1)
        if day.weekday() < 5 and day not in holidays:
            days -= 1
    return day


def add_months(start: date, months: int) -> date:
    """The same day `months` later, or the last day of that month where there is no such day.

    >>> add_months(date(2026, 1, 31), 1).isoformat(), add_months(date(2026, 11, 30), 3).isoformat()
    ('2026-02-28', '2027-02-28')
    """
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))


def end_of(term: Term, start: date, clock: Clock) -> date:
    """The last day of a term that began on `start`."""
    if term.unit is Unit.MONTHS:
        return add_months(start, term.number)
    if term.unit is Unit.BUSINESS_DAYS:
        return add_business_days(start, term.number, clock.country, clock.state)
    return start + timedelta(days=term.number)


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """The last days on which the broker may still confirm, answer, and answer after an extension."""

    confirm_by_on: date | None
    answer_by_on: date
    extended_by_on: date
    """The same as `answer_by_on` where the law has no extension."""


@lru_cache(4096)
def deadlines(law: Law, ask: Ask, received_on: date) -> Deadlines:
    """The deadlines of a request that the broker received on a day.

    >>> found = deadlines(Law.CCPA, Ask.DELETION, date(2026, 3, 2))
    >>> found.confirm_by_on.isoformat(), found.answer_by_on.isoformat(), found.extended_by_on.isoformat()
    ('2026-03-16', '2026-04-16', '2026-05-31')
    >>> deadlines(Law.GDPR, Ask.DELETION, date(2026, 1, 31)).extended_by_on.isoformat()
    '2026-04-30'
    >>> deadlines(Law.LGPD, Ask.DELETION, date(2026, 2, 27)).answer_by_on.isoformat()
    '2026-03-14'
    """
    clock = CLOCKS[law]
    confirm = end_of(clock.confirm, received_on, clock) if clock.confirm else None
    if ask is Ask.OPT_OUT and clock.opt_out:
        last = end_of(clock.opt_out, received_on, clock)
        return Deadlines(confirm_by_on=None, answer_by_on=last, extended_by_on=last)
    answer = end_of(clock.answer, received_on, clock)
    if clock.extension is None:
        return Deadlines(confirm_by_on=confirm, answer_by_on=answer, extended_by_on=answer)
    whole = Term(number=clock.answer.number + clock.extension.number, unit=clock.answer.unit)
    return Deadlines(confirm_by_on=confirm, answer_by_on=answer, extended_by_on=end_of(whole, received_on, clock))
