"""One pod for each run, by Dagster's own K8sRunLauncher. The queue decides when a run starts, the catalogue its size,
the lease its lifetime.

A pod costs seconds of CPU to start (3.6 s where this was measured), so this is for long runs.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dagster import DagsterInstance

from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.dagster_private import LaunchRunContext, RunLauncher
from kordant_jobs.engine.launcher.run import CAUSE_TAG, limits_of
from kordant_jobs.engine.remote.starter import LOST_HOST
from kordant_jobs.engine.requests import Cause
from kordant_jobs.engine.runs import CANCELED, LOST, RunIsOver, RunOrder
from kordant_jobs.errors import SettingsError, TransientError

POD_TAG = "dagster-k8s/config"
DEADLINE_EXTRA_S = 60
"""Seconds beyond the run's own limit for the pod to be scheduled, to pull its image, and to record its end."""


def k8s_launcher(config: Mapping[str, Any]) -> RunLauncher:
    """Dagster's launcher with this config.

    Raises:
        SettingsError: dagster-k8s is not installed, or does not take the config.
    """
    try:
        from dagster import Field
        from dagster._config import process_config
        from dagster_k8s import K8sRunLauncher
    except ImportError:
        raise SettingsError(
            "dagster-k8s is not installed: install the extra `k8s` (pip install -r requirements-hosts.lock), or set "
            "KORDANT_LAUNCHER=warm."
        ) from None
    fields = K8sRunLauncher.config_type()  # type: ignore[no-untyped-call]  # Dagster's has no types
    checked = process_config(Field(fields).config_type, dict(config))
    if not checked.success or checked.value is None:
        words = "; ".join(error.message for error in checked.errors or [])
        raise SettingsError(f"KORDANT_K8S_LAUNCHER is no config of K8sRunLauncher: {words[:300]}")
    made: RunLauncher = K8sRunLauncher.from_config_value(None, checked.value)  # type: ignore[no-untyped-call]
    return made


def pod_config(limits: Mapping[str, float]) -> dict[str, Any]:
    """The pod of a run with these limits: all of its memory as request and limit, and its deadline. CPU time has no
    counterpart.

    >>> pod_config({"memory": 2048, "timeout": 300})["job_spec_config"]
    {'active_deadline_seconds': 360}
    """
    config: dict[str, Any] = {}
    if memory_mb := limits.get(Cause.MEMORY):
        memory = f"{round(memory_mb)}Mi"
        config["container_config"] = {"resources": {"limits": {"memory": memory}, "requests": {"memory": memory}}}
    if wall_s := limits.get(Cause.TIMEOUT):
        config["job_spec_config"] = {"active_deadline_seconds": round(wall_s) + DEADLINE_EXTRA_S}
    return config


class PodStarter:
    """Starts a pod for every run (a RunStarter). Only the thread that dispatches may use it."""

    def __init__(self, instance: DagsterInstance, factory: dagster_private.RunFactory) -> None:
        self._instance = instance
        self._factory = factory

    def ready(self) -> bool:
        """True when runs can be created."""
        return self._factory.ready()

    def start(self, order: RunOrder) -> None:
        """Start a pod for the run.

        Raises:
            TransientError: the cluster or the code server does not answer.
            PermanentError: no such job, or not its config.
            RunIsOver: it was there, and has ended.
        """
        pod = json.dumps(pod_config(limits_of(order.tags)))
        order = replace(order, tags={POD_TAG: pod, **order.tags})
        if order.is_there:
            run = dagster_private.start_given(self._instance, order.run_id, order.tags)
        else:
            run = self._factory.create(order)
        if run is None:
            raise RunIsOver
        try:
            self._instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        except Exception as error:  # noqa: BLE001 - the client's errors have no common base
            if order.is_there:
                dagster_private.queued_again(self._instance, run)
            else:
                dagster_private.fail(self._instance, run.run_id, f"No pod was made: {type(error).__name__}", {})
            raise TransientError(
                f"the cluster made no pod ({type(error).__name__}): see KORDANT_K8S_LAUNCHER"
            ) from None

    def stop(self, run_id: str, *, cause: str) -> None:
        """Delete the run's pod. A lost run is failed here, since its node may be gone.

        Raises:
            TransientError: the cluster does not answer.
        """
        if cause == CANCELED:
            dagster_private.cancel(self._instance, run_id)
        try:
            self._instance.run_launcher.terminate(run_id)
        except Exception as error:  # noqa: BLE001 - as above
            raise TransientError(f"the cluster does not answer ({type(error).__name__})") from None
        finally:
            if cause == LOST:
                dagster_private.fail(self._instance, run_id, LOST_HOST, {CAUSE_TAG: LOST})
