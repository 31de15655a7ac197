"""The engine's classes, bound to the system on trial, as its Dagster instance names them."""

from kordant_jobs.engine.dagster_private import ServerStorage
from kordant_jobs.engine.plugins import HostRunLauncher, QuietComputeLogManager, RequestCoordinator
from kordant_jobs.lab.chaos.hosts.app import SYSTEM

ComputeLogs = QuietComputeLogManager


class Coordinator(RequestCoordinator):
    """Its run coordinator."""

    system = SYSTEM


class Launcher(HostRunLauncher):
    """Its run launcher."""

    system = SYSTEM


Storage = ServerStorage
"""Dagster's tables where the environment says."""
