"""The simulator counts, and tells the load."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.cadence import SLOTS, Span
from kordant_jobs.domain.schedules.rows import Cadence, Pause, ScheduleRow, StoredScheduleRow
from kordant_jobs.domain.schedules.simulation import check_moments, count, load_per_hour, simulate

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
DAY = timedelta(days=1)
ROW = ScheduleRow(job="darkwatch_scan", tier=Tier.PREMIUM, cadence=Cadence.DAILY, cron="0 2,3 * * *")


def stored(pause: Pause | None = None) -> StoredScheduleRow:
    return StoredScheduleRow(row=ROW, version=1, changed_at=MONDAY, changed_by="ann", pause=pause)


def test_subscriptions_are_counted_by_their_slots() -> None:
    places = {0: [0, 5, 5, 9], 3: [1]}
    assert count(places, [Span(on=MONDAY.date(), anchor=0, first=0, past=6)]) == 3
    assert count(places, [Span(on=MONDAY.date(), anchor=0, first=6, past=9)]) == 0
    assert count(places, [Span(on=MONDAY.date(), anchor=3, first=0, past=SLOTS)]) == 1


def test_an_outage_is_looked_at_when_it_ends() -> None:
    outage = (MONDAY + timedelta(hours=2), MONDAY + timedelta(hours=2, minutes=30))
    found = check_moments(ROW, MONDAY, MONDAY + DAY, [outage])
    assert [(one.hour, one.minute) for one in found] == [(2, 30), (3, 0)]


def test_the_load_is_shown_by_hour_of_the_day_where_one_is() -> None:
    planned = simulate(stored(), {0: [1, 2, SLOTS - 1]}, start=MONDAY, until=MONDAY + 2 * DAY)
    assert load_per_hour(planned) == {2: (2, 4), 3: (2, 2)}
    assert load_per_hour(planned, "America/Sao_Paulo") == {0: (2, 2), 23: (2, 4)}


def test_a_pause_is_left_out_and_nothing_of_it_is_made_up_for() -> None:
    pause = Pause(reason="x", by="ann", since=MONDAY, until=MONDAY + DAY)
    planned = simulate(stored(pause), {0: [1]}, start=MONDAY, until=MONDAY + 2 * DAY)
    assert [one.due_at for one in planned] == [MONDAY + DAY + timedelta(hours=2)]
