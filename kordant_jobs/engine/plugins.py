"""The classes that Dagster's settings name, and the names that definitions need.

RequestCoordinator      Dagster's run coordinator: each run becomes a request; bound to a system by a subclass
HostRunLauncher         its run launcher, for every value of KORDANT_LAUNCHER
QuietComputeLogManager  its compute logs, without a process for each step
ServerStorage           its storage, on a server that is started or joined
database_resource       Postgres for ops: every transaction of a run proves that its work is still its own
switched_off            the schedules that were switched off by hand
HIDDEN                  the prefix of tags that the UI leaves out; `PRIORITY_TAG`, `SCHEDULE_TAG`
DAGSTER_VERSION         the version that the engine was written against
"""

from kordant_jobs.engine.dagster_private import DAGSTER_VERSION, ServerStorage, switched_off
from kordant_jobs.engine.launcher.compute_logs import QuietComputeLogManager
from kordant_jobs.engine.launcher.coordinator import RequestCoordinator
from kordant_jobs.engine.queue.given import PRIORITY_TAG, SCHEDULE_TAG
from kordant_jobs.engine.remote.run_launcher import HostRunLauncher
from kordant_jobs.engine.run_side import database_resource
from kordant_jobs.engine.runs import HIDDEN

__all__ = [
    "DAGSTER_VERSION",
    "HIDDEN",
    "PRIORITY_TAG",
    "SCHEDULE_TAG",
    "HostRunLauncher",
    "QuietComputeLogManager",
    "RequestCoordinator",
    "ServerStorage",
    "database_resource",
    "switched_off",
]
