"""Days on which Brazilian banks settle.

Public holidays of `holidays`, with Carnival (Monday, Tuesday) and Corpus Christi, which that library has as optional
only. Compared with ANBIMA's calendar of 2000 to 2099, as bizdays 1.0.19 has it: the same 1,023 weekdays. (bizdays itself
would hold pandas below 3.)
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import holidays
import numpy as np
from dateutil.easter import easter

FIRST_YEAR, LAST_YEAR = 2000, 2099
_FROM_EASTER = (-48, -47, 60)


@cache
def bank_calendar() -> np.busdaycalendar:
    """Bank days of 2000 to 2099, for `numpy.busday_offset` and its like."""
    years = range(FIRST_YEAR, LAST_YEAR + 1)
    days = set(holidays.country_holidays("BR", years=years))
    days |= {easter(year) + timedelta(days=shift) for year in years for shift in _FROM_EASTER}
    return np.busdaycalendar(holidays=sorted(days))


def on_or_after(day: date) -> date:
    """The bank day on which a bill that is due on `day` is paid.

    >>> on_or_after(date(2026, 2, 14))          # a Saturday before Carnival
    datetime.date(2026, 2, 18)
    """
    return _offset(day, 0, "forward")


def on_or_before(day: date) -> date:
    """The bank day on which wages that are due on `day` come.

    >>> on_or_before(date(2026, 11, 22))        # a Sunday after the holiday of 20 November
    datetime.date(2026, 11, 19)
    """
    return _offset(day, 0, "backward")


def nth_bank_day(year: int, month: int, nth: int) -> date:
    """The nth bank day of a month, or with -1 its last.

    >>> nth_bank_day(2026, 1, 5), nth_bank_day(2026, 1, -1)
    (datetime.date(2026, 1, 8), datetime.date(2026, 1, 30))
    """
    if nth > 0:
        return _offset(date(year, month, 1), nth - 1, "forward")
    following = date(year + month // 12, month % 12 + 1, 1)
    return _offset(following, nth, "forward")


def _offset(day: date, offset: int, roll: str) -> date:
    found = np.busday_offset(np.datetime64(day), offset, roll=roll, busdaycal=bank_calendar())  # type: ignore[call-overload]
    return found.astype(object)  # type: ignore[no-any-return]
