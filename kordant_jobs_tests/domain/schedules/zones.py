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

from kordant_jobs.domain.schedules.cron import Fold, Gap

Minutes = npt.NDArray[np.int64]
"""Minutes since 1970, UTC or wall."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEP = 15
"""Where two quarter hours have different offsets, every minute between them is looked at: Gaza and St. John's have
changed theirs at one minute past the hour."""


def minutes(moment: datetime) -> int:
    return int((moment - EPOCH) / timedelta(minutes=1))


@lru_cache(maxsize=2)
def offsets(zone: ZoneInfo, first: int, last: int) -> Minutes:
    """The offset in minutes of every UTC minute in [first, last)."""
    begin = first - first % STEP
    quarters = [_offset(zone, at) for at in range(begin, last + STEP, STEP)]
    found = np.repeat(np.array(quarters, dtype=np.int64), STEP)
    for place in np.flatnonzero(np.diff(quarters)):
        for at in range(place * STEP, (place + 1) * STEP):
            found[at] = _offset(zone, begin + at)
    return found[first % STEP :][: last - first]


def _offset(zone: ZoneInfo, minute: int) -> int:
    offset = (EPOCH + timedelta(minutes=minute)).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset / timedelta(minutes=1))


def _field(text: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        start, end = (lowest, highest) if span == "*" else (int(low), int(high or (highest if step else low)))
        found |= set(range(start, end + 1, int(step or 1)))
    return found


RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
"""Of the five fields, in their order."""


def fields(wall: Minutes) -> list[npt.NDArray[np.int8]]:
    """Minute, hour, day, month and weekday of wall minutes."""
    days = (wall // 1440).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    values = (
        wall % 60,
        wall // 60 % 24,
        (days - months).astype(np.int64) + 1,
        months.astype(np.int64) % 12 + 1,
        (wall // 1440 + 4) % 7,
    )
    return [value.astype(np.int8) for value in values]


def matching(cron: str, of: list[npt.NDArray[np.int8]]) -> npt.NDArray[np.bool_]:
    """Which wall minutes, given by their fields, the expression names. Numbers only."""
    shown = np.ones(len(of[0]), dtype=np.bool_)
    for text, values, (low, high) in zip(cron.split(), of, RANGES, strict=True):
        if text != "*":
            named = np.zeros(60, dtype=np.bool_)
            named[[value % 7 if high == 7 else value for value in _field(text, low, high)]] = True
            shown &= named[values]
    return shown


@lru_cache(maxsize=2)
def walk(zone: ZoneInfo, first: int, last: int) -> tuple[Minutes, Minutes, list[npt.NDArray[np.int8]]]:
    """Every UTC minute in [first, last), the wall's beside it, and the wall's fields."""
    utc = np.arange(first, last)
    wall = utc + offsets(zone, first, last)
    return utc, wall, fields(wall)


def strikes(cron: str, zone: ZoneInfo, first: int, last: int, gap: Gap, fold: Fold) -> set[int]:
    """The UTC minutes in [first, last) at which the expression strikes."""
    utc, wall, of = walk(zone, first - 3000, last + 3000)
    shown = matching(cron, of)
    jumps = np.flatnonzero(np.diff(wall - utc))
    for at in jumps:
        here, there = wall[at], wall[at + 1]
        if there <= here:  # it goes back: these wall minutes come again
            if fold is Fold.ONCE:
                again = slice(at + 1, at + 1 + int(here - there) + 1)
                shown[again] = False
        elif gap is Gap.SHIFT and matching(cron, fields(np.arange(here + 1, there))).any():
            shown[at + 1] = True
    struck = utc[shown]
    return set(struck[(struck >= first) & (struck < last)].tolist())
