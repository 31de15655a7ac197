"""When Dagster's loops go on: at a wake-up, and of sensors those that wait for one."""

from __future__ import annotations

import threading
import time

from kordant_jobs.engine.daemon.loops import AT_MOST_EVERY_S, FALLBACK_S, FastSensorDaemon, WakeEvent
from kordant_jobs.engine.listen import WAKES

WOKEN = {WAKES: "events"}


def test_a_wait_ends_with_a_wake_up_and_not_when_dagster_would_have_ended_it() -> None:
    event = WakeEvent(30.0)
    threading.Timer(0.2, event.wake).start()
    began = time.monotonic()
    assert not event.wait(0.01)
    assert 0.1 < time.monotonic() - began < 20


def test_a_loop_that_is_asked_to_end_ends_after_its_wait() -> None:
    shutdown = threading.Event()
    event = WakeEvent(30.0).follow(shutdown)
    shutdown.set()
    event.wake()
    assert event.is_set()
    assert event.wait()


def test_a_wake_up_has_a_sensor_looked_at_that_waits_for_one() -> None:
    daemon = FastSensorDaemon({})
    daemon.event._woken_at = time.monotonic() - FALLBACK_S
    assert daemon._early(WOKEN, since_check_s=FALLBACK_S + 1)
    assert not daemon._early(WOKEN, since_check_s=FALLBACK_S - 1)  # it looked since


def test_a_wake_up_is_nothing_to_other_sensors() -> None:
    daemon = FastSensorDaemon({})
    daemon.event.wake()
    assert not daemon._early({}, since_check_s=1000)


def test_a_burst_of_wake_ups_is_one_look_a_second() -> None:
    daemon = FastSensorDaemon({})
    daemon.event.wake()
    assert not daemon._early(WOKEN, since_check_s=AT_MOST_EVERY_S / 2)
    assert daemon._early(WOKEN, since_check_s=AT_MOST_EVERY_S * 1.1)
