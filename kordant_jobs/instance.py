"""What dagster.yaml names: the engine's run coordinator, run launcher and compute logs, bound to our system."""

from kordant_jobs.app import SYSTEM
from kordant_jobs.engine import QuietComputeLogManager, RequestCoordinator, WarmRunLauncher

__all__ = ["ComputeLogs", "Coordinator", "Launcher"]

ComputeLogs = QuietComputeLogManager
"""A step's output without a process a stream; in storage/ below DAGSTER_HOME."""


class Coordinator(RequestCoordinator):
    """Every run that Dagster submits becomes a request of our queue."""

    system = SYSTEM


class Launcher(WarmRunLauncher):
    """Runs start from the warm process."""

    system = SYSTEM
