"""The catalogue, Dagster and the README name the same jobs."""

from __future__ import annotations

from pathlib import Path

from kordant_jobs.catalog import CATALOG, markdown_table
from kordant_jobs.definitions import defs

README = Path(__file__).resolve().parents[1] / "README.md"


def test_every_job_of_the_catalogue_is_in_dagster_and_no_other() -> None:
    there = {job.name for job in defs.resolve_all_job_defs()} - {"__ASSET_JOB"}
    assert there == {name for row in CATALOG for name in row.dagster_jobs}


def test_no_two_jobs_share_a_name_or_an_alias() -> None:
    names = [name for row in CATALOG for name in (*row.dagster_jobs, row.alias)]
    assert len(names) == len(set(names))


def test_the_readme_shows_the_catalogue_as_it_is() -> None:
    assert markdown_table() in README.read_text()
