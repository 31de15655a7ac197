"""Dagster's home and its tables."""

import os
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.dagster_home import prepare_dagster_home, prepare_storage
from kordant_jobs.errors import PermanentError
from kordant_jobs.instance import Coordinator, Launcher


def test_dagsters_home_holds_the_checkouts_settings_of_today(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    home = prepare_dagster_home(tmp_path, tmp_path / "state")
    (tmp_path / "dagster.yaml").write_text("nux: {enabled: false}\n", encoding="utf-8")
    assert prepare_dagster_home(tmp_path, tmp_path / "state") == home
    assert (home / "dagster.yaml").read_text(encoding="utf-8") == "nux: {enabled: false}\n"


def test_storage_that_cannot_be_made_is_one_line_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("nonsense: 1\n", encoding="utf-8")
    log = tmp_path / "logs" / "storage.log"
    with pytest.raises(PermanentError, match="nonsense") as raised:
        prepare_storage(tmp_path, os.environ, log)
    assert str(raised.value).endswith(f"see {log}")
    assert "\n" not in str(raised.value)


def test_the_projects_instance_settings_are_valid_and_retry_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KORDANT_DAGSTER_URL", "postgresql+psycopg2://nobody@localhost/none")
    reference = InstanceRef.from_dir(str(CHECKOUT))
    assert reference.settings["run_retries"] == {"enabled": False}, "the queue retries"
    assert reference.settings["telemetry"] == {"enabled": False}
    assert reference.run_coordinator_data
    assert reference.run_coordinator_data.class_name == "Coordinator"


@pytest.mark.parametrize(
    ("launcher", "coordinator", "starts"),
    [("warm", Coordinator, Launcher), ("stock", dg.QueuedRunCoordinator, dg.DefaultRunLauncher)],
)
def test_stock_gives_dagsters_own_coordinator_and_launcher_back(
    monkeypatch: pytest.MonkeyPatch, launcher: str, coordinator: type, starts: type
) -> None:
    monkeypatch.setenv("KORDANT_DAGSTER_URL", "postgresql+psycopg2://nobody@localhost/none")
    monkeypatch.setenv("KORDANT_LAUNCHER", launcher)
    reference = InstanceRef.from_dir(str(CHECKOUT))
    assert type(reference.run_coordinator) is coordinator
    assert type(reference.run_launcher) is starts
