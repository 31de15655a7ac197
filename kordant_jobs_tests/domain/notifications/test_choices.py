"""Quiet hours and digests in somebody's own time, days with a clock change included."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.notifications.alerts import OUTBOX_MOVES, OutboxStatus
from kordant_jobs.domain.notifications.choices import Hours, Mode, digest_moment, quiet_until

NEW_YORK = Hours(time_zone="America/New_York", quiet_from=time(22), quiet_until=time(7))


def at(zone: str, text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (NEW_YORK, "2026-06-02T21:59", None),
        (NEW_YORK, "2026-06-02T22:00", "2026-06-03T07:00"),
        (NEW_YORK, "2026-06-03T06:59", "2026-06-03T07:00"),
        (NEW_YORK, "2026-06-03T07:00", None),
        (NEW_YORK, "2026-03-08T01:30", "2026-03-08T07:00"),  # the night is an hour shorter
        (NEW_YORK, "2026-11-01T00:30", "2026-11-01T07:00"),  # and here an hour longer
        (Hours(time_zone="America/New_York", quiet_from=time(1), quiet_until=time(2, 30)), "2026-03-08T01:15",
         "2026-03-08T03:30"),  # 2:30 does not come: an hour and a quarter later it is 3:30
        (Hours(time_zone="America/New_York", quiet_from=time(13), quiet_until=time(14)), "2026-06-02T13:30",
         "2026-06-02T14:00"),
        (Hours(time_zone="America/New_York"), "2026-06-02T03:00", None),
        (Hours(time_zone="America/New_York", quiet_from=time(8), quiet_until=time(8)), "2026-06-02T08:00", None),
    ],
)  # fmt: skip
def test_quiet_hours_end_by_the_clock_on_the_wall(hours: Hours, now: str, until: str | None) -> None:
    found = quiet_until(at("America/New_York", now), hours)
    assert found == (at("America/New_York", until) if until else None)


@pytest.mark.parametrize(("now_fold", "end_fold"), [(0, 0), (1, 1)])
def test_an_hour_that_comes_twice_ends_quiet_hours_at_its_next_end(now_fold: int, end_fold: int) -> None:
    hours = Hours(time_zone="America/New_York", quiet_from=time(0, 30), quiet_until=time(1, 30))
    zone = "America/New_York"
    end = at(zone, "2026-11-01T01:30", end_fold).astimezone(UTC)
    assert quiet_until(at(zone, "2026-11-01T01:10", now_fold), hours) == end


def test_a_zone_that_is_unknown_is_utc() -> None:
    hours = Hours(time_zone="Mars/Olympus", quiet_from=time(22), quiet_until=time(7))
    assert quiet_until(datetime(2026, 6, 2, 23, tzinfo=UTC), hours) == datetime(2026, 6, 3, 7, tzinfo=UTC)


ZONES = ["UTC", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]
moments = st.integers(0, 10 * 366 * 24 * 60).map(
    lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
walls = st.times().map(lambda one: one.replace(second=0, microsecond=0))


@given(now=moments, start=walls, end=walls, zone=st.sampled_from(ZONES))
def test_quiet_hours_always_end_within_a_day_and_after_now(now: datetime, start: time, end: time, zone: str) -> None:
    until = quiet_until(now, Hours(time_zone=zone, quiet_from=start, quiet_until=end))
    assert until is None or now < until <= now + timedelta(hours=26)


@given(now=moments, wall=walls, weekday=st.integers(1, 7), zone=st.sampled_from(ZONES))
def test_a_digest_comes_on_its_day_at_its_time(now: datetime, wall: time, weekday: int, zone: str) -> None:
    hours = Hours(time_zone=zone, digest_at=wall, digest_weekday=weekday)
    daily, weekly = digest_moment(now, Mode.DAILY, hours), digest_moment(now, Mode.WEEKLY, hours)
    assert now < daily <= now + timedelta(hours=26)
    assert now < weekly <= now + timedelta(days=7, hours=2)
    if weekly.astimezone(ZoneInfo(zone)).time() == wall:
        assert weekly.astimezone(ZoneInfo(zone)).isoweekday() == weekday


def test_a_digest_keeps_out_of_quiet_hours() -> None:
    hours = Hours(quiet_from=time(22), quiet_until=time(9), digest_at=time(8))
    now = datetime(2026, 6, 2, 12, tzinfo=UTC)
    assert digest_moment(now, Mode.DAILY, hours) == datetime(2026, 6, 3, 9, tzinfo=UTC)


def test_every_state_but_the_last_ones_leads_somewhere() -> None:
    assert {one for one, after in OUTBOX_MOVES.items() if not after} == {OutboxStatus.SUPPRESSED}
    assert set(OUTBOX_MOVES) == set(OutboxStatus)
