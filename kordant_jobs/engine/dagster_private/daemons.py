"""Dagster's daemons in a process of ours: how they run, and how often they evaluate sensors and check the code
server."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from dagster import DagsterInstance
from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import InstigatorState
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon import sensor as sensor_daemon
from dagster._daemon.controller import create_daemons_from_instance, daemon_controller_from_instance
from dagster._daemon.daemon import BackfillDaemon, DaemonIterator, MonitoringDaemon, SensorDaemon
from dagster._daemon.daemon import DagsterDaemon as _DagsterDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._grpc import server_watcher

from kordant_jobs.errors import TransientError

__all__ = [
    "BackfillDaemon",
    "DaemonIterator",
    "DagsterDaemon",
    "MonitoringDaemon",
    "QueuedRunCoordinatorDaemon",
    "SensorDaemon",
    "WorkspaceProcessContext",
    "check_early",
    "create_daemons_from_instance",
    "run_daemons",
]

DagsterDaemon: TypeAlias = _DagsterDaemon[WorkspaceProcessContext]

WATCH_S = 2.0
"""Seconds between two checks whether the code server was replaced. Dagster: 1 s, at 4 ms of CPU each."""
RECOVERY_S = 1.0
"""Seconds between attempts to reach a code server that was unreachable when the process began. Dagster: 10 s."""


def check_early(early: Callable[[Mapping[str, str], float], bool]) -> None:
    """Have this process evaluate sensors before their minimum interval is over, when `early` (a sensor's tags, seconds
    since the last evaluation) returns True."""
    usual = sensor_daemon.is_under_min_interval

    def is_under_min_interval(
        state: InstigatorState,
        remote_sensor: RemoteSensor,
        minimum_allowed_min_interval: int | None = None,
    ) -> bool:
        elapsed_s = sensor_daemon.get_elapsed(state)
        if elapsed_s is not None and early(remote_sensor.tags, elapsed_s):
            return False
        return usual(state, remote_sensor, minimum_allowed_min_interval)

    sensor_daemon.is_under_min_interval = is_under_min_interval


def run_daemons(
    instance: DagsterInstance,
    workspace: str,
    daemons: Callable[[DagsterInstance], Iterable[DagsterDaemon]],
    stop: threading.Event,
    wake_all: Callable[[], None],
) -> None:
    """Run daemons, each in a thread, until `stop`; their current rounds end first. `wake_all` ends their waits.

    Dagster's own loop also reads all definitions again every minute, half a second of CPU in which nothing else runs in
    the process. They change only when the code server reports it, and a thread of the workspace checks that.

    Raises:
        TransientError: a daemon's thread has ended.
    """
    server_watcher.WATCH_INTERVAL = WATCH_S  # type: ignore[assignment]  # a constant of Dagster's
    server_watcher.ERROR_RECOVERY_INTERVAL = RECOVERY_S  # type: ignore[assignment]  # a constant of Dagster's
    target = WorkspaceFileTarget([workspace])
    with daemon_controller_from_instance(
        instance, workspace_load_target=target, gen_daemons=daemons, log_level="warning"
    ) as controller:
        while not stop.wait(2.0):
            try:
                controller.check_daemon_threads()
            except Exception:  # noqa: BLE001 - a bare Exception is what Dagster raises
                raise TransientError("a daemon's thread has ended: see daemon.log; starting again") from None
        controller._daemon_shutdown_event.set()
        wake_all()
