"""One way in: runs that Dagster made wait as requests, jobs can be paused, idempotency keys belong to their caller."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kordant_jobs.store.migrations.versions.m0002_queue import ENQUEUE_JOB, INSERT_REQUEST

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KEY_BYTES = 1024

_OLD = (
    "kordant.insert_request(uuid, text, jsonb, smallint, timestamptz, timestamptz, text, interval, text, interval, "
    "interval, interval, text, text, text)"
)
_NEW = f"{_OLD[:-1]}, interval)"

INSERT_WITH_SCOPE = """
CREATE FUNCTION kordant.insert_request(
    p_id uuid, p_job text, p_payload jsonb, p_priority smallint, p_run_at timestamptz, p_at timestamptz,
    p_idempotency_key text, p_window interval, p_merge_key text, p_debounce interval, p_debounce_at_most interval,
    p_throttle interval, p_entity_key text, p_tenant text, p_requested_by text, p_head_start interval,
    OUT request_id uuid, OUT fresh boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_tenant text := coalesce(p_tenant, '');
    v_run_at timestamptz := p_run_at;
    v_turn_at timestamptz;
    v_known record;
BEGIN
    IF octet_length(p_idempotency_key) > {key_bytes} THEN
        RAISE EXCEPTION 'the idempotency key has % bytes, and may have {key_bytes}', octet_length(p_idempotency_key)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Send a hash of it.';
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        LOOP
            INSERT INTO kordant.idempotency_keys AS k (tenant, caller, job, key, request_id, until)
            VALUES (v_tenant, p_requested_by, p_job, p_idempotency_key, p_id, p_at + p_window)
            ON CONFLICT (tenant, caller, job, key) DO UPDATE
                SET request_id = excluded.request_id, until = excluded.until WHERE k.until <= p_at;
            EXIT WHEN FOUND;
            SELECT k.request_id INTO request_id FROM kordant.idempotency_keys k
                WHERE k.tenant = v_tenant AND k.caller = p_requested_by AND k.job = p_job
                  AND k.key = p_idempotency_key;
            IF FOUND THEN
                SELECT r.payload, r.status INTO v_known FROM kordant.job_requests r WHERE r.id = request_id;
                IF v_known.payload IS DISTINCT FROM p_payload AND v_known.payload IS NOT NULL AND p_merge_key IS NULL
                THEN
                    RAISE EXCEPTION 'the idempotency key was used with another payload, for request %', request_id
                        USING ERRCODE = 'unique_violation',
                              HINT = 'Use a new key for a new request, or send the same payload.';
                END IF;
                IF v_known.status IN ('dead', 'expired') THEN
                    RAISE EXCEPTION 'the idempotency key belongs to request %, which is %', request_id, v_known.status
                        USING ERRCODE = 'unique_violation',
                              HINT = 'Replay that request, or use a new key for a new one.';
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
    v_turn_at := v_run_at - coalesce(p_head_start, interval '0');
    IF p_tenant IS NOT NULL THEN
        SELECT greatest(v_turn_at, max(r.turn_at) + kordant.tenant_step()) INTO v_turn_at
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
            WHERE k.tenant = v_tenant AND k.caller = p_requested_by AND k.job = p_job
              AND k.key = p_idempotency_key;
    END IF;
    PERFORM pg_notify('kordant_requests', p_job);
END $$;
""".replace("{key_bytes}", str(KEY_BYTES))

ENQUEUE_WITH_SCOPE = ENQUEUE_JOB.replace(
    "enqueue_job.entity_key, enqueue_job.tenant, coalesce(enqueue_job.requested_by, 'sql:' || session_user)",
    "enqueue_job.entity_key, enqueue_job.tenant, coalesce(enqueue_job.requested_by, 'sql:' || session_user), NULL",
).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def upgrade() -> None:
    op.add_column(
        "job_requests",
        sa.Column("waiting_run_id", sa.Text(), comment="a run that Dagster made and that starts when this is claimed"),
        schema="kordant",
    )
    op.create_index(
        "job_requests_waiting_run_idx",
        "job_requests",
        ["waiting_run_id"],
        schema="kordant",
        postgresql_where=sa.text("waiting_run_id IS NOT NULL"),
    )
    op.create_index(
        "job_requests_open_idx",
        "job_requests",
        ["requested_by"],
        schema="kordant",
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_index("job_attempts_run_id_idx", "job_attempts", ["run_id"], schema="kordant")
    op.create_table(
        "job_pauses",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job", name="job_pauses_pkey"),
        schema="kordant",
        comment="Jobs of which no run starts; their requests wait.",
    )
    op.execute(sa.text("DELETE FROM kordant.idempotency_keys"))  # their callers are not known: a day's keys at most
    op.add_column("idempotency_keys", sa.Column("tenant", sa.Text(), nullable=False), schema="kordant")
    op.add_column("idempotency_keys", sa.Column("caller", sa.Text(), nullable=False), schema="kordant")
    op.drop_constraint("idempotency_keys_pkey", "idempotency_keys", schema="kordant")
    op.create_primary_key(
        "idempotency_keys_pkey", "idempotency_keys", ["tenant", "caller", "job", "key"], schema="kordant"
    )
    op.execute(sa.text(f"DROP FUNCTION {_OLD}"))
    op.execute(sa.text(INSERT_WITH_SCOPE))
    op.execute(sa.text(ENQUEUE_WITH_SCOPE))


def downgrade() -> None:
    op.execute(sa.text(f"DROP FUNCTION {_NEW}"))
    op.execute(sa.text(INSERT_REQUEST))
    op.execute(sa.text(ENQUEUE_JOB.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")))
    op.execute(sa.text("DELETE FROM kordant.idempotency_keys"))
    op.drop_constraint("idempotency_keys_pkey", "idempotency_keys", schema="kordant")
    op.drop_column("idempotency_keys", "caller", schema="kordant")
    op.drop_column("idempotency_keys", "tenant", schema="kordant")
    op.create_primary_key("idempotency_keys_pkey", "idempotency_keys", ["job", "key"], schema="kordant")
    op.drop_table("job_pauses", schema="kordant")
    op.drop_index("job_attempts_run_id_idx", "job_attempts", schema="kordant")
    op.drop_index("job_requests_open_idx", "job_requests", schema="kordant")
    op.drop_index("job_requests_waiting_run_idx", "job_requests", schema="kordant")
    op.drop_column("job_requests", "waiting_run_id", schema="kordant")
