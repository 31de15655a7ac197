"""The table of insights, and what forecasts are corrected by."""

from sqlalchemy import ARRAY, CheckConstraint, Column, Date, Float, Index, Integer, LargeBinary, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.insights.insight import Kind, Status, Unknown
from kordant_jobs.postgres.schema import belongs_to, choice, moment, table

insights = table(
    "insights",
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    belongs_to("entity_id", "entities"),
    choice("kind", Kind),
    Column("dedup_key", Text, nullable=False, comment="the same from night to night"),
    choice("status", Status, server_default=Status.NEW.value),
    Column("facts", JSONB, nullable=False, comment="amounts and days as text; no name"),
    Column("evidence", ARRAY(Uuid), nullable=False, server_default="{}", comment="ids of transactions"),
    Column("confidence", Float, nullable=False),
    choice("unknown_reason", Unknown, nullable=True, comment="why it cannot be said; null: it can"),
    Column("about_on", Date, comment="the day that it is about; null: none"),
    Column("material_hash", LargeBinary, nullable=False, comment="of its facts in coarse steps: another one is news"),
    moment("first_computed_at", default_now=True),
    moment("computed_at", default_now=True),
    moment("resolved_at", nullable=True),
    CheckConstraint("(status = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_has_a_moment"),
    CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
    Index(
        "insights_one_open",
        "entity_id",
        "kind",
        "dedup_key",
        unique=True,
        postgresql_where=text("status <> 'resolved'"),
    ),
    Index(None, "entity_id"),
    Index(None, "resolved_at", postgresql_where=text("resolved_at IS NOT NULL")),
    comment="What accounts say, with what it rests on. An open one is unique by entity, kind and key.",
)

forecast_corrections = table(
    "forecast_corrections",
    Column("class", Text, primary_key=True, comment="of entities: by how regular their income is"),
    Column("horizon", Integer, primary_key=True, autoincrement=False, comment="days"),
    Column("quantile", Float, primary_key=True),
    Column("score", Float, nullable=False, comment="error in units of the scale that the forecast has"),
    moment("computed_at", default_now=True),
    comment="Quantiles of past errors of forecasts: what makes intervals hold as often as they say.",
)
