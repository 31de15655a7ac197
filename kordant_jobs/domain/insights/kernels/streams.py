"""Which rows of one payee repeat: cadence, anchor and amounts of streams, for all payees of many entities at once.

A group is the rows of one (entity, account, direction, payee) by day. Days count from 1970-01-01, cents are positive.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kordant_jobs.domain.insights.calendar import FIRST_DAY, FIRST_MONTH

OTHER, BILL, PAYROLL, CARD, FEE, PIX = range(6)
"""Classes of payment, by the bank's type."""
CALENDAR, FORWARD, BACK, BANK_DAY, BANK_DAY_FROM_END = range(5)
"""How an anchor day is meant: of the month, moved forward or back to a bank day, the nth bank day, nth from the end."""
WHOLE, EXACT, CHAIN = range(3)
"""What a stream was found in: all rows of the payee, those of one amount, those of amounts in small steps."""

(
    GROUP, CADENCE, ANCHOR_KIND, ANCHOR, ROWS, FIRST, LAST, RESIDUAL, BEYOND, COVERAGE, EXTRA, STEP, FOUND_IN, CLASS,
    AMOUNT, SPREAD, GROUP_ROWS,
) = range(17)  # fmt: skip
COLUMNS = 17
"""Columns of the table of streams. CADENCE: days when under 100, else 100 + months. RESIDUAL: mean days off the anchor.
STEP: median |ln| of amount to amount before. AMOUNT, SPREAD: median and relative MAD of the last
`RECENT_ROWS`, in cents of the currency that the stream is billed in."""
RECENT_ROWS = 6

RESIDUAL_MAX, BEYOND_DAYS, BEYOND_MAX, COVERAGE_MIN, PER_PERIOD_MAX = 3.0, 6, 0.2, 0.7, 1.12
STRICT_RESIDUAL = 1.5
FIXED_STEP, STEADY_STEP, STEADY_RESIDUAL = 0.08, 0.35, 2.0
BILL_OFF, BILL_OFF_MAX = 0.5, 0.45
EXACT_RANGE, INCOME_RANGE, CHAIN_STEP = 0.004, 0.1, 0.06
WAGES_RANGE = 0.3
"""|ln| from the median beyond which a payroll row is something else."""
JOIN_PERIODS, JOIN_DAYS = 2.3, 4
YEAR_MIN, YEAR_MAX, YEAR_AMOUNT = 350, 380, 0.15


