"""Every table of ours, in the Postgres schema `kordant`. Dagster's own tables live in the schema `dagster`.

Columns ending `_encrypted` are the only ones that hold personal data (see `store.keyring`). The truth about how
a database gets here is `migrations/`; a test holds the two together.
"""

from kordant_jobs.store.schema.base import DAGSTER_SCHEMA, SCHEMA, metadata
from kordant_jobs.store.schema.messages import alerts, report_leftovers, reports, run_progress
from kordant_jobs.store.schema.notifications import (
    contact_addresses,
    notification_hours,
    notification_outbox,
    notification_preferences,
    suppressions,
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
from kordant_jobs.store.schema.sources import (
    alerted,
    breach_lookups,
    dismissals,
    source_checks,
    source_evidence,
    source_hints,
    source_states,
)

__all__ = [
    "DAGSTER_SCHEMA",
    "SCHEMA",
    "alerted",
    "alerts",
    "breach_dumps",
    "breach_lookups",
    "breaches",
    "catalogue_imports",
    "contact_addresses",
    "dismissals",
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
    "notification_hours",
    "notification_outbox",
    "notification_preferences",
    "rate_buckets",
    "report_leftovers",
    "reports",
    "run_progress",
    "scan_watermarks",
    "schedule_progress",
    "schedule_starts",
    "scheduler_config",
    "scheduler_history",
    "source_checks",
    "source_evidence",
    "source_hints",
    "source_states",
    "source_verdicts",
    "subscriber_keys",
    "subscribers",
    "subscriptions",
    "suppressions",
    "watchlist_items",
]
