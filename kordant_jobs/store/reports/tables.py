"""Tables of reports: what was made for whom, and stored documents that no report names any more."""

from sqlalchemy import Column, Date, Index, Integer, LargeBinary, Text, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.postgres.schema import belongs_to, moment, table

reports = table(
    "reports",
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

scan_receipts = table(
    "scan_receipts",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions"),
    Column("number", Integer, nullable=False, comment="from 1 for each subscription"),
    Column("kind", Text, nullable=False),
    Column("period_start_on", Date, nullable=False),
    Column("period_end_on", Date, nullable=False, comment="the first day that is no more covered"),
    Column("figures_sha256", LargeBinary, nullable=False, comment="of the report that it stands in"),
    Column("receipt", Text, nullable=False, comment="the signed line: ids, days, counts and verdicts"),
    moment("made_at", default_now=True),
    UniqueConstraint("subscription_id", "number"),
    UniqueConstraint(
        "subscription_id", "kind", "period_start_on", "period_end_on", "figures_sha256", name="scan_receipts_once"
    ),
    comment="Added to and never changed: each names the one before.",
)

report_leftovers = table(
    "report_leftovers",
    Column("storage_key", Text, primary_key=True, comment="no report named it any more at `since_at`"),
    moment("since_at", default_now=True),
)
