"""Finds recurring rows of a payee: cadence, anchor and amounts of streams, for all payees of many entities at once.

A group is the rows of one (entity, account, direction, payee) by day. Days count from 1970-01-01, cents are positive.
"""

import numpy as np
from numba import njit

from kordant_jobs.domain.insights.kernels.anchors import (
    CALENDAR,
    MONTHS,
    YEAR_DAYS,
    YEARLY,
    fit_months,
    nearest_month,
    target,
)
from kordant_jobs.domain.insights.kernels.joining import EXACT_RANGE, extend, join
from kordant_jobs.domain.insights.kernels.table import (
    ANCHOR,
    ANCHOR_KIND,
    BILL,
    CADENCE,
    CHAIN,
    COLUMNS,
    EXACT,
    FEE,
    FIXED_STEP,
    PAYROLL,
    WHOLE,
    median,
    note,
    renote,
)

RESIDUAL_MAX, BEYOND_DAYS, BEYOND_MAX, COVERAGE_MIN, PER_PERIOD_MAX = 3.0, 6, 0.2, 0.7, 1.12
STRICT_RESIDUAL = 1.5
STEADY_STEP, STEADY_RESIDUAL = 0.35, 2.0
BILL_OFF, BILL_OFF_MAX = 0.5, 0.45
CHAIN_STEP = 0.06
WAGES_RANGE = 0.3
"""The distance |ln| from the median beyond which a payroll row is not a regular wage."""
YEAR_MIN, YEAR_MAX, YEAR_AMOUNT = 350, 380, 0.15


@njit(cache=True)
def _steps(values):
    """Differences between neighbours."""
    steps = np.empty(len(values) - 1)
    for i in range(len(steps)):
        steps[i] = values[i + 1] - values[i]
    return steps


@njit(cache=True)
def _fit(days, tables, strict, used):
    """The cadence of sorted days: (cadence, kind, anchor, residual, coverage); cadence 0: none. `strict`: allow only a
    small residual and no extra rows. `used` is set for one row of each period."""
    n = len(days)
    none = (0, 0, 0, 0.0, 0.0)
    gap = median(_steps(days))
    best, best_cost, has_extra = none, 1e9, False
    for period in (7, 14, 28):
        tolerance = 1 if period == 7 else 2
        if abs(gap - period) > tolerance + 1:
            continue
        held, counted, periods, extra, last = 0, 0, 0, 0, days[0]
        for i in range(1, n):
            gaps = round((days[i] - last) / period)
            if gaps == 0:
                extra += 1
                continue
            counted += 1
            periods += gaps
            if abs(days[i] - last - gaps * period) <= tolerance:
                held += 1
            last = days[i]
        if (
            counted < 2
            or held < 0.8 * counted
            or counted < COVERAGE_MIN * periods
            or n > PER_PERIOD_MAX * (periods + 1)
        ):
            continue
        angle = days * (2 * np.pi / period)
        phase = np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())
        off = np.abs((angle - phase + np.pi) % (2 * np.pi) - np.pi) * period / (2 * np.pi)
        residual = off.mean()
        if residual > STRICT_RESIDUAL + 0.5:
            continue
        result = (
            period,
            CALENDAR,
            round(phase * period / (2 * np.pi)) % period,
            residual,
            (counted + 1) / (periods + 1),
        )
        if residual < best_cost:
            best, best_cost, has_extra = result, residual, extra > 0
    for months in (1, 2, 3, 6):
        if gap < 28 * months - 6 or gap > 31 * months + 6 or (months > 1 and n < 3):
            continue
        kind, anchor, mean = fit_months(days, tables, months == 1)
        if mean >= best_cost or mean > 4.0:
            continue
        beyond, last_month, first_month, periods, extra, aligned = 0, -1, 0, 0, 0, 0
        offs = np.empty(n)
        for i in range(n):
            month = nearest_month(days[i], kind, anchor, tables)
            offs[i] = abs(days[i] - target(month, kind, anchor, tables))
            if offs[i] > BEYOND_DAYS:
                beyond += 1
            if i == 0:
                first_month = month
            if (month - first_month) % months == 0:
                aligned += 1
            if month == last_month:
                extra += 1
            else:
                periods += 1
            last_month = month
        span = (last_month - first_month) // months + 1
        if median(offs) > RESIDUAL_MAX or beyond > BEYOND_MAX * n or aligned < 0.9 * n:
            continue
        if periods < COVERAGE_MIN * span or n > PER_PERIOD_MAX * periods + 0.5:
            continue
        best, best_cost, has_extra = (MONTHS + months, kind, anchor, mean, periods / span), mean, extra > 0
    cadence, kind, anchor, residual, _ = best
    if cadence == 0 or (strict and (residual > STRICT_RESIDUAL or has_extra)):
        return none
    _mark_used(days, tables, cadence, kind, anchor, used)
    return best


