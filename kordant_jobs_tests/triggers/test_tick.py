"""A look at a row, on a real database: each subscription once, whoever looks, however often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine

from kordant_jobs.catalog import SCHEDULES
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.cadence import Position, Progress, next_due
from kordant_jobs.domain.schedules.cron import occurrences
from kordant_jobs.domain.schedules.rows import StartKind, StoredScheduleRow
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules import progress as schedule_progress
from kordant_jobs.triggers import price_list
from kordant_jobs.triggers.orders import payloads
from kordant_jobs.triggers.tick import RowCheck, StartDecision, decide_starts, overdue
from kordant_jobs_tests.triggers.conftest import Subscribe

PREMIUM = ("darkwatch_scan", "premium")
NET = ("notifications_send", "all")
FUTURE = datetime(2031, 11, 17, tzinfo=UTC)
"""A Monday that lies after every edit a test makes by the real clock."""


def at(day: float, hour: float = 0.0) -> datetime:
    return FUTURE + timedelta(days=day, hours=hour)


def begin(db: Engine, key: tuple[str, str], moment: datetime) -> StoredScheduleRow:
    """Have nothing be owed before `moment`."""
    with db.begin() as connection:
        schedule_progress.save(connection, key, Progress(until=moment, position=Position(moment.date())))
        return price_list.read_row(connection, key)


def check(
    db: Engine, key: tuple[str, str], moment: datetime, *, busy: bool = False, late_s: float = 0.5
) -> StartDecision:
    one = RowCheck(key=key, source=f"tick {moment.isoformat()}", tick_at=moment)
    return decide_starts(db, one, busy=lambda: busy, now=moment + timedelta(seconds=late_s))


def served(taken: Sequence[StartDecision]) -> Counter[UUID]:
    return Counter(UUID(one) for each in taken for start in each.starts for ids in start.served.values() for one in ids)


def night(stored: StoredScheduleRow, day: float, days: float = 1) -> list[datetime]:
    row = stored.row
    return occurrences(row.cron, row.time_zone, after=at(day), until=at(day + days))


def test_every_premium_subscription_is_served_once_a_night_over_sixteen_ticks(
    listed: Engine, subscribe_many: Subscribe
) -> None:
    ids = subscribe_many(200)
    stored = begin(listed, PREMIUM, at(0))
    taken = [check(listed, PREMIUM, tick) for tick in night(stored, 0)]
    assert served(taken) == Counter(ids)
    assert sum(bool(one.starts) for one in taken) > 12


def test_a_tick_looked_at_again_gives_the_same_starts_and_no_more(listed: Engine, subscribe_many: Subscribe) -> None:
    """The daemon died between our commit and its own: it asks again."""
    ids = subscribe_many(100)
    begin(listed, PREMIUM, at(0))
    first, again = (check(listed, PREMIUM, at(0, 4)) for _ in range(2))
    assert first.starts
    assert again.starts == first.starts
    assert len(served([first])) < len(ids)
    later = check(listed, PREMIUM, at(0, 4.25))
    assert not set(served([later])) & set(served([first]))


def test_another_tick_of_the_same_moment_gets_nothing(listed: Engine, subscribe_many: Subscribe) -> None:
    subscribe_many(20)
    begin(listed, PREMIUM, at(0))
    assert check(listed, PREMIUM, at(0, 5.75)).starts
    other = decide_starts(listed, RowCheck(key=PREMIUM, source="keeper"), busy=lambda: False, now=at(0, 5.76))
    assert (other.starts, other.reason) == ((), "nothing is due at this tick")


def test_an_edited_cron_does_not_fire_for_a_past_time(listed: Engine) -> None:
    """dagster#13597: after an edit the new cron's last moment before it comes as a tick."""
    begin(listed, NET, datetime.now(UTC) - timedelta(hours=30))
    with listed.begin() as connection:
        saved = price_list.change(connection, NET, {"cron": "0 1 * * *"}, by="ann")
    past = occurrences("0 1 * * *", "UTC", after=saved.changed_at - timedelta(days=1), until=saved.changed_at)[0]
    taken = decide_starts(listed, RowCheck(key=NET, source="tick", tick_at=past), busy=lambda: False)
    assert taken.starts == ()
    assert "older than the edit by ann" in taken.reason
    assert decide_starts(listed, RowCheck(key=NET, source="keeper"), busy=lambda: False).starts == (), (
        "nor is it made up for"
    )


def test_a_definition_that_is_not_reloaded_yet_starts_nothing(listed: Engine) -> None:
    stale = begin(listed, NET, at(0))
    with listed.begin() as connection:
        price_list.change(connection, NET, {"cron": "7 * * * *"}, by="ann")
    tick = RowCheck(key=NET, source="tick", tick_at=at(0, 1), loaded=stale.row)
    taken = decide_starts(listed, tick, busy=lambda: False, now=at(0, 1))
    assert (taken.starts, taken.reason) == ((), "the schedule was changed by ann and is being loaded again")


