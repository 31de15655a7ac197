"""Who is served when: each once a day, week or month, whatever happens to ticks, clocks and edits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.cadence import (
    SLOTS,
    Decision,
    Position,
    Progress,
    Span,
    Start,
    decide,
    due_anchors,
    fresh_progress,
    next_due,
    period_of,
    position_at,
)
from kordant_jobs.domain.schedules.cron import Fold, Gap, occurrences
from kordant_jobs.domain.schedules.rows import Anchor, Cadence, CatchUp, Overlap, ScheduleRow

DAILY = ScheduleRow(job="darkwatch_scan", tier=Tier.PREMIUM, cadence=Cadence.DAILY, cron="*/15 2-5 * * *")
MONTHLY = replace(DAILY, cadence=Cadence.MONTHLY, tier=Tier.BASIC)
WEEKLY = replace(DAILY, cadence=Cadence.WEEKLY, tier=Tier.PLUS)
HOURLY = ScheduleRow(job="bank_sync", cron="0 * * * *")
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
BEGIN = datetime(2011, 1, 1, tzinfo=UTC)


def at(day: float, hour: float = 0.0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour)


def ticks(row: ScheduleRow, start: datetime, end: datetime) -> list[datetime]:
    return occurrences(row.cron, row.time_zone, after=start, until=end, gap=row.gap, fold=row.fold)


def run(row: ScheduleRow, progress: Progress, looks: list[datetime]) -> tuple[list[Start], Progress]:
    starts: list[Start] = []
    for moment in looks:
        decision = decide(row, progress, moment)
        starts += decision.starts
        progress = decision.progress
    return starts, progress


def served(starts: list[Start], anchor: int, slot: int) -> list[date]:
    """The days as which a subscription was served."""
    return [
        span.on for start in starts for span in start.spans if span.anchor == anchor and span.first <= slot < span.past
    ]


def test_a_days_subscriptions_are_shared_out_evenly_over_its_ticks() -> None:
    starts, _ = run(DAILY, fresh_progress(DAILY, at(0)), ticks(DAILY, at(0), at(1)))
    assert len(starts) == 16
    assert {span.past - span.first for start in starts for span in start.spans} == {SLOTS // 16}


def test_without_spread_all_come_at_the_first_tick() -> None:
    row = replace(DAILY, spread=False)
    starts, _ = run(row, fresh_progress(row, at(0)), ticks(row, at(0), at(1)))
    assert starts == [Start(due_at=at(0, 2), spans=(Span(on=MONDAY.date(), anchor=0, first=0, past=SLOTS),))]


@pytest.mark.parametrize("started", [date(2023, 12, 31), date(2024, 2, 29), date(2025, 4, 30), date(2025, 6, 1)])
def test_an_anniversary_comes_once_in_every_month(started: date) -> None:
    row = replace(MONTHLY, cron="0 2,14 * * *")
    anchor = started.day
    start = datetime(2024, 1, 1, tzinfo=UTC)
    starts, _ = run(row, fresh_progress(row, start), ticks(row, start, datetime(2027, 1, 1, tzinfo=UTC)))
    days = served(starts, anchor, 7)
    assert Counter((day.year, day.month) for day in days).most_common(1)[0][1] == 1
    assert len(days) == 36
    assert all(day.day == anchor or (day + timedelta(days=1)).day == 1 for day in days)


def test_the_31st_and_the_29th_of_february() -> None:
    assert due_anchors(MONTHLY, date(2026, 2, 28)) == (28, 29, 30, 31)
    assert due_anchors(MONTHLY, date(2028, 2, 29)) == (29, 30, 31)
    assert due_anchors(MONTHLY, date(2026, 4, 30)) == (30, 31)
    assert due_anchors(MONTHLY, date(2026, 12, 31)) == (31,)


def test_periods_of_one_subscription_touch() -> None:
    on = date(2027, 2, 28)
    for _ in range(14):
        start, end = period_of(MONTHLY, 31, on)
        assert end == on
        assert start < end
        assert 31 in due_anchors(MONTHLY, start)
        on = start
    assert period_of(replace(MONTHLY, anchor=Anchor.CALENDAR), 0, date(2026, 3, 1)) == (
        date(2026, 2, 1), date(2026, 3, 1),
    )  # fmt: skip
    assert period_of(replace(WEEKLY, anchor=Anchor.CALENDAR), 0, date(2026, 11, 16)) == (
        date(2026, 11, 9), date(2026, 11, 16),
    )  # fmt: skip


ZONES = ["UTC", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca", "Europe/Paris", "Pacific/Apia"]
CRONS = ["*/15 2-5 * * *", "0 2 * * *", "30 0-3 * * *", "*/30 * * * *"]


@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(CRONS),
    cadence=st.sampled_from([Cadence.DAILY, Cadence.WEEKLY, Cadence.MONTHLY]),
    gap=st.sampled_from(Gap),
    start=st.integers(0, 15 * 365 * 1440),
    steps=st.lists(st.integers(1, 60 * 50), min_size=1, max_size=30),
    other=st.sampled_from(CRONS),
    edit_at=st.integers(0, 30),
    subscription=st.tuples(st.integers(1, 31), st.integers(0, SLOTS - 1)),
)
@settings(max_examples=40)
def test_whatever_happens_everybody_due_is_served_exactly_once(
    zone: str,
    cron: str,
    cadence: Cadence,
    gap: Gap,
    start: int,
    steps: list[int],
    other: str,
    edit_at: int,
    subscription: tuple[int, int],
) -> None:
    """Looks at any moments, with an edit of the cron in between, under `all`: every due day once, none left behind."""
    row = replace(DAILY, time_zone=zone, cron=cron, cadence=cadence, gap=gap, catch_up=CatchUp.ALL)
    row = replace(row, catch_up_window_s=10 * 365 * 86_400)
    first = BEGIN + timedelta(minutes=start)
    progress = fresh_progress(row, first)
    begun = progress.position
    starts: list[Start] = []
    now = first
    for place, step in enumerate(steps):
        if place == edit_at:
            row = replace(row, cron=other)
        now += timedelta(minutes=step)
        decision = decide(row, progress, now)
        starts += decision.starts
        assert decision.progress.position >= progress.position
        progress = decision.progress
    anchor, slot = subscription
    anchor = {Cadence.DAILY: 0, Cadence.WEEKLY: (anchor - 1) % 7 + 1, Cadence.MONTHLY: anchor}[cadence]
    wanted = []
    on = begun.on
    while on <= progress.position.on:
        if anchor in due_anchors(row, on) and begun <= Position(on, slot) < progress.position:
            wanted.append(on)
        on += timedelta(days=1)
    assert served(starts, anchor, slot) == wanted


@given(
    cadence=st.sampled_from([Cadence.DAILY, Cadence.WEEKLY, Cadence.MONTHLY]),
    after=st.integers(0, 15 * 365 * 1440),
    slot=st.integers(0, SLOTS - 1),
    day=st.integers(1, 31),
)
@settings(max_examples=15)
def test_the_next_due_moment_is_when_it_is_served(cadence: Cadence, after: int, slot: int, day: int) -> None:
    row = replace(DAILY, cadence=cadence, cron="0 2,9,17 * * *")
    anchor = {Cadence.DAILY: 0, Cadence.WEEKLY: (day - 1) % 7 + 1, Cadence.MONTHLY: day}[cadence]
    now = BEGIN + timedelta(minutes=after)
    due = next_due(row, anchor, slot, now)
    assert due is not None
    progress = fresh_progress(row, now)
    for tick in ticks(row, now, due):
        decision = decide(row, progress, tick)
        progress = decision.progress
        assert bool(served(list(decision.starts), anchor, slot)) == (tick == due)


def outage(row: ScheduleRow, days: float = 3.0) -> Decision:
    """Up until Monday 12:00, then down; back `days` later, ten minutes after a tick."""
    _, progress = run(row, fresh_progress(row, at(0)), ticks(row, at(0), at(0, 12)))
    return decide(row, progress, at(days, 12.2))


def test_after_an_outage_nothing_of_it_runs_under_none() -> None:
    decision = outage(replace(DAILY, catch_up=CatchUp.NONE))
    assert decision.starts == ()
    assert len(decision.dropped) == 48
    assert decision.reason == "missed, and dropped as its catch-up says"


def test_after_an_outage_everybody_runs_once_under_latest() -> None:
    decision = outage(replace(DAILY, catch_up=CatchUp.LATEST))
    for slot in (0, 1, SLOTS // 2, SLOTS - 1):
        assert served(list(decision.starts), 0, slot) == [date(2026, 11, 19)]


def test_after_an_outage_every_day_runs_under_all_within_its_window() -> None:
    row = replace(DAILY, catch_up=CatchUp.ALL)
    assert served(list(outage(row).starts), 0, 5) == [date(2026, 11, day) for day in (17, 18, 19)]
    narrow = replace(row, catch_up_window_s=86_400)
    assert served(list(outage(narrow).starts), 0, 5) == [date(2026, 11, 19)]
    assert [start.due_at.day for start in outage(narrow).dropped] == [17] * 16 + [18] * 16


def test_an_outage_in_the_middle_of_a_day_is_picked_up_where_it_began() -> None:
    row = replace(DAILY, catch_up=CatchUp.LATEST)
    _, progress = run(row, fresh_progress(row, at(0)), [at(0, 2), at(0, 2.25)])
    (start,) = decide(row, progress, at(0, 4)).starts
    assert [(span.first, span.past) for span in start.spans] == [(SLOTS // 8, 9 * SLOTS // 16)]


@pytest.mark.parametrize(("policy", "count"), [(CatchUp.NONE, 0), (CatchUp.LATEST, 1), (CatchUp.ALL, 72)])
def test_a_whole_job_catches_up_as_configured(policy: CatchUp, count: int) -> None:
    decision = outage(replace(HOURLY, catch_up=policy))
    assert len(decision.starts) == count


def test_a_tick_looked_at_twice_starts_nothing_more() -> None:
    decision = decide(DAILY, fresh_progress(DAILY, at(0)), at(0, 2))
    assert decision.starts
    again = decide(DAILY, decision.progress, at(0, 2))
    assert (again.starts, again.progress) == ((), decision.progress)
    assert decide(DAILY, decision.progress, at(0, 1)).starts == (), "an older tick neither"


@pytest.mark.parametrize("row", [DAILY, HOURLY])
def test_overlap_skip_drops_and_allow_and_cancel_go_on(row: ScheduleRow) -> None:
    progress = fresh_progress(row, at(0, 1.5))
    skipped = decide(replace(row, overlap=Overlap.SKIP), progress, at(0, 2), busy=True)
    assert (skipped.starts, len(skipped.dropped)) == ((), 1)
    assert not decide(replace(row, overlap=Overlap.SKIP), skipped.progress, at(0, 2)).starts
    assert decide(replace(row, overlap=Overlap.ALLOW), progress, at(0, 2), busy=True).starts
    other = decide(replace(row, overlap=Overlap.CANCEL_OTHER), progress, at(0, 2), busy=True)
    assert other.starts
    assert other.cancel_earlier_runs


def test_queue_one_keeps_what_is_due_and_runs_it_as_one() -> None:
    row = replace(DAILY, overlap=Overlap.QUEUE_ONE, catch_up=CatchUp.NONE)
    progress = fresh_progress(row, at(0))
    for hour in (2, 2.25, 2.5):
        decision = decide(row, progress, at(0, hour), busy=True)
        assert not decision.starts
        assert decision.progress.held
        progress = decision.progress
    (start,) = decide(row, progress, at(0, 2.6)).starts
    assert [(span.first, span.past) for span in start.spans] == [(0, 3 * SLOTS // 16)]
    hourly = replace(HOURLY, overlap=Overlap.QUEUE_ONE)
    progress = fresh_progress(hourly, at(0, 0.5))
    for hour in (1, 2, 3):
        progress = decide(hourly, progress, at(0, hour), busy=True).progress
    free = decide(hourly, progress, at(0, 3.5))
    assert [start.due_at for start in free.starts] == [at(0, 3)]
    assert not decide(hourly, free.progress, at(0, 3.6)).starts


def test_queue_all_runs_each_after_the_other() -> None:
    for row, wanted in [
        (replace(HOURLY, overlap=Overlap.QUEUE_ALL), [at(0, 1), at(0, 2), at(0, 3)]),
        (replace(DAILY, overlap=Overlap.QUEUE_ALL, spread=False), [at(0, 2), at(1, 2), at(2, 2)]),
    ]:
        progress = fresh_progress(row, at(0, 0.5))
        for moment in wanted:
            progress = decide(row, progress, moment, busy=True).progress
        started = []
        for minute in range(1, 6):
            decision = decide(row, progress, wanted[-1] + timedelta(minutes=minute))
            started += [start.due_at for start in decision.starts]
            progress = decision.progress
            assert len(decision.starts) <= 1
        assert started == wanted


def test_a_day_that_the_zone_lost_is_served_when_it_goes_on() -> None:
    """Apia had no 30 December 2011."""
    for gap in Gap:
        row = replace(DAILY, time_zone="Pacific/Apia", gap=gap, cadence=Cadence.MONTHLY, fold=Fold.ONCE)
        start = datetime(2011, 12, 29, 0, tzinfo=UTC)
        starts, _ = run(row, fresh_progress(row, start), ticks(row, start, start + timedelta(days=4)))
        assert served(starts, 30, SLOTS // 2) == [date(2011, 12, 30)]


def test_the_position_never_goes_back() -> None:
    for zone in ZONES:
        row = replace(DAILY, time_zone=zone, cron="*/30 * * * *")
        moment, last = datetime(2011, 12, 1, tzinfo=UTC), Position(date(2011, 1, 1))
        for _ in range(2000):
            moment += timedelta(minutes=23)
            here = position_at(row, moment)
            assert here >= last, (zone, moment)
            last = here
