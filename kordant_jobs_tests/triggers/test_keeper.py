"""The keeper starts each run that schedules missed, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import sqlalchemy as sa
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy import Engine

from kordant_jobs.engine.plugins import switched_off
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules import progress as schedule_progress
from kordant_jobs.triggers.keeper import GRACE, find_missed_starts
from kordant_jobs_tests.triggers.conftest import Subscribe, ended, under_way
from kordant_jobs_tests.triggers.test_tick import NET, PREMIUM, begin


def tags(requests: list[dg.RunRequest]) -> list[str]:
    return [request.tags["kordant/schedule"] for request in requests]


def since(db: Engine, key: tuple[str, str], back: timedelta) -> None:
    begin(db, key, datetime.now(UTC) - back)


def test_a_tick_that_was_missed_is_started_once(listed: Engine) -> None:
    """The row was never ticked by Dagster: a new schedule misses its first minute."""
    since(listed, NET, timedelta(hours=2))
    requests, cursor, _ = find_missed_starts(listed, 0)
    assert tags(requests) == ["notifications_send_schedule"]
    assert find_missed_starts(listed, cursor)[0] == []


def test_what_was_decided_comes_again_until_the_cursor_is_stored(listed: Engine) -> None:
    """The daemon died between our commit and its own."""
    since(listed, NET, timedelta(hours=2))
    first, cursor, _ = find_missed_starts(listed, 0)
    again, same, _ = find_missed_starts(listed, 0)
    assert ([one.run_key for one in again], same) == ([one.run_key for one in first], cursor)


def test_a_tick_of_just_now_is_left_to_dagster(listed: Engine) -> None:
    with listed.begin() as connection:
        connection.exec_driver_sql("UPDATE kordant.scheduler_config SET cron = '* * * * *' WHERE tier = 'all'")
    since(listed, NET, GRACE - timedelta(seconds=10))
    assert find_missed_starts(listed, 0)[0] == []


def test_what_an_earlier_run_held_back_starts_when_it_has_ended(listed: Engine, subscribe_many: Subscribe) -> None:
    ids = subscribe_many(30)
    since(listed, PREMIUM, timedelta(days=1))
    run = under_way(listed, "premium_darkwatch_scan")
    requests, cursor, _ = find_missed_starts(listed, 0)
    assert requests == []
    with listed.connect() as connection:
        assert schedule_progress.read(connection)[PREMIUM].held
    ended(listed, run)
    requests, _, _ = find_missed_starts(listed, cursor)
    named = [one for request in requests for one in request.run_config["ops"]["plan"]["config"]["subscription_ids"]]
    assert sorted(named) == sorted(map(str, ids))


def test_what_is_switched_off_in_dagsters_ui_is_neither_started_nor_overdue(listed: Engine) -> None:
    since(listed, NET, timedelta(hours=2))
    assert find_missed_starts(listed, 0, off_schedules={"notifications_send_schedule"})[0] == []
    assert find_missed_starts(listed, 0)[0] == [], "switched on again, it goes on from now"


def test_the_switch_is_read_from_dagster() -> None:
    with dg.instance_for_test() as instance:
        assert switched_off(instance) == set()
        for name, status in (("on", InstigatorStatus.RUNNING), ("off", InstigatorStatus.STOPPED)):
            origin = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="x")), "r")
            instigator = RemoteInstigatorOrigin(repository_origin=origin, instigator_name=name)
            instance.add_instigator_state(
                InstigatorState(instigator, InstigatorType.SCHEDULE, status, ScheduleInstigatorData("0 3 * * *"))
            )
        assert switched_off(instance) == {"off"}


def test_rows_that_a_lost_event_left_wrong_are_repaired(listed: Engine, subscribe_many: Subscribe) -> None:
    (subscription_id,) = subscribe_many(1, "basic")
    with listed.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.subscriptions SET tier = 'premium'"))
    _, _, repaired = find_missed_starts(listed, 0)
    assert repaired
    with listed.connect() as connection:
        assert {one.tier for one in due_slots.of_subscription(connection, subscription_id)} == {"premium"}
    assert find_missed_starts(listed, 0)[2] == 0
