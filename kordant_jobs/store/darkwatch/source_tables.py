"""Tables of outside sources: the state of each, their answers, and exposures that subscribers dismissed."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.postgres.schema import SCHEMA, choice, moment, table


def _of(table: str, name: str) -> Column[object]:
    return Column(name, Uuid, ForeignKey(f"{SCHEMA}.{table}.id", ondelete="CASCADE"), primary_key=True)


source_states = table(
    "source_states",
    choice("source", Source, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0", comment="one after the other, without an answer"),
    choice("last_reason", UnknownReason, nullable=True),
    moment("open_until", nullable=True),
    moment("last_ok_at", nullable=True),
    moment("last_failed_at", nullable=True),
    moment("told_off_at", nullable=True),
    Column("terms", JSONB, comment="what the plan of the key allows"),
    moment("terms_at", nullable=True),
    comment="How each outside source stands, for all processes: a circuit breaker a row.",
)

source_checks = table(
    "source_checks",
    _of("watchlist_items", "item_id"),
    choice("source", Source, primary_key=True),
    choice("verdict", Verdict),
    choice("reason", UnknownReason, nullable=True),
    Column("attempts", Integer, nullable=False, comment="without an answer, one after the other"),
    moment("asked_at"),
    moment("retry_at", nullable=True),
    Column("lease_id", Uuid, comment="the engine's lease under which a scan is asking it just now"),
    CheckConstraint("(verdict = 'unknown') = (reason IS NOT NULL)", name="unknown_has_a_reason"),
)

source_evidence = table(
    "source_evidence",
    _of("exposures", "exposure_id"),
    choice("source", Source, primary_key=True),
    Column("reference", Text, primary_key=True, comment="the source's own stable key for the breach"),
    Column("data_classes", ARRAY(Text), nullable=False, server_default="{}", comment="as the source told them"),
    moment("first_seen_at"),
    moment("last_seen_at"),
)

source_hints = table(
    "source_hints",
    _of("watchlist_items", "item_id"),
    choice("source", Source, primary_key=True),
    Column("reference", Text, primary_key=True),
    moment("told_at", default_now=True),
    comment="What a source pushed and no scan has taken up yet.",
)

breach_lookups = table(
    "breach_lookups",
    choice("source", Source, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("found", Boolean, nullable=False),
    moment("looked_up_at"),
    comment="Breaches that a source was asked to describe: not asked again at once when it knew none.",
)

alerted = table(
    "alerted",
    _of("subscriptions", "subscription_id"),
    Column("blind_index", LargeBinary, primary_key=True),
    Column("breach_name", Text, primary_key=True),
    moment("alerted_at", default_now=True),
    comment="Each identifier and breach is told once, also when the item was removed and added again.",
)

dismissals = table(
    "dismissals",
    _of("subscriptions", "subscription_id"),
    Column("blind_index", LargeBinary, primary_key=True),
    Column("breach_name", Text, primary_key=True),
    Column("said_by", Text, nullable=False),
    moment("said_at", default_now=True),
    comment="'Not me': of this identifier in this breach the subscriber hears no more.",
)

Index("source_checks_retry_idx", source_checks.c.source, source_checks.c.retry_at)
