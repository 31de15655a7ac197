"""Cron in a time zone: against an oracle of another make, at every change of the clocks; and what is refused, how."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_string

from kordant_jobs.domain.schedules.cron import Fold, Gap, checked_cron, checked_zone, next_after, occurrences
from kordant_jobs.errors import PermanentError
from kordant_jobs_tests.domain.schedules.zones import EPOCH, minutes, offsets, strikes

ZONES = [
    "UTC",
    "America/Sao_Paulo",  # DST until 2019
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # without 30 December 2011
    "Africa/Casablanca",  # back for Ramadan
    "America/New_York",
    "America/St_Johns",  # changed at 00:01
    "America/Havana",  # changes at midnight
    "America/Asuncion",
    "America/Caracas",
    "Europe/London",
    "Europe/Dublin",  # negative DST
    "Europe/Istanbul",
    "Europe/Volgograd",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "Asia/Pyongyang",
    "Africa/Cairo",
    "Antarctica/Troll",  # two hours
]
CRONS = ["30 2 * * *", "*/15 * * * *", "0 0 * * *", "*/20 1-3 * * *", "0 3 * * 0", "45 23 31 * *", "0 0 29 2 *"]
POLICIES = [(gap, fold) for gap in Gap for fold in Fold]
FIRST, LAST = minutes(datetime(1990, 1, 1, tzinfo=UTC)), minutes(datetime(2030, 1, 1, tzinfo=UTC))


def ours(cron: str, zone: str, first: int, last: int, gap: Gap, fold: Fold) -> set[int]:
    after, until = (EPOCH + timedelta(minutes=at - 1) for at in (first, last))
    return {minutes(one) for one in occurrences(cron, zone, after=after, until=until, gap=gap, fold=fold)}


def changes(zone: str) -> list[int]:
    """UTC minutes of forty years by which the zone's offset has changed, at most half a day before."""
    place, step = ZoneInfo(zone), 720
    seen = [(EPOCH + timedelta(minutes=at)).astimezone(place).utcoffset() for at in range(FIRST, LAST, step)]
    return [FIRST + step * place for place in range(1, len(seen)) if seen[place] != seen[place - 1]]


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"])
def test_around_changes_of_the_clocks_every_policy_strikes_as_the_oracle_says(zone: str) -> None:
    """A sample of the whole test below: a few changes a zone, each with the two days around it."""
    found = changes(zone)
    for place, at in enumerate([*found[:: max(1, len(found) // 6)], *found[-2:]]):
        gap, fold = POLICIES[place % 4]
        for cron in CRONS[:4]:
            span = (at - 2000, at + 2000)
            assert ours(cron, zone, *span, gap, fold) == strikes(cron, ZoneInfo(zone), *span, gap, fold), (cron, at)


def test_asked_in_small_steps_it_strikes_the_same() -> None:
    """Short spans without a change of the clocks go a quicker way."""
    for zone in ("America/Sao_Paulo", "Pacific/Apia", "Africa/Casablanca"):
        for at in changes(zone)[-6:]:
            steps = range(at - 9000, at + 9000, 700)
            for gap, fold in POLICIES:
                pieces = [ours("30 0-23/2 * * *", zone, one, one + 700, gap, fold) for one in steps]
                whole = ours("30 0-23/2 * * *", zone, steps[0], steps[-1] + 700, gap, fold)
                assert set().union(*pieces) == whole
                assert sum(map(len, pieces)) == len(whole)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("zone", ZONES)
def test_forty_years_strike_as_the_oracle_says(zone: str) -> None:
    """1990 to 2030, minute by minute: no missed and no double run beyond the stated policy."""
    for year in range(1990, 2030, 5):
        first, last = (minutes(datetime(one, 1, 1, tzinfo=UTC)) for one in (year, year + 5))
        for cron in CRONS:
            for gap, fold in ((Gap.SHIFT, Fold.ONCE), (Gap.SKIP, Fold.TWICE)):
                wanted = strikes(cron, ZoneInfo(zone), first, last, gap, fold)
                assert ours(cron, zone, first, last, gap, fold) == wanted, (cron, gap, fold, year)


def test_the_oracle_sees_offsets_as_they_are() -> None:
    first = minutes(datetime(2026, 3, 29, 0, 50, tzinfo=UTC))
    assert np.array_equal(offsets(ZoneInfo("Europe/Paris"), first, first + 20), [60] * 10 + [120] * 10)


def test_month_ends_and_leap_days() -> None:
    after, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    found = occurrences("0 3 31 * *", "UTC", after=after, until=until)
    assert [one.month for one in found] == [1, 3, 5, 7, 8, 10, 12]
    leap = next_after("0 3 29 2 *", "UTC", datetime(2025, 3, 1, tzinfo=UTC))
    assert leap == datetime(2028, 2, 29, 3, tzinfo=UTC)


def test_a_wall_time_that_shows_twice_runs_once_or_twice_as_configured() -> None:
    after, until = datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC)
    once = occurrences("30 2 * * *", "Europe/Paris", after=after, until=until)
    assert once == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]
    twice = occurrences("30 2 * * *", "Europe/Paris", after=after, until=until, fold=Fold.TWICE)
    assert twice == [*once, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("0 2 * *", r"has 4 fields, not 5.*Write it as 0 2 \* \* \*"),
        ("* * * * * *", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("61 2 * * *", "bad minute"),
        ("0 25 * * *", "bad hour"),
        ("0 2 L * *", "may hold numbers"),
        ("0 2 * * 5L", "may hold numbers"),
        ("0 2 * * 1#1", "may hold numbers"),
        ("0 2 1 * 1", r"Give one of them: 0 2 1 \* \*, or 0 2 \* \* 1"),
        ("0 2 30 2 *", "bad day-of-month"),
        ("", "has 0 fields"),
    ],
)
def test_a_cron_that_is_none_is_refused_with_what_to_write(cron: str, says: str) -> None:
    with pytest.raises(PermanentError, match=says):
        checked_cron(cron)


@pytest.mark.parametrize("cron", [*CRONS, "0 2 * JUL *", "0 2 * * MON-FRI", "5,10 1-3/2 1 */2 *", "0 12 * * 7"])
def test_what_is_taken_is_taken_by_dagster_too(cron: str) -> None:
    assert is_valid_cron_string(checked_cron(cron))


@pytest.mark.parametrize(
    ("cron", "means"),
    [("1/3 * * * *", "1,4,7"), ("0 2-2 * * *", "0 2 "), ("59/1 0 * * *", "59 0 "), ("0 6/2 * * *", "0 6,8,10")],
)
def test_what_readers_differ_about_is_written_out(cron: str, means: str) -> None:
    assert checked_cron(cron).startswith(means)


def _random_field(rng: np.random.Generator, low: int, high: int) -> str:
    def part() -> str:
        first, last = (int(rng.integers(low, high + 1)) for _ in range(2))
        step = int(rng.choice([1, 2, 3, 5, 7, 10, 20, 40, 70]))
        forms = ["*", f"{first}", f"*/{step}", f"{first}-{last}", f"{first}-{last}/{step}", f"{first}/{step}",
                 f"{first}-{first}"]  # fmt: skip
        return str(rng.choice(forms))

    return ",".join(part() for _ in range(int(rng.choice([1, 1, 1, 2, 3]))))


def _random_cron(rng: np.random.Generator) -> str:
    """An expression that is taken, as it was written; those that are refused are passed over."""
    while True:
        fields = [_random_field(rng, *limits) for limits in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))]
        fields[int(rng.choice([2, 4]))] = "*"
        try:
            checked_cron(" ".join(fields))
        except PermanentError:
            continue
        return " ".join(fields)


