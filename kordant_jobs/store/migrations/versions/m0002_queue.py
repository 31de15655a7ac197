"""The queue: requests, attempts, leases, and the function by which any program that shares the database enqueues."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

HOUSEKEEPING = """
ALTER TABLE kordant.job_requests SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
                                      autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE kordant.job_leases SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0,
                                    autovacuum_vacuum_threshold = 500);
"""

MOVES = """
CREATE FUNCTION kordant.check_request_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) IN (
        ('pending', 'running'), ('pending', 'cancelled'), ('pending', 'dead'),
        ('running', 'completed'), ('running', 'pending'), ('running', 'dead'), ('running', 'cancelled'),
        ('dead', 'pending'), ('dead', 'expired')
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a request cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER job_requests_moves BEFORE UPDATE OF status ON kordant.job_requests FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION kordant.check_request_move();
"""

UUID7 = """
CREATE FUNCTION kordant.uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;
"""

TENANT_STEP = """
CREATE FUNCTION kordant.tenant_step() RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '10 seconds' $$;
"""

INSERT_REQUEST = """
CREATE FUNCTION kordant.insert_request(
    p_id uuid, p_job text, p_payload jsonb, p_priority smallint, p_run_at timestamptz, p_at timestamptz,
    p_idempotency_key text, p_window interval, p_merge_key text, p_debounce interval, p_debounce_at_most interval,
    p_throttle interval, p_entity_key text, p_tenant text, p_requested_by text,
    OUT request_id uuid, OUT fresh boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_run_at timestamptz := p_run_at;
    v_turn_at timestamptz;
    v_known jsonb;
BEGIN
    IF p_idempotency_key IS NOT NULL THEN
        LOOP
            INSERT INTO kordant.idempotency_keys AS k (job, key, request_id, until)
            VALUES (p_job, p_idempotency_key, p_id, p_at + p_window)
            ON CONFLICT (job, key) DO UPDATE SET request_id = excluded.request_id, until = excluded.until
                WHERE k.until <= p_at;
            EXIT WHEN FOUND;
            SELECT k.request_id INTO request_id FROM kordant.idempotency_keys k
                WHERE k.job = p_job AND k.key = p_idempotency_key;
            IF FOUND THEN
                SELECT r.payload INTO v_known FROM kordant.job_requests r WHERE r.id = request_id;
                IF v_known IS DISTINCT FROM p_payload AND v_known IS NOT NULL AND p_merge_key IS NULL THEN
                    RAISE EXCEPTION 'the idempotency key was used with another payload, for request %', request_id
                        USING ERRCODE = 'unique_violation',
                              HINT = 'Use a new key for a new request, or send the same payload.';
                END IF;
                fresh := false;
                RETURN;
            END IF;
        END LOOP;
    END IF;
    IF p_throttle IS NOT NULL THEN
        SELECT greatest(p_run_at, max(r.started_at) + p_throttle) INTO v_run_at
            FROM kordant.job_requests r WHERE r.job = p_job AND r.merge_key = p_merge_key;
    ELSIF p_debounce IS NOT NULL THEN
        v_run_at := p_run_at + p_debounce;
    END IF;
    v_turn_at := v_run_at;
    IF p_tenant IS NOT NULL THEN
        SELECT greatest(v_run_at, max(r.turn_at) + kordant.tenant_step()) INTO v_turn_at
            FROM kordant.job_requests r
            WHERE r.tenant = p_tenant AND r.job = p_job AND r.priority = p_priority AND r.status = 'pending'
              AND r.run_at <= v_run_at;
    END IF;
    INSERT INTO kordant.job_requests AS r
        (id, job, payload, priority, run_at, turn_at, created_at, idempotency_key, merge_key, entity_key, tenant,
         requested_by)
    VALUES (p_id, p_job, p_payload, p_priority, v_run_at, v_turn_at, p_at, p_idempotency_key, p_merge_key,
            p_entity_key, p_tenant, p_requested_by)
    ON CONFLICT (job, merge_key) WHERE status = 'pending' AND merge_key IS NOT NULL DO UPDATE SET
        payload = excluded.payload,
        priority = least(r.priority, excluded.priority),
        run_at = CASE WHEN p_debounce IS NULL THEN r.run_at
                      ELSE least(excluded.run_at, r.created_at + p_debounce_at_most) END,
        turn_at = CASE WHEN p_debounce IS NULL THEN r.turn_at
                       ELSE least(excluded.turn_at, r.created_at + p_debounce_at_most) END
    RETURNING r.id INTO request_id;
    fresh := request_id = p_id;
    IF NOT fresh AND p_idempotency_key IS NOT NULL THEN
        UPDATE kordant.idempotency_keys k SET request_id = insert_request.request_id
            WHERE k.job = p_job AND k.key = p_idempotency_key;
    END IF;
    PERFORM pg_notify('kordant_requests', p_job);
END $$;
"""

ENQUEUE_JOB = """
CREATE FUNCTION kordant.enqueue_job(
    job text, payload jsonb DEFAULT '{}', priority text DEFAULT NULL, run_at timestamptz DEFAULT NULL,
    idempotency_key text DEFAULT NULL, idempotency_window interval DEFAULT interval '1 day',
    entity_key text DEFAULT NULL, tenant text DEFAULT NULL, requested_by text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    v_job text;
    v_priority smallint;
    v_id uuid;
BEGIN
    SELECT c.name, c.priority INTO v_job, v_priority FROM kordant.job_catalogue c
        WHERE c.name = enqueue_job.job OR c.alias = enqueue_job.job;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no job %', coalesce(quote_literal(enqueue_job.job), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT name, alias FROM kordant.job_catalogue';
    END IF;
    IF jsonb_typeof(enqueue_job.payload) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'the payload of % must be a JSON object', v_job USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF enqueue_job.priority IS NOT NULL THEN
        v_priority := array_position(ARRAY['critical', 'high', 'normal', 'low'], enqueue_job.priority) - 1;
        IF v_priority IS NULL THEN
            RAISE EXCEPTION 'there is no priority %', quote_literal(enqueue_job.priority)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'critical, high, normal or low';
        END IF;
    END IF;
    IF enqueue_job.idempotency_window <= interval '0' THEN
        RAISE EXCEPTION 'idempotency_window must be longer than nothing' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT i.request_id INTO v_id FROM kordant.insert_request(
        kordant.uuid7(), v_job, enqueue_job.payload, v_priority, coalesce(enqueue_job.run_at, now()), now(),
        enqueue_job.idempotency_key, enqueue_job.idempotency_window, NULL, NULL, NULL, NULL,
        enqueue_job.entity_key, enqueue_job.tenant, coalesce(enqueue_job.requested_by, 'sql:' || session_user)
    ) i;
    RETURN v_id;
END $$;
"""


def upgrade() -> None:
    op.execute(sa.text("CREATE SEQUENCE kordant.fences"))
    op.create_table(
        "idempotency_keys",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job", "key", name=op.f("idempotency_keys_pkey")),
        schema="kordant",
    )
    op.create_index(op.f("idempotency_keys_until_idx"), "idempotency_keys", ["until"], unique=False, schema="kordant")
    op.create_table(
        "job_catalogue",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("job_catalogue_pkey")),
        sa.UniqueConstraint("alias", name=op.f("job_catalogue_alias_key")),
        schema="kordant",
        comment="The names that kordant.enqueue_job takes: a copy of catalog.py, written when the dispatcher starts.",
    )
    op.create_table(
        "job_leases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="what it is a slot of: job:<job>, or a limit's own name"),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("nextval('kordant.fences')"), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False, comment="the process that keeps it alive"),
        sa.Column("run_id", sa.Text(), nullable=True, comment="the run that works under it"),
        sa.Column(
            "adopted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="the run keeps it alive itself",
        ),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("job_leases_pkey")),
        schema="kordant",
        comment="Slots that expire. Who has no row here any more has lost it and may write nothing.",
    )
    op.create_index(op.f("job_leases_expires_at_idx"), "job_leases", ["expires_at"], unique=False, schema="kordant")
    op.create_index(op.f("job_leases_name_idx"), "job_leases", ["name"], unique=False, schema="kordant")
    op.create_index(op.f("job_leases_run_id_idx"), "job_leases", ["run_id"], unique=False, schema="kordant")
    op.create_table(
        "job_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column(
            "payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="ids and closed words only"
        ),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "turn_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="its place in the line of its job and priority: run_at, or later behind its own tenant's",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column(
            "merge_key",
            sa.Text(),
            nullable=True,
            comment="while it waits, a further request with this key becomes part of it",
        ),
        sa.Column("entity_key", sa.Text(), nullable=True, comment="what it is about, by id"),
        sa.Column(
            "tenant",
            sa.Text(),
            nullable=True,
            comment="for whom, by id: waiting requests are shared out between tenants",
        ),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "forgiven", sa.Integer(), server_default="0", nullable=False, comment="attempts before the last replay"
        ),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True, comment="of the last attempt"),
        sa.Column("root_run_id", sa.Text(), nullable=True, comment="of the first"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("progress_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress_total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress_message", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "items_failed", sa.BigInteger(), server_default="0", nullable=False, comment="above 0: completed in part"
        ),
        sa.Column("summary", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column(
            "error", sa.Text(), nullable=True, comment="of the last attempt that failed; one line, no personal data"
        ),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'running') = (lease_id IS NOT NULL)", name=op.f("job_requests_running_has_a_lease_check")
        ),
        sa.CheckConstraint(
            "cause IN ('exception', 'timeout', 'memory', 'cpu', 'killed', 'lost', 'invalid')",
            name=op.f("job_requests_cause_check"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'dead', 'cancelled', 'expired')",
            name=op.f("job_requests_status_check"),
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 3", name=op.f("job_requests_priority_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("job_requests_pkey")),
        schema="kordant",
    )
    op.create_index(
        "job_requests_cancelling_idx",
        "job_requests",
        ["cancel_requested_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'running' AND cancel_requested_at IS NOT NULL"),
    )
    op.create_index(
        "job_requests_claim_idx",
        "job_requests",
        ["job", "priority", "turn_at", "run_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "job_requests_dead_idx",
        "job_requests",
        ["job", "ended_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'dead'"),
    )
    op.create_index(
        "job_requests_ended_idx",
        "job_requests",
        ["ended_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_index(
        "job_requests_entity_idx",
        "job_requests",
        ["entity_key"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("entity_key IS NOT NULL"),
    )
    op.create_index(
        "job_requests_lease_idx",
        "job_requests",
        ["lease_id"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "job_requests_merge_once",
        "job_requests",
        ["job", "merge_key"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("status = 'pending' AND merge_key IS NOT NULL"),
    )
    op.create_index(
        "job_requests_next_idx",
        "job_requests",
        ["run_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "job_requests_running_key_idx",
        "job_requests",
        ["job", "entity_key"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'running' AND entity_key IS NOT NULL"),
    )
    op.create_index(
        "job_requests_tenant_idx",
        "job_requests",
        ["tenant", "job", "priority", "turn_at", "run_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'pending' AND tenant IS NOT NULL"),
    )
    op.create_index(
        "job_requests_throttle_idx",
        "job_requests",
        ["job", "merge_key", "started_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("merge_key IS NOT NULL"),
    )
    op.create_table(
        "rate_buckets",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("party", name=op.f("rate_buckets_pkey")),
        schema="kordant",
    )
    op.create_table(
        "job_attempts",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lease_id", sa.Uuid(), nullable=False, comment="requests of one run share it"),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("cpu_s", sa.Double(), nullable=True, comment="of the whole run, which may have served many requests"),
        sa.Column("peak_memory_mb", sa.Double(), nullable=True, comment="of the whole run"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "cause IN ('exception', 'timeout', 'memory', 'cpu', 'killed', 'lost', 'invalid')",
            name=op.f("job_attempts_cause_check"),
        ),
        sa.CheckConstraint(
            "outcome IN ('success', 'partial', 'failure', 'canceled', 'lost', 'returned')",
            name=op.f("job_attempts_outcome_check"),
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["kordant.job_requests.id"], name=op.f("job_attempts_request_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("request_id", "attempt", name=op.f("job_attempts_pkey")),
        schema="kordant",
    )
    op.create_index(op.f("job_attempts_lease_id_idx"), "job_attempts", ["lease_id"], unique=False, schema="kordant")
    for statement in (HOUSEKEEPING, MOVES, UUID7, TENANT_STEP, INSERT_REQUEST, ENQUEUE_JOB):
        op.execute(sa.text(statement))


def downgrade() -> None:
    for function in ("enqueue_job", "insert_request", "tenant_step", "uuid7"):
        op.execute(sa.text(f"DROP FUNCTION kordant.{function}"))
    op.drop_table("job_attempts", schema="kordant")
    op.drop_table("rate_buckets", schema="kordant")
    op.drop_table("job_requests", schema="kordant")
    op.drop_table("job_leases", schema="kordant")
    op.drop_table("job_catalogue", schema="kordant")
    op.drop_table("idempotency_keys", schema="kordant")
    op.execute(sa.text("DROP FUNCTION kordant.check_request_move"))
    op.execute(sa.text("DROP SEQUENCE kordant.fences"))
