CREATE TABLE kordant.principals (
    id TEXT NOT NULL,
    role TEXT NOT NULL,
    tenants TEXT[],
    entities TEXT[],
    owner TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT principals_pkey PRIMARY KEY (id),
    CONSTRAINT principals_role_check CHECK (role IN ('admin', 'operator', 'service', 'agent', 'subscriber'))
);
COMMENT ON COLUMN kordant.principals.id IS 'agent:<id>, service:<id> or user:<id>; never a name or address';
COMMENT ON COLUMN kordant.principals.tenants IS 'null: any';
COMMENT ON COLUMN kordant.principals.entities IS 'null: any';
COMMENT ON COLUMN kordant.principals.owner IS 'the person an agent belongs to';
CREATE TABLE kordant.api_tokens (
    id TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    scopes TEXT[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_by TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT api_tokens_pkey PRIMARY KEY (id)
);
CREATE INDEX api_tokens_principal_id_idx ON kordant.api_tokens (principal_id);
CREATE TABLE kordant.agent_grants (
    agent_id TEXT NOT NULL,
    job TEXT NOT NULL,
    max_priority SMALLINT NOT NULL,
    requests_per_hour INTEGER NOT NULL,
    granted_by TEXT NOT NULL,
    granted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT agent_grants_pkey PRIMARY KEY (agent_id, job)
);
CREATE TABLE kordant.change_sets (
    id UUID NOT NULL,
    job TEXT NOT NULL,
    tier TEXT NOT NULL,
    base_version INTEGER NOT NULL,
    changes JSONB NOT NULL,
    digest TEXT NOT NULL,
    state TEXT DEFAULT 'proposed' NOT NULL,
    proposed_by TEXT NOT NULL,
    owner TEXT,
    proposed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT change_sets_pkey PRIMARY KEY (id),
    CONSTRAINT change_sets_state_check CHECK (state IN ('proposed', 'applied', 'rejected', 'withdrawn', 'expired', 'conflicted'))
);
CREATE INDEX change_sets_proposed_by_idx ON kordant.change_sets (proposed_by);
COMMENT ON COLUMN kordant.change_sets.owner IS 'the person the proposing agent belongs to';
CREATE TABLE kordant.api_replies (
    principal_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    status SMALLINT,
    reply JSONB,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT api_replies_pkey PRIMARY KEY (principal_id, operation, key)
);
CREATE INDEX api_replies_at_idx ON kordant.api_replies (at);
COMMENT ON TABLE kordant.api_replies IS 'What was answered under an Idempotency-Key: the same again for 24 hours.';
COMMENT ON COLUMN kordant.api_replies.operation IS 'method and path';
CREATE TABLE kordant.audit_log (
    seq BIGINT NOT NULL,
    entry TEXT NOT NULL,
    mac BYTEA,
    prev_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor TEXT GENERATED ALWAYS AS (((entry)::jsonb ->> 'actor'::text)) STORED,
    action TEXT GENERATED ALWAYS AS (((entry)::jsonb ->> 'action'::text)) STORED,
    target TEXT GENERATED ALWAYS AS ((((entry)::jsonb -> 'target'::text) ->> 'id'::text)) STORED,
    CONSTRAINT audit_log_pkey PRIMARY KEY (seq)
);
CREATE INDEX audit_log_actor_seq_idx ON kordant.audit_log (actor, seq);
CREATE INDEX audit_log_target_seq_idx ON kordant.audit_log (target, seq);
COMMENT ON TABLE kordant.audit_log IS 'What was done, by whom, in whose name. Rows are added and never changed.';
COMMENT ON COLUMN kordant.audit_log.seq IS 'given by a trigger, without gaps';
COMMENT ON COLUMN kordant.audit_log.entry IS 'canonical JSON; ids and closed words only';
COMMENT ON COLUMN kordant.audit_log.mac IS 'the writer''s code over the entry; none on rows that triggers write';
CREATE INDEX job_requests_caller_idx ON kordant.job_requests (requested_by, id);
CREATE INDEX job_requests_job_status_idx ON kordant.job_requests (job, status, id);
CREATE INDEX job_requests_of_tenant_idx ON kordant.job_requests (tenant, id) WHERE tenant IS NOT NULL;

CREATE FUNCTION kordant.chain_audit() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    last record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('kordant:audit_log', 0));
    SELECT seq, hash INTO last FROM kordant.audit_log ORDER BY seq DESC LIMIT 1;
    NEW.seq := coalesce(last.seq, 0) + 1;
    NEW.prev_hash := coalesce(last.hash, sha256('kordant audit'));
    NEW.hash := sha256(NEW.prev_hash || int8send(NEW.seq) || coalesce(NEW.mac, '') || convert_to(NEW.entry, 'UTF8'));
    NEW.recorded_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE FUNCTION kordant.refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION kordant.audit_row_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
    one jsonb := coalesce(is_now, was);
    said text := coalesce(nullif(current_setting('kordant.changed_by', true), ''), 'sql:' || session_user);
    changed_before jsonb;
    changed_after jsonb;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, is_now -> o.key)
        INTO changed_before, changed_after
        FROM jsonb_each(was) o WHERE o.value IS DISTINCT FROM is_now -> o.key;
        IF changed_before IS NULL THEN
            RETURN NULL;
        END IF;
    ELSE
        changed_before := was;
        changed_after := is_now;
    END IF;
    INSERT INTO kordant.audit_log (seq, entry, prev_hash, hash) VALUES (
        0,
        regexp_replace(jsonb_build_object(
            'v', 1,
            'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'actor', said, 'role', NULL, 'action', TG_TABLE_NAME || '.' || lower(TG_OP),
            'target', jsonb_build_object('kind', TG_TABLE_NAME, 'id',
                coalesce(one ->> 'id', concat_ws('/', coalesce(one ->> 'job', one ->> 'agent_id'),
                    CASE WHEN one ? 'agent_id' THEN one ->> 'job' ELSE one ->> 'tier' END))),
            'outcome', 'allowed',
            'before', changed_before - ARRAY['secret_hash', 'note', 'pause_reason', 'reason'],
            'after', changed_after - ARRAY['secret_hash', 'note', 'pause_reason', 'reason']
        )::text, '}$', ',"source":"sql"}'),
        '', ''
    );
    RETURN NULL;
END $$;

CREATE TRIGGER audit_log_chain BEFORE INSERT ON kordant.audit_log FOR EACH ROW EXECUTE FUNCTION kordant.chain_audit();
CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE ON kordant.audit_log FOR EACH ROW EXECUTE FUNCTION kordant.refuse_audit_change();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON kordant.audit_log FOR EACH STATEMENT EXECUTE FUNCTION kordant.refuse_audit_change();
CREATE TRIGGER scheduler_config_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.scheduler_config FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER job_pauses_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.job_pauses FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER principals_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.principals FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER api_tokens_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.api_tokens FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER agent_grants_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.agent_grants FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER change_sets_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.change_sets FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();

REVOKE EXECUTE ON FUNCTION kordant.chain_audit(), kordant.refuse_audit_change(), kordant.audit_row_change() FROM PUBLIC;
