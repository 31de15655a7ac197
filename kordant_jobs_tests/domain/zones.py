"""An oracle for cron in a time zone, written another way: every minute of UTC is looked at, as arrays.

The offsets come from walking UTC; a wall minute that never shows is found by its absence, one that shows twice by its
second coming. No cron library, no PEP 495.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from kordant_jobs.domain.cron import Fold, Gap

Minutes = npt.NDArray[np.int64]
"""Minutes since 1970, UTC or wall."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEP = 15
"""Offsets change on quarter hours, in every zone since 1985."""


def minutes(moment: datetime) -> int:
    return int((moment - EPOCH) / timedelta(minutes=1))


@lru_cache(maxsize=2)
def offsets(zone: ZoneInfo, first: int, last: int) -> Minutes:
    """The offset in minutes of every UTC minute in [first, last)."""
    quarters = [
        int((EPOCH + timedelta(minutes=at)).astimezone(zone).utcoffset() / timedelta(minutes=1))  # type: ignore[operator]  # never None in a zone
        for at in range(first - first % STEP, last, STEP)
    ]
    return np.repeat(np.array(quarters, dtype=np.int64), STEP)[first % STEP :][: last - first]


def _field(text: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        start, end = (lowest, highest) if span == "*" else (int(low), int(high or (highest if step else low)))
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def matching(cron: str, wall: Minutes) -> npt.NDArray[np.bool_]:
    """Which wall minutes the expression names. Numbers only."""
    minute, hour, day, month, weekday = cron.split()
    days = (wall // 1440).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    weekdays = {value % 7 for value in _field(weekday, 0, 7)}
    return (
        np.isin(wall % 60, list(_field(minute, 0, 59)))
        & np.isin(wall // 60 % 24, list(_field(hour, 0, 23)))
        & np.isin((days - months).astype(np.int64) + 1, list(_field(day, 1, 31)))
        & np.isin(months.astype(np.int64) % 12 + 1, list(_field(month, 1, 12)))
        & np.isin((wall // 1440 + 4) % 7, list(weekdays))
    )


def strikes(cron: str, zone: ZoneInfo, first: int, last: int, gap: Gap, fold: Fold) -> set[int]:
    """The UTC minutes in [first, last) at which the expression strikes."""
    utc = np.arange(first - 3000, last + 3000)
    offset = offsets(zone, first - 3000, last + 3000)
    wall = utc + offset
    shown = matching(cron, wall)
    jumps = np.flatnonzero(np.diff(offset))
    for at in jumps:
        here, there = wall[at], wall[at + 1]
        if there <= here:  # it goes back: these wall minutes come again
            if fold is Fold.ONCE:
                again = slice(at + 1, at + 1 + int(here - there) + 1)
                shown[again] = False
        elif gap is Gap.SHIFT and matching(cron, np.arange(here + 1, there)).any():
            shown[at + 1] = True
    struck = utc[shown]
    return set(struck[(struck >= first) & (struck < last)].tolist())
