"""Every table of ours, in the Postgres schema `kordant`: importing this module fills the metadata.

Dagster's own tables are in the schema `dagster`. Only columns ending `_encrypted` hold personal data (see
`store.people.keyring`). `migrations/` defines how a database is created; a test compares the two.
"""

from kordant_jobs.engine.store import tables as engine
from kordant_jobs.postgres.schema import SCHEMA, metadata
from kordant_jobs.store.access import tables as access
from kordant_jobs.store.audit import tables as audit
from kordant_jobs.store.darkwatch import source_tables as sources
from kordant_jobs.store.darkwatch import tables as darkwatch
from kordant_jobs.store.finance import tables as finance
from kordant_jobs.store.insights import tables as insights
from kordant_jobs.store.notifications import tables as notifications
from kordant_jobs.store.operators import tables as operators
from kordant_jobs.store.people import tables as people
from kordant_jobs.store.property import tables as property_
from kordant_jobs.store.removals import tables as removals
from kordant_jobs.store.reports import tables as reports
from kordant_jobs.store.retention import tables as retention
from kordant_jobs.store.schedules import tables as schedules
from kordant_jobs.store.voice import tables as voice

__all__ = [
    "SCHEMA",
    "access",
    "audit",
    "darkwatch",
    "engine",
    "finance",
    "insights",
    "metadata",
    "notifications",
    "operators",
    "people",
    "property_",
    "removals",
    "reports",
    "retention",
    "schedules",
    "sources",
    "voice",
]
