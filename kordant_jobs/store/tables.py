"""Every table of ours, in the Postgres schema `kordant`: importing this module fills the metadata.

Dagster's own tables are in the schema `dagster`. Only columns ending `_encrypted` hold personal data (see
`store.people.keyring`). `migrations/` defines how a database is created; a test compares the two.
"""

from collections.abc import Mapping

from sqlalchemy import URL, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.schema import AddConstraint, CreateIndex, DDLElement

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
    "wanted_indexes",
]


def wanted_indexes() -> Mapping[str, str]:
    """Every index by name, those of keys too, with the statement that makes it; writers need not wait for it."""
    wanted: dict[str, DDLElement] = {}
    for table in metadata.tables.values():
        wanted |= {str(one.name): CreateIndex(one) for one in table.indexes}
        keys = (one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint))
        wanted |= {str(one.name): AddConstraint(one) for one in keys if len(one.columns)}
    dialect = URL.create("postgresql").get_dialect()()
    made = {name: str(one.compile(dialect=dialect)).strip() for name, one in wanted.items()}
    return {name: text.replace(" INDEX ", " INDEX CONCURRENTLY ", 1) for name, text in made.items()}
