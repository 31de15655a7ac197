"""Tables of reports: what was made for whom, and stored documents that no report names any more."""

from __future__ import annotations

from sqlalchemy import Column, Date, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.postgres.schema import belongs_to, metadata, moment

reports = Table(
    "reports",
    metadata,
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions"),
    Column("kind", Text, nullable=False),
    Column("period_start_on", Date, nullable=False),
    Column("period_end_on", Date, nullable=False, comment="the first day that is no more covered"),
    Column("figures", JSONB, nullable=False, comment="counts and ids only"),
    Column("figures_sha256", LargeBinary, nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("storage_key", Text, nullable=False),
    Column("pages", Integer, nullable=False),
    moment("created_at", default_now=True),
    UniqueConstraint("subscription_id", "kind", "period_start_on"),
    Index(None, "storage_key"),
    Index(None, "period_end_on"),
)

report_leftovers = Table(
    "report_leftovers",
    metadata,
    Column("storage_key", Text, primary_key=True, comment="no report named it any more at `since_at`"),
    moment("since_at", default_now=True),
)
