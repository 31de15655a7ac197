"""Due days of recurring payments: the anchor day of a month, and the due day some periods after another. Compiled.

Days count from 1970-01-01, months from year 0, as in `calendar.DayTables`.
"""

import numpy as np
from numba import njit

from kordant_jobs.domain.insights.calendar import FIRST_DAY, FIRST_MONTH

CALENDAR, FORWARD, BACK, BANK_DAY, BANK_DAY_FROM_END = range(5)
"""The kinds of anchor: day of the month, the same moved forward or back to a bank day, nth bank day, nth from the end.
"""
MONTHS, YEARLY = 100, 112
"""The encoding of a cadence: days where it is below `MONTHS`, else `MONTHS` plus the number of months."""
MONTH_DAYS, YEAR_DAYS = 30.44, 365


@njit(cache=True)
def target(month, kind, anchor, tables):
    """The day of an anchor in a month."""
    at = month - FIRST_MONTH
    if kind == BANK_DAY:
        return tables.bank_days[min(tables.bank_first[at] + anchor - 1, tables.bank_first[at + 1] - 1)]
    if kind == BANK_DAY_FROM_END:
        return tables.bank_days[max(tables.bank_first[at + 1] - anchor, tables.bank_first[at])]
    day = tables.first[at] + min(anchor, tables.length[at]) - 1
    if kind == FORWARD:
        return tables.after[day - FIRST_DAY]
    if kind == BACK:
        return tables.before[day - FIRST_DAY]
    return day


@njit(cache=True)
def nearest_month(day, kind, anchor, tables):
    """The month whose anchor is nearest to a day."""
    month = tables.month[day - FIRST_DAY]
    best, off = month, abs(day - target(month, kind, anchor, tables))
    if off > 10:
        other = month + 1 if day > target(month, kind, anchor, tables) else month - 1
        if abs(day - target(other, kind, anchor, tables)) < off:
            best = other
    return best


@njit(cache=True)
def fit_months(days, tables, with_bank_days):
    """The anchor with the smallest mean distance from these days: (kind, anchor, mean distance)."""
    best_kind, best_anchor, best_mean = CALENDAR, 1, 1e9
    seen = np.zeros(32, np.bool_)
    for day in days:
        dom = tables.month_day[day - FIRST_DAY]
        for near in range(dom - 4, dom + 5):
            seen[(near - 1) % 31 + 1] = True
    for kind in range(5 if with_bank_days else 3):
        penalty = (0.0, 0.05, 0.1, 0.15, 0.15)[kind]
        for anchor in range(1, 32):
            if (kind <= BACK and not seen[anchor]) or (kind >= BANK_DAY and anchor > 12):
                continue
            total, bound = 0.0, (best_mean - penalty) * len(days)
            for day in days:
                total += abs(day - target(nearest_month(day, kind, anchor, tables), kind, anchor, tables))
                if total >= bound:
                    break
            if total < bound:
                best_kind, best_anchor, best_mean = kind, anchor, total / len(days) + penalty
    return best_kind, best_anchor, best_mean


@njit(cache=True)
def period_days(cadence):
    """The average length of a period in days."""
    return cadence if cadence < MONTHS else (cadence - MONTHS) * MONTH_DAYS


@njit(cache=True)
def day_after(cadence, kind, anchor, last, periods, tables):
    """The due day `periods` periods after `last`."""
    if cadence < MONTHS:
        return last + periods * cadence
    if cadence == YEARLY:
        return last + periods * YEAR_DAYS
    month = nearest_month(last, kind, anchor, tables) + periods * (cadence - MONTHS)
    return target(month, kind, anchor, tables)


@njit(cache=True)
def periods_apart(cadence, kind, anchor, one, other, tables):
    """(whole periods between two days, or 0; days between the second and its due day; the days allowed for that)."""
    if cadence < MONTHS:
        days = abs(other - one)
        periods = round(days / cadence)
        return periods, abs(days - periods * cadence), 2
    month = nearest_month(other, kind, anchor, tables)
    months = abs(month - nearest_month(one, kind, anchor, tables))
    periods = months // (cadence - MONTHS) if months % (cadence - MONTHS) == 0 else 0
    return periods, abs(other - target(month, kind, anchor, tables)), 4


@njit(cache=True)
def next_days(anchors, tables):
    """The next expected day of each stream. `anchors` has the columns CADENCE, ANCHOR_KIND, ANCHOR, LAST."""
    found = np.empty(len(anchors), np.int64)
    for i in range(len(anchors)):
        cadence, kind, anchor, last = anchors[i]
        found[i] = day_after(cadence, kind, anchor, last, 1, tables)
    return found
