"""The days of the horizon on which streams and card bills move money, for all streams and cards of many entities."""

import numpy as np
from numba import njit

from kordant_jobs.domain.insights.kernels.anchors import day_after, fit_months, nearest_month, target

LATE_DAYS = 5
"""A charge that is late by at most these days is expected tomorrow; a later one, at its next due day."""
DUES = 12
"""The number of last bills that decide the due day of the month of the next ones."""


@njit(cache=True)
def occurrences(streams, now, horizon, tables):
    """The place of the stream and the day of every expected charge after `now`. `streams` has the columns cadence, kind
    of anchor, anchor, last day."""
    room = len(streams) * (horizon // 7 + 2)
    places, days = np.empty(room, np.int64), np.empty(room, np.int64)
    count = 0
    for place in range(len(streams)):
        cadence, kind, anchor, last = streams[place]
        periods = 0
        while True:
            periods += 1
            when = day_after(cadence, kind, anchor, last, periods, tables)
            if periods == 1 and when <= now <= when + LATE_DAYS:
                when = now + 1
            if when > now + horizon:
                break
            if when > now:
                places[count], days[count] = place, when
                count += 1
    return places[:count], days[:count]


@njit(cache=True)
def bills(cards, dues_from, dues, rates, known_from, known_days, known_cents, now, horizon, tables):
    """(card, day, cents, days of spending not yet seen) of every bill due within the horizon.

    `cards` has the days between closing and due day, the cents of the last closed bill, and the cents since it closed;
    `dues` has the due days of each card's closed bills; `rates` the mean spending in cents a day. `known_*` are the
    expected single rows of each card by day.
    """
    room = len(cards) * (horizon // 28 + 3)
    which, when = np.empty(room, np.int64), np.empty(room, np.int64)
    cents, unseen = np.empty(room), np.empty(room)
    count = 0
    for card in range(len(cards)):
        lag, closed, since = cards[card]
        past = dues[dues_from[card] : dues_from[card + 1]]
        due = past[len(past) - 1]
        kind, anchor, _ = fit_months(past[max(0, len(past) - DUES) :], tables, False)
        month = nearest_month(due, kind, anchor, tables)
        if due > now:
            which[count], when[count], cents[count], unseen[count] = card, due, closed, 0.0
            count += 1
        seen_until, rest, place = now, float(since), known_from[card]
        while True:
            month += 1
            due = target(month, kind, anchor, tables)
            if due <= now:
                continue
            if due > now + horizon:
                break
            closes = max(due - lag, seen_until)
            amount = rest + rates[card] * (closes - seen_until)
            while place < known_from[card + 1] and known_days[place] <= closes:
                amount += known_cents[place]
                place += 1
            which[count], when[count], cents[count], unseen[count] = card, due, amount, closes - seen_until
            count += 1
            seen_until, rest = closes, 0.0
    return which[:count], when[:count], cents[:count], unseen[:count]
