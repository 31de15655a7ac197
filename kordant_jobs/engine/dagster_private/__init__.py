"""The one package that touches Dagster's private classes. Dagster is pinned exactly; `check_dagster` fails loudly when
an upgrade, or another version on this machine, does not have what is used here.

version      which Dagster this is for, and its home
storage      Dagster's storage on one pool, instances on it, and the switches of schedules in the UI
event_log    its event log, in fewer and larger writes
execution    one run in this process, and the end of a run whose worker is gone
run_factory  runs made from snapshots that were asked for once
daemons      Dagster's daemons, with waits of ours
code_server  Dagster's code server, with fewer heartbeats
"""

from dagster._core.errors import DagsterExecutionInterruptedError, DagsterLaunchFailedError
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils.interrupts import capture_interrupts

from kordant_jobs.engine.dagster_private.event_log import PooledEventLogStorage
from kordant_jobs.engine.dagster_private.execution import (
    cancel,
    end_if_unfinished,
    execute,
    fail,
    load_definitions,
    queued_again,
    start_given,
    warm_up_run,
)
from kordant_jobs.engine.dagster_private.run_factory import RunFactory, RunTemplates
from kordant_jobs.engine.dagster_private.storage import (
    PooledRunStorage,
    PooledStorage,
    ServerStorage,
    flush,
    make_tables,
    open_instance,
    open_instance_with_tables,
    pool_of,
    storage_url,
    switched_off,
)
from kordant_jobs.engine.dagster_private.version import DAGSTER_VERSION, check_dagster, dagster_home, run_files

__all__ = [
    "DAGSTER_VERSION",
    "CapturedLogContext",
    "CheckRunHealthResult",
    "ComputeIOType",
    "ConfigurableClass",
    "ConfigurableClassData",
    "DagsterExecutionInterruptedError",
    "DagsterLaunchFailedError",
    "DefaultRunLauncher",
    "LaunchRunContext",
    "LocalComputeLogManager",
    "PooledEventLogStorage",
    "PooledRunStorage",
    "PooledStorage",
    "RunFactory",
    "RunLauncher",
    "RunTemplates",
    "ServerStorage",
    "SubmitRunContext",
    "WorkerStatus",
    "cancel",
    "capture_interrupts",
    "check_dagster",
    "dagster_home",
    "end_if_unfinished",
    "execute",
    "fail",
    "flush",
    "load_definitions",
    "make_tables",
    "open_instance",
    "open_instance_with_tables",
    "pool_of",
    "queued_again",
    "run_files",
    "start_given",
    "storage_url",
    "switched_off",
    "warm_up_run",
]
