"""Times of a cron expression in a time zone, with a defined policy for days on which the clocks change.

cronsim parses the expression and gives wall times; their conversion to UTC is decided here. Pure.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import takewhile
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from kordant_jobs.errors import PermanentError


class Gap(StrEnum):
    """The policy for a wall time that is skipped when clocks go forward: run when the gap ends, or not that day."""

    SHIFT = "shift"
    SKIP = "skip"


class Fold(StrEnum):
    """The policy for a wall time that occurs twice when clocks go back: run at the first, or at both."""

    ONCE = "once"
    TWICE = "twice"


FIELD_NAMES = ("minute", "hour", "day of month", "month", "day of week")
_PLAIN = re.compile(r"[0-9A-Za-z*,/-]+")
_A_DAY = timedelta(days=1)
_LONGEST_JUMP = timedelta(days=2)
"""The largest difference between wall time and UTC: Apia skipped a whole day in 2011."""


def checked_cron(text: str) -> str:
    """The expression in a form that cronsim and Dagster's own parser interpret in the same way.

    Parts that they would interpret differently (`1/3`, `2-2`) are written out as numbers.

    Raises:
        PermanentError: it is no such expression; says what to write instead.

    >>> checked_cron(" */15  2-5 * * * ")
    '*/15 2-5 * * *'
    >>> checked_cron("1/20 2-2 * * MON-FRI")
    '1,21,41 2 * * 1-5'
    """
    fields = text.split()
    if len(fields) != len(FIELD_NAMES):
        raise PermanentError(
            f"cron {text!r} has {len(fields)} fields, not 5: minute, hour, day of month, month, day of week. "
            "Write it as 0 2 * * *."
        )
    for name, field in zip(FIELD_NAMES, fields, strict=True):
        if not _PLAIN.fullmatch(field) or re.search(r"[Ll]|\bW", field.replace("JUL", "").replace("jul", "")):
            raise PermanentError(f"cron {text!r}: the {name} may hold numbers, names and * , - / only, as 0 2 * * *.")
    if fields[2] != "*" and fields[4] != "*":
        raise PermanentError(
            f"cron {text!r}: day of month and day of week together mean different things to different readers. "
            f"Give one of them: {' '.join([*fields[:4], '*'])}, or {' '.join([*fields[:2], '*', *fields[3:]])}."
        )
    whole = " ".join(fields)
    try:
        read = CronSim(whole, datetime(2024, 1, 1))  # noqa: DTZ001 - the wall clock has no zone
        found = next(read, None)
    except CronSimError as error:
        raise PermanentError(f"cron {text!r}: {str(error).lower()}. Write it as 0 2 * * * (daily at two).") from None
    if found is None:
        raise PermanentError(f"cron {text!r} names a day that never comes. Write it as 0 2 1 * * (the first).")
    numbers = (read.minutes, read.hours, read.days, read.months, cast(set[int], read.weekdays))
    return " ".join(
        field if _ALIKE.fullmatch(field) else _written_out(meant) for field, meant in zip(fields, numbers, strict=True)
    )


_ALIKE = re.compile(r"\*(/[1-9][0-9]*)?|[0-9]+(,[0-9]+)*")
"""Forms of a field that every parser reads as the same numbers."""


def _written_out(numbers: Iterable[int]) -> str:
    """Numbers as a cron field: runs of three or more as ranges.

    >>> _written_out([9, 1, 2, 3, 4, 7])
    '1-4,7,9'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs]
    return ",".join(parts)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    """The names of all time zones, cached: Python searches the folders of the database for them, 10 ms each time."""
    return frozenset(available_timezones())


