"""Dagster's daemons, with waits that end early. What they do in a round is Dagster's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from dagster import DagsterInstance

from kordant_jobs.engine.dagster_private import (
    BackfillDaemon,
    DaemonIterator,
    DagsterDaemon,
    QueuedRunCoordinatorDaemon,
    SensorDaemon,
    create_daemons_from_instance,
)

SENSOR_WAIT_S = 5.0
"""As long as Dagster waits: a sensor's look costs 40 ms of CPU, of all processes together. A notification that there
is something to see (`kordant_events`) ends the wait."""
BACKFILL_WAIT_S = 2.0
"""Dagster waits 30 s."""
QUEUE_WAIT_S = 5.0
"""A fallback only: the trigger on Dagster's runs wakes the queue."""
HOT_S, HOT_WAIT_S = 2.5, 0.2
"""After a wake-up a sensor's own minimum interval may hold it back: try again soon, for this long."""


class WakeEvent(threading.Event):
    """Dagster's shutdown event as a loop sees it: waits are at most `longest_s`, and end early on `wake`."""

    def __init__(self, longest_s: float, hot_s: float = 0.0) -> None:
        super().__init__()
        self._longest_s = longest_s
        self._hot_s = hot_s
        self._hot_until = 0.0
        self._woken = threading.Event()
        self._shutdown = threading.Event()

    def follow(self, shutdown: threading.Event) -> WakeEvent:
        """Stand for this shutdown event."""
        self._shutdown = shutdown
        return self

    def is_set(self) -> bool:
        """Whether the daemon shall end."""
        return self._shutdown.is_set()

    def wake(self) -> None:
        """End the wait that is on, or the next one."""
        self._hot_until = time.monotonic() + self._hot_s
        self._woken.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the daemon shall end, after a wait that may be shorter than asked for."""
        wait_s = self._longest_s if timeout is None else min(timeout, self._longest_s)
        if time.monotonic() < self._hot_until:
            wait_s = min(wait_s, HOT_WAIT_S)
        self._woken.wait(wait_s)
        self._woken.clear()
        return self._shutdown.is_set()


class FastSensorDaemon(SensorDaemon):
    """Dagster's sensor daemon on our event."""

    event = WakeEvent(SENSOR_WAIT_S, HOT_S)

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        yield from super().core_loop(workspace_process_context, self.event.follow(shutdown_event))


class FastBackfillDaemon(BackfillDaemon):
    """Dagster's backfill daemon on our event."""

    event = WakeEvent(BACKFILL_WAIT_S)

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        yield from super().core_loop(workspace_process_context, self.event.follow(shutdown_event))


class FastQueueDaemon(QueuedRunCoordinatorDaemon):
    """Dagster's queue, a round a wake-up: something was queued, or ended and made room."""

    event = WakeEvent(QUEUE_WAIT_S)

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        event = self.event.follow(shutdown_event)
        while True:
            yield from self.run_iteration(workspace_process_context)
            event.wait()
            yield None


def daemons(instance: DagsterInstance, own: Iterable[DagsterDaemon]) -> Iterable[DagsterDaemon]:
    """The daemons that this instance needs, fast where Dagster's waits are long, and our own ones."""
    for daemon in create_daemons_from_instance(instance):
        if type(daemon) is SensorDaemon:
            yield FastSensorDaemon(instance.get_sensor_settings())
        elif type(daemon) is BackfillDaemon:
            yield FastBackfillDaemon(instance.get_backfill_settings())
        elif type(daemon) is QueuedRunCoordinatorDaemon:
            yield FastQueueDaemon(interval_seconds=QUEUE_WAIT_S)
        else:
            yield daemon
    yield from own
