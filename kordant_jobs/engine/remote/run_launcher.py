"""Dagster's run launcher for every value of KORDANT_LAUNCHER. On several hosts: how a run is stopped, and whether it is
alive."""

from collections.abc import Mapping
from typing import Any

from dagster import DagsterRun

from kordant_jobs.engine.dagster_private import (
    CheckRunHealthResult,
    ConfigurableClassData,
    RunLauncher,
    WorkerStatus,
)
from kordant_jobs.engine.launcher.run_launcher import WarmRunLauncher
from kordant_jobs.engine.remote.k8s import k8s_launcher
from kordant_jobs.engine.runs import CANCELED
from kordant_jobs.engine.store import host_rows
from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres.database import create_engine, saying_what_failed


class HostRunLauncher(WarmRunLauncher):
    """Dagster's run launcher. On one machine it is a WarmRunLauncher. On several hosts it notifies them through
    Postgres, and a run's lease shows whether it is alive: there the dispatcher ends dead runs, not Dagster's monitor.
    """

    @classmethod
    def from_config_value(  # type: ignore[override]  # Dagster's own is typed more widely
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> RunLauncher:
        """Dagster's hook: the launcher that KORDANT_LAUNCHER names."""
        settings = cls.system.settings()
        if settings.launcher == "k8s":
            return k8s_launcher(settings.k8s_launcher)
        return super().from_config_value(inst_data, config_value)

    @property
    def _on_hosts(self) -> bool:
        return self.system.settings().launcher == "celery"

    def terminate(self, run_id: str) -> bool:
        """Dagster's hook: have the host that runs it stop the run. False: there is nothing to terminate.

        Raises:
            DatabaseUnavailable: Postgres is away; nothing was stopped.
        """
        if not self._on_hosts:
            return super().terminate(run_id)
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        settings = self.system.settings()
        if settings.database_url is None:
            raise SettingsError("KORDANT_DATABASE_URL is unset: hosts are notified by Postgres to stop a run.")
        db = create_engine(settings.database_url, pool_size=1)
        try:
            with saying_what_failed(), db.begin() as connection:
                host_rows.stop_run(connection, run_id, cause=CANCELED, grace_s=settings.stop_grace_s)
        finally:
            db.dispose()
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Dagster's hook."""
        if not self._on_hosts:
            return super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING, "its lease says whether it lives")
