"""The daemon is down for three days, under a fake clock: what then runs equals what the simulator said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from kordant_jobs.domain.schedules.simulation import Planned, check_moments, simulate
from kordant_jobs.lab.engine import FakeClock
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules import progress as schedule_progress
from kordant_jobs.triggers import price_list
from kordant_jobs.triggers.tick import RowCheck, decide_starts
from kordant_jobs_tests.triggers.conftest import Subscribe
from kordant_jobs_tests.triggers.test_tick import FUTURE, at, begin

OUTAGE = (at(1, 2.3), at(4, 9.1))
"""From the middle of a night to a morning: nights are lost whole and in part."""

KEYS = [
    ("darkwatch_scan", "premium"),
    ("darkwatch_scan", "plus"),
    ("darkwatch_scan", "basic"),
    ("reports_generate", "premium"),
    ("notifications_send", "all"),
]


@pytest.mark.parametrize("policy", ["none", "latest", "all"])
@pytest.mark.parametrize("key", KEYS, ids=" ".join)
def test_what_runs_after_an_outage_is_what_the_simulator_said(
    listed: Engine, subscribe_many: Subscribe, key: tuple[str, str], policy: str
) -> None:
    for day in range(1, 29, 7):
        subscribe_many(5, key[1] if key[1] != "all" else "basic", started_at=FUTURE.replace(year=2024, day=day))
    with listed.begin() as connection:
        sparser = {"cron": "0 */6 * * *"} if key[1] == "all" else {"cron": "0 2,4,8 * * *"}
        price_list.change(connection, key, {"catch_up": policy, "overlap": "queue_one", **sparser}, by="ann")
    stored = begin(listed, key, FUTURE)
    with listed.connect() as connection:
        places = due_slots.places(connection, key)
        progress = schedule_progress.read(connection)[key]
    end = at(9)
    said = simulate(stored, places, start=FUTURE, until=end, outages=[OUTAGE], progress=progress)

    clock = FakeClock(FUTURE)
    ran: list[Planned] = []
    for moment in check_moments(stored.row, FUTURE, end, [OUTAGE]):
        clock.advance_to(moment)
        source = RowCheck(key=key, source=f"tick {moment.isoformat()}", tick_at=moment)
        taken = decide_starts(listed, source, busy=lambda: False, now=clock.now())
        for one in taken.starts:
            whom = sum(map(len, one.served.values())) if one.start.spans else None
            ran.append(
                Planned(
                    name=stored.row.name,
                    job=key[0],
                    due_at=one.start.due_at,
                    starts_at=clock.now(),
                    subscriptions=whom,
                )
            )
    assert ran == said
    lost = [one for one in ran if OUTAGE[0] <= one.due_at < OUTAGE[1] - timedelta(minutes=5)]
    if key in KEYS[::4]:
        assert len(lost) == {"none": 0, "latest": 1, "all": 13 if key == KEYS[-1] else 4}[policy]
