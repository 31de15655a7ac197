"""The table of streams that the kernels fill: its columns, and how a row is written. Compiled.

A group is the rows of one (entity, account, direction, payee) by day. Days count from 1970-01-01, cents are positive.
"""

import numpy as np
from numba import njit

OTHER, BILL, PAYROLL, CARD, FEE, PIX = range(6)
"""Classes of payments, by the bank's type."""
WHOLE, EXACT, CHAIN = range(3)
"""The rows that a stream was found in: all rows of the payee, rows of one amount, rows whose amounts change in small
steps."""

(
    GROUP, CADENCE, ANCHOR_KIND, ANCHOR, ROWS, FIRST, LAST, RESIDUAL, COVERAGE, STEP, FOUND_IN, CLASS, AMOUNT, SPREAD,
    GROUP_ROWS,
) = range(15)  # fmt: skip
COLUMNS = 15
"""Columns of the table of streams. CADENCE: as in `anchors`. RESIDUAL: mean days off the anchor.
STEP: median |ln| of amount to amount before. AMOUNT, SPREAD: median and relative MAD of the last
`RECENT_ROWS`, in cents of the currency that the stream is billed in."""
RECENT_ROWS = 6
FIXED_STEP = 0.08
"""Streams with at most this STEP have a fixed amount."""


@njit(cache=True)
def median(values):
    """The median of floats, with one compiled sort instead of NumPy's general one."""
    ordered = np.sort(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


@njit(cache=True)
def note(table, at, group, fit, rows, days, cents, step, found_in, payment, group_rows):
    """Write a stream to the table. `rows` are its places in the group, by day."""
    n = len(rows)
    row = table[at]
    row[GROUP], row[CADENCE], row[ANCHOR_KIND], row[ANCHOR] = group, fit[0], fit[1], fit[2]
    row[ROWS], row[FIRST], row[LAST] = n, days[rows[0]], days[rows[n - 1]]
    row[RESIDUAL], row[COVERAGE] = fit[3], fit[4]
    row[STEP], row[FOUND_IN], row[CLASS], row[GROUP_ROWS] = step, found_in, payment, group_rows
    recent = np.empty(min(n, RECENT_ROWS))
    for i in range(len(recent)):
        recent[i] = cents[rows[n - len(recent) + i]]
    row[AMOUNT] = median(recent)
    row[SPREAD] = median(np.abs(recent - row[AMOUNT])) / max(row[AMOUNT], 1.0)


@njit(cache=True)
def renote(table, stream, days, cents, owner):
    """Update a stream's row after it gained rows."""
    rows = np.nonzero(owner == stream)[0]
    row = table[stream]
    fit = (int(row[CADENCE]), int(row[ANCHOR_KIND]), int(row[ANCHOR]), row[RESIDUAL], row[COVERAGE])
    note(table, stream, row[GROUP], fit, rows, days, cents, row[STEP], row[FOUND_IN], int(row[CLASS]), row[GROUP_ROWS])