def test_a_disabled_or_paused_row_starts_nothing_and_has_nothing_overdue(
    listed: Engine, subscribe_many: Subscribe
) -> None:
    subscribe_many(50)
    stored = begin(listed, PREMIUM, at(0))
    with listed.begin() as connection:
        until = at(1, 12)
        price_list.pause(connection, PREMIUM, reason="the feed moves", until=until, by="ann")
    taken = [check(listed, PREMIUM, tick) for tick in night(stored, 0, 2)]
    assert served(taken) == Counter()
    assert {one.reason for one in taken} == {"paused until 2031-11-18 12:00 UTC: the feed moves"}
    assert len(served([check(listed, PREMIUM, tick) for tick in night(stored, 2)])) == 50
    with listed.begin() as connection:
        price_list.change(connection, PREMIUM, {"enabled": False}, by="ann")
        assert not due_slots.places(connection, PREMIUM)
    assert check(listed, PREMIUM, at(3, 3)).reason == "disabled"


def test_what_passed_while_a_pause_held_is_not_overdue_even_if_nothing_ran_then(
    listed: Engine, subscribe_many: Subscribe
) -> None:
    subscribe_many(10)
    begin(listed, PREMIUM, at(0))
    with listed.begin() as connection:
        price_list.pause(connection, PREMIUM, reason="why", until=at(2, 1), by="ann")
    taken = check(listed, PREMIUM, at(2, 5.75))
    assert served([taken]) == Counter(dict.fromkeys(served([taken]), 1))
    assert {on for one in taken.starts for on, _ in one.served} == {at(2).date()}


def test_a_row_that_is_gone_starts_nothing(listed: Engine) -> None:
    assert check(listed, ("nothing", "all"), at(0)).reason == "there is no such row any more"


def test_an_earlier_run_holds_the_tick_back_until_it_ends(listed: Engine, subscribe_many: Subscribe) -> None:
    ids = subscribe_many(80)
    stored = begin(listed, PREMIUM, at(0))
    held = [check(listed, PREMIUM, tick, busy=True) for tick in night(stored, 0)]
    assert served(held) == Counter()
    with listed.connect() as connection:
        progress = schedule_progress.read(connection)[PREMIUM]
    assert overdue(stored, progress, at(0, 6))
    free = decide_starts(listed, RowCheck(key=PREMIUM, source="keeper"), busy=lambda: False, now=at(0, 6))
    assert served([free]) == Counter(ids)


def test_what_was_dropped_is_on_record(listed: Engine, subscribe_many: Subscribe) -> None:
    subscribe_many(10)
    with listed.begin() as connection:
        price_list.change(connection, PREMIUM, {"catch_up": "none"}, by="ann")
    begin(listed, PREMIUM, at(0))
    assert check(listed, PREMIUM, at(3, 12)).starts == ()
    with listed.connect() as connection:
        dropped = schedule_progress.recorded(connection, key=PREMIUM, kind=StartKind.DROPPED)
    assert len(dropped) == 4 * 16


def test_runs_name_those_who_are_due_and_reports_their_period(listed: Engine, subscribe_many: Subscribe) -> None:
    ids = subscribe_many(30)
    begin(listed, PREMIUM, at(0))
    (start,) = check(listed, PREMIUM, at(0, 5.75)).starts
    (scan,) = payloads(begin(listed, PREMIUM, at(1)).row, start)
    assert set(scan.run_config([scan])["ops"]["plan"]["config"]["subscription_ids"]) == {str(one) for one in ids}
    weekly = ("reports_generate", "premium")
    stored = begin(listed, weekly, at(0))
    (start,) = check(listed, weekly, at(0, 8.5)).starts
    (report,) = payloads(stored.row, start)
    facts = report.model_dump(mode="json")
    assert (facts["kind"], facts["period_start_on"], facts["period_end_on"]) == ("weekly", "2031-11-10", "2031-11-17")


def test_an_edit_in_the_middle_of_a_night_serves_no_one_twice_and_forgets_no_one(
    listed: Engine, subscribe_many: Subscribe
) -> None:
    ids = subscribe_many(150)
    stored = begin(listed, PREMIUM, at(0))
    before = [check(listed, PREMIUM, tick) for tick in night(stored, 0)[:5]]
    with listed.begin() as connection:
        price_list.change(connection, PREMIUM, {"cron": "0 20,21 * * *"}, by="ann")
    after = [check(listed, PREMIUM, at(0, hour)) for hour in (20, 21)]
    assert served([*before, *after]) == Counter(ids)


def test_the_next_due_moment_is_known(listed: Engine, subscribe_many: Subscribe) -> None:
    (subscription_id,) = subscribe_many(1, "basic")
    with listed.connect() as connection:
        slots = due_slots.of_subscription(connection, subscription_id)
        (slot,) = [one for one in slots if one.job == "darkwatch_scan"]
        row = price_list.read_row(connection, ("darkwatch_scan", "basic")).row
    due = next_due(row, slot.anchor, slot.slot, datetime(2026, 2, 1, tzinfo=UTC))
    assert due is not None
    assert due.date().isoformat() == "2026-02-28", "the 31st of a month that has none"


@pytest.mark.parametrize("kind", ["cron", "time_zone"])
def test_a_row_made_invalid_by_sql_is_reported_and_stops_no_other(listed: Engine, kind: str) -> None:
    with listed.begin() as connection:
        connection.exec_driver_sql(f"UPDATE kordant.scheduler_config SET {kind} = 'nonsense' WHERE tier = 'plus'")
    with listed.connect() as connection:
        loaded = scheduler_config.load(connection)
    wrong = sum(row.tier is Tier.PLUS for row in SCHEDULES)
    assert len(loaded.problems) == wrong
    assert "plus" in loaded.problems[0]
    assert len(loaded.rows) == len(SCHEDULES) - wrong
