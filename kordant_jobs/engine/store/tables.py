"""Tables of the queue: requests, attempts, leases."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.postgres.schema import SCHEMA, metadata, moment, one_of, trace

job_catalogue = Table(
    "job_catalogue",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alias", Text, nullable=False, unique=True),
    Column("priority", SmallInteger, nullable=False),
    Column("sla_s", Double, comment="from due to done; null: nothing is promised"),
    comment="The names that kordant.enqueue_job takes: a copy of the rows, written when the dispatcher starts.",
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
    Column("host", Text, comment="the host that took the run; it keeps the lease alive until the run does"),
    moment("taken_at"),
    moment("expires_at"),
    Column(
        "under",
        Uuid,
        ForeignKey(f"{SCHEMA}.job_leases.id", ondelete="CASCADE"),
        server_default=text("kordant.run_lease()"),
        comment="the lease of the run that claimed something under this one, which ends with it",
    ),
    Index(None, "name"),
    Index(None, "run_id"),
    Index(None, "expires_at"),
    Index(None, "under"),
    comment="Slots that expire. Who has no row here any more has lost it and may write nothing.",
)

job_hosts = Table(
    "job_hosts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("place", Text, nullable=False, comment="machine and state folder, by which two of one name are told apart"),
    Column("code_version", Text, nullable=False, comment="it takes runs of this version only"),
    Column("slots", Integer, nullable=False, comment="runs at the same time"),
    Column("draining", Boolean, nullable=False, server_default=text("false"), comment="it takes no more, and ends"),
    moment("since"),
    moment("seen_at"),
    comment="Hosts of workers (KORDANT_LAUNCHER=celery). One not seen for the time of a lease gets no runs.",
)

job_requests = Table(
    "job_requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", Text, nullable=False),
    Column("payload", JSONB, nullable=False, comment="ids and closed words only"),
    Column("status", Text, nullable=False, server_default=RequestStatus.PENDING.value),
    Column("priority", SmallInteger, nullable=False),
    moment("run_at"),
    Column(
        "turn_at",
        DateTime(timezone=True),
        nullable=False,
        comment="its place in the line of its job and priority: run_at, or later behind its own tenant's",
    ),
    moment("created_at"),
    Column("idempotency_key", Text),
    Column("merge_key", Text, comment="while it waits, a further request with this key becomes part of it"),
    Column("entity_key", Text, comment="what it is about, by id"),
    Column("tenant", Text, comment="for whom, by id: waiting requests are shared out between tenants"),
    Column("requested_by", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("forgiven", Integer, nullable=False, server_default="0", comment="attempts before the last replay"),
    Column("lease_id", Uuid),
    Column("fence", BigInteger),
    Column("waiting_run_id", Text, comment="a run that Dagster made and that starts when this is claimed"),
    Column("run_id", Text, comment="of the last attempt"),
    Column("root_run_id", Text, comment="of the first"),
    moment("started_at", nullable=True),
    moment("ended_at", nullable=True),
    moment("cancel_requested_at", nullable=True),
    Column("progress_done", BigInteger, nullable=False, server_default="0"),
    Column("progress_total", BigInteger, nullable=False, server_default="0"),
    Column("progress_message", Text, nullable=False, server_default=""),
    Column("items_failed", BigInteger, nullable=False, server_default="0", comment="above 0: completed in part"),
    Column("summary", JSONB),
    Column("cause", Text),
    Column("error", Text, comment="of the last attempt that failed; one line, no personal data"),
    moment("acknowledged_at", nullable=True),
    Column("acknowledged_by", Text),
    trace(),
    one_of("status", RequestStatus),
    one_of("cause", Cause),
    CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
    CheckConstraint(
        "run_at >= '2000-01-01 00:00:00+00' AND run_at < '2200-01-01 00:00:00+00'", name="run_at_between_2000_and_2200"
    ),
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
    Index("job_requests_of_tenant_idx", "tenant", "id", postgresql_where=text("tenant IS NOT NULL")),
    Index("job_requests_caller_idx", "requested_by", "id"),
    Index("job_requests_job_status_idx", "job", "status", "id"),
    Index("job_requests_entity_idx", "entity_key", postgresql_where=text("entity_key IS NOT NULL")),
    Index("job_requests_waiting_run_idx", "waiting_run_id", postgresql_where=text("waiting_run_id IS NOT NULL")),
    Index("job_requests_open_idx", "requested_by", postgresql_where=text("status IN ('pending', 'running')")),
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
    moment("started_at"),
    moment("ended_at", nullable=True),
    Column("outcome", Text),
    Column("cause", Text),
    Column("cpu_s", Double, comment="of the whole run, which may have served many requests"),
    Column("peak_memory_mb", Double, comment="of the whole run"),
    Column("error", Text),
    one_of("outcome", Outcome),
    one_of("cause", Cause),
    Index(None, "lease_id"),
    Index(None, "run_id"),
)


def _counts() -> list[Column[Any]]:
    """The counted columns of attempts that ended: their number, wall time, and share of the runs' CPU time."""
    return [
        Column("attempts", BigInteger, nullable=False),
        Column("sum_ms", Double, nullable=False),
        Column("cpu_s", Double, nullable=False),
    ]


attempt_deltas = Table(
    "attempt_deltas",
    metadata,
    moment("at", default_now=True),
    Column("job", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("cause", Text, nullable=False, comment="empty: none"),
    Column("bucket", SmallInteger, nullable=False, comment="of the duration: its place in DURATIONS_MS"),
    *_counts(),
    Index(None, "at"),
    comment="Attempts as they end, by statement; a trigger writes it. Folded into attempt_hours and attempt_totals.",
)

attempt_hours = Table(
    "attempt_hours",
    metadata,
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("job", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("cause", Text, primary_key=True),
    Column("bucket", SmallInteger, primary_key=True),
    *_counts(),
    comment="Attempts by hour: what is left of history when the rows have gone.",
)

attempt_totals = Table(
    "attempt_totals",
    metadata,
    Column("job", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("cause", Text, primary_key=True),
    Column("bucket", SmallInteger, primary_key=True),
    *_counts(),
    comment="Attempts since the beginning: counters that only grow.",
)

start_lags = Table(
    "start_lags",
    metadata,
    Column("job", Text, primary_key=True),
    Column("bucket", SmallInteger, primary_key=True, autoincrement=False, comment="its place in LAGS_S"),
    Column("starts", BigInteger, nullable=False),
    Column("sum_s", Double, nullable=False),
    comment="Attempts by how long they were due before a run took them, since the beginning.",
)

sla_breaches = Table(
    "sla_breaches",
    metadata,
    Column("job", Text, primary_key=True),
    Column("breaches", BigInteger, nullable=False),
    comment="Requests that were completed later than their job promises, since the beginning.",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_id", Uuid, nullable=False),
    moment("until"),
    Index(None, "until"),
)

job_pauses = Table(
    "job_pauses",
    metadata,
    Column("job", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("paused_by", Text, nullable=False),
    moment("paused_at"),
    comment="Jobs of which no run starts; their requests wait.",
)

rate_buckets = Table(
    "rate_buckets",
    metadata,
    Column("party", Text, primary_key=True),
    Column("tokens", Double, nullable=False),
    moment("filled_at"),
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
