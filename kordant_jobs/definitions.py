"""The definitions that Dagster loads: jobs, triggers and resources combined. `docs/add-a-job.md` explains how to add a
job."""

from __future__ import annotations

import warnings
from importlib import import_module

import dagster as dg

from kordant_jobs.catalog import CATALOG, SCHEDULES
from kordant_jobs.engine.job_shapes import Jobs
from kordant_jobs.observability import sensor as operator_alerts
from kordant_jobs.resources import RESOURCES
from kordant_jobs.triggers import sensors
from kordant_jobs.triggers.keeper import schedule_keeper
from kordant_jobs.triggers.schedules import register_schedules

# Dagster 1.13 warns of its own `owners` parameter whenever a sensor's definition is copied.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message="Parameter `owners`")

JOBS: tuple[Jobs, ...] = tuple(import_module(f"kordant_jobs.jobs.{row.name}.job").JOBS for row in CATALOG)
"""Each row of the catalogue is a job: the `JOBS` of the module of its name."""

SCHEDULED = {row.job for row in SCHEDULES}

SENSORS = [
    one
    for module in (sensors, operator_alerts)
    for one in vars(module).values()
    if isinstance(one, dg.SensorDefinition)
]

defs = dg.Definitions(
    jobs=[job for jobs in JOBS for job in jobs.all],
    schedules=register_schedules(),
    sensors=[*SENSORS, schedule_keeper([jobs.plain for jobs in JOBS if jobs.row.name in SCHEDULED])],
    resources=RESOURCES,
    executor=dg.in_process_executor,
)