@njit(cache=True)
def _mark_used(days, tables, cadence, kind, anchor, used):
    """Mark one row of each period: the nearest to the anchor."""
    used[:] = False
    last_key, last_at, last_off = -10, -1, 0
    for i in range(len(days)):
        if cadence < MONTHS:
            key = (days[i] - anchor + cadence // 2) // cadence
            off = abs(days[i] - anchor - key * cadence)
        else:
            key = nearest_month(days[i], kind, anchor, tables)
            off = abs(days[i] - target(key, kind, anchor, tables))
            if off > 10:
                continue
        if key != last_key:
            used[i] = True
        elif off < last_off:
            used[last_at] = False
            used[i] = True
        else:
            continue
        last_key, last_at, last_off = key, i, off


@njit(cache=True)
def _amounts_repeat(cents, payment, cadence, residual, found_in):
    """True when the amounts are those of a stream; and their median step."""
    n = len(cents)
    logs = np.log(cents.astype(np.float64))
    steps = np.abs(_steps(logs))
    step = median(steps)
    if n == 3:
        worst = steps.max()
        if payment in (BILL, PAYROLL):
            return worst <= 0.5 and residual <= 2.0, step
        return step <= 0.03 and residual <= 2.5, step
    if step <= FIXED_STEP:
        return True, step
    if cadence < MONTHS:
        return False, step
    if payment in (BILL, PAYROLL, FEE):
        middle = median(logs)
        off = (np.abs(np.exp(logs - middle) - 1) > BILL_OFF).sum()
        return off <= BILL_OFF_MAX * n and (n > 4 or residual <= 2.0), step
    return step <= STEADY_STEP and residual <= STEADY_RESIDUAL and n >= 5 and found_in == WHOLE, step


@njit(cache=True)
def _try_rows(rows, n, days, cents, payment, tables, strict, found_in):
    """The stream in these rows of a group: (fit, median step, its rows); no rows: there is no stream."""
    some = rows[:n].copy()
    fit = (0, 0, 0, 0.0, 0.0)
    if n < 3:
        return fit, 0.0, some[:0]
    if payment == PAYROLL and found_in == WHOLE:  # a thirteenth salary is no second one
        logs = np.log(cents[some].astype(np.float64))
        some = some[np.abs(logs - median(logs)) <= WAGES_RANGE]
        n = len(some)
        if n < 3:
            return fit, 0.0, some[:0]
    when = days[some]
    if when[n - 1] - when[0] < 12:
        return fit, 0.0, some[:0]
    used = np.zeros(n, np.bool_)
    fit = _fit(when, tables, strict, used)
    kept = some[used]
    minimum = 6 if fit[0] == 7 else 4 if fit[0] in (14, 28) else 3
    if fit[0] == 0 or len(kept) < minimum:
        return fit, 0.0, some[:0]
    good, step = _amounts_repeat(cents[kept], payment, fit[0], fit[3], found_in)
    return fit, step, kept if good else some[:0]


@njit(cache=True)
def find_streams(starts, days, cents, payments, tables):
    """The streams of all groups: (stream of each row or -1, table of streams).

    `starts` has the place of each group's first row, and the number of rows at the end; `payments` has the class of
    each row. A group has several streams when one payee is paid for several things.
    """
    total = len(days)
    owner = np.full(total, -1, np.int32)
    table = np.zeros((total // 2 + 1, COLUMNS))
    count = 0
    for group in range(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        n = end - begin
        if n < 2:
            continue
        when, much, mine = days[begin:end], cents[begin:end], owner[begin:end]
        payment = payments[end - 1]
        rows = np.arange(n)
        fit, step, kept = _try_rows(rows, n, when, much, payment, tables, False, WHOLE)
        before = count
        if len(kept):
            mine[kept] = count
            note(table, count, group, fit, kept, when, much, step, WHOLE, payment, n)
            count += 1
        elif n >= 4 or (n == 3 and when[2] - when[0] > 40):
            order = np.argsort(much, kind="mergesort")
            for found_in in (EXACT, CHAIN):
                i = 0
                while i < n:
                    if mine[order[i]] >= 0:
                        i += 1
                        continue
                    members, m, last = np.empty(n, np.int64), 0, i
                    for j in range(i, n):
                        if mine[order[j]] >= 0:
                            continue
                        base = much[order[i]] if found_in == EXACT else much[order[last]]
                        if much[order[j]] > base * (1 + (EXACT_RANGE if found_in == EXACT else CHAIN_STEP)) + 1:
                            break
                        members[m] = order[j]
                        m += 1
                        last = j
                    some = np.sort(members[:m])
                    fit, step, kept = _try_rows(some, m, when, much, payment, tables, True, found_in)
                    if len(kept):
                        mine[kept] = count
                        note(table, count, group, fit, kept, when, much, step, found_in, payment, n)
                        count += 1
                    i = last + 1
        count = join(table, before, count, when, much, mine, payment, tables)
        for stream in range(before, count):
            row = table[stream]
            fit = (int(row[CADENCE]), int(row[ANCHOR_KIND]), int(row[ANCHOR]), 0.0, 0.0)
            extend(when, much, mine, stream, fit, payment, tables)
        _find_yearly(table, count, group, when, much, mine, payment)
        if table[count, CADENCE] == YEARLY:
            count += 1
        for stream in range(before, count):
            renote(table, stream, when, much, mine)
    return owner, table[:count]


@njit(cache=True)
def _find_yearly(table, count, group, days, cents, owner, payment):
    """Adds streams of two or three rows a year apart, for a payee with few other rows."""
    n = len(days)
    free = 0
    for i in range(n):
        free += owner[i] < 0
    if free < 2 or free > 4 or (payment not in (BILL, FEE) and free > 2):
        return
    limit = YEAR_AMOUNT if payment in (BILL, FEE) else 0.12
    for i in range(n):
        for j in range(i + 1, n):
            if owner[i] >= 0 or owner[j] >= 0 or not YEAR_MIN <= days[j] - days[i] <= YEAR_MAX:
                continue
            if abs(np.log(cents[j] / cents[i])) <= limit and payment != PAYROLL:
                owner[i] = owner[j] = count
                rows = np.array([i, j])
                fit = (YEARLY, CALENDAR, 1, abs(days[j] - days[i] - YEAR_DAYS) / 2, 1.0)
                note(table, count, group, fit, rows, days, cents, abs(np.log(cents[j] / cents[i])), WHOLE, payment, n)
                return
