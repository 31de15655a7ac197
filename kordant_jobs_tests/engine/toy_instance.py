"""What the instance of the toys names: the engine's classes, bound to its system."""

from kordant_jobs.engine.dagster_private import ServerStorage
from kordant_jobs.engine.launcher.compute_logs import QuietComputeLogManager
from kordant_jobs.engine.launcher.coordinator import RequestCoordinator
from kordant_jobs.engine.remote.run_launcher import HostRunLauncher
from kordant_jobs_tests.engine.toy_app import SYSTEM

ComputeLogs = QuietComputeLogManager


class Coordinator(RequestCoordinator):
    """Its run coordinator."""

    system = SYSTEM


class Launcher(HostRunLauncher):
    """Its run launcher."""

    system = SYSTEM


Storage = ServerStorage
"""Dagster's tables where the environment says."""
