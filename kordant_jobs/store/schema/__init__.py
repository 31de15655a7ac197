"""Every table of ours, in the Postgres schema `kordant`. Dagster's own tables live in the schema `dagster`.

Columns ending `_encrypted` are the only ones that hold personal data (see `store.keyring`). The truth about how
a database gets here is `migrations/`; a test holds the two together.
"""

from kordant_jobs.store.schema.base import DAGSTER_SCHEMA, SCHEMA, metadata
from kordant_jobs.store.schema.messages import (
    alerts,
    notification_outbox,
    report_leftovers,
    reports,
    run_progress,
)
from kordant_jobs.store.schema.people import keyring_check, subscriber_keys, subscribers, subscriptions, watchlist_items
from kordant_jobs.store.schema.queue import (
    fences,
    idempotency_keys,
    job_attempts,
    job_catalogue,
    job_leases,
    job_requests,
    rate_buckets,
)
from kordant_jobs.store.schema.scans import (
    breach_dumps,
    breaches,
    catalogue_imports,
    exposure_evidence,
    exposures,
    scan_watermarks,
    source_verdicts,
)
from kordant_jobs.store.schema.schedules import (
    due_slots,
    schedule_progress,
    schedule_starts,
    scheduler_config,
    scheduler_history,
)

__all__ = [
    "DAGSTER_SCHEMA",
    "SCHEMA",
    "alerts",
    "breach_dumps",
    "breaches",
    "catalogue_imports",
    "due_slots",
    "exposure_evidence",
    "exposures",
    "fences",
    "idempotency_keys",
    "job_attempts",
    "job_catalogue",
    "job_leases",
    "job_requests",
    "keyring_check",
    "metadata",
    "notification_outbox",
    "rate_buckets",
    "report_leftovers",
    "reports",
    "run_progress",
    "scan_watermarks",
    "schedule_progress",
    "schedule_starts",
    "scheduler_config",
    "scheduler_history",
    "source_verdicts",
    "subscriber_keys",
    "subscribers",
    "subscriptions",
    "watchlist_items",
]
