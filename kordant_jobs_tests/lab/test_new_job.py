"""A new job runs as it is written, in a copy of the product."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from kordant_jobs.errors import KordantError
from kordant_jobs.lab.documents import CHECKOUT
from kordant_jobs.lab.new_job import FILES, NEXT, words_of, write_job
from kordant_jobs_tests.test_words import OPENING, WORDS, words_in

_RUN = """
import sys, sqlalchemy as sa
from kordant_jobs.definitions import defs
from kordant_jobs.catalog import BY_NAME, markdown_table
from kordant_jobs.catalog.toy_count import ToyCount
from kordant_jobs.jobs.toy_count.job import JOBS
assert "toy_count" in markdown_table()
assert defs.resolve_job_def("toy_count") is not None
db = sa.create_engine(sys.argv[1])
run = JOBS.plain.execute_in_process(run_config=ToyCount.run_config([ToyCount(limit=2)]), resources={"db": db})
assert run.success
"""


@pytest.mark.slow
def test_it_is_in_dagster_and_runs(db: Engine, tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "kordant_jobs", tmp_path / "kordant_jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kordant_jobs_tests" / "jobs").mkdir(parents=True)
    made = write_job("toy_count", tmp_path)
    assert len(made) == len(FILES) <= 6
    url = db.url.render_as_string(hide_password=False)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "KORDANT_STATE_DIR": str(tmp_path / "state")}
    subprocess.run([sys.executable, "-c", _RUN, url], cwd=tmp_path, env=environment, check=True)
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    config = ["--config", str(CHECKOUT / "pyproject.toml")]
    subprocess.run([*ruff, "check", *config, *map(str, made)], cwd=tmp_path, check=True)
    subprocess.run([*ruff, "format", "--check", *config, *map(str, made)], cwd=tmp_path, check=True)
    with pytest.raises(KordantError, match="there already"):
        write_job("toy_count", tmp_path)


@pytest.mark.parametrize("name", ["toy", "ToyCount", "toy-count", "toy_import", "bank_sync", "../x_y"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(KordantError):
        words_of(name)


@pytest.mark.parametrize("path", FILES)
def test_the_files_keep_to_our_words(path: str) -> None:
    assert not OPENING.search(FILES[path])
    assert words_in(FILES[path], WORDS) == []


def test_the_page_shows_what_the_command_prints() -> None:
    page = (CHECKOUT / "docs/add-a-job.md").read_text()
    made = [f"  {path.replace('$name', 'toy_count')}" for path in FILES]
    printed = "\n".join(["$ python3 -m kordant_jobs new job toy_count", *made, NEXT.format(name="toy_count")])
    assert printed in page
