"""subscription_changed in Dagster: one op."""

from dataclasses import asdict

from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.subscription_changed import SubscriptionChanged
from kordant_jobs.engine.job_shapes import Summary, one_op_job
from kordant_jobs.jobs.subscription_changed import service


def place(payload: SubscriptionChanged, db: Engine) -> Summary:
    """Schedule each subscription by its tier and status."""
    return Summary(asdict(service.place(payload.subscription_ids, db=db)))


JOBS = one_op_job(BY_NAME[service.JOB], service="subscriptions", run=place)
