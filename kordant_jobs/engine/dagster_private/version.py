"""The version of Dagster that this package was written for, and the folder of its home."""

import importlib.metadata
import os
from pathlib import Path

from dagster import DagsterInstance, DagsterRun
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from kordant_jobs.errors import SetupError

DAGSTER_VERSION = "1.13.27"


def check_dagster(wanted: str = DAGSTER_VERSION) -> None:
    """Refuse a Dagster version that this package was not written for.

    Raises:
        SetupError: another version is installed, or a class here has changed.
    """
    found = importlib.metadata.version("dagster")
    if found != wanted:
        raise SetupError(
            f"dagster {found} is installed, but the engine needs {wanted}: install the locked version, "
            "or set KORDANT_LAUNCHER=stock"
        )
    used = {
        InstanceRef: ("from_dir", "storage_data", "_replace"),
        DagsterInstance: ("from_ref", "run_storage", "event_log_storage", "schedule_storage", "add_event_listener"),
        ReconstructableJob: ("get_definition", "get_repository_definition"),
        DagsterRun: ("job_code_origin", "_replace"),
        LocalComputeLogManager: ("get_captured_local_path", "complete_artifact_path"),
    }
    for owner, names in used.items():
        for name in names:
            if not hasattr(owner, name):
                raise SetupError(
                    f"dagster {found} has no {owner.__name__}.{name}: the engine was written for another build; "
                    "install the locked one, or set KORDANT_LAUNCHER=stock"
                )


def dagster_home() -> Path:
    """The folder of DAGSTER_HOME.

    Raises:
        SetupError: it is unset.
    """
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home)
    raise SetupError("DAGSTER_HOME is unset: start through `kordant-jobs up`, or as `kordant-jobs dagster …`")


def run_files(home: Path) -> Path:
    """The folder where Dagster stores captured output and data between steps, one folder for each run, by default."""
    return home / "storage"
