"""What Dagster loads: jobs, triggers and resources, joined. To add a job, see the README."""

from __future__ import annotations

import warnings

import dagster as dg

from kordant_jobs.jobs.darkwatch_scan.job import darkwatch_scan, tier_jobs
from kordant_jobs.jobs.notifications_send.job import notifications_send
from kordant_jobs.jobs.reports_generate.job import reports_generate
from kordant_jobs.resources import RESOURCES
from kordant_jobs.triggers.sensors import drop_folder_sensor, outbox_sensor

# Dagster 1.13 warns of its own `owners` parameter whenever a sensor's definition is copied.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message="Parameter `owners`")

defs = dg.Definitions(
    jobs=[darkwatch_scan, *tier_jobs, notifications_send, reports_generate],
    sensors=[drop_folder_sensor, outbox_sensor],
    resources=RESOURCES,
    executor=dg.in_process_executor,
)
