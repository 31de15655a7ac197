"""Days on which Brazilian banks settle.

Public holidays of `holidays`, with Carnival (Monday, Tuesday) and Corpus Christi, which that library has as optional
only. Compared with ANBIMA's calendar of 2000 to 2099, as bizdays 1.0.19 has it: the same 1,023 weekdays. (bizdays
itself would hold pandas below 3.)
"""

from datetime import date, timedelta
from functools import cache
from typing import Literal, NamedTuple

import holidays
import numpy as np
import numpy.typing as npt
import polars as pl
from dateutil.easter import easter

EPOCH = date(1970, 1, 1)
FIRST_YEAR, LAST_YEAR = 2000, 2099
_FROM_EASTER = (-48, -47, 60)


@cache
def bank_calendar() -> np.busdaycalendar:
    """Bank days of 2000 to 2099, for `numpy.busday_offset` and similar functions."""
    years = range(FIRST_YEAR, LAST_YEAR + 1)
    days = set(holidays.country_holidays("BR", years=years))
    days |= {easter(year) + timedelta(days=shift) for year in years for shift in _FROM_EASTER}
    return np.busdaycalendar(holidays=sorted(days))


def days_of(day: date) -> int:
    """A day as a number: days since 1970-01-01.

    >>> days_of(date(1970, 1, 31))
    30
    """
    return (day - EPOCH).days


def month_of(day: str) -> pl.Expr:
    """The first day of the month of a column of days since 1970."""
    return pl.from_epoch(pl.col(day), time_unit="d").dt.truncate("1mo")


def on_or_before(day: date) -> date:
    """The bank day on which wages due on `day` arrive.

    >>> on_or_before(date(2026, 11, 22))        # a Sunday after the holiday of 20 November
    datetime.date(2026, 11, 19)
    """
    return bank_day(day, 0, "backward")


def bank_day(day: date, offset: int, roll: Literal["forward", "backward"]) -> date:
    """The bank day `offset` bank days from the one that `day` rolls to."""
    found = np.busday_offset(np.datetime64(day, "D"), offset, roll=roll, busdaycal=bank_calendar())
    return EPOCH + timedelta(days=int(found.astype(np.int64)))


class DayTables(NamedTuple):
    """Tables of days and months for the compiled rules. Days count from 1970-01-01, months from year 0. A table of days
    begins at `FIRST_DAY`, one of months at `FIRST_MONTH`."""

    month: npt.NDArray[np.int32]
    """The month of a day."""
    month_day: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    """The first day of a month."""
    length: npt.NDArray[np.int32]
    after: npt.NDArray[np.int32]
    """The bank day on or after a day."""
    before: npt.NDArray[np.int32]
    bank_days: npt.NDArray[np.int32]
    """All bank days."""
    bank_first: npt.NDArray[np.int32]
    """The place of a month's first bank day in `bank_days`."""


FIRST_DAY = (date(FIRST_YEAR, 1, 1) - EPOCH).days
FIRST_MONTH = FIRST_YEAR * 12


@cache
def day_tables() -> DayTables:
    """The tables of 2000 to 2099."""
    days = np.arange(np.datetime64(f"{FIRST_YEAR}-01-01"), np.datetime64(f"{LAST_YEAR + 1}-01-01"))
    months = days.astype("datetime64[M]")
    first = np.arange(np.datetime64(f"{FIRST_YEAR}-01"), np.datetime64(f"{LAST_YEAR + 1}-02"))
    first_days = first.astype("datetime64[D]").astype(np.int32)
    calendar = bank_calendar()
    is_bank = np.is_busday(days, busdaycal=calendar)
    bank_days = days[is_bank].astype(np.int32)
    inside = days.astype(np.int32)
    return DayTables(
        month=(months.astype(np.int32) + 1970 * 12).astype(np.int32),
        month_day=((days - months.astype("datetime64[D]")).astype(np.int32) + 1).astype(np.int32),
        first=first_days[:-1],
        length=np.diff(first_days).astype(np.int32),
        after=bank_days[np.minimum(np.searchsorted(bank_days, inside), len(bank_days) - 1)],
        before=bank_days[np.maximum(np.searchsorted(bank_days, inside, side="right") - 1, 0)],
        bank_days=bank_days,
        bank_first=np.searchsorted(bank_days, first_days).astype(np.int32),
    )
