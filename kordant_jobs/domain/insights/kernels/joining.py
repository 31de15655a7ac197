"""Extends streams: with more rows of their payee, and by joining streams that follow each other. Compiled."""

from numba import njit

from kordant_jobs.domain.insights.kernels.anchors import YEARLY, period_days, periods_apart
from kordant_jobs.domain.insights.kernels.table import (
    AMOUNT,
    ANCHOR,
    ANCHOR_KIND,
    BILL,
    CADENCE,
    FIRST,
    FIXED_STEP,
    FOUND_IN,
    LAST,
    PAYROLL,
    RESIDUAL,
    ROWS,
    SPREAD,
    STEP,
    renote,
)

JOIN_PERIODS = 2.3
EXACT_RANGE, INCOME_RANGE = 0.004, 0.1


@njit(cache=True)
def extend(days, cents, owner, stream, fit, payment, tables):
    """Add rows of the payee that follow or precede the stream on the right day with a likely amount: after a price
    rise, or a partial first month."""
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
                periods, off, limit = periods_apart(fit[0], fit[1], fit[2], days[edge], days[i], tables)
                if 1 <= periods <= 2 and off <= limit and off + 5 * periods < found_off:
                    found, found_off = i, off + 5 * periods
            if found < 0:
                break
            owner[found] = stream


@njit(cache=True)
def _follows(one, other, payment, tables):
    """True when stream `other` continues where stream `one` of the same payee ended: same cadence and anchor, likely
    amount."""
    if one[CADENCE] != other[CADENCE] or other[FIRST] <= one[LAST]:
        return False
    cadence = int(one[CADENCE])
    if not 0.4 <= (other[FIRST] - one[LAST]) / period_days(cadence) <= JOIN_PERIODS:
        return False
    ratio = other[AMOUNT] / one[AMOUNT]
    most = 2.0 if payment in (BILL, PAYROLL) else 1.5
    if not 1 / most <= ratio <= most:
        return False
    _, off, limit = periods_apart(
        cadence, int(one[ANCHOR_KIND]), int(one[ANCHOR]), int(one[LAST]), int(other[FIRST]), tables
    )
    return off <= limit


@njit(cache=True)
def join(table, before, count, days, cents, owner, payment, tables):
    """Join streams of one payee that follow each other. Returns the new number of streams."""
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
                renote(table, keep, days, cents, owner)
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
def _is_due(row, day, tables):
    """True when a charge on `day` is one or two periods after the stream's last, near its anchor."""
    cadence, kind, anchor = int(row[CADENCE]), int(row[ANCHOR_KIND]), int(row[ANCHOR])
    periods, off, limit = periods_apart(cadence, kind, anchor, int(row[LAST]), day, tables)
    return 1 <= periods <= 2 and off <= limit


@njit(cache=True)
def follow_renamed(blocks, apart, streams_from, days, cents, owner, table, tables):
    """Continue streams under another payee of the same account: nearly the same amount, on the right day.

    `apart` is the share by which amounts may differ in a block; it is larger for income, which has few rows. `blocks`
    has the places where (entity, account, direction) begin, `streams_from` the first stream of each block. A stream
    that was found under the other payee becomes part of the first one; its ROWS are then 0.
    """
    for block in range(len(blocks) - 1):
        begin, end = blocks[block], blocks[block + 1]
        for one in range(streams_from[block], streams_from[block + 1]):
            row = table[one]
            if row[ROWS] < 3 or row[STEP] > FIXED_STEP or row[CADENCE] == YEARLY:
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
