"""The engine's classes, bound to the system of the chaos test, as its Dagster instance names them."""

from kordant_jobs.engine.dagster_private import ServerStorage
from kordant_jobs.engine.launcher.compute_logs import QuietComputeLogManager
from kordant_jobs.engine.launcher.coordinator import RequestCoordinator
from kordant_jobs.engine.launcher.run_launcher import WarmRunLauncher
from kordant_jobs.lab.chaos.app import SYSTEM

ComputeLogs = QuietComputeLogManager


class Coordinator(RequestCoordinator):
    """Its run coordinator."""

    system = SYSTEM


class Launcher(WarmRunLauncher):
    """Its run launcher."""

    system = SYSTEM


Storage = ServerStorage
"""Dagster's tables where the environment says."""
