"""Every table of ours, in the Postgres schema `kordant`. Dagster's own tables live in the schema `dagster`.

Columns ending `_encrypted` are the only ones that hold personal data (see `store.keyring`). The truth about how
a database gets here is `migrations/`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from kordant_jobs.domain.alerts import Channel, OutboxStatus, Severity
from kordant_jobs.domain.breaches import BreachSource
from kordant_jobs.domain.exposures import DumpStatus, Judgement, SecretKind, Verdict
from kordant_jobs.domain.requests import Cause, Outcome, RequestStatus
from kordant_jobs.domain.subscriptions import Locale, SubscriptionStatus
from kordant_jobs.domain.tiers import Tier

SCHEMA = "kordant"
DAGSTER_SCHEMA = "dagster"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)


def _one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    allowed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


def _moment(name: str, *, nullable: bool = False, default_now: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=func.now() if default_now else None)


def _belongs_to(name: str, table: str, key: str = "id", *, nullable: bool = False) -> Column[Any]:
    kind: TypeEngine[Any] = Text() if key == "name" else Uuid()
    return Column(name, kind, ForeignKey(f"{SCHEMA}.{table}.{key}", ondelete="CASCADE"), nullable=nullable)


keyring_check = Table(
    "keyring_check",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("master_key_id", Text, nullable=False),
    Column("proof", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="single"),
    comment="Proves that the master key of a process is the one this database was written with.",
)

subscribers = Table(
    "subscribers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name_encrypted", LargeBinary),
    Column("contact_encrypted", LargeBinary),
    _moment("created_at", default_now=True),
    _moment("forgotten_at", nullable=True),
)

subscriber_keys = Table(
    "subscriber_keys",
    metadata,
    Column("subscriber_id", Uuid, ForeignKey(f"{SCHEMA}.subscribers.id", ondelete="CASCADE"), primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("master_key_id", Text, nullable=False),
    _moment("created_at", default_now=True),
    comment="Deleting a row here makes everything encrypted for that subscriber unreadable.",
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Uuid, primary_key=True),
    _belongs_to("subscriber_id", "subscribers"),
    Column("tier", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=SubscriptionStatus.ACTIVE.value),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    Column("locale", Text, nullable=False, server_default=Locale.EN.value),
    _moment("started_at", default_now=True),
    _moment("ended_at", nullable=True),
    _one_of("tier", Tier),
    _one_of("status", SubscriptionStatus),
    _one_of("locale", Locale),
    Index(None, "subscriber_id"),
    Index(None, "tier", postgresql_where=text("status = 'active'")),
)

watchlist_items = Table(
    "watchlist_items",
    metadata,
    Column("id", Uuid, primary_key=True),
    _belongs_to("subscription_id", "subscriptions"),
    _belongs_to("subscriber_id", "subscribers"),
    Column("kind", Text, nullable=False),
    Column("identifier_encrypted", LargeBinary, nullable=False),
    Column("blind_index", LargeBinary, comment="16 bytes; null once the subscriber was forgotten"),
    _moment("verified_at", nullable=True),
    _moment("created_at", default_now=True),
    _moment("removed_at", nullable=True),
    Index(
        "watchlist_items_once",
        "subscription_id",
        "blind_index",
        unique=True,
        postgresql_where=text("removed_at IS NULL"),
    ),
    Index(None, "subscriber_id"),
    Index(None, "blind_index"),
)

breaches = Table(
    "breaches",
    metadata,
    Column("name", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("domain", Text, nullable=False, server_default=""),
    Column("breached_on", Date),
    _moment("added_at", nullable=True),
    _moment("modified_at", nullable=True),
    Column("pwn_count", BigInteger),
    Column("description", Text, nullable=False, server_default=""),
    Column("data_classes", ARRAY(Text), nullable=False, server_default="{}"),
    *(
        Column(flag, Boolean, nullable=False, server_default=text("false"))
        for flag in (
            "is_verified",
            "is_fabricated",
            "is_sensitive",
            "is_retired",
            "is_spam_list",
            "is_malware",
            "is_stealer_log",
            "is_subscription_free",
        )
    ),
    Column("logo_path", Text),
    Column("attribution", Text),
    Column("disclosure_url", Text),
    Column("extra", JSONB, nullable=False, server_default="{}"),
    _moment("known_at", default_now=True),
    _one_of("source", BreachSource),
)

catalogue_imports = Table(
    "catalogue_imports",
    metadata,
    Column("content_sha256", LargeBinary, primary_key=True),
    Column("breaches", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    _moment("imported_at", default_now=True),
    _moment("checked_at", default_now=True),
)

breach_dumps = Table(
    "breach_dumps",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("content_sha256", LargeBinary, nullable=False, unique=True),
    Column("file_label", Text, nullable=False, comment="the file's name, with what looks personal left out"),
    Column("file_key", LargeBinary, nullable=False, comment="keyed hash of the file's name"),
    Column("file_size", BigInteger, nullable=False),
    Column("file_mtime_ns", BigInteger, nullable=False),
    _belongs_to("breach_name", "breaches", "name"),
    Column("told_shape", Text),
    Column("status", Text, nullable=False, server_default=DumpStatus.REGISTERED.value),
    Column("reason", Text),
    Column("shape", Text),
    Column("compression", Text),
    Column("encoding", Text),
    Column("lines", BigInteger, nullable=False, server_default="0"),
    Column("records", BigInteger, nullable=False, server_default="0"),
    Column("bad_lines", JSONB, nullable=False, server_default="{}"),
    _moment("known_at", default_now=True),
    _moment("registered_at", default_now=True),
    _moment("ingested_at", nullable=True),
    _one_of("status", DumpStatus),
    Index(None, "known_at"),
    Index(None, "file_key"),
    Index(None, "breach_name"),
)

exposures = Table(
    "exposures",
    metadata,
    Column("id", Uuid, primary_key=True),
    _belongs_to("item_id", "watchlist_items"),
    _belongs_to("breach_name", "breaches", "name"),
    Column("secret", Text, nullable=False),
    Column("judgement", Text),
    _moment("first_seen_at"),
    _moment("last_seen_at"),
    _moment("dismissed_at", nullable=True),
    UniqueConstraint("item_id", "breach_name"),
    _one_of("secret", SecretKind),
    _one_of("judgement", Judgement),
    Index(None, "breach_name"),
)

exposure_evidence = Table(
    "exposure_evidence",
    metadata,
    Column("exposure_id", Uuid, ForeignKey(f"{SCHEMA}.exposures.id", ondelete="CASCADE"), primary_key=True),
    Column("dump_id", Uuid, ForeignKey(f"{SCHEMA}.breach_dumps.id", ondelete="CASCADE"), primary_key=True),
    Column("line", BigInteger, nullable=False, comment="the first line that names it, from 1"),
    Column("occurrences", Integer, nullable=False),
    Index(None, "dump_id"),
)

source_verdicts = Table(
    "source_verdicts",
    metadata,
    Column(
        "subscription_id",
        Uuid,
        ForeignKey(f"{SCHEMA}.subscriptions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("source", Text, primary_key=True),
    Column("checked_on", Date, primary_key=True, comment="the UTC day whose knowledge this is"),
    Column("verdict", Text, nullable=False),
    Column("reason", Text),
    Column("exposures", Integer, nullable=False),
    Column("new_exposures", Integer, nullable=False),
    _moment("covered_until"),
    _moment("checked_at", default_now=True),
    _one_of("verdict", Verdict),
    CheckConstraint("verdict <> 'unknown' OR reason IS NOT NULL", name="unknown_has_a_reason"),
)

scan_watermarks = Table(
    "scan_watermarks",
    metadata,
    Column(
        "subscription_id",
        Uuid,
        ForeignKey(f"{SCHEMA}.subscriptions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("job", Text, primary_key=True),
    _moment("known_until"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Uuid, primary_key=True),
    _belongs_to("subscription_id", "subscriptions"),
    _belongs_to("exposure_id", "exposures"),
    Column("severity", Text, nullable=False),
    Column("why", JSONB, nullable=False, comment="reasons by code and id; never an identifier"),
    _moment("created_at", default_now=True),
    UniqueConstraint("exposure_id"),
    _one_of("severity", Severity),
    Index(None, "subscription_id", "created_at"),
)

notification_outbox = Table(
    "notification_outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    _belongs_to("alert_id", "alerts"),
    _belongs_to("subscription_id", "subscriptions"),
    Column("channel", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=OutboxStatus.QUEUED.value),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _moment("due_at", default_now=True),
    _moment("lease_until", nullable=True),
    Column("reason", Text, comment="why it was deferred, suppressed or given up; never an address"),
    _moment("created_at", default_now=True),
    _moment("sent_at", nullable=True),
    UniqueConstraint("alert_id", "channel"),
    _one_of("channel", Channel),
    _one_of("status", OutboxStatus),
    Index(None, "due_at", postgresql_where=text("status IN ('queued', 'deferred', 'sending')")),
    Index(None, "subscription_id"),
)

reports = Table(
    "reports",
    metadata,
    Column("id", Uuid, primary_key=True),
    _belongs_to("subscription_id", "subscriptions"),
    Column("kind", Text, nullable=False),
    Column("period_start_on", Date, nullable=False),
    Column("period_end_on", Date, nullable=False, comment="the first day that is no more covered"),
    Column("figures", JSONB, nullable=False, comment="counts and ids only"),
    Column("figures_sha256", LargeBinary, nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("storage_key", Text, nullable=False),
    Column("pages", Integer, nullable=False),
    _moment("created_at", default_now=True),
    UniqueConstraint("subscription_id", "kind", "period_start_on"),
)

run_progress = Table(
    "run_progress",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    _moment("updated_at", default_now=True),
)

job_catalogue = Table(
    "job_catalogue",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alias", Text, nullable=False, unique=True),
    Column("priority", SmallInteger, nullable=False),
    comment="The names that kordant.enqueue_job takes: a copy of catalog.py, written when the dispatcher starts.",
)

fences = Sequence("fences", metadata=metadata)

job_leases = Table(
    "job_leases",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, comment="what it is a slot of: job:<job>, or a limit's own name"),
    Column("fence", BigInteger, nullable=False, server_default=text("nextval('kordant.fences')")),
    Column("holder", Text, nullable=False, comment="the process that keeps it alive"),
    Column("run_id", Text, comment="the run that works under it"),
    Column("adopted", Boolean, nullable=False, server_default=text("false"), comment="the run keeps it alive itself"),
    _moment("taken_at"),
    _moment("expires_at"),
    Index(None, "name"),
    Index(None, "run_id"),
    Index(None, "expires_at"),
    comment="Slots that expire. Who has no row here any more has lost it and may write nothing.",
)

job_requests = Table(
    "job_requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", Text, nullable=False),
    Column("payload", JSONB, nullable=False, comment="ids and closed words only"),
    Column("status", Text, nullable=False, server_default=RequestStatus.PENDING.value),
    Column("priority", SmallInteger, nullable=False),
    _moment("run_at"),
    Column(
        "turn_at",
        DateTime(timezone=True),
        nullable=False,
        comment="its place in the line of its job and priority: run_at, or later behind its own tenant's",
    ),
    _moment("created_at"),
    Column("idempotency_key", Text),
    Column("merge_key", Text, comment="while it waits, a further request with this key becomes part of it"),
    Column("entity_key", Text, comment="what it is about, by id"),
    Column("tenant", Text, comment="for whom, by id: waiting requests are shared out between tenants"),
    Column("requested_by", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("forgiven", Integer, nullable=False, server_default="0", comment="attempts before the last replay"),
    Column("lease_id", Uuid),
    Column("fence", BigInteger),
    Column("run_id", Text, comment="of the last attempt"),
    Column("root_run_id", Text, comment="of the first"),
    _moment("started_at", nullable=True),
    _moment("ended_at", nullable=True),
    _moment("cancel_requested_at", nullable=True),
    Column("progress_done", BigInteger, nullable=False, server_default="0"),
    Column("progress_total", BigInteger, nullable=False, server_default="0"),
    Column("progress_message", Text, nullable=False, server_default=""),
    Column("items_failed", BigInteger, nullable=False, server_default="0", comment="above 0: completed in part"),
    Column("summary", JSONB),
    Column("cause", Text),
    Column("error", Text, comment="of the last attempt that failed; one line, no personal data"),
    _moment("acknowledged_at", nullable=True),
    Column("acknowledged_by", Text),
    _one_of("status", RequestStatus),
    _one_of("cause", Cause),
    CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
    CheckConstraint("(status = 'running') = (lease_id IS NOT NULL)", name="running_has_a_lease"),
    Index(
        "job_requests_claim_idx", "job", "priority", "turn_at", "run_at", postgresql_where=text("status = 'pending'")
    ),
    Index("job_requests_next_idx", "run_at", postgresql_where=text("status = 'pending'")),
    Index("job_requests_lease_idx", "lease_id", postgresql_where=text("status = 'running'")),
    Index(
        "job_requests_running_key_idx",
        "job",
        "entity_key",
        postgresql_where=text("status = 'running' AND entity_key IS NOT NULL"),
    ),
    Index(
        "job_requests_merge_once",
        "job",
        "merge_key",
        unique=True,
        postgresql_where=text("status = 'pending' AND merge_key IS NOT NULL"),
    ),
    Index(
        "job_requests_throttle_idx", "job", "merge_key", "started_at", postgresql_where=text("merge_key IS NOT NULL")
    ),
    Index(
        "job_requests_tenant_idx",
        "tenant",
        "job",
        "priority",
        "turn_at",
        "run_at",
        postgresql_where=text("status = 'pending' AND tenant IS NOT NULL"),
    ),
    Index("job_requests_entity_idx", "entity_key", postgresql_where=text("entity_key IS NOT NULL")),
    Index("job_requests_dead_idx", "job", "ended_at", postgresql_where=text("status = 'dead'")),
    Index("job_requests_ended_idx", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    Index(
        "job_requests_cancelling_idx",
        "cancel_requested_at",
        postgresql_where=text("status = 'running' AND cancel_requested_at IS NOT NULL"),
    ),
)

job_attempts = Table(
    "job_attempts",
    metadata,
    Column(
        "request_id",
        Uuid,
        ForeignKey(f"{SCHEMA}.job_requests.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("lease_id", Uuid, nullable=False, comment="requests of one run share it"),
    Column("run_id", Text),
    Column("worker", Text, nullable=False),
    _moment("started_at"),
    _moment("ended_at", nullable=True),
    Column("outcome", Text),
    Column("cause", Text),
    Column("cpu_s", Double, comment="of the whole run, which may have served many requests"),
    Column("peak_memory_mb", Double, comment="of the whole run"),
    Column("error", Text),
    _one_of("outcome", Outcome),
    _one_of("cause", Cause),
    Index(None, "lease_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("job", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_id", Uuid, nullable=False),
    _moment("until"),
    Index(None, "until"),
)

rate_buckets = Table(
    "rate_buckets",
    metadata,
    Column("party", Text, primary_key=True),
    Column("tokens", Double, nullable=False),
    _moment("filled_at"),
)