def checked_zone(name: str) -> str:
    """The name, after checking that it is a time zone of the IANA database.

    Raises:
        PermanentError: there is none of this name; names one that looks like it.

    >>> checked_zone("America/Sao_Paulo")
    'America/Sao_Paulo'
    """
    if name in _zones():
        return name
    last = name.rpartition("/")[2].replace(" ", "_").lower()
    alike = sorted(zone for zone in _zones() if last and last in zone.lower())
    raise PermanentError(f"there is no time zone {name!r}. Write {alike[0] if alike else 'UTC or America/Sao_Paulo'}.")


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """The time zone; UTC for an invalid name, which `checked_zone` refuses beforehand."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


@lru_cache(maxsize=256)
def _times_of_day(cron: str) -> tuple[time, ...]:
    """The wall times of a day, for a cron that has the same times every day."""
    one = date(2024, 1, 1)
    return tuple(wall.time() for wall in _walk(cron, one, one))


def _walk(cron: str, first_on: date, last_on: date) -> Iterator[datetime]:
    start = datetime.combine(first_on, time()) - timedelta(minutes=1)
    return takewhile(lambda wall: wall.date() <= last_on, CronSim(cron, start))


def wall_times(cron: str, first_on: date, last_on: date) -> Iterator[datetime]:
    """The wall times (without a zone) of `cron` on these days, both included."""
    if cron.endswith(" * * *"):
        days = (first_on + count * _A_DAY for count in range((last_on - first_on).days + 1))
        return (datetime.combine(day, one) for day in days for one in _times_of_day(cron))
    return _walk(cron, first_on, last_on)


def _walls_between(cron: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """The wall times with `after` < time ≤ `until`. Only those of the needed days are computed, since a simulation asks
    again at each tick of a week."""
    if not cron.endswith(" * * *"):
        yield from (wall for wall in _walk(cron, after.date(), until.date()) if after < wall <= until)
        return
    times = _times_of_day(cron)
    for count in range((until.date() - after.date()).days + 1):
        day = after.date() + count * _A_DAY
        low = bisect_right(times, after.time()) if day == after.date() else 0
        high = bisect_right(times, until.time()) if day == until.date() else len(times)
        yield from (datetime.combine(day, one) for one in times[low:high])


def moments(wall: datetime, zone: ZoneInfo, gap: Gap, fold: Fold) -> list[datetime]:
    """The times in UTC of a wall time: one, or none for a skipped time, or two for one that runs twice.

    >>> two = datetime(2026, 3, 29, 2, 30)
    >>> [str(one) for one in moments(two, ZoneInfo("Europe/Paris"), Gap.SHIFT, Fold.ONCE)]
    ['2026-03-29 01:00:00+00:00']
    """
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return [first]
    if first < second:
        return [first] if fold is Fold.ONCE else [first, second]
    return [] if gap is Gap.SKIP else [_end_of_gap(zone, second, first)]


def _end_of_gap(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first time with the offset that applies at `after`; at `before` another one applies."""
    wanted = after.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == wanted:
            high = middle
        else:
            low = middle
    return before + timedelta(seconds=high)


@lru_cache(maxsize=4096)
def ticks_on(cron: str, zone: str, day: date, gap: Gap, fold: Fold) -> tuple[datetime, ...]:
    """The times of `cron` on a calendar day of `zone`, in order and without repetition."""
    place = zone_of(zone)
    return tuple(sorted({one for wall in wall_times(cron, day, day) for one in moments(wall, place, gap, fold)}))


def occurrences(
    cron: str, zone: str, *, after: datetime, until: datetime, gap: Gap = Gap.SHIFT, fold: Fold = Fold.ONCE
) -> list[datetime]:
    """Every time of `cron` with `after` < time ≤ `until`, in order, each once. All wall times within a gap move to its
    end and become one time there."""
    if until <= after:
        return []
    place = zone_of(zone)
    if (offset := _steady_offset(place, after, until)) is not None:
        first, last = ((one.astimezone(UTC) + offset).replace(tzinfo=None) for one in (after, until))
        return [wall.replace(tzinfo=UTC) - offset for wall in _walls_between(cron, first, last)]
    first_on, last_on = (one.astimezone(UTC).date() for one in (after - _LONGEST_JUMP, until + _LONGEST_JUMP))
    found = {one for wall in wall_times(cron, first_on, last_on) for one in moments(wall, place, gap, fold)}
    return sorted(one for one in found if after < one <= until)


def _steady_offset(zone: ZoneInfo, after: datetime, until: datetime) -> timedelta | None:
    """The zone's only offset around a span of at most two days; None where clocks change, or the span is longer. No
    zone ever changed its clocks twice within six days."""
    if until - after > _LONGEST_JUMP:
        return None
    before, behind = (one.astimezone(zone).utcoffset() for one in (after - _LONGEST_JUMP, until + _LONGEST_JUMP))
    return before if before == behind else None


def next_after(
    cron: str, zone: str, after: datetime, *, gap: Gap = Gap.SHIFT, fold: Fold = Fold.ONCE
) -> datetime | None:
    """The first time after `after`; None when there is none within twelve years."""
    start, days = after, 1
    while days < 12 * 366:
        end = after + days * _A_DAY
        if found := occurrences(cron, zone, after=start, until=end, gap=gap, fold=fold):
            return found[0]
        start, days = end, days * 4
    return None
