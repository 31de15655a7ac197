"""Rules of a scan: the dumps it covers, how its work is distributed, and the meaning of a source's missing answers.
Pure: no clock, no database.

`rules.judgement` decides which exposures raise an alert and how urgent they are; `rules.asking` when a source is asked
again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.jobs.darkwatch_scan.rules.judgement import (
    CRITICAL_DATA,
    HIGH_DATA,
    MEDIUM_DATA,
    BreachFlags,
    Facts,
    Ruling,
    age_days,
    judge,
    severity,
    urgency,
)

__all__ = [
    "CRITICAL_DATA",
    "HIGH_DATA",
    "MAX_CHUNKS",
    "MEDIUM_DATA",
    "OVERLAP",
    "BreachFlags",
    "Facts",
    "Ruling",
    "Window",
    "again_after",
    "age_days",
    "balanced",
    "judge",
    "parts_of",
    "severity",
    "urgency",
    "verdict",
]

OVERLAP = timedelta(hours=1)
"""The time before the last scan that a scan covers again. A row's `created_at` is the start of its transaction, so a
transaction that took up to an hour to commit is still found; what is found twice is written once."""

ITEMS_AT_ONCE = 500_000
"""The most watched items that a run holds with all their columns: about 0.5 GB while they are read and looked up (207
MB measured for 200,000)."""


def parts_of(items: int, *, at_once: int = ITEMS_AT_ONCE, most: int) -> int:
    """The number of parts, a power of two up to `most`, in which a run reads its watched items.

    >>> [parts_of(items, most=256) for items in (0, 500_000, 500_001, 3_500_000, 22_000_000)]
    [1, 1, 2, 8, 64]
    """
    return min(most, 1 << (max(0, items - 1) // at_once).bit_length())


MAX_CHUNKS = 12
"""The most chunks of one run. A mapped op costs about 20 ms and 11 kB of event log, so a chunk has many dumps, not
one."""


def verdict(
    *, exposures: int, dumps_read: int, dumps_unread: int, dumps_partly_read: int = 0
) -> tuple[Verdict, str | None]:
    """The verdict of our corpus on a subscription with that many alerted exposures.

    >>> verdict(exposures=0, dumps_read=3, dumps_unread=1)
    (<Verdict.UNKNOWN: 'unknown'>, '1 breach dump could not be read yet')
    >>> verdict(exposures=0, dumps_read=3, dumps_unread=0, dumps_partly_read=2)
    (<Verdict.UNKNOWN: 'unknown'>, '2 breach dumps were partly read')
    """
    reasons = []
    if dumps_unread:
        reasons.append(f"{_dumps(dumps_unread)} could not be read yet")
    if dumps_partly_read:
        reasons.append(f"{_dumps(dumps_partly_read)} {'was' if dumps_partly_read == 1 else 'were'} partly read")
    unread = "; ".join(reasons) or None
    if exposures:
        return Verdict.EXPOSED, unread
    if unread:
        return Verdict.UNKNOWN, unread
    if not dumps_read:
        return Verdict.UNKNOWN, "no breach dump was ingested yet"
    return Verdict.CLEAN, None


def _dumps(count: int) -> str:
    return f"{count} breach {'dump' if count == 1 else 'dumps'}"


def again_after(waited: timedelta, *, being_read: bool) -> timedelta:
    """The wait before the next scan for dumps that were left to other scans, the first of them `waited` ago. None when
    no scan reads them now; else a quarter of the time so far, so that long ones are rarely asked for.

    >>> again_after(timedelta(minutes=4), being_read=True)
    datetime.timedelta(seconds=60)
    """
    return min(max(waited / 4, AGAIN_AT_LEAST), AGAIN_AT_MOST) if being_read else timedelta(0)


AGAIN_AT_LEAST, AGAIN_AT_MOST = timedelta(seconds=5), timedelta(minutes=5)


T = TypeVar("T")


def balanced(weighted: Sequence[tuple[T, int]], chunks: int = MAX_CHUNKS) -> list[list[T]]:
    """Distribute weighted work over at most `chunks` lists of about equal weight, heaviest first; none is empty.

    >>> balanced([("a", 9), ("b", 5), ("c", 4)], 2)
    [['a'], ['b', 'c']]
    """
    count = min(chunks, len(weighted))
    shares: list[tuple[int, list[T]]] = [(0, []) for _ in range(count)]
    for one, weight in sorted(weighted, key=lambda pair: -pair[1]):
        least = min(range(count), key=lambda place: (shares[place][0], place))
        shares[least] = (shares[least][0] + max(1, weight), [*shares[least][1], one])
    return [share for _, share in shares]


@dataclass(frozen=True, kw_only=True)
class Window:
    """The times in which a pair (item, dump) became known that a scan covers: `since` ≤ time < `until`. A pair becomes
    known when the later of the two does. `since` None means each subscription's own watermark."""

    since: datetime | None
    until: datetime
