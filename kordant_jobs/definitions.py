"""What Dagster loads: jobs, triggers and resources, joined. To add a job, see the README."""

from __future__ import annotations

import warnings

import dagster as dg

from kordant_jobs.jobs.darkwatch_scan.job import darkwatch_scan, tier_jobs
from kordant_jobs.jobs.notifications_send.job import notifications_send
from kordant_jobs.jobs.reports_generate.job import reports_generate
from kordant_jobs.jobs.reports_generate.job import tier_jobs as report_jobs
from kordant_jobs.jobs.subscription_changed.job import subscription_changed
from kordant_jobs.resources import RESOURCES
from kordant_jobs.triggers.breaches import latest_breach_sensor
from kordant_jobs.triggers.keeper import schedule_keeper
from kordant_jobs.triggers.schedules import register_schedules
from kordant_jobs.triggers.sensors import new_data_sensor, outbox_sensor

# Dagster 1.13 warns of its own `owners` parameter whenever a sensor's definition is copied.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message="Parameter `owners`")

SERVED_BY_SCHEDULE = [darkwatch_scan, notifications_send, reports_generate]

defs = dg.Definitions(
    jobs=[*SERVED_BY_SCHEDULE, subscription_changed, *tier_jobs, *report_jobs],
    schedules=register_schedules(),
    sensors=[new_data_sensor, latest_breach_sensor, outbox_sensor, schedule_keeper(SERVED_BY_SCHEDULE)],
    resources=RESOURCES,
    executor=dg.in_process_executor,
)
