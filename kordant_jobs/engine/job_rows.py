"""Which jobs this process serves: the catalogue's, or those of the definitions that a bench or a test brings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.settings import OUR_DEFINITIONS, load_settings


def job_rows() -> Mapping[str, JobRow]:
    """The rows by name. A KORDANT_DEFINITIONS_MODULE other than ours may bring its own, as `CATALOG`."""
    module = load_settings().definitions_module
    if module == OUR_DEFINITIONS:
        return BY_NAME
    own = getattr(importlib.import_module(module), "CATALOG", None)
    return BY_NAME if own is None else {row.name: row for row in own}


def job_of(dagster_job: str) -> JobRow | None:
    """The row that a job in Dagster belongs to; None for one that is not the catalogue's."""
    return next((row for row in job_rows().values() if dagster_job in row.dagster_jobs), None)


def limit_tags(row: JobRow) -> dict[str, str]:
    """The tags that bound a run of this job, over its whole process tree."""
    return {
        "kordant/limit_wall_s": f"{row.timeout_s:g}",
        "kordant/limit_cpu_s": f"{row.cpu_s:g}",
        "kordant/limit_memory_mb": str(row.memory_mb),
    }
