"""Tables of what subscribers are told: alerts and reports; and how far runs are. Notifications have their own."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.alerts import Severity
from kordant_jobs.store.schema.base import belongs_to, metadata, moment, one_of

alerts = Table(
    "alerts",
    metadata,
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions"),
    belongs_to("exposure_id", "exposures"),
    Column("severity", Text, nullable=False),
    Column("why", JSONB, nullable=False, comment="reasons by code and id; never an identifier"),
    Column(
        "provisional",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="told before its dump was read to the end; severity and why may still change",
    ),
    moment("created_at", default_now=True),
    UniqueConstraint("exposure_id"),
    one_of("severity", Severity),
    Index(None, "subscription_id", "created_at"),
)

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

run_progress = Table(
    "run_progress",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    moment("updated_at", default_now=True),
)