@pytest.mark.parametrize("zone", ZONES)
def test_dagster_reads_what_is_taken_as_we_do(zone: str) -> None:
    """Random expressions, in the longest span of 2026 without a change of the clocks: those have policies of ours."""
    days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=one) for one in range(365)]
    offsets_of = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    turns = [0, *(one for one in range(1, 365) if offsets_of[one] != offsets_of[one - 1]), 365]
    first, last = max(pairwise(turns), key=lambda span: span[1] - span[0])
    after, until = days[first] + timedelta(days=1), days[last - 1] - timedelta(days=1)
    rng = np.random.Generator(np.random.PCG64(ZONES.index(zone)))
    for _ in range(28):
        written = _random_cron(rng)
        cron = checked_cron(written)
        ticks = islice(cron_string_iterator(after.timestamp(), cron, zone), 100)
        theirs = [one.astimezone(UTC) for one in takewhile(lambda one: one <= until, ticks)]
        end = theirs[-1] if len(theirs) == 100 else until
        ours = occurrences(cron, zone, after=after - timedelta(minutes=1), until=end)
        assert ours == theirs, (written, cron)


def test_a_zone_that_is_none_is_refused_with_one_that_looks_like_it() -> None:
    with pytest.raises(PermanentError, match="Write America/Sao_Paulo"):
        checked_zone("Brazil/Sao Paulo")
    with pytest.raises(PermanentError, match="Write UTC or"):
        checked_zone("")
