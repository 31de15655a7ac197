"""Dagster's schedules: declared from the last good copy, without a database; each looks at its row when it ticks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._serdes import serialize_value
from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME, SCHEDULES
from kordant_jobs.definitions import defs
from kordant_jobs.domain.schedules.cadence import Position, Progress
from kordant_jobs.domain.schedules.rows import StoredScheduleRow
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import progress as schedule_progress
from kordant_jobs.triggers import copy, price_list
from kordant_jobs.triggers.schedules import register_schedules, schedule_of
from kordant_jobs_tests.triggers.conftest import Subscribe, ended, under_way
from kordant_jobs_tests.triggers.test_tick import PREMIUM


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as one:
        yield one


def named(requests: list[dg.RunRequest]) -> list[str]:
    """The subscriptions that some runs are for."""
    return [one for request in requests for one in request.run_config["ops"]["plan"]["config"]["subscription_ids"]]


def owed(db: Engine) -> StoredScheduleRow:
    """The premium row, with everybody due since yesterday. (Schedules go by the database's clock.)"""
    now = datetime.now(UTC)
    with db.begin() as connection:
        yesterday = Position(now.date() - timedelta(days=1))
        schedule_progress.save(connection, PREMIUM, Progress(until=now - timedelta(minutes=1), position=yesterday))
        return price_list.read_row(connection, PREMIUM)


def tick(
    stored: StoredScheduleRow, db: Engine, instance: dg.DagsterInstance, moment: datetime
) -> tuple[list[dg.RunRequest], str | None]:
    """What Dagster gets from a schedule that strikes at `moment`."""
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=moment,
        resources={"db": db},
        repository_def=defs.get_repository_def(),
    )
    with context:
        answer = schedule_of(stored).evaluate_tick(context)
    serialize_value(answer)  # what the daemon does with it
    return list(answer.run_requests or ()), answer.skip_message


def test_the_schedules_page_reads_like_the_price_list(tmp_path: Path) -> None:
    found = {one.name: one for one in register_schedules(state=tmp_path)}
    assert {
        "basic_darkwatch_scan",
        "notifications_send_schedule",
        "plus_darkwatch_scan",
        "plus_reports_generate",
        "premium_darkwatch_scan",
        "premium_reports_generate",
    } <= set(found)
    assert set(found) == {row.name for row in SCHEDULES if row.job in BY_NAME}
    premium = found["premium_darkwatch_scan"]
    assert premium.description == "Premium: darkwatch_scan daily; new data at once"
    assert premium.tags == {"tier": "premium", "cadence": "daily", "realtime": "yes"}
    assert premium.default_status is dg.DefaultScheduleStatus.RUNNING
    assert premium.job_name == "darkwatch_scan"


def test_a_row_of_a_job_that_is_not_there_makes_no_schedule(listed: Engine) -> None:
    with listed.begin() as connection:
        rows = scheduler_config.load(connection).rows
    gone = replace(rows[0], row=replace(rows[0].row, job="palm_reading"))
    assert {one.job_name for one in register_schedules([gone, *rows[1:]])} <= set(BY_NAME)


def test_a_disabled_and_a_paused_row_stay_declared_with_their_reason(listed: Engine, tmp_path: Path) -> None:
    with listed.begin() as connection:
        price_list.change(connection, PREMIUM, {"enabled": False}, by="ann")
        price_list.pause(connection, ("reports_generate", "plus"), reason="new layout", until=None, by="ann")
        rows = scheduler_config.load(connection).rows
    found = {one.name: one for one in register_schedules(rows)}
    assert found["premium_darkwatch_scan"].tags["state"] == "disabled"
    assert (found["plus_reports_generate"].description or "").endswith("(paused: new layout)")


def test_the_copy_says_the_same_as_the_table(listed: Engine, tmp_path: Path) -> None:
    with listed.begin() as connection:
        price_list.pause(connection, PREMIUM, reason="x", until=datetime(2099, 1, 1, tzinfo=UTC), by="ann")
        rows = scheduler_config.load(connection).rows
    assert copy.write(tmp_path, rows)
    assert copy.read(tmp_path) == rows
    assert not copy.write(tmp_path, rows), "nothing changed"


@pytest.mark.parametrize("text", ["", "{", "[{}]", '[{"row": {"job": "x", "cron": "nonsense"}}]', "[1]"])
def test_a_copy_that_is_none_stops_no_import(tmp_path: Path, text: str) -> None:
    (tmp_path / copy.NAME).write_text(text)
    assert copy.read(tmp_path) == copy.seeded()


def test_a_tick_asks_for_runs_of_those_who_are_due_and_the_same_again_when_asked_again(
    listed: Engine, subscribe_many: Subscribe, instance: dg.DagsterInstance
) -> None:
    ids = subscribe_many(40)
    stored, now = owed(listed), datetime.now(UTC)
    asked, _ = tick(stored, listed, instance, now)
    assert sorted(named(asked)) == sorted(map(str, ids)), "each once"
    first = asked[0]
    assert first.job_name == "darkwatch_scan"
    assert first.tags["kordant/schedule"] == "premium_darkwatch_scan"
    assert first.tags["kordant/priority"] == "normal"
    again, _ = tick(stored, listed, instance, now)
    assert [(one.run_key, one.run_config) for one in again] == [(one.run_key, one.run_config) for one in asked]
    assert tick(stored, listed, instance, datetime.now(UTC)) == ([], "nothing is due at this tick")


def test_a_tick_that_starts_nothing_says_why(listed: Engine, instance: dg.DagsterInstance) -> None:
    stored = owed(listed)
    assert tick(stored, listed, instance, datetime.now(UTC))[1] == "no premium subscription is due at this tick"
    with listed.begin() as connection:
        price_list.pause(connection, PREMIUM, reason="the feed moves", until=None, by="ann")
    stored = owed(listed)
    assert tick(stored, listed, instance, datetime.now(UTC))[1] == "paused: the feed moves"


def test_a_run_that_is_under_way_holds_the_next_tick_back(
    listed: Engine, subscribe_many: Subscribe, instance: dg.DagsterInstance
) -> None:
    subscribe_many(40)
    stored = owed(listed)
    run = under_way(listed, "premium_darkwatch_scan")
    assert tick(stored, listed, instance, datetime.now(UTC))[1] == "its last run is still under way: waits for it"
    ended(listed, run)
    assert len(named(tick(stored, listed, instance, datetime.now(UTC))[0])) == 40
