"""A release: what is refused, and a wheel that serves the demo where there is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest

from kordant_jobs.lab.documents import CHECKOUT
from kordant_jobs.lab.release import ReleaseError, build_wheel, released

PROJECT = 'version = "1.9.3"\n'
CHANGES = "# Changes\n\n## Unreleased\n\n### Added\n- A thing.\n\n## 1.9.3 (2026-01-01)\n- Another.\n"


@pytest.mark.parametrize("version", ["1.9.3", "1.9.2", "1.10", "v2.0.0", "2.0.0rc1", ""])
def test_only_a_higher_version_is_taken(version: str) -> None:
    with pytest.raises(ReleaseError, match=r"not a version above 1\.9\.3"):
        released(PROJECT, CHANGES, version, date(2026, 12, 1))


def test_numbers_are_compared_as_numbers() -> None:
    project, changes = released(PROJECT, CHANGES, "1.10.0", date(2026, 12, 1))
    assert project == 'version = "1.10.0"\n'
    assert "## Unreleased\n\n## 1.10.0 (2026-12-01)\n\n### Added\n- A thing.\n" in changes


def test_a_release_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ReleaseError, match="Unreleased"):
        released(PROJECT, "# Changes\n\n## Unreleased\n\n## 1.9.3\n- Another.\n", "2.0.0", date(2026, 12, 1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_serves_the_demo_outside_of_a_checkout(tmp_path: Path) -> None:
    wheel = build_wheel(CHECKOUT, tmp_path / "dist")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KORDANT_", "PYTEST_"))}
    environ |= {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path / "installed")}
    environ.pop("XDG_STATE_HOME", None)
    command = [sys.executable, "-P", "-m", "kordant_jobs", "demo", "--subscribers", "200", "--lines", "20000", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["missed"] == said["false_hits"] == 0 < said["planted"]
    assert said["title_frauds"]["missed"] == 0 < said["title_frauds"]["planted"]
    assert said["reports"]
    assert (tmp_path / ".local" / "state").is_dir()
    assert not (tmp_path / "installed" / ".state").exists()
