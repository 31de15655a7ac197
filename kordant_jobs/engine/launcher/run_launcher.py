"""Dagster's run launcher in front of the warm process: for runs from the UI, schedules, sensors and backfills."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from dagster import DagsterRun

from kordant_jobs.engine.dagster_private import (
    CheckRunHealthResult,
    ConfigurableClass,
    ConfigurableClassData,
    DagsterLaunchFailedError,
    DefaultRunLauncher,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.runs import CANCELED, HIDDEN
from kordant_jobs.engine.system import System
from kordant_jobs.errors import TransientError

HOST_TAG = f"{HIDDEN}host"
"""The tag with the machine whose warm process has the run, written before the hand-over: no other machine knows the
run's state."""


class WarmRunLauncher(RunLauncher, ConfigurableClass):
    """Hands runs to the warm process of this machine's state folder.

    The warm process knows a run from before the hand-over is confirmed until its end is known, so that a health check
    in between never takes a starting run for a dead one. Resuming is not supported.
    """

    system: ClassVar[System]
    """The system that the launcher belongs to: a subclass sets it, and dagster.yaml names the subclass."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster's has no types

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The entry of dagster.yaml that configures this."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No config: our settings say where the warm process is."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # Dagster's own is typed more widely
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> RunLauncher:
        """Dagster's hook: this launcher, or Dagster's own with KORDANT_LAUNCHER=stock."""
        if cls.system.settings().launcher == "stock":
            return DefaultRunLauncher(inst_data=inst_data)
        return cls(inst_data=inst_data)

    @property
    def _socket(self) -> Path:
        return socket_path(self.system.settings().state_dir)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Dagster's hook for launches that bypass the queue. Dagster never calls it with our coordinator.

        Raises:
            DagsterLaunchFailedError: always; says what to do.
        """
        raise DagsterLaunchFailedError(  # type: ignore[no-untyped-call]  # Dagster's has no types
            "runs start from the queue: submit this one, or set KORDANT_LAUNCHER=stock for Dagster's own daemon"
        )

    def terminate(self, run_id: str) -> bool:
        """Dagster's hook: SIGTERM to the run, SIGKILL after the grace time. False: there is nothing to terminate."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        request = {"op": "stop", "run_id": run_id, "cause": CANCELED, "grace_s": self.system.settings().stop_grace_s}
        with suppress(TransientError):
            if ask(self._socket, request)["known"]:
                return True
        self._instance.report_engine_event("No warm process of this machine has this run.", run, cls=type(self))
        return False

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's hook: True, so that its monitor finds runs whose worker is gone."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Dagster's hook. A run that was not handed to a warm process of this machine (`dagster job execute`, another
        machine) counts as running, since only its own process knows its state. So does every run while the warm process
        restarts; the new one ends the runs that the old one left."""
        if run.tags.get(HOST_TAG) != socket.gethostname():
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not handed to the warm process of this machine")
        try:
            state = ask(self._socket, {"op": "status", "run_id": run.run_id})
        except TransientError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the warm process is restarting", transient=True)
        if state["state"] == "running":
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if state["state"] == "ended" and state["end"]["outcome"] == "success":
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "no process of this machine has this run any more")
