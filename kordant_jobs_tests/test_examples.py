"""The examples run, and show what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.brokers.lists import read_broker_list
from kordant_jobs.adapters.counties import open_counties
from kordant_jobs.adapters.counties.description import read_file
from kordant_jobs.adapters.voice.detectors import HttpDetector
from kordant_jobs.adapters.voice.models.files import read_manifest
from kordant_jobs.catalog import CATALOG
from kordant_jobs.engine.store import requests
from kordant_jobs.lab.documents import CHECKOUT
from kordant_jobs.settings import Settings

EXAMPLES = CHECKOUT / "examples"


def run(name: str, *words: str) -> str:
    command = [sys.executable, "-P", str(EXAMPLES / name), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain_url(db: Engine) -> str:
    return db.url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_request_is_there_with_the_apps_rows_or_not_at_all(db: Engine) -> None:
    with db.begin() as connection:
        requests.sync_catalogue(connection, CATALOG)
    said = run("enqueue_in_a_transaction.py", plain_url(db)).splitlines()
    assert said[0].startswith("committed: 1 request")
    assert said[1] == "rolled back: 0 requests"
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT entity_key FROM kordant.job_requests")).scalars().all() == ["1"]


def test_a_job_of_ones_own_runs(db: Engine) -> None:
    assert run("add_a_job.py", plain_url(db)).strip().endswith("{'pending': 0, 'dead': 0}")


def test_a_county_of_ones_own_is_understood_whole(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "drop" / "elmore"
    folder.mkdir(parents=True)
    (folder / "deeds-2026-11.csv").write_bytes((EXAMPLES / "add_a_county" / "deeds-2026-11.csv").read_bytes())
    county = read_file(EXAMPLES / "add_a_county" / "elmore.yaml")
    reader = open_counties(settings.model_copy(update={"county_drop_dir": tmp_path / "drop"})).reader(county)
    made = reader.sample(20, today=date(2026, 11, 20))
    assert not made.problems
    events = [one.instrument.event.value for one in made.documents]
    assert events == ["ownership_change", "mortgage", "ownership_change", "release"]


def test_brokers_of_ones_own_are_read_whole() -> None:
    read = read_broker_list((EXAMPLES / "add_a_broker" / "brokers.yaml").read_bytes())
    assert [row.name for row in read.rows] == ["Find A Friend", "Friend Mirror", "Dados Brasil"]
    assert not read.skipped


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "manifest.json"
    command = [sys.executable, "-P", str(EXAMPLES / "plug_in_a_detector.py"), "0", str(path)]
    with subprocess.Popen(command, cwd=CHECKOUT) as server:
        try:
            while not path.exists() or not path.read_text("utf-8").endswith("}"):
                with pytest.raises(subprocess.TimeoutExpired):
                    server.wait(0.02)
            yield path
        finally:
            server.terminate()


def test_a_detector_of_ones_own_is_asked(manifest: Path) -> None:
    detector = HttpDetector(read_manifest(manifest))
    told = json.loads(manifest.read_text("utf-8"))
    steady, broken = np.ones(told["window_samples"], np.float32), np.zeros(told["window_samples"], np.float32)
    broken[: len(broken) // 2] = 1
    scores = detector.scores(np.stack([steady, broken]))
    assert scores[0] < scores[1]
