"""Dagster's daemons, with waits that end early. Their work in each round is Dagster's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from dagster import DagsterInstance

from kordant_jobs.engine.dagster_private.daemons import (
    BackfillDaemon,
    DaemonIterator,
    DagsterDaemon,
    MonitoringDaemon,
    QueuedRunCoordinatorDaemon,
    SensorDaemon,
    check_early,
    create_daemons_from_instance,
)
from kordant_jobs.engine.listen import WAKES

FALLBACK_S = 20.0
"""The longest wait of sensors and backfills, a fallback for a lost notification. A round without work costs some
milliseconds of CPU. (Dagster waits 5 s and 30 s.)"""
AT_MOST_EVERY_S = 1.0
"""The shortest time between two evaluations in a burst of notifications: one costs 40 ms of CPU, all processes
together."""
MONITORING_S = 10.0
HOT_S, HOT_WAIT_S = 1.3, 0.2
"""For HOT_S after a wake-up the loop waits only HOT_WAIT_S, since an evaluation may have to wait until AT_MOST_EVERY_S
is over."""


class WakeEvent(threading.Event):
    """Dagster's shutdown event as a loop sees it: a wait lasts `longest_s`, whatever was requested, or until `wake`."""

    def __init__(self, longest_s: float, hot_s: float = 0.0) -> None:
        super().__init__()
        self._longest_s = longest_s
        self._hot_s = hot_s
        self._woken_at = -hot_s
        self._woken = threading.Event()
        self._shutdown = threading.Event()

    def follow(self, shutdown: threading.Event) -> WakeEvent:
        """Use this shutdown event as the real one."""
        self._shutdown = shutdown
        return self

    def is_set(self) -> bool:
        """True when the daemon should end."""
        return self._shutdown.is_set()

    def wake(self) -> None:
        """End the current wait, or the next one."""
        self._woken_at = time.monotonic()
        self._woken.set()

    def since_woken_s(self) -> float:
        """Seconds since `wake` was last called."""
        return time.monotonic() - self._woken_at

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a time of our own choice; True when the daemon should end."""
        self._woken.wait(HOT_WAIT_S if self.since_woken_s() < self._hot_s else self._longest_s)
        self._woken.clear()
        return self._shutdown.is_set()


class FastSensorDaemon(SensorDaemon):
    """Dagster's sensor daemon with our event: a wake-up has the sensors with the WAKES tag evaluated at once."""

    event = WakeEvent(FALLBACK_S, HOT_S)

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        check_early(self._early)
        yield from super().core_loop(workspace_process_context, self.event.follow(shutdown_event))

    def _early(self, tags: Mapping[str, str], since_check_s: float) -> bool:
        """True when the last evaluation was before the last wake-up, and longer ago than AT_MOST_EVERY_S."""
        return tags.get(WAKES) == "events" and since_check_s >= max(AT_MOST_EVERY_S, self.event.since_woken_s())


class FastBackfillDaemon(BackfillDaemon):
    """Dagster's backfill daemon with our event: a trigger on its table wakes it, also for its own next step."""

    event = WakeEvent(FALLBACK_S)

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        yield from super().core_loop(workspace_process_context, self.event.follow(shutdown_event))


class CalmMonitoringDaemon(MonitoringDaemon):
    """Dagster's check for runs that hang, less often."""

    event = WakeEvent(MONITORING_S)

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        yield from super().core_loop(workspace_process_context, self.event.follow(shutdown_event))


def wake_all() -> None:
    """End the waits of all these daemons."""
    for daemon in (FastSensorDaemon, FastBackfillDaemon, CalmMonitoringDaemon):
        daemon.event.wake()


def daemons(instance: DagsterInstance, own: Iterable[DagsterDaemon]) -> Iterable[DagsterDaemon]:
    """Dagster's daemons for this instance, with ours in place of its sensor, backfill and monitoring daemons, and then
    the daemons in `own`."""
    for daemon in create_daemons_from_instance(instance):
        if type(daemon) is SensorDaemon:
            yield FastSensorDaemon(instance.get_sensor_settings())
        elif type(daemon) is BackfillDaemon:
            yield FastBackfillDaemon(instance.get_backfill_settings())
        elif type(daemon) is QueuedRunCoordinatorDaemon:
            continue  # ours stands in its place: see dispatch.DispatchDaemon
        elif type(daemon) is MonitoringDaemon:
            yield CalmMonitoringDaemon(interval_seconds=instance.run_monitoring_poll_interval_seconds)
        else:
            yield daemon
    yield from own