@njit(cache=True)
def _median(values):
    """The median of floats (one compiled sort instead of NumPy's general one)."""
    ordered = np.sort(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


@njit(cache=True)
def _steps(values):
    """Differences between neighbours."""
    steps = np.empty(len(values) - 1)
    for i in range(len(steps)):
        steps[i] = values[i + 1] - values[i]
    return steps


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
    """The anchor with the least mean distance: (kind, anchor, mean)."""
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
def _fit(days, tables, strict, used):
    """The cadence of days in order: (cadence, kind, anchor, residual, beyond, coverage, extra); cadence 0: none.

    `used` is set for one row a period.
    """
    n = len(days)
    none = (0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    gap = _median(_steps(days))
    best, best_cost = none, 1e9
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
            1 - held / counted,
            (counted + 1) / (periods + 1),
            extra / n,
        )
        if residual < best_cost:
            best, best_cost = result, residual
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
        if _median(offs) > RESIDUAL_MAX or beyond > BEYOND_MAX * n or aligned < 0.9 * n:
            continue
        if periods < COVERAGE_MIN * span or n > PER_PERIOD_MAX * periods + 0.5:
            continue
        best, best_cost = (100 + months, kind, anchor, mean, beyond / n, periods / span, extra / n), mean
    cadence, kind, anchor, residual, _, _, extra_share = best
    if cadence == 0 or (strict and (residual > STRICT_RESIDUAL or extra_share > 0)):
        return none
    _mark_used(days, tables, cadence, kind, anchor, used)
    return best


@njit(cache=True)
def _mark_used(days, tables, cadence, kind, anchor, used):
    """One row a period: the nearest to the anchor."""
    used[:] = False
    last_key, last_at, last_off = -10, -1, 0
    for i in range(len(days)):
        if cadence < 100:
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
    """Whether amounts are those of a stream, and their median step."""
    n = len(cents)
    logs = np.log(cents.astype(np.float64))
    steps = np.abs(_steps(logs))
    step = _median(steps)
    if n == 3:
        worst = steps.max()
        if payment in (BILL, PAYROLL):
            return worst <= 0.5 and residual <= 2.0, step
        return step <= 0.03 and residual <= 2.5, step
    if step <= FIXED_STEP:
        return True, step
    if cadence < 100:
        return False, step
    if payment in (BILL, PAYROLL, FEE):
        middle = _median(logs)
        off = (np.abs(np.exp(logs - middle) - 1) > BILL_OFF).sum()
        return off <= BILL_OFF_MAX * n and (n > 4 or residual <= 2.0), step
    return step <= STEADY_STEP and residual <= STEADY_RESIDUAL and n >= 5 and found_in == WHOLE, step


@njit(cache=True)
def _note(table, at, group, fit, rows, days, cents, step, found_in, payment, group_rows):
    """Write a stream into the table. `rows` are its places in the group, by day."""
    n = len(rows)
    row = table[at]
    row[GROUP], row[CADENCE], row[ANCHOR_KIND], row[ANCHOR] = group, fit[0], fit[1], fit[2]
    row[ROWS], row[FIRST], row[LAST] = n, days[rows[0]], days[rows[n - 1]]
    row[RESIDUAL], row[BEYOND], row[COVERAGE], row[EXTRA] = fit[3], fit[4], fit[5], fit[6]
    row[STEP], row[FOUND_IN], row[CLASS], row[GROUP_ROWS] = step, found_in, payment, group_rows
    recent = np.empty(min(n, RECENT_ROWS))
    for i in range(len(recent)):
        recent[i] = cents[rows[n - len(recent) + i]]
    row[AMOUNT] = _median(recent)
    row[SPREAD] = _median(np.abs(recent - row[AMOUNT])) / max(row[AMOUNT], 1.0)


@njit(cache=True)
def _try_rows(rows, n, days, cents, payment, tables, strict, found_in):
    """Whether these rows of a group are a stream: (fit, median step, the rows that are); no rows: they are not."""
    some = rows[:n].copy()
    fit = (0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    if n < 3:
        return fit, 0.0, some[:0]
    if payment == PAYROLL and found_in == WHOLE:  # a thirteenth salary is no second one
        logs = np.log(cents[some].astype(np.float64))
        some = some[np.abs(logs - _median(logs)) <= WAGES_RANGE]
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
def _extend(days, cents, owner, stream, fit, payment, tables):
    """Give the stream rows of its payee that follow or precede it at the right day with a likely amount: a price rise
    of one or two charges, a first month by proportion."""
    for direction in (1, -1):
        while True:
            edge = -1
            for i in range(len(days)):
                if owner[i] == stream and (edge < 0 or direction > 0):
                    edge = i
                    if direction < 0:
                        break
            found, found_off = -1, 99
            for i in range(len(days)):
                if owner[i] >= 0 or (days[i] - days[edge]) * direction <= 0:
                    continue
                ratio = cents[i] / cents[edge]
                if not (0.55 if payment == BILL else 0.8) <= ratio <= (1.8 if payment == BILL else 1.35):
                    continue
                if fit[0] < 100:
                    periods = round(abs(days[i] - days[edge]) / fit[0])
                    off = abs(abs(days[i] - days[edge]) - periods * fit[0])
                    limit = 2
                else:
                    month = nearest_month(days[i], fit[1], fit[2], tables)
                    edge_month = nearest_month(days[edge], fit[1], fit[2], tables)
                    step = abs(month - edge_month)
                    periods = step // (fit[0] - 100) if step % (fit[0] - 100) == 0 else 0
                    off = abs(days[i] - target(month, fit[1], fit[2], tables))
                    limit = 4
                if 1 <= periods <= 2 and off <= limit and off + 5 * periods < found_off:
                    found, found_off = i, off + 5 * periods
            if found < 0:
                break
            owner[found] = stream


@njit(cache=True)
def _renote(table, stream, days, cents, owner):
    """Count what the stream has gained."""
    rows = np.nonzero(owner == stream)[0]
    row = table[stream]
    fit = (
        int(row[CADENCE]),
        int(row[ANCHOR_KIND]),
        int(row[ANCHOR]),
        row[RESIDUAL],
        row[BEYOND],
        row[COVERAGE],
        row[EXTRA],
    )
    _note(table, stream, row[GROUP], fit, rows, days, cents, row[STEP], row[FOUND_IN], int(row[CLASS]), row[GROUP_ROWS])


@njit(cache=True)
def _follows(one, other, payment, tables):
    """Whether stream `other` goes on where stream `one` of the same payee ended: same cadence and anchor, likely
    amount."""
    if one[CADENCE] != other[CADENCE] or other[FIRST] <= one[LAST]:
        return False
    cadence = int(one[CADENCE])
    length = cadence if cadence < 100 else (cadence - 100) * 30.44
    if not 0.4 <= (other[FIRST] - one[LAST]) / length <= JOIN_PERIODS:
        return False
    ratio = other[AMOUNT] / one[AMOUNT]
    most = 2.0 if payment in (BILL, PAYROLL) else 1.5
    if not 1 / most <= ratio <= most:
        return False
    if cadence < 100:
        apart = other[FIRST] - one[LAST]
        return abs(apart - round(apart / cadence) * cadence) <= 2
    kind, anchor, first = int(one[ANCHOR_KIND]), int(one[ANCHOR]), int(other[FIRST])
    return abs(first - target(nearest_month(first, kind, anchor, tables), kind, anchor, tables)) <= JOIN_DAYS


@njit(cache=True)
def _join(table, before, count, days, cents, owner, payment, tables):
    """Make one stream of those of a payee that follow each other; returns the new count."""
    one = before
    while one < count:
        other = before
        while other < count:
            if other != one and _follows(table[one], table[other], payment, tables):
                keep, gone = min(one, other), max(one, other)
                owner[owner == gone] = keep
                residual = max(table[one, RESIDUAL], table[other, RESIDUAL])
                found_in = max(table[one, FOUND_IN], table[other, FOUND_IN])
                if other < one:
                    table[keep] = table[one]
                table[keep, RESIDUAL], table[keep, FOUND_IN] = residual, found_in
                _renote(table, keep, days, cents, owner)
                for place in range(gone, count - 1):
                    table[place] = table[place + 1]
                    owner[owner == place + 1] = place
                count -= 1
                one, other = before, before
                continue
            other += 1
        one += 1
    return count


@njit(cache=True)
def find_streams(starts, days, cents, payments, tables):
    """Streams of all groups: (stream of each row or -1, table of streams).

    `starts` are the places at which groups begin, with the number of rows at the end; `payments` is the class of each
    row. A group gives several streams when one payee is paid for several things.
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
            _note(table, count, group, fit, kept, when, much, step, WHOLE, payment, n)
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
                        _note(table, count, group, fit, kept, when, much, step, found_in, payment, n)
                        count += 1
                    i = last + 1
        count = _join(table, before, count, when, much, mine, payment, tables)
        for stream in range(before, count):
            row = table[stream]
            fit = (int(row[CADENCE]), int(row[ANCHOR_KIND]), int(row[ANCHOR]), 0.0, 0.0, 0.0, 0.0)
            _extend(when, much, mine, stream, fit, payment, tables)
        _find_yearly(table, count, group, when, much, mine, payment)
        if table[count, CADENCE] == 112:
            count += 1
        for stream in range(before, count):
            _renote(table, stream, when, much, mine)
    return owner, table[:count]


@njit(cache=True)
def _find_yearly(table, count, group, days, cents, owner, payment):
    """Two or three rows a year apart, of a payee that has hardly others."""
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
                fit = (112, CALENDAR, 1, abs(days[j] - days[i] - 365.0) / 2, 0.0, 1.0, 0.0)
                _note(table, count, group, fit, rows, days, cents, abs(np.log(cents[j] / cents[i])), WHOLE, payment, n)
                return


@njit(cache=True)
def _is_due(row, day, tables):
    """Whether a charge on `day` is one or two periods after the stream's last, near its anchor."""
    cadence = int(row[CADENCE])
    apart = day - row[LAST]
    if cadence < 100:
        periods = round(apart / cadence)
        return 1 <= periods <= 2 and abs(apart - periods * cadence) <= 2
    kind, anchor = int(row[ANCHOR_KIND]), int(row[ANCHOR])
    month = nearest_month(day, kind, anchor, tables)
    step = month - nearest_month(int(row[LAST]), kind, anchor, tables)
    if step <= 0 or step > 2 * (cadence - 100) or step % (cadence - 100):
        return False
    return abs(day - target(month, kind, anchor, tables)) <= JOIN_DAYS


@njit(cache=True)
def follow_renamed(blocks, apart, streams_from, days, cents, owner, table, tables):
    """Give streams what goes on under another payee of the same account: nearly the same amount, at the right day.

    `apart` is how far amounts may differ in a block, as a share: income, of which there is little, may vary. `blocks`
    are the places at which (entity, account, direction) begin, `streams_from` the first stream of each block.
    A stream that was found under the other payee becomes part of the first one: its ROWS are 0 then.
    """
    for block in range(len(blocks) - 1):
        begin, end = blocks[block], blocks[block + 1]
        for one in range(streams_from[block], streams_from[block + 1]):
            row = table[one]
            if row[ROWS] < 3 or row[STEP] > FIXED_STEP or row[CADENCE] == 112:
                continue
            while True:
                found, found_day = -1, 1 << 30
                for i in range(begin, end):
                    if days[i] <= row[LAST] or days[i] >= found_day or abs(cents[i] / row[AMOUNT] - 1) > apart[block]:
                        continue
                    other = owner[i]
                    if other == one or (
                        other >= 0 and (table[other, FIRST] != days[i] or table[other, CADENCE] != row[CADENCE])
                    ):
                        continue
                    if _is_due(row, days[i], tables):
                        found, found_day = i, days[i]
                if found < 0:
                    break
                other = owner[found]
                if other < 0:
                    owner[found] = one
                    row[ROWS], row[LAST] = row[ROWS] + 1, days[found]
                    continue
                for i in range(begin, end):
                    if owner[i] == other:
                        owner[i] = one
                row[ROWS], row[LAST] = row[ROWS] + table[other, ROWS], table[other, LAST]
                row[AMOUNT], row[SPREAD] = table[other, AMOUNT], table[other, SPREAD]
                table[other, ROWS] = 0


@njit(cache=True)
def next_days(anchors, tables):
    """The day on which each stream is expected after its last. `anchors` has CADENCE, ANCHOR_KIND, ANCHOR, LAST."""
    found = np.empty(len(anchors), np.int64)
    for i in range(len(anchors)):
        cadence, kind, anchor, last = anchors[i]
        if cadence < 100:
            found[i] = last + cadence
        elif cadence == 112:
            found[i] = last + 365
        else:
            month = nearest_month(last, kind, anchor, tables) + cadence - 100
            found[i] = target(month, kind, anchor, tables)
    return found
