-- Everything of ours, as it stood when the migrations were squashed into one start. Later migrations are Alembic's, in
-- files beside this one (`kordant-jobs db migration 'what'` writes one).

SET LOCAL check_function_bodies = off;

CREATE SEQUENCE kordant.fences;

CREATE FUNCTION kordant.audit_row_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp' AS $_$
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
END $_$;

CREATE FUNCTION kordant.chain_audit() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE FUNCTION kordant.check_days(checked_on date, again_at timestamp with time zone[]) RETURNS SETOF date LANGUAGE sql IMMUTABLE AS $$
    SELECT checked_on UNION ALL SELECT (t AT TIME ZONE 'UTC')::date FROM unnest(again_at) t
$$;

CREATE FUNCTION kordant.check_removal_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM new_rows WHERE state <> 'draft') THEN
        RAISE EXCEPTION 'a removal request begins as a draft'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'removal_moves';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.check_removal_moves() RETURNS trigger LANGUAGE plpgsql AS $_$
DECLARE wrong record;
BEGIN
    -- EXECUTE plans it each time: a plan kept from one row would loop over 100,000 times 100,000 rows.
    EXECUTE $query$

    WITH moved AS MATERIALIZED ( -- planned apart from LIMIT, which would make it a loop
        SELECT n.id, o.state AS before, n.state AS after, n.last_event_id
        FROM new_rows n JOIN old_rows o ON o.id = n.id WHERE o.state <> n.state
    )
    SELECT d.id, d.before, d.after, m.to_state IS NULL AS forbidden
    FROM moved d LEFT JOIN kordant.removal_moves m ON m.from_state = d.before AND m.to_state = d.after
    WHERE m.to_state IS NULL OR (
        SELECT e.request_id = d.id AND e.from_state = d.before AND e.to_state = d.after
        FROM kordant.removal_events e WHERE e.id = d.last_event_id
    ) IS NOT TRUE

    LIMIT 1
    $query$ INTO wrong;
    IF wrong.id IS NOT NULL THEN
        IF wrong.forbidden THEN
            RAISE EXCEPTION 'removal request % may not go from % to %', wrong.id, wrong.before, wrong.after
                USING ERRCODE = 'check_violation', CONSTRAINT = 'removal_moves';
        END IF;
        RAISE EXCEPTION 'the move of removal request % from % to % has no event', wrong.id, wrong.before, wrong.after
            USING ERRCODE = 'check_violation', CONSTRAINT = 'removal_moves';
    END IF;
    RETURN NULL;
END $_$;

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

CREATE FUNCTION kordant.count_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kordant.attempt_deltas (job, outcome, cause, bucket, attempts, sum_ms, cpu_s)
    SELECT job, outcome, cause,
           width_bucket(ms, ARRAY[10, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 900000, 3600000]
                            ::double precision[]),
           count(*), sum(ms), sum(cpu_s)
    FROM (
        SELECT r.job, n.outcome, coalesce(n.cause, '') AS cause,
               greatest(extract(epoch FROM n.ended_at - n.started_at) * 1000, 0)::double precision AS ms,
               coalesce(n.cpu_s, 0) / count(*) OVER (PARTITION BY n.lease_id) AS cpu_s
        FROM new_rows n JOIN old_rows o USING (request_id, attempt) JOIN kordant.job_requests r ON r.id = n.request_id
        WHERE o.outcome IS NULL AND n.outcome IS NOT NULL
    ) ended
    GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.count_breaches() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kordant.sla_breaches AS s (job, breaches)
    SELECT r.job, count(*)
    FROM new_rows n JOIN old_rows o USING (request_id, attempt) JOIN kordant.job_requests r ON r.id = n.request_id
    JOIN kordant.job_catalogue c ON c.name = r.job
    WHERE o.outcome IS NULL AND n.outcome IN ('success', 'partial')
      AND n.ended_at - r.run_at > make_interval(secs => c.sla_s)
    GROUP BY 1 ORDER BY 1
    ON CONFLICT (job) DO UPDATE SET breaches = s.breaches + excluded.breaches;
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.count_schedule_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) = to_jsonb(OLD) THEN
            RETURN NULL;
        END IF;
        NEW.version = OLD.version + 1;
    ELSE
        SELECT coalesce(max(h.version), 0) + 1 INTO NEW.version FROM kordant.scheduler_history h
        WHERE h.job = NEW.job AND h.tier = NEW.tier;
    END IF;
    NEW.changed_at = clock_timestamp();
    NEW.changed_by = coalesce(nullif(current_setting('kordant.changed_by', true), ''), 'sql:' || session_user);
    RETURN NEW;
END $$;

CREATE FUNCTION kordant.count_starts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kordant.start_lags AS s (job, bucket, starts, sum_s)
    SELECT job, width_bucket(lag_s, ARRAY[0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600]::double precision[]),
           count(*), sum(lag_s)
    FROM (
        SELECT r.job, greatest(extract(epoch FROM n.started_at - r.run_at), 0)::double precision AS lag_s
        FROM new_rows n JOIN kordant.job_requests r ON r.id = n.request_id
    ) started
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (job, bucket) DO UPDATE SET starts = s.starts + excluded.starts, sum_s = s.sum_s + excluded.sum_s;
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.count_verdicts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO kordant.verdict_counts
        SELECT day, source, verdict, coalesce(reason, ''), count(*)
        FROM new_rows, kordant.check_days(checked_on, again_at) day GROUP BY 1, 2, 3, 4;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO kordant.verdict_counts
        SELECT day, source, verdict, coalesce(reason, ''), -count(*)
        FROM old_rows, kordant.check_days(checked_on, again_at) day GROUP BY 1, 2, 3, 4;
    ELSE  -- most have only a check more: the days that both versions have are not read
        INSERT INTO kordant.verdict_counts
        WITH changed AS MATERIALIZED (
            SELECT o, n, coalesce(
                       (o.verdict, o.reason) IS NOT DISTINCT FROM (n.verdict, n.reason)
                       AND n.again_at[1:cardinality(o.again_at)] = o.again_at, false) AS is_longer
            FROM old_rows o FULL JOIN new_rows n USING (subscription_id, source, checked_on)
        )
        SELECT day, source, verdict, coalesce(reason, ''), sum(number) FROM (
            SELECT (t AT TIME ZONE 'UTC')::date AS day, (n).source, (n).verdict, (n).reason, 1 AS number
            FROM changed, unnest((n).again_at[cardinality((o).again_at) + 1:]) t WHERE is_longer
            UNION ALL
            SELECT day, (n).source, (n).verdict, (n).reason, 1
            FROM changed, kordant.check_days((n).checked_on, (n).again_at) day
            WHERE NOT is_longer AND (n).subscription_id IS NOT NULL
            UNION ALL
            SELECT day, (o).source, (o).verdict, (o).reason, -1
            FROM changed, kordant.check_days((o).checked_on, (o).again_at) day
            WHERE NOT is_longer AND (o).subscription_id IS NOT NULL
        ) days GROUP BY 1, 2, 3, 4 HAVING sum(number) <> 0;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.enqueue_job(
    job text, payload jsonb DEFAULT '{}', priority text DEFAULT NULL, run_at timestamptz DEFAULT NULL,
    idempotency_key text DEFAULT NULL, idempotency_window interval DEFAULT interval '1 day',
    entity_key text DEFAULT NULL, tenant text DEFAULT NULL, requested_by text DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_variable
DECLARE
    v_job text;
    v_priority smallint;
    v_id uuid;
    v_by text := 'sql:' || session_user;  -- another name only for those who may write the table anyway
BEGIN
    IF pg_has_role(session_user, current_user, 'MEMBER') THEN
        v_by := coalesce(enqueue_job.requested_by, v_by);
    END IF;
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
        enqueue_job.entity_key, enqueue_job.tenant, v_by, NULL
    ) i;
    RETURN v_id;
END $$;

CREATE FUNCTION kordant.insert_request(
    p_id uuid, p_job text, p_payload jsonb, p_priority smallint, p_run_at timestamptz, p_at timestamptz,
    p_idempotency_key text, p_window interval, p_merge_key text, p_debounce interval,
    p_debounce_at_most interval, p_throttle interval, p_entity_key text, p_tenant text, p_requested_by text,
    p_head_start interval, OUT request_id uuid, OUT fresh boolean
) RETURNS record LANGUAGE plpgsql AS $$
DECLARE
    v_tenant text := coalesce(p_tenant, '');
    v_run_at timestamptz := p_run_at;
    v_turn_at timestamptz;
    v_known record;
BEGIN
    IF octet_length(p_idempotency_key) > 1024 THEN
        RAISE EXCEPTION 'the idempotency key has % bytes, and may have 1024', octet_length(p_idempotency_key)
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

CREATE FUNCTION kordant.keep_schedule_history() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said text := coalesce(nullif(current_setting('kordant.changed_by', true), ''), 'sql:' || session_user);
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO kordant.scheduler_history (job, tier, version, row, changed_at, changed_by)
        VALUES (OLD.job, OLD.tier, OLD.version + 1, NULL, clock_timestamp(), said);
    ELSE
        INSERT INTO kordant.scheduler_history (job, tier, version, row, changed_at, changed_by, note)
        VALUES (NEW.job, NEW.tier, NEW.version, to_jsonb(NEW), NEW.changed_at, NEW.changed_by, NEW.note);
    END IF;
    PERFORM pg_notify('kordant_schedules', '');
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.lease_is_held(lease uuid, moment timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    RETURN EXISTS (SELECT FROM kordant.job_leases WHERE id = lease AND expires_at > moment);
END $$;

CREATE FUNCTION kordant.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION kordant.remember_report_leftover() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.storage_key <> OLD.storage_key THEN
        INSERT INTO kordant.report_leftovers (storage_key) VALUES (OLD.storage_key)
        ON CONFLICT (storage_key) DO UPDATE SET since_at = clock_timestamp();
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.tenant_step() RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '10 seconds' $$;

CREATE FUNCTION kordant.traceparent() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $_$
    SELECT substring(pg_catalog.current_setting('kordant.traceparent', true)
                     FROM '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
$_$;

CREATE FUNCTION kordant.uuid7() RETURNS uuid LANGUAGE sql AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

CREATE FUNCTION kordant.wake_sensors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kordant_events', TG_TABLE_NAME);
    RETURN NULL;
END $$;

CREATE TABLE kordant.agent_grants (
    agent_id TEXT NOT NULL,
    job TEXT NOT NULL,
    max_priority SMALLINT NOT NULL,
    requests_per_hour INTEGER NOT NULL,
    granted_by TEXT NOT NULL,
    granted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    requests_per_day INTEGER,
    concurrent INTEGER,
    expires_at TIMESTAMP WITH TIME ZONE,
    ask_first BOOLEAN DEFAULT 'false' NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    cpu_s_per_day INTEGER,
    CONSTRAINT agent_grants_pkey PRIMARY KEY (agent_id, job)
);
COMMENT ON COLUMN kordant.agent_grants.requests_per_day IS 'null: as many as the hours allow';
COMMENT ON COLUMN kordant.agent_grants.concurrent IS 'open requests at once; null: any number';
COMMENT ON COLUMN kordant.agent_grants.ask_first IS 'a person approves the first request: a change set of kind first_trigger';
COMMENT ON COLUMN kordant.agent_grants.version IS 'what a change set is based on';
COMMENT ON COLUMN kordant.agent_grants.cpu_s_per_day IS 'CPU seconds of its runs in 24 hours; null: any number';

CREATE TABLE kordant.alert_rules (
    rule TEXT NOT NULL,
    version INTEGER NOT NULL,
    severity TEXT NOT NULL,
    fires_at DOUBLE PRECISION NOT NULL,
    clears_at DOUBLE PRECISION NOT NULL,
    for_s DOUBLE PRECISION NOT NULL,
    enabled BOOLEAN NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT alert_rules_pkey PRIMARY KEY (rule, version),
    CONSTRAINT alert_rules_severity_check CHECK (severity IN ('page', 'ticket'))
);
COMMENT ON TABLE kordant.alert_rules IS 'Versions are added and never changed; the newest of a rule holds, else the one that is shipped.';

CREATE TABLE kordant.alert_silences (
    id UUID NOT NULL,
    rule TEXT NOT NULL,
    subject TEXT,
    reason TEXT NOT NULL,
    silenced_by TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT alert_silences_pkey PRIMARY KEY (id)
);
COMMENT ON COLUMN kordant.alert_silences.subject IS 'null: any';

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
COMMENT ON TABLE kordant.api_replies IS 'What was answered under an Idempotency-Key: the same again for 24 hours.';
COMMENT ON COLUMN kordant.api_replies.operation IS 'method and path';
CREATE INDEX api_replies_at_idx ON kordant.api_replies (at);

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

CREATE TABLE kordant.attempt_deltas (
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    job TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    bucket SMALLINT NOT NULL,
    attempts BIGINT NOT NULL,
    sum_ms DOUBLE PRECISION NOT NULL,
    cpu_s DOUBLE PRECISION NOT NULL
);
COMMENT ON TABLE kordant.attempt_deltas IS 'Attempts as they end, by statement; a trigger writes it. Folded into attempt_hours and attempt_totals.';
COMMENT ON COLUMN kordant.attempt_deltas.cause IS 'empty: none';
COMMENT ON COLUMN kordant.attempt_deltas.bucket IS 'of the duration: its place in DURATIONS_MS';
CREATE INDEX attempt_deltas_at_idx ON kordant.attempt_deltas (at);

CREATE TABLE kordant.attempt_hours (
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    job TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    bucket SMALLINT NOT NULL,
    attempts BIGINT NOT NULL,
    sum_ms DOUBLE PRECISION NOT NULL,
    cpu_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT attempt_hours_pkey PRIMARY KEY (hour, job, outcome, cause, bucket)
);
COMMENT ON TABLE kordant.attempt_hours IS 'Attempts by hour: what is left of history when the rows have gone.';

CREATE TABLE kordant.attempt_totals (
    job TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    bucket SMALLINT NOT NULL,
    attempts BIGINT NOT NULL,
    sum_ms DOUBLE PRECISION NOT NULL,
    cpu_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT attempt_totals_pkey PRIMARY KEY (job, outcome, cause, bucket)
);
COMMENT ON TABLE kordant.attempt_totals IS 'Attempts since the beginning: counters that only grow.';

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
COMMENT ON TABLE kordant.audit_log IS 'What was done, by whom, in whose name. Rows are added and never changed.';
COMMENT ON COLUMN kordant.audit_log.seq IS 'given by a trigger, without gaps';
COMMENT ON COLUMN kordant.audit_log.entry IS 'canonical JSON; ids and closed words only';
COMMENT ON COLUMN kordant.audit_log.mac IS 'the writer''s code over the entry; none on rows that triggers write';
CREATE INDEX audit_log_actor_seq_idx ON kordant.audit_log (actor, seq);
CREATE INDEX audit_log_target_seq_idx ON kordant.audit_log (target, seq);

CREATE TABLE kordant.audit_progress (
    id SMALLINT NOT NULL,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    verified_at TIMESTAMP WITH TIME ZONE,
    fault_seq BIGINT,
    fault TEXT,
    CONSTRAINT audit_progress_pkey PRIMARY KEY (id),
    CONSTRAINT audit_progress_single_check CHECK (id = 1)
);
COMMENT ON TABLE kordant.audit_progress IS 'How far this pass over the audit log has verified it, and what is wrong since the last whole pass.';

CREATE TABLE kordant.breach_lookups (
    source TEXT NOT NULL,
    reference TEXT NOT NULL,
    found BOOLEAN NOT NULL,
    looked_up_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT breach_lookups_pkey PRIMARY KEY (source, reference),
    CONSTRAINT breach_lookups_source_check CHECK (source IN ('dumps', 'hibp', 'xposedornot', 'leakcheck'))
);
COMMENT ON TABLE kordant.breach_lookups IS 'Breaches that a source was asked to describe: not asked again at once when it knew none.';

CREATE TABLE kordant.breaches (
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    title TEXT NOT NULL,
    domain TEXT DEFAULT '' NOT NULL,
    breached_on DATE,
    added_at TIMESTAMP WITH TIME ZONE,
    modified_at TIMESTAMP WITH TIME ZONE,
    pwn_count BIGINT,
    description TEXT DEFAULT '' NOT NULL,
    data_classes TEXT[] DEFAULT '{}' NOT NULL,
    is_verified BOOLEAN DEFAULT false NOT NULL,
    is_fabricated BOOLEAN DEFAULT false NOT NULL,
    is_sensitive BOOLEAN DEFAULT false NOT NULL,
    is_retired BOOLEAN DEFAULT false NOT NULL,
    is_spam_list BOOLEAN DEFAULT false NOT NULL,
    is_malware BOOLEAN DEFAULT false NOT NULL,
    is_stealer_log BOOLEAN DEFAULT false NOT NULL,
    is_subscription_free BOOLEAN DEFAULT false NOT NULL,
    logo_path TEXT,
    attribution TEXT,
    disclosure_url TEXT,
    extra JSONB DEFAULT '{}' NOT NULL,
    known_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT breaches_pkey PRIMARY KEY (name),
    CONSTRAINT breaches_source_check CHECK (source IN ('hibp', 'dump', 'paste', 'xposedornot', 'leakcheck'))
);

CREATE TABLE kordant.brokers (
    id UUID NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    facts JSONB NOT NULL,
    sources TEXT[] NOT NULL,
    handled_by UUID,
    channels TEXT[] NOT NULL,
    has_search BOOLEAN DEFAULT false NOT NULL,
    daily_cap INTEGER DEFAULT '50' NOT NULL,
    cool_down_days INTEGER DEFAULT '25' NOT NULL,
    paused_until TIMESTAMP WITH TIME ZONE,
    retired_at TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT brokers_pkey PRIMARY KEY (id),
    CONSTRAINT brokers_key_key UNIQUE (key),
    CONSTRAINT brokers_handled_by_fkey FOREIGN KEY (handled_by) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.brokers.key IS 'its domain, else its squashed name';
COMMENT ON COLUMN kordant.brokers.channels IS 'the ways in, the preferred first';
COMMENT ON COLUMN kordant.brokers.daily_cap IS 'messages a day, over all processes';
COMMENT ON COLUMN kordant.brokers.cool_down_days IS 'before the same person again';
CREATE INDEX brokers_handled_by_idx ON kordant.brokers (handled_by);

CREATE TABLE kordant.catalogue_imports (
    content_sha256 BYTEA NOT NULL,
    breaches INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    imported_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT catalogue_imports_pkey PRIMARY KEY (content_sha256)
);

CREATE TABLE kordant.change_sets (
    id UUID NOT NULL,
    kind TEXT DEFAULT 'schedule_change' NOT NULL,
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
    CONSTRAINT change_sets_kind_check CHECK (kind IN ('schedule_change', 'workflow', 'gate', 'first_trigger', 'grant_change')),
    CONSTRAINT change_sets_state_check CHECK (state IN ('proposed', 'applied', 'rejected', 'withdrawn', 'expired', 'conflicted'))
);
COMMENT ON COLUMN kordant.change_sets.tier IS 'of a workflow its id, of a gate the execution''s, of a grant the agent''s';
COMMENT ON COLUMN kordant.change_sets.base_version IS 'of a gate the step''s place; of a grant 0: there is none yet';
COMMENT ON COLUMN kordant.change_sets.owner IS 'the person the proposing agent belongs to';
CREATE INDEX change_sets_proposed_by_idx ON kordant.change_sets (proposed_by);

CREATE TABLE kordant.channel_pauses (
    channel TEXT NOT NULL,
    pauses INTEGER NOT NULL,
    paused_until TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT channel_pauses_pkey PRIMARY KEY (channel),
    CONSTRAINT channel_pauses_channel_check CHECK (channel IN ('email', 'fcm', 'apns', 'web_push', 'sms'))
);
COMMENT ON TABLE kordant.channel_pauses IS 'Channels that cannot work: nothing is claimed for them until then.';
COMMENT ON COLUMN kordant.channel_pauses.pauses IS 'in a row; a message that is accepted ends them';
COMMENT ON COLUMN kordant.channel_pauses.reason IS 'for the operator; never an address';

CREATE TABLE kordant.cleanup_plans (
    id UUID NOT NULL,
    clock TIMESTAMP WITH TIME ZONE NOT NULL,
    digest BYTEA NOT NULL,
    figures JSONB NOT NULL,
    CONSTRAINT cleanup_plans_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE kordant.cleanup_plans IS 'What a clean-up would delete. One that is at most a day old can be carried out.';
COMMENT ON COLUMN kordant.cleanup_plans.digest IS 'of all predicates and cutoffs';
COMMENT ON COLUMN kordant.cleanup_plans.figures IS 'by kind: rows, bytes, held, oldest, newest, stopped';

CREATE TABLE kordant.cleanup_reports (
    id UUID NOT NULL,
    plan_id UUID NOT NULL,
    clock TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    dry_run BOOLEAN NOT NULL,
    digest BYTEA NOT NULL,
    figures JSONB NOT NULL,
    CONSTRAINT cleanup_reports_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE kordant.cleanup_reports IS 'What was deleted, by kind and rule. No personal data.';
COMMENT ON COLUMN kordant.cleanup_reports.figures IS 'by kind: planned, deleted, held, left, bytes, seconds, …';
CREATE INDEX cleanup_reports_clock_idx ON kordant.cleanup_reports (clock);

CREATE TABLE kordant.cost_weeks (
    week_of DATE NOT NULL,
    job TEXT NOT NULL,
    tier TEXT NOT NULL,
    cpu_s DOUBLE PRECISION NOT NULL,
    subscriptions BIGINT NOT NULL,
    rolled_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT cost_weeks_pkey PRIMARY KEY (week_of, job, tier)
);
COMMENT ON TABLE kordant.cost_weeks IS 'CPU time by week, job and tier: what is left of cost when the attempts have gone.';
COMMENT ON COLUMN kordant.cost_weeks.tier IS 'empty: for no subscription';
COMMENT ON COLUMN kordant.cost_weeks.subscriptions IS 'active ones of the tier when it was rolled up';

CREATE TABLE kordant.county_states (
    county TEXT NOT NULL,
    watermarks JSONB DEFAULT '{}' NOT NULL,
    freshness TEXT,
    table_version TEXT,
    data_as_of DATE,
    rows INTEGER DEFAULT '0' NOT NULL,
    rows_not_understood JSONB DEFAULT '{}' NOT NULL,
    reason TEXT,
    checked_at TIMESTAMP WITH TIME ZONE,
    read_at TIMESTAMP WITH TIME ZONE,
    matched_at TIMESTAMP WITH TIME ZONE,
    name TEXT,
    recorder_url TEXT,
    has_liens BOOLEAN,
    roll_freshness TEXT,
    roll_changed_at TIMESTAMP WITH TIME ZONE,
    roll_reason TEXT,
    CONSTRAINT county_states_pkey PRIMARY KEY (county)
);
COMMENT ON COLUMN kordant.county_states.watermarks IS 'by table: the source''s own newest mark';
COMMENT ON COLUMN kordant.county_states.freshness IS 'what the source last said of itself; the same again: nothing is new';
COMMENT ON COLUMN kordant.county_states.table_version IS 'of the county''s description: another one reads everything again';
COMMENT ON COLUMN kordant.county_states.rows_not_understood IS 'by reason';
COMMENT ON COLUMN kordant.county_states.reason IS 'why the last read failed; null: it did not';
COMMENT ON COLUMN kordant.county_states.recorder_url IS 'a page of the recorder''s; {key} and {number} are filled in';
COMMENT ON COLUMN kordant.county_states.roll_freshness IS 'what the owner roll, where it is read whole, last said of itself';
COMMENT ON COLUMN kordant.county_states.roll_reason IS 'why the owner roll could not be read; null: it could';

CREATE TABLE kordant.forecast_corrections (
    class TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    quantile FLOAT NOT NULL,
    score FLOAT NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT forecast_corrections_pkey PRIMARY KEY (class, horizon, quantile)
);
COMMENT ON TABLE kordant.forecast_corrections IS 'Quantiles of past errors of forecasts: what makes intervals hold as often as they say.';
COMMENT ON COLUMN kordant.forecast_corrections.class IS 'of entities: by how regular their income is';
COMMENT ON COLUMN kordant.forecast_corrections.horizon IS 'days';
COMMENT ON COLUMN kordant.forecast_corrections.score IS 'error in units of the scale that the forecast has';

CREATE TABLE kordant.http_counts (
    method TEXT NOT NULL,
    route TEXT NOT NULL,
    status SMALLINT NOT NULL,
    bucket SMALLINT NOT NULL,
    calls BIGINT NOT NULL,
    sum_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT http_counts_pkey PRIMARY KEY (method, route, status, bucket)
);
COMMENT ON TABLE kordant.http_counts IS 'Calls of the API and the console since the beginning; each process adds its own every few seconds.';
COMMENT ON COLUMN kordant.http_counts.route IS 'the template, never the path';
COMMENT ON COLUMN kordant.http_counts.bucket IS 'of the duration: its place in HTTP_S';

CREATE TABLE kordant.idempotency_keys (
    tenant TEXT NOT NULL,
    caller TEXT NOT NULL,
    job TEXT NOT NULL,
    key TEXT NOT NULL,
    request_id UUID NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant, caller, job, key)
);
CREATE INDEX idempotency_keys_until_idx ON kordant.idempotency_keys (until);

CREATE TABLE kordant.job_catalogue (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    priority SMALLINT NOT NULL,
    sla_s DOUBLE PRECISION,
    CONSTRAINT job_catalogue_pkey PRIMARY KEY (name),
    CONSTRAINT job_catalogue_alias_key UNIQUE (alias)
);
COMMENT ON TABLE kordant.job_catalogue IS 'The names that kordant.enqueue_job takes: a copy of the rows, written when the dispatcher starts.';
COMMENT ON COLUMN kordant.job_catalogue.sla_s IS 'from due to done; null: nothing is promised';

CREATE TABLE kordant.job_hosts (
    name TEXT NOT NULL,
    place TEXT NOT NULL,
    code_version TEXT NOT NULL,
    slots INTEGER NOT NULL,
    draining BOOLEAN DEFAULT false NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT job_hosts_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE kordant.job_hosts IS 'Hosts of workers (KORDANT_LAUNCHER=celery). One not seen for the time of a lease gets no runs.';
COMMENT ON COLUMN kordant.job_hosts.place IS 'machine and state folder, by which two of one name are told apart';
COMMENT ON COLUMN kordant.job_hosts.code_version IS 'it takes runs of this version only';
COMMENT ON COLUMN kordant.job_hosts.slots IS 'runs at the same time';
COMMENT ON COLUMN kordant.job_hosts.draining IS 'it takes no more, and ends';

CREATE TABLE kordant.job_leases (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    fence BIGINT DEFAULT nextval('kordant.fences') NOT NULL,
    holder TEXT NOT NULL,
    run_id TEXT,
    adopted BOOLEAN DEFAULT false NOT NULL,
    host TEXT,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT job_leases_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE kordant.job_leases IS 'Slots that expire. Who has no row here any more has lost it and may write nothing.';
COMMENT ON COLUMN kordant.job_leases.name IS 'what it is a slot of: job:<job>, or a limit''s own name';
COMMENT ON COLUMN kordant.job_leases.holder IS 'the process that keeps it alive';
COMMENT ON COLUMN kordant.job_leases.run_id IS 'the run that works under it';
COMMENT ON COLUMN kordant.job_leases.adopted IS 'the run keeps it alive itself';
COMMENT ON COLUMN kordant.job_leases.host IS 'the host that took the run; it keeps the lease alive until the run does';
CREATE INDEX job_leases_expires_at_idx ON kordant.job_leases (expires_at);
CREATE INDEX job_leases_name_idx ON kordant.job_leases (name);
CREATE INDEX job_leases_run_id_idx ON kordant.job_leases (run_id);

CREATE TABLE kordant.job_pauses (
    job TEXT NOT NULL,
    reason TEXT NOT NULL,
    paused_by TEXT NOT NULL,
    paused_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT job_pauses_pkey PRIMARY KEY (job)
);
COMMENT ON TABLE kordant.job_pauses IS 'Jobs of which no run starts; their requests wait.';

CREATE TABLE kordant.job_requests (
    id UUID NOT NULL,
    job TEXT NOT NULL,
    payload JSONB NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    priority SMALLINT NOT NULL,
    run_at TIMESTAMP WITH TIME ZONE NOT NULL,
    turn_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    idempotency_key TEXT,
    merge_key TEXT,
    entity_key TEXT,
    tenant TEXT,
    requested_by TEXT NOT NULL,
    attempt INTEGER DEFAULT '0' NOT NULL,
    forgiven INTEGER DEFAULT '0' NOT NULL,
    lease_id UUID,
    fence BIGINT,
    waiting_run_id TEXT,
    run_id TEXT,
    root_run_id TEXT,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    progress_done BIGINT DEFAULT '0' NOT NULL,
    progress_total BIGINT DEFAULT '0' NOT NULL,
    progress_message TEXT DEFAULT '' NOT NULL,
    items_failed BIGINT DEFAULT '0' NOT NULL,
    summary JSONB,
    cause TEXT,
    error TEXT,
    acknowledged_at TIMESTAMP WITH TIME ZONE,
    acknowledged_by TEXT,
    traceparent TEXT DEFAULT kordant.traceparent(),
    CONSTRAINT job_requests_pkey PRIMARY KEY (id),
    CONSTRAINT job_requests_status_check CHECK (status IN ('pending', 'running', 'completed', 'dead', 'cancelled', 'expired')),
    CONSTRAINT job_requests_cause_check CHECK (cause IN ('exception', 'timeout', 'memory', 'cpu', 'killed', 'lost', 'invalid')),
    CONSTRAINT job_requests_priority_check CHECK (priority BETWEEN 0 AND 3),
    CONSTRAINT job_requests_run_at_between_2000_and_2200_check CHECK (run_at >= '2000-01-01 00:00:00+00' AND run_at < '2200-01-01 00:00:00+00'),
    CONSTRAINT job_requests_running_has_a_lease_check CHECK ((status = 'running') = (lease_id IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
COMMENT ON COLUMN kordant.job_requests.payload IS 'ids and closed words only';
COMMENT ON COLUMN kordant.job_requests.turn_at IS 'its place in the line of its job and priority: run_at, or later behind its own tenant''s';
COMMENT ON COLUMN kordant.job_requests.merge_key IS 'while it waits, a further request with this key becomes part of it';
COMMENT ON COLUMN kordant.job_requests.entity_key IS 'what it is about, by id';
COMMENT ON COLUMN kordant.job_requests.tenant IS 'for whom, by id: waiting requests are shared out between tenants';
COMMENT ON COLUMN kordant.job_requests.forgiven IS 'attempts before the last replay';
COMMENT ON COLUMN kordant.job_requests.waiting_run_id IS 'a run that Dagster made and that starts when this is claimed';
COMMENT ON COLUMN kordant.job_requests.run_id IS 'of the last attempt';
COMMENT ON COLUMN kordant.job_requests.root_run_id IS 'of the first';
COMMENT ON COLUMN kordant.job_requests.items_failed IS 'above 0: completed in part';
COMMENT ON COLUMN kordant.job_requests.error IS 'of the last attempt that failed; one line, no personal data';
COMMENT ON COLUMN kordant.job_requests.traceparent IS 'the W3C context of the trace that it is part of';
CREATE INDEX job_requests_caller_idx ON kordant.job_requests (requested_by, id);
CREATE INDEX job_requests_cancelling_idx ON kordant.job_requests (cancel_requested_at) WHERE status = 'running' AND cancel_requested_at IS NOT NULL;
CREATE INDEX job_requests_claim_idx ON kordant.job_requests (job, priority, turn_at, run_at) WHERE status = 'pending';
CREATE INDEX job_requests_dead_idx ON kordant.job_requests (job, ended_at) WHERE status = 'dead';
CREATE INDEX job_requests_ended_idx ON kordant.job_requests (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX job_requests_entity_idx ON kordant.job_requests (entity_key) WHERE entity_key IS NOT NULL;
CREATE INDEX job_requests_job_status_idx ON kordant.job_requests (job, status, id);
CREATE INDEX job_requests_lease_idx ON kordant.job_requests (lease_id) WHERE status = 'running';
CREATE UNIQUE INDEX job_requests_merge_once ON kordant.job_requests (job, merge_key) WHERE status = 'pending' AND merge_key IS NOT NULL;
CREATE INDEX job_requests_next_idx ON kordant.job_requests (run_at) WHERE status = 'pending';
CREATE INDEX job_requests_of_tenant_idx ON kordant.job_requests (tenant, id) WHERE tenant IS NOT NULL;
CREATE INDEX job_requests_open_idx ON kordant.job_requests (requested_by) WHERE status IN ('pending', 'running');
CREATE INDEX job_requests_running_key_idx ON kordant.job_requests (job, entity_key) WHERE status = 'running' AND entity_key IS NOT NULL;
CREATE INDEX job_requests_tenant_idx ON kordant.job_requests (tenant, job, priority, turn_at, run_at) WHERE status = 'pending' AND tenant IS NOT NULL;
CREATE INDEX job_requests_throttle_idx ON kordant.job_requests (job, merge_key, started_at) WHERE merge_key IS NOT NULL;
CREATE INDEX job_requests_waiting_run_idx ON kordant.job_requests (waiting_run_id) WHERE waiting_run_id IS NOT NULL;

CREATE TABLE kordant.keyring_check (
    id SMALLINT NOT NULL,
    master_key_id TEXT NOT NULL,
    wrapped_root BYTEA NOT NULL,
    CONSTRAINT keyring_check_pkey PRIMARY KEY (id),
    CONSTRAINT keyring_check_single_check CHECK (id = 1)
);
COMMENT ON TABLE kordant.keyring_check IS 'Proves that the master key of a process is the one this database was written with.';
COMMENT ON COLUMN kordant.keyring_check.wrapped_root IS 'the key of blind indexes, labels and links';

CREATE TABLE kordant.legal_holds (
    id UUID NOT NULL,
    owner_id UUID,
    kind TEXT,
    since TIMESTAMP WITH TIME ZONE,
    before TIMESTAMP WITH TIME ZONE,
    reason TEXT NOT NULL,
    placed_by TEXT NOT NULL,
    placed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    released_by TEXT,
    released_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT legal_holds_pkey PRIMARY KEY (id),
    CONSTRAINT legal_holds_names_something_check CHECK (num_nonnulls(owner_id, kind, since, before) > 0)
);
COMMENT ON TABLE kordant.legal_holds IS 'What is not deleted, whatever its term: read inside every deletion.';
COMMENT ON COLUMN kordant.legal_holds.owner_id IS 'a subscriber or an entity; null: any';
COMMENT ON COLUMN kordant.legal_holds.kind IS 'null: any';
COMMENT ON COLUMN kordant.legal_holds.reason IS 'a file number; no personal data';
CREATE INDEX legal_holds_owner_id_idx ON kordant.legal_holds (owner_id) WHERE released_at IS NULL;

CREATE TABLE kordant.operator_alerts (
    id UUID NOT NULL,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    value DOUBLE PRECISION,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    acknowledged_by TEXT,
    CONSTRAINT operator_alerts_pkey PRIMARY KEY (id),
    CONSTRAINT operator_alerts_state_check CHECK (state IN ('pending', 'firing', 'resolved'))
);
COMMENT ON COLUMN kordant.operator_alerts.subject IS 'a job, source, channel, part or agent; never a person';
COMMENT ON COLUMN kordant.operator_alerts.value IS 'the last one measured';
CREATE UNIQUE INDEX operator_alerts_once ON kordant.operator_alerts (rule, subject) WHERE state IN ('pending', 'firing');
CREATE INDEX operator_alerts_since_idx ON kordant.operator_alerts (since);

CREATE TABLE kordant.policy_denials (
    rule TEXT NOT NULL,
    role TEXT NOT NULL,
    denials BIGINT NOT NULL,
    CONSTRAINT policy_denials_pkey PRIMARY KEY (rule, role)
);
COMMENT ON TABLE kordant.policy_denials IS 'What the policy refused, by its rule, since the beginning.';

CREATE TABLE kordant.principals (
    id TEXT NOT NULL,
    role TEXT NOT NULL,
    tenants TEXT[],
    entities TEXT[],
    owner TEXT,
    topics TEXT[],
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT principals_pkey PRIMARY KEY (id),
    CONSTRAINT principals_role_check CHECK (role IN ('admin', 'operator', 'service', 'agent', 'subscriber'))
);
COMMENT ON COLUMN kordant.principals.id IS 'agent:<id>, service:<id> or user:<id>; never a name or address';
COMMENT ON COLUMN kordant.principals.tenants IS 'null: any';
COMMENT ON COLUMN kordant.principals.entities IS 'null: any';
COMMENT ON COLUMN kordant.principals.owner IS 'the person an agent belongs to';
COMMENT ON COLUMN kordant.principals.topics IS 'of which events it may publish; null: any that its role may';

CREATE TABLE kordant.property_instruments (
    id UUID NOT NULL,
    county TEXT NOT NULL,
    key TEXT NOT NULL,
    number TEXT DEFAULT '' NOT NULL,
    code TEXT NOT NULL,
    event TEXT NOT NULL,
    form TEXT NOT NULL,
    recorded_on DATE,
    executed_on DATE,
    amount NUMERIC(18, 2),
    percent NUMERIC(9, 4),
    refers_to TEXT[] DEFAULT '{}' NOT NULL,
    parties_encrypted BYTEA,
    content_hash BYTEA NOT NULL,
    is_first_load BOOLEAN DEFAULT false NOT NULL,
    known_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT property_instruments_pkey PRIMARY KEY (id),
    CONSTRAINT property_instruments_county_key_key UNIQUE (county, key),
    CONSTRAINT property_instruments_event_check CHECK (event IN ('ownership_change', 'partial_transfer', 'tax_deed', 'transfer_on_death', 'tod_revoked', 'correction', 'name_change', 'power_of_attorney', 'power_revoked', 'contract', 'mortgage', 'mortgage_change', 'assignment', 'lien', 'lis_pendens', 'release', 'partial_release', 'mailing_address_changed', 'owner_changed_on_roll', 'other', 'unknown')),
    CONSTRAINT property_instruments_form_check CHECK (form IN ('plain', 'quitclaim', 'fiduciary', 'trustee'))
);
COMMENT ON COLUMN kordant.property_instruments.key IS 'the recorder''s own id';
COMMENT ON COLUMN kordant.property_instruments.content_hash IS 'keyed, over all that the source says of it';
CREATE INDEX property_instruments_county_changed_at_idx ON kordant.property_instruments (county, changed_at);

CREATE TABLE kordant.provider_budgets (
    provider TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    subject_index BYTEA NOT NULL,
    month_on DATE NOT NULL,
    used INTEGER DEFAULT '0' NOT NULL,
    reserved INTEGER DEFAULT '0' NOT NULL,
    call_limit INTEGER NOT NULL,
    CONSTRAINT provider_budgets_pkey PRIMARY KEY (provider, endpoint, subject_index, month_on),
    CONSTRAINT provider_budgets_provider_check CHECK (provider IN ('pluggy', 'ofb', 'belvo', 'file'))
);
COMMENT ON TABLE kordant.provider_budgets IS 'Operational limits of a month; only calls that succeeded count.';
COMMENT ON COLUMN kordant.provider_budgets.endpoint IS 'the class of calls that share a limit';
COMMENT ON COLUMN kordant.provider_budgets.subject_index IS 'whose calls are counted';
COMMENT ON COLUMN kordant.provider_budgets.month_on IS 'its first day, in Sao Paulo';
COMMENT ON COLUMN kordant.provider_budgets.used IS 'calls that succeeded';
COMMENT ON COLUMN kordant.provider_budgets.reserved IS 'calls whose end is not known yet';

CREATE TABLE kordant.queue_depths (
    job TEXT NOT NULL,
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    due BIGINT NOT NULL,
    CONSTRAINT queue_depths_pkey PRIMARY KEY (job, minute)
);
COMMENT ON TABLE kordant.queue_depths IS 'How many requests were due in each minute of the last hour: does a queue grow?';

CREATE TABLE kordant.rate_buckets (
    party TEXT NOT NULL,
    tokens DOUBLE PRECISION NOT NULL,
    filled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT rate_buckets_pkey PRIMARY KEY (party)
);

CREATE TABLE kordant.received_events (
    principal_id TEXT NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    topic TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    request_ids UUID[] DEFAULT '{}' NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT received_events_pkey PRIMARY KEY (principal_id, source, id)
);
COMMENT ON TABLE kordant.received_events IS 'Events by who sent them, source and id: each counts once for 7 days.';
CREATE INDEX received_events_at_idx ON kordant.received_events (at);

CREATE TABLE kordant.removal_moves (
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    CONSTRAINT removal_moves_pkey PRIMARY KEY (from_state, to_state)
);
COMMENT ON TABLE kordant.removal_moves IS 'The allowed moves; a trigger on removal_requests refuses any other.';

CREATE TABLE kordant.report_leftovers (
    storage_key TEXT NOT NULL,
    since_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT report_leftovers_pkey PRIMARY KEY (storage_key)
);
COMMENT ON COLUMN kordant.report_leftovers.storage_key IS 'no report named it any more at `since_at`';

CREATE TABLE kordant.retention_policies (
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    action TEXT NOT NULL,
    keep_days INTEGER,
    legal_basis TEXT NOT NULL,
    note TEXT DEFAULT '' NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    set_by TEXT NOT NULL,
    approved_by TEXT,
    CONSTRAINT retention_policies_pkey PRIMARY KEY (kind, version),
    CONSTRAINT retention_policies_action_check CHECK (action IN ('delete', 'shred_key', 'thin', 'keep')),
    CONSTRAINT retention_policies_term_with_every_action_but_keep_check CHECK ((keep_days IS NULL) = (action = 'keep')),
    CONSTRAINT retention_policies_keep_days_check CHECK (keep_days BETWEEN 0 AND 36500)
);
COMMENT ON TABLE kordant.retention_policies IS 'Versions are added and never changed; the newest of a kind holds.';
COMMENT ON COLUMN kordant.retention_policies.keep_days IS 'null: kept';
COMMENT ON COLUMN kordant.retention_policies.approved_by IS 'of a shorter term: somebody other than who set it';

CREATE TABLE kordant.run_progress (
    run_id TEXT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,
    message TEXT NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT run_progress_pkey PRIMARY KEY (run_id)
);

CREATE TABLE kordant.schedule_progress (
    job TEXT NOT NULL,
    tier TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    position_on DATE NOT NULL,
    position_slot INTEGER NOT NULL,
    held BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT schedule_progress_pkey PRIMARY KEY (job, tier)
);

CREATE TABLE kordant.schedule_starts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job TEXT NOT NULL,
    tier TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
    spans JSONB NOT NULL,
    subscriptions INTEGER,
    version INTEGER NOT NULL,
    CONSTRAINT schedule_starts_pkey PRIMARY KEY (id),
    CONSTRAINT schedule_starts_kind_check CHECK (kind IN ('started', 'dropped'))
);
COMMENT ON TABLE kordant.schedule_starts IS 'What ticks led to. A tick that is looked at again gives the same starts.';
COMMENT ON COLUMN kordant.schedule_starts.source IS 'the tick that decided it, or the sensor';
COMMENT ON COLUMN kordant.schedule_starts.spans IS '[day, anchor, first slot, past slot]';
COMMENT ON COLUMN kordant.schedule_starts.subscriptions IS 'how many there were; null: the job as a whole';
COMMENT ON COLUMN kordant.schedule_starts.version IS 'of the row that it was decided by';
CREATE INDEX schedule_starts_decided_at_idx ON kordant.schedule_starts (decided_at);
CREATE INDEX schedule_starts_job_tier_source_idx ON kordant.schedule_starts (job, tier, source);

CREATE TABLE kordant.scheduler_config (
    job TEXT NOT NULL,
    tier TEXT NOT NULL,
    cadence TEXT NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT DEFAULT 'UTC' NOT NULL,
    anchor TEXT DEFAULT 'anniversary' NOT NULL,
    spread BOOLEAN DEFAULT true NOT NULL,
    gap TEXT DEFAULT 'shift' NOT NULL,
    fold TEXT DEFAULT 'once' NOT NULL,
    catch_up TEXT DEFAULT 'latest' NOT NULL,
    catch_up_window_s INTEGER DEFAULT '604800' NOT NULL,
    overlap TEXT DEFAULT 'queue_one' NOT NULL,
    priority SMALLINT DEFAULT '2' NOT NULL,
    realtime BOOLEAN DEFAULT false NOT NULL,
    enabled BOOLEAN DEFAULT true NOT NULL,
    pause_reason TEXT,
    paused_by TEXT,
    paused_at TIMESTAMP WITH TIME ZONE,
    paused_until TIMESTAMP WITH TIME ZONE,
    version INTEGER DEFAULT '1' NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    changed_by TEXT DEFAULT CURRENT_USER NOT NULL,
    note TEXT,
    CONSTRAINT scheduler_config_pkey PRIMARY KEY (job, tier),
    CONSTRAINT scheduler_config_cadence_check CHECK (cadence IN ('every_tick', 'daily', 'weekly', 'monthly')),
    CONSTRAINT scheduler_config_anchor_check CHECK (anchor IN ('anniversary', 'calendar')),
    CONSTRAINT scheduler_config_gap_check CHECK (gap IN ('shift', 'skip')),
    CONSTRAINT scheduler_config_fold_check CHECK (fold IN ('once', 'twice')),
    CONSTRAINT scheduler_config_catch_up_check CHECK (catch_up IN ('none', 'latest', 'all')),
    CONSTRAINT scheduler_config_overlap_check CHECK (overlap IN ('allow', 'skip', 'queue_one', 'queue_all', 'cancel_other')),
    CONSTRAINT scheduler_config_priority_check CHECK (priority BETWEEN 0 AND 3),
    CONSTRAINT scheduler_config_pause_has_a_reason_check CHECK ((paused_at IS NULL) = (pause_reason IS NULL))
);
COMMENT ON COLUMN kordant.scheduler_config.tier IS '''all'' for a row that is of no tier';
COMMENT ON COLUMN kordant.scheduler_config.version IS 'counted up by a trigger';

CREATE TABLE kordant.scheduler_history (
    job TEXT NOT NULL,
    tier TEXT NOT NULL,
    version INTEGER NOT NULL,
    row JSONB,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    changed_by TEXT NOT NULL,
    note TEXT,
    CONSTRAINT scheduler_history_pkey PRIMARY KEY (job, tier, version)
);
COMMENT ON TABLE kordant.scheduler_history IS 'Written by a trigger, whoever changes scheduler_config.';
COMMENT ON COLUMN kordant.scheduler_history.row IS 'as it was from then on; null: deleted';

CREATE TABLE kordant.sla_breaches (
    job TEXT NOT NULL,
    breaches BIGINT NOT NULL,
    CONSTRAINT sla_breaches_pkey PRIMARY KEY (job)
);
COMMENT ON TABLE kordant.sla_breaches IS 'Requests that were completed later than their job promises, since the beginning.';

CREATE TABLE kordant.source_states (
    source TEXT NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    last_reason TEXT,
    open_until TIMESTAMP WITH TIME ZONE,
    last_ok_at TIMESTAMP WITH TIME ZONE,
    last_failed_at TIMESTAMP WITH TIME ZONE,
    told_off_at TIMESTAMP WITH TIME ZONE,
    terms JSONB,
    terms_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT source_states_pkey PRIMARY KEY (source),
    CONSTRAINT source_states_source_check CHECK (source IN ('dumps', 'hibp', 'xposedornot', 'leakcheck')),
    CONSTRAINT source_states_last_reason_check CHECK (last_reason IN ('key_refused', 'forbidden', 'bad_request', 'rate_limited', 'unavailable', 'timed_out', 'unreachable', 'redirected', 'unreadable', 'too_large', 'circuit_open', 'not_asked'))
);
COMMENT ON TABLE kordant.source_states IS 'How each outside source stands, for all processes: a circuit breaker a row.';
COMMENT ON COLUMN kordant.source_states.failures IS 'one after the other, without an answer';
COMMENT ON COLUMN kordant.source_states.terms IS 'what the plan of the key allows';

CREATE TABLE kordant.start_lags (
    job TEXT NOT NULL,
    bucket SMALLINT NOT NULL,
    starts BIGINT NOT NULL,
    sum_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT start_lags_pkey PRIMARY KEY (job, bucket)
);
COMMENT ON TABLE kordant.start_lags IS 'Attempts by how long they were due before a run took them, since the beginning.';
COMMENT ON COLUMN kordant.start_lags.bucket IS 'its place in LAGS_S';

CREATE TABLE kordant.subscribers (
    id UUID NOT NULL,
    name_encrypted BYTEA,
    contact_encrypted BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    forgotten_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT subscribers_pkey PRIMARY KEY (id)
);

CREATE TABLE kordant.suppressions (
    channel TEXT NOT NULL,
    address_index BYTEA NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT suppressions_pkey PRIMARY KEY (channel, address_index),
    CONSTRAINT suppressions_channel_check CHECK (channel IN ('email', 'fcm', 'apns', 'web_push', 'sms'))
);
COMMENT ON TABLE kordant.suppressions IS 'Addresses that nothing is sent to, whoever they belong to.';
COMMENT ON COLUMN kordant.suppressions.address_index IS 'the blind index of the address';

CREATE TABLE kordant.sync_runs (
    id UUID NOT NULL,
    planned INTEGER NOT NULL,
    active INTEGER NOT NULL,
    deferred JSONB DEFAULT '{}' NOT NULL,
    successful INTEGER,
    failed INTEGER,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT sync_runs_pkey PRIMARY KEY (id)
);
COMMENT ON COLUMN kordant.sync_runs.deferred IS 'by reason';
CREATE INDEX sync_runs_started_at_idx ON kordant.sync_runs (started_at);

CREATE TABLE kordant.verdict_counts (
    checked_on DATE NOT NULL,
    source TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    subscriptions BIGINT NOT NULL
);
COMMENT ON TABLE kordant.verdict_counts IS 'Verdicts by day, to be summed: a trigger adds a row for what each statement changed in source_verdicts.';
COMMENT ON COLUMN kordant.verdict_counts.reason IS 'empty: none';
COMMENT ON COLUMN kordant.verdict_counts.subscriptions IS 'negative: verdicts that were replaced or deleted';
CREATE INDEX verdict_counts_checked_on_idx ON kordant.verdict_counts (checked_on);

CREATE TABLE kordant.workflows (
    id UUID NOT NULL,
    agent_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    definition JSONB NOT NULL,
    digest TEXT NOT NULL,
    state TEXT DEFAULT 'draft' NOT NULL,
    change_id UUID NOT NULL,
    proposed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT workflows_pkey PRIMARY KEY (id),
    CONSTRAINT workflows_state_check CHECK (state IN ('draft', 'approved', 'retired')),
    CONSTRAINT workflows_agent_id_name_version_key UNIQUE (agent_id, name, version)
);
COMMENT ON TABLE kordant.workflows IS 'Workflows of agents, a row a version. Only an approved one is carried out.';
COMMENT ON COLUMN kordant.workflows.definition IS 'typed steps, checked when it was proposed';
COMMENT ON COLUMN kordant.workflows.digest IS 'what a person approved';

CREATE TABLE kordant.breach_dumps (
    id UUID NOT NULL,
    content_sha256 BYTEA NOT NULL,
    file_label TEXT NOT NULL,
    file_key BYTEA NOT NULL,
    file_size BIGINT NOT NULL,
    file_mtime_ns BIGINT NOT NULL,
    place TEXT,
    breach_name TEXT NOT NULL,
    told_shape TEXT,
    status TEXT DEFAULT 'registered' NOT NULL,
    reason TEXT,
    shape TEXT,
    compression TEXT,
    encoding TEXT,
    lines BIGINT DEFAULT '0' NOT NULL,
    records BIGINT DEFAULT '0' NOT NULL,
    bad_lines JSONB DEFAULT '{}' NOT NULL,
    ledger JSONB DEFAULT '{}' NOT NULL,
    begun INTEGER DEFAULT '0' NOT NULL,
    known_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    registered_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ingested_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT breach_dumps_pkey PRIMARY KEY (id),
    CONSTRAINT breach_dumps_status_check CHECK (status IN ('registered', 'ingested', 'partial', 'quarantined', 'superseded', 'dismissed')),
    CONSTRAINT breach_dumps_content_sha256_key UNIQUE (content_sha256),
    CONSTRAINT breach_dumps_breach_name_fkey FOREIGN KEY (breach_name) REFERENCES kordant.breaches (name) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.breach_dumps.file_label IS 'stands for the file''s name: a keyed hash and the ending';
COMMENT ON COLUMN kordant.breach_dumps.file_key IS 'keyed hash of the file''s name';
COMMENT ON COLUMN kordant.breach_dumps.place IS 'the name of the drop folder in which the file lies';
COMMENT ON COLUMN kordant.breach_dumps.ledger IS 'what was read how, and what was not understood';
COMMENT ON COLUMN kordant.breach_dumps.begun IS 'how often reading began and did not end';
CREATE INDEX breach_dumps_breach_name_idx ON kordant.breach_dumps (breach_name);
CREATE INDEX breach_dumps_file_key_idx ON kordant.breach_dumps (file_key);
CREATE INDEX breach_dumps_known_at_idx ON kordant.breach_dumps (known_at);

CREATE TABLE kordant.broker_contact_faults (
    broker_id UUID NOT NULL,
    contact TEXT NOT NULL,
    fault TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT broker_contact_faults_broker_id_contact_key UNIQUE (broker_id, contact),
    CONSTRAINT broker_contact_faults_broker_id_fkey FOREIGN KEY (broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.broker_contact_faults.contact IS 'an address or link of the broker that does not work';

CREATE TABLE kordant.broker_domains (
    domain TEXT NOT NULL,
    broker_id UUID NOT NULL,
    CONSTRAINT broker_domains_pkey PRIMARY KEY (domain),
    CONSTRAINT broker_domains_broker_id_fkey FOREIGN KEY (broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
CREATE INDEX broker_domains_broker_id_idx ON kordant.broker_domains (broker_id);

CREATE TABLE kordant.broker_rows (
    source TEXT NOT NULL,
    row_key TEXT NOT NULL,
    broker_id UUID NOT NULL,
    row JSONB NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    gone_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT broker_rows_pkey PRIMARY KEY (source, row_key),
    CONSTRAINT broker_rows_source_check CHECK (source IN ('kordant', 'california_links', 'california', 'eraser', 'duckduckgo', 'justvanish', 'datenanfragen', 'fronts')),
    CONSTRAINT broker_rows_broker_id_fkey FOREIGN KEY (broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.broker_rows IS 'Every row of every list as it was read last. One that left its list keeps its row, with the moment.';
CREATE INDEX broker_rows_broker_id_idx ON kordant.broker_rows (broker_id);

CREATE TABLE kordant.broker_versions (
    broker_id UUID NOT NULL,
    version INTEGER NOT NULL,
    facts JSONB NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT broker_versions_broker_id_version_key UNIQUE (broker_id, version),
    CONSTRAINT broker_versions_broker_id_fkey FOREIGN KEY (broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);

CREATE TABLE kordant.consents (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    purpose TEXT NOT NULL,
    how TEXT NOT NULL,
    recorded_by TEXT NOT NULL,
    given_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT consents_pkey PRIMARY KEY (id),
    CONSTRAINT consents_purpose_check CHECK (purpose IN ('watch', 'outside_sources', 'messages')),
    CONSTRAINT consents_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.consents.how IS 'the form or talk in which it was given; no name';
CREATE UNIQUE INDEX consents_once ON kordant.consents (subscriber_id, purpose) WHERE withdrawn_at IS NULL;
CREATE INDEX consents_subscriber_id_idx ON kordant.consents (subscriber_id);

CREATE TABLE kordant.contact_addresses (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    channel TEXT NOT NULL,
    address_encrypted BYTEA NOT NULL,
    blind_index BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    removed_reason TEXT,
    CONSTRAINT contact_addresses_pkey PRIMARY KEY (id),
    CONSTRAINT contact_addresses_channel_check CHECK (channel IN ('email', 'fcm', 'apns', 'web_push', 'sms')),
    CONSTRAINT contact_addresses_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.contact_addresses IS 'Push tokens, phones and further e-mail addresses; the first e-mail address is subscribers.contact.';
COMMENT ON COLUMN kordant.contact_addresses.blind_index IS '16 bytes; null once the subscriber was forgotten';
CREATE UNIQUE INDEX contact_addresses_once ON kordant.contact_addresses (subscriber_id, channel, blind_index) WHERE removed_at IS NULL;
CREATE INDEX contact_addresses_subscriber_id_idx ON kordant.contact_addresses (subscriber_id);

CREATE TABLE kordant.drp_businesses (
    id TEXT NOT NULL,
    broker_id UUID,
    document JSONB NOT NULL,
    token_sealed BYTEA,
    token_since TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT drp_businesses_pkey PRIMARY KEY (id),
    CONSTRAINT drp_businesses_broker_id_fkey FOREIGN KEY (broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.drp_businesses IS 'Businesses of the Data Rights Protocol, as their directory documents say.';
COMMENT ON COLUMN kordant.drp_businesses.token_sealed IS 'our Bearer token there, under the keyring''s own key';
CREATE INDEX drp_businesses_broker_id_idx ON kordant.drp_businesses (broker_id);

CREATE TABLE kordant.job_attempts (
    request_id UUID NOT NULL,
    attempt INTEGER NOT NULL,
    lease_id UUID NOT NULL,
    run_id TEXT,
    worker TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    cause TEXT,
    cpu_s DOUBLE PRECISION,
    peak_memory_mb DOUBLE PRECISION,
    error TEXT,
    CONSTRAINT job_attempts_pkey PRIMARY KEY (request_id, attempt),
    CONSTRAINT job_attempts_outcome_check CHECK (outcome IN ('success', 'partial', 'failure', 'canceled', 'lost', 'returned')),
    CONSTRAINT job_attempts_cause_check CHECK (cause IN ('exception', 'timeout', 'memory', 'cpu', 'killed', 'lost', 'invalid')),
    CONSTRAINT job_attempts_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.job_requests (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.job_attempts.lease_id IS 'requests of one run share it';
COMMENT ON COLUMN kordant.job_attempts.cpu_s IS 'of the whole run, which may have served many requests';
COMMENT ON COLUMN kordant.job_attempts.peak_memory_mb IS 'of the whole run';
CREATE INDEX job_attempts_lease_id_idx ON kordant.job_attempts (lease_id);
CREATE INDEX job_attempts_run_id_idx ON kordant.job_attempts (run_id);

CREATE TABLE kordant.notification_hours (
    subscriber_id UUID NOT NULL,
    quiet_from TIME WITHOUT TIME ZONE,
    quiet_until TIME WITHOUT TIME ZONE,
    digest_at TIME WITHOUT TIME ZONE DEFAULT '08:00:00' NOT NULL,
    digest_weekday SMALLINT DEFAULT '1' NOT NULL,
    CONSTRAINT notification_hours_pkey PRIMARY KEY (subscriber_id),
    CONSTRAINT notification_hours_quiet_has_both_ends_check CHECK ((quiet_from IS NULL) = (quiet_until IS NULL)),
    CONSTRAINT notification_hours_digest_weekday_check CHECK (digest_weekday BETWEEN 1 AND 7),
    CONSTRAINT notification_hours_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.notification_hours IS 'Wall times in the zone of the subscription.';
COMMENT ON COLUMN kordant.notification_hours.digest_weekday IS 'from 1, Monday';

CREATE TABLE kordant.notification_preferences (
    subscriber_id UUID NOT NULL,
    category TEXT NOT NULL,
    channel TEXT NOT NULL,
    mode TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT notification_preferences_pkey PRIMARY KEY (subscriber_id, category, channel),
    CONSTRAINT notification_preferences_category_check CHECK (category IN ('breach', 'home_title', 'voice', 'removal', 'report', 'finance')),
    CONSTRAINT notification_preferences_channel_check CHECK (channel IN ('email', 'fcm', 'apns', 'web_push', 'sms')),
    CONSTRAINT notification_preferences_mode_check CHECK (mode IN ('off', 'at_once', 'daily', 'weekly')),
    CONSTRAINT notification_preferences_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);

CREATE TABLE kordant.operator_notices (
    id UUID NOT NULL,
    alert_id UUID NOT NULL,
    told TEXT NOT NULL,
    target INTEGER NOT NULL,
    tries INTEGER DEFAULT '0' NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT operator_notices_pkey PRIMARY KEY (id),
    CONSTRAINT operator_notices_told_check CHECK (told IN ('fired', 'again', 'resolved')),
    CONSTRAINT operator_notices_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES kordant.operator_alerts (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.operator_notices IS 'Who is told what: one row a target, so that a target that is down repeats nothing to the others.';
COMMENT ON COLUMN kordant.operator_notices.target IS 'the place of the address in KORDANT_ALERT_URLS';
CREATE INDEX operator_notices_alert_id_idx ON kordant.operator_notices (alert_id);
CREATE INDEX operator_notices_made_at_idx ON kordant.operator_notices (made_at) WHERE sent_at IS NULL;

CREATE TABLE kordant.property_lots (
    parcel_index BYTEA NOT NULL,
    instrument_id UUID NOT NULL,
    CONSTRAINT property_lots_pkey PRIMARY KEY (parcel_index, instrument_id),
    CONSTRAINT property_lots_instrument_id_fkey FOREIGN KEY (instrument_id) REFERENCES kordant.property_instruments (id) ON DELETE CASCADE
);
CREATE INDEX property_lots_instrument_id_idx ON kordant.property_lots (instrument_id);

CREATE TABLE kordant.property_name_keys (
    key_index BYTEA NOT NULL,
    instrument_id UUID NOT NULL,
    CONSTRAINT property_name_keys_pkey PRIMARY KEY (key_index, instrument_id),
    CONSTRAINT property_name_keys_instrument_id_fkey FOREIGN KEY (instrument_id) REFERENCES kordant.property_instruments (id) ON DELETE CASCADE
);
CREATE INDEX property_name_keys_instrument_id_idx ON kordant.property_name_keys (instrument_id);

CREATE TABLE kordant.removal_profiles (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    country TEXT NOT NULL,
    state TEXT,
    details_encrypted BYTEA,
    permission_encrypted BYTEA,
    permitted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT removal_profiles_pkey PRIMARY KEY (id),
    CONSTRAINT removal_profiles_subscriber_id_key UNIQUE (subscriber_id),
    CONSTRAINT removal_profiles_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.removal_profiles.details_encrypted IS 'JSON: what the subscriber gave, by field';
COMMENT ON COLUMN kordant.removal_profiles.permission_encrypted IS 'the signed permission, a PDF in base64';

CREATE TABLE kordant.subscriber_keys (
    subscriber_id UUID NOT NULL,
    wrapped_key BYTEA NOT NULL,
    master_key_id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT subscriber_keys_pkey PRIMARY KEY (subscriber_id),
    CONSTRAINT subscriber_keys_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.subscriber_keys IS 'Deleting a row here makes everything encrypted for that subscriber unreadable.';

CREATE TABLE kordant.subscriptions (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    tier TEXT NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    time_zone TEXT DEFAULT 'UTC' NOT NULL,
    locale TEXT DEFAULT 'en' NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (id),
    CONSTRAINT subscriptions_tier_check CHECK (tier IN ('basic', 'plus', 'premium')),
    CONSTRAINT subscriptions_status_check CHECK (status IN ('active', 'paused', 'cancelled')),
    CONSTRAINT subscriptions_locale_check CHECK (locale IN ('en', 'pt-BR')),
    CONSTRAINT subscriptions_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
CREATE INDEX subscriptions_subscriber_id_idx ON kordant.subscriptions (subscriber_id);
CREATE INDEX subscriptions_tier_idx ON kordant.subscriptions (tier) WHERE status = 'active';

CREATE TABLE kordant.token_uses (
    token_id TEXT NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT token_uses_pkey PRIMARY KEY (token_id),
    CONSTRAINT token_uses_token_id_fkey FOREIGN KEY (token_id) REFERENCES kordant.api_tokens (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.token_uses IS 'When a token was last good for a call, to the hour.';

CREATE TABLE kordant.voice_consents (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    person_encrypted BYTEA NOT NULL,
    given_by_encrypted BYTEA NOT NULL,
    given_on DATE NOT NULL,
    text_version TEXT NOT NULL,
    recorded_by TEXT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT voice_consents_pkey PRIMARY KEY (id),
    CONSTRAINT voice_consents_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.voice_consents IS 'Consents to process a voice, which is biometric data. Withdrawn ones are kept as a proof.';
COMMENT ON COLUMN kordant.voice_consents.person_encrypted IS 'whose voice it is, as the subscriber calls them';
COMMENT ON COLUMN kordant.voice_consents.given_by_encrypted IS 'who agreed: the person, or who may for them';
CREATE INDEX voice_consents_subscriber_id_idx ON kordant.voice_consents (subscriber_id);

CREATE TABLE kordant.voice_settings (
    subscriber_id UUID NOT NULL,
    always_alert BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT voice_settings_pkey PRIMARY KEY (subscriber_id),
    CONSTRAINT voice_settings_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.voice_settings IS 'What a subscriber chose: to be told of every clip.';

CREATE TABLE kordant.workflow_executions (
    id UUID NOT NULL,
    workflow_id UUID NOT NULL,
    digest TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    started_by TEXT NOT NULL,
    tenant TEXT,
    entity_key TEXT,
    inputs JSONB NOT NULL,
    status TEXT DEFAULT 'running' NOT NULL,
    at_step INTEGER DEFAULT '0' NOT NULL,
    looks INTEGER DEFAULT '0' NOT NULL,
    next_request_id UUID,
    reason TEXT,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT workflow_executions_pkey PRIMARY KEY (id),
    CONSTRAINT workflow_executions_status_check CHECK (status IN ('running', 'completed', 'stopped', 'denied', 'failed')),
    CONSTRAINT workflow_executions_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES kordant.workflows (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.workflow_executions.digest IS 'of the definition that it began with';
COMMENT ON COLUMN kordant.workflow_executions.inputs IS 'ids and plain values';
COMMENT ON COLUMN kordant.workflow_executions.at_step IS 'the place of the next step';
COMMENT ON COLUMN kordant.workflow_executions.looks IS 'how often it looked at what it waits for';
COMMENT ON COLUMN kordant.workflow_executions.next_request_id IS 'the request that takes it on after a wait';
COMMENT ON COLUMN kordant.workflow_executions.reason IS 'the rule, or a closed word';
CREATE INDEX workflow_executions_agent_id_started_at_idx ON kordant.workflow_executions (agent_id, started_at);
CREATE INDEX workflow_executions_workflow_id_idx ON kordant.workflow_executions (workflow_id);

CREATE TABLE kordant.alerted (
    subscription_id UUID NOT NULL,
    blind_index BYTEA NOT NULL,
    breach_name TEXT NOT NULL,
    alerted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT alerted_pkey PRIMARY KEY (subscription_id, blind_index, breach_name),
    CONSTRAINT alerted_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.alerted IS 'Each identifier and breach is told once, also when the item was removed and added again.';

CREATE TABLE kordant.analysis_jobs (
    id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    content_key BYTEA NOT NULL,
    ending TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    held_until_at TIMESTAMP WITH TIME ZONE,
    analysed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT analysis_jobs_pkey PRIMARY KEY (id),
    CONSTRAINT analysis_jobs_subscription_id_content_key_key UNIQUE (subscription_id, content_key),
    CONSTRAINT analysis_jobs_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT analysis_jobs_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.analysis_jobs IS 'Clips to analyse, and those that were.';
COMMENT ON COLUMN kordant.analysis_jobs.content_key IS 'keyed hash of the file: the same clip is one row';
COMMENT ON COLUMN kordant.analysis_jobs.ending IS 'of its name, where it is a known one; else empty';
COMMENT ON COLUMN kordant.analysis_jobs.held_until_at IS 'not analysed before, after something went wrong';
CREATE INDEX analysis_jobs_created_at_idx ON kordant.analysis_jobs (created_at) WHERE analysed_at IS NULL;
CREATE INDEX analysis_jobs_subscriber_id_idx ON kordant.analysis_jobs (subscriber_id);

CREATE TABLE kordant.dismissals (
    subscription_id UUID NOT NULL,
    blind_index BYTEA NOT NULL,
    breach_name TEXT NOT NULL,
    said_by TEXT NOT NULL,
    said_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT dismissals_pkey PRIMARY KEY (subscription_id, blind_index, breach_name),
    CONSTRAINT dismissals_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.dismissals IS '''Not me'': of this identifier in this breach the subscriber hears no more.';

CREATE TABLE kordant.due_slots (
    subscription_id UUID NOT NULL,
    job TEXT NOT NULL,
    tier TEXT NOT NULL,
    anchor SMALLINT NOT NULL,
    slot INTEGER NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT due_slots_pkey PRIMARY KEY (subscription_id, job),
    CONSTRAINT due_slots_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.due_slots IS 'Who is served by which row, and where in its day and month. Only active subscriptions have rows.';
COMMENT ON COLUMN kordant.due_slots.anchor IS 'its day of the week (from 1, Monday) or month; 0: none';
COMMENT ON COLUMN kordant.due_slots.slot IS 'its stable place in a day, below 2^30';
CREATE INDEX due_slots_tick_idx ON kordant.due_slots (job, tier, anchor, slot) INCLUDE (subscription_id);

CREATE TABLE kordant.entities (
    id UUID NOT NULL,
    subscription_id UUID,
    kind TEXT NOT NULL,
    name_encrypted BYTEA,
    holder_index BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    forgotten_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT entities_pkey PRIMARY KEY (id),
    CONSTRAINT entities_kind_check CHECK (kind IN ('household', 'firm')),
    CONSTRAINT entities_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.entities IS 'Households and firms; the subscription is the one that is told of them.';
COMMENT ON COLUMN kordant.entities.holder_index IS 'blind index of the CPF or CNPJ; null: not given';
CREATE INDEX entities_subscription_id_idx ON kordant.entities (subscription_id) WHERE subscription_id IS NOT NULL;

CREATE TABLE kordant.property_verdicts (
    subscription_id UUID NOT NULL,
    county TEXT NOT NULL,
    checked_on DATE NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,
    data_as_of DATE,
    watched INTEGER NOT NULL,
    findings INTEGER NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT property_verdicts_pkey PRIMARY KEY (subscription_id, county, checked_on),
    CONSTRAINT property_verdicts_verdict_check CHECK (verdict IN ('clean', 'found', 'unknown')),
    CONSTRAINT property_verdicts_reason_check CHECK (reason IN ('never_read', 'stale', 'source_failed', 'not_covered', 'rows_not_understood', 'roll_not_read')),
    CONSTRAINT property_verdicts_unknown_has_a_reason_check CHECK (verdict <> 'unknown' OR reason IS NOT NULL),
    CONSTRAINT property_verdicts_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);

CREATE TABLE kordant.removal_requests (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    broker_id UUID NOT NULL,
    state TEXT DEFAULT 'draft' NOT NULL,
    reason TEXT,
    last_event_id UUID,
    law TEXT NOT NULL,
    ask TEXT DEFAULT 'deletion' NOT NULL,
    language TEXT DEFAULT 'en' NOT NULL,
    channel TEXT,
    address_token TEXT NOT NULL,
    outside_id TEXT,
    verification_encrypted BYTEA,
    attempts INTEGER DEFAULT '0' NOT NULL,
    reminders INTEGER DEFAULT '0' NOT NULL,
    asked_user INTEGER DEFAULT '0' NOT NULL,
    answered BOOLEAN DEFAULT false NOT NULL,
    links_followed INTEGER DEFAULT '0' NOT NULL,
    sent_on DATE,
    confirm_by_on DATE,
    answer_by_on DATE,
    extended_by_on DATE,
    broker_says TEXT,
    check_says TEXT,
    checked_at TIMESTAMP WITH TIME ZONE,
    state_since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT removal_requests_pkey PRIMARY KEY (id),
    CONSTRAINT removal_requests_state_check CHECK (state IN ('draft', 'queued', 'sent', 'acknowledged', 'needs_user_action', 'needs_identity', 'in_progress', 'extended', 'completed', 'no_match', 'denied', 'exempt', 'contact_moved', 'bounced', 'overdue', 'escalated', 'verified_removed', 'relisted', 'cancelled')),
    CONSTRAINT removal_requests_law_check CHECK (law IN ('ccpa', 'gdpr', 'uk_gdpr', 'lgpd', 'tdpsa', 'ocpa', 'vcdpa', 'cpa', 'ctdpa', 'icdpa', 'us_state', 'voluntary')),
    CONSTRAINT removal_requests_ask_check CHECK (ask IN ('deletion', 'sale:opt-out')),
    CONSTRAINT removal_requests_channel_check CHECK (channel IN ('drp', 'form_post', 'email', 'web_form', 'drop')),
    CONSTRAINT removal_requests_check_says_check CHECK (check_says IN ('listed', 'not_listed', 'unknown')),
    CONSTRAINT removal_requests_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE,
    CONSTRAINT removal_requests_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT removal_requests_broker_id_fkey FOREIGN KEY (broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE,
    CONSTRAINT removal_requests_address_token_key UNIQUE (address_token)
);
COMMENT ON COLUMN kordant.removal_requests.reason IS 'a code: why it is in this state';
COMMENT ON COLUMN kordant.removal_requests.last_event_id IS 'the event of its last move; a trigger compares the two';
COMMENT ON COLUMN kordant.removal_requests.address_token IS 'replies come to <local part>+<token>@…';
COMMENT ON COLUMN kordant.removal_requests.outside_id IS 'what the broker calls it in the Data Rights Protocol';
COMMENT ON COLUMN kordant.removal_requests.verification_encrypted IS 'the page on which the subscriber proves who they are to the business';
COMMENT ON COLUMN kordant.removal_requests.attempts IS 'requests sent';
COMMENT ON COLUMN kordant.removal_requests.reminders IS 'reminders since the last request';
COMMENT ON COLUMN kordant.removal_requests.asked_user IS 'how often the subscriber was told';
COMMENT ON COLUMN kordant.removal_requests.answered IS 'since the last request';
COMMENT ON COLUMN kordant.removal_requests.broker_says IS 'the last answer of the broker, as a reply class';
COMMENT ON COLUMN kordant.removal_requests.check_says IS 'our own last check';
CREATE INDEX removal_requests_broker_id_next_at_idx ON kordant.removal_requests (broker_id, next_at);
CREATE UNIQUE INDEX removal_requests_once ON kordant.removal_requests (subscriber_id, broker_id, ask, (state <> 'cancelled' OR NULL));
CREATE INDEX removal_requests_outside_id_idx ON kordant.removal_requests (outside_id) WHERE outside_id IS NOT NULL;
CREATE INDEX removal_requests_subscription_id_idx ON kordant.removal_requests (subscription_id);

CREATE TABLE kordant.reports (
    id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    kind TEXT NOT NULL,
    period_start_on DATE NOT NULL,
    period_end_on DATE NOT NULL,
    figures JSONB NOT NULL,
    figures_sha256 BYTEA NOT NULL,
    content_sha256 BYTEA NOT NULL,
    storage_key TEXT NOT NULL,
    pages INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT reports_pkey PRIMARY KEY (id),
    CONSTRAINT reports_subscription_id_kind_period_start_on_key UNIQUE (subscription_id, kind, period_start_on),
    CONSTRAINT reports_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.reports.period_end_on IS 'the first day that is no more covered';
COMMENT ON COLUMN kordant.reports.figures IS 'counts and ids only';
CREATE INDEX reports_period_end_on_idx ON kordant.reports (period_end_on);
CREATE INDEX reports_storage_key_idx ON kordant.reports (storage_key);

CREATE TABLE kordant.scan_receipts (
    id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    period_start_on DATE NOT NULL,
    period_end_on DATE NOT NULL,
    figures_sha256 BYTEA NOT NULL,
    receipt TEXT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT scan_receipts_pkey PRIMARY KEY (id),
    CONSTRAINT scan_receipts_subscription_id_number_key UNIQUE (subscription_id, number),
    CONSTRAINT scan_receipts_once UNIQUE (subscription_id, kind, period_start_on, period_end_on, figures_sha256),
    CONSTRAINT scan_receipts_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.scan_receipts IS 'Added to and never changed: each names the one before.';
COMMENT ON COLUMN kordant.scan_receipts.number IS 'from 1 for each subscription';
COMMENT ON COLUMN kordant.scan_receipts.period_end_on IS 'the first day that is no more covered';
COMMENT ON COLUMN kordant.scan_receipts.figures_sha256 IS 'of the report that it stands in';
COMMENT ON COLUMN kordant.scan_receipts.receipt IS 'the signed line: ids, days, counts and verdicts';

CREATE TABLE kordant.scan_watermarks (
    subscription_id UUID NOT NULL,
    job TEXT NOT NULL,
    known_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT scan_watermarks_pkey PRIMARY KEY (subscription_id, job),
    CONSTRAINT scan_watermarks_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);

CREATE TABLE kordant.source_verdicts (
    subscription_id UUID NOT NULL,
    source TEXT NOT NULL,
    checked_on DATE NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,
    exposures INTEGER NOT NULL,
    new_exposures INTEGER NOT NULL,
    covered_until TIMESTAMP WITH TIME ZONE NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    again_at TIMESTAMP WITH TIME ZONE[] DEFAULT '{}' NOT NULL,
    CONSTRAINT source_verdicts_pkey PRIMARY KEY (subscription_id, source, checked_on),
    CONSTRAINT source_verdicts_verdict_check CHECK (verdict IN ('clean', 'exposed', 'unknown')),
    CONSTRAINT source_verdicts_unknown_has_a_reason_check CHECK (verdict <> 'unknown' OR reason IS NOT NULL),
    CONSTRAINT source_verdicts_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON COLUMN kordant.source_verdicts.checked_on IS 'the UTC day whose knowledge this is; the first one of the month with this verdict';
COMMENT ON COLUMN kordant.source_verdicts.again_at IS 'the checks of later days of the month that gave the same verdict, one a UTC day';

CREATE TABLE kordant.voice_enrolments (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    consent_id UUID NOT NULL,
    model TEXT NOT NULL,
    embeddings_encrypted BYTEA NOT NULL,
    clips INTEGER NOT NULL,
    speech_s FLOAT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT voice_enrolments_pkey PRIMARY KEY (id),
    CONSTRAINT voice_enrolments_consent_id_model_key UNIQUE (consent_id, model),
    CONSTRAINT voice_enrolments_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE,
    CONSTRAINT voice_enrolments_consent_id_fkey FOREIGN KEY (consent_id) REFERENCES kordant.voice_consents (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.voice_enrolments IS 'Voices of a subscriber''s family.';
COMMENT ON COLUMN kordant.voice_enrolments.model IS 'id and hash: embeddings of another model are never compared';
COMMENT ON COLUMN kordant.voice_enrolments.embeddings_encrypted IS 'JSON: a band, then its numbers in base64';
CREATE INDEX voice_enrolments_subscriber_id_idx ON kordant.voice_enrolments (subscriber_id);

CREATE TABLE kordant.watched_properties (
    id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    county TEXT NOT NULL,
    parcel_encrypted BYTEA,
    parcel_index BYTEA,
    owners_encrypted BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT watched_properties_pkey PRIMARY KEY (id),
    CONSTRAINT watched_properties_watches_something_check CHECK (parcel_index IS NOT NULL OR owners_encrypted IS NOT NULL),
    CONSTRAINT watched_properties_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT watched_properties_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.watched_properties.parcel_encrypted IS 'null: an owner is watched, wherever in the county';
COMMENT ON COLUMN kordant.watched_properties.parcel_index IS '16 bytes, of county and parcel number';
COMMENT ON COLUMN kordant.watched_properties.owners_encrypted IS 'names as the subscriber knows them, a line each';
CREATE INDEX watched_properties_county_created_at_idx ON kordant.watched_properties (county, created_at) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX watched_properties_once ON kordant.watched_properties (subscription_id, parcel_index) WHERE removed_at IS NULL;
CREATE INDEX watched_properties_parcel_index_idx ON kordant.watched_properties (parcel_index) WHERE removed_at IS NULL;
CREATE INDEX watched_properties_subscriber_id_idx ON kordant.watched_properties (subscriber_id);
CREATE INDEX watched_properties_subscription_id_idx ON kordant.watched_properties (subscription_id);

CREATE TABLE kordant.watchlist_items (
    id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    kind TEXT NOT NULL,
    identifier_encrypted BYTEA,
    blind_index BYTEA,
    range_index BYTEA,
    verified_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT watchlist_items_pkey PRIMARY KEY (id),
    CONSTRAINT watchlist_items_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT watchlist_items_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.watchlist_items.identifier_encrypted IS 'null once the subscriber was forgotten';
COMMENT ON COLUMN kordant.watchlist_items.blind_index IS '16 bytes; null once the subscriber was forgotten';
COMMENT ON COLUMN kordant.watchlist_items.range_index IS '16 bytes: keyed hash of the SHA-1 that range notifications go by';
CREATE INDEX watchlist_items_blind_index_idx ON kordant.watchlist_items (blind_index);
CREATE UNIQUE INDEX watchlist_items_once ON kordant.watchlist_items (subscription_id, blind_index) WHERE removed_at IS NULL;
CREATE INDEX watchlist_items_range_index_idx ON kordant.watchlist_items (range_index) WHERE range_index IS NOT NULL;
CREATE INDEX watchlist_items_subscriber_id_idx ON kordant.watchlist_items (subscriber_id);
CREATE INDEX watchlist_items_subscription_id_idx ON kordant.watchlist_items (subscription_id);

CREATE TABLE kordant.workflow_steps (
    execution_id UUID NOT NULL,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    output JSONB DEFAULT '{}' NOT NULL,
    request_id UUID,
    change_id UUID,
    rule TEXT,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT workflow_steps_pkey PRIMARY KEY (execution_id, place),
    CONSTRAINT workflow_steps_status_check CHECK (status IN ('waiting', 'done', 'denied', 'failed', 'skipped')),
    CONSTRAINT workflow_steps_execution_id_fkey FOREIGN KEY (execution_id) REFERENCES kordant.workflow_executions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.workflow_steps IS 'A step''s row and its effect are one transaction.';
COMMENT ON COLUMN kordant.workflow_steps.request_id IS 'what a trigger queued';
COMMENT ON COLUMN kordant.workflow_steps.change_id IS 'what a person decides';
COMMENT ON COLUMN kordant.workflow_steps.rule IS 'what refused it';

CREATE TABLE kordant.analysis_sound (
    id UUID NOT NULL,
    job_id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    piece INTEGER NOT NULL,
    content_encrypted BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT analysis_sound_pkey PRIMARY KEY (id),
    CONSTRAINT analysis_sound_job_id_piece_key UNIQUE (job_id, piece),
    CONSTRAINT analysis_sound_job_id_fkey FOREIGN KEY (job_id) REFERENCES kordant.analysis_jobs (id) ON DELETE CASCADE,
    CONSTRAINT analysis_sound_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.analysis_sound IS 'The files of clips, in pieces: until they are analysed, or longer where the operator keeps them.';
COMMENT ON COLUMN kordant.analysis_sound.piece IS 'which, from 0';
COMMENT ON COLUMN kordant.analysis_sound.content_encrypted IS 'base64 of up to 1 MiB of the file';
CREATE INDEX analysis_sound_subscriber_id_idx ON kordant.analysis_sound (subscriber_id);

CREATE TABLE kordant.bank_accounts (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    kind TEXT NOT NULL,
    currency TEXT NOT NULL,
    institution TEXT NOT NULL,
    identity_index BYTEA NOT NULL,
    number_encrypted BYTEA,
    name_encrypted BYTEA,
    holder_index BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT bank_accounts_pkey PRIMARY KEY (id),
    CONSTRAINT bank_accounts_kind_check CHECK (kind IN ('checking', 'savings', 'prepaid', 'card', 'investment', 'loan')),
    CONSTRAINT bank_accounts_entity_id_identity_index_key UNIQUE (entity_id, identity_index),
    CONSTRAINT bank_accounts_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.bank_accounts.identity_index IS 'of bank, branch and number, or of the card';

CREATE TABLE kordant.bank_connections (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    provider TEXT NOT NULL,
    institution TEXT NOT NULL,
    item_encrypted BYTEA,
    item_index BYTEA NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    status_reason TEXT,
    cursor_encrypted BYTEA,
    next_due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_reason TEXT DEFAULT 'new' NOT NULL,
    last_attempt_at TIMESTAMP WITH TIME ZONE,
    last_complete_at TIMESTAMP WITH TIME ZONE,
    provider_data_as_of TIMESTAMP WITH TIME ZONE,
    consecutive_failures INTEGER DEFAULT '0' NOT NULL,
    lease_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT bank_connections_pkey PRIMARY KEY (id),
    CONSTRAINT bank_connections_provider_check CHECK (provider IN ('pluggy', 'ofb', 'belvo', 'file')),
    CONSTRAINT bank_connections_status_check CHECK (status IN ('active', 'needs_user', 'paused', 'ended')),
    CONSTRAINT bank_connections_ended_has_a_moment_check CHECK ((status = 'ended') = (ended_at IS NOT NULL)),
    CONSTRAINT bank_connections_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.bank_connections.institution IS 'the provider''s id of the bank, or its CNPJ';
COMMENT ON COLUMN kordant.bank_connections.item_encrypted IS 'the provider''s id: item, link, or the bank''s consent';
COMMENT ON COLUMN kordant.bank_connections.status_reason IS 'a code';
COMMENT ON COLUMN kordant.bank_connections.cursor_encrypted IS 'JSON: where the last committed read ended';
COMMENT ON COLUMN kordant.bank_connections.due_reason IS 'a code: why it is due when it is';
COMMENT ON COLUMN kordant.bank_connections.lease_id IS 'the lease of the read that has it now';
CREATE INDEX bank_connections_ended_at_idx ON kordant.bank_connections (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX bank_connections_entity_id_idx ON kordant.bank_connections (entity_id);
CREATE INDEX bank_connections_next_due_at_idx ON kordant.bank_connections (next_due_at) WHERE status = 'active';
CREATE UNIQUE INDEX bank_connections_once ON kordant.bank_connections (provider, item_index) WHERE status <> 'ended';

CREATE TABLE kordant.entity_keys (
    entity_id UUID NOT NULL,
    wrapped_key BYTEA NOT NULL,
    master_key_id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT entity_keys_pkey PRIMARY KEY (entity_id),
    CONSTRAINT entity_keys_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.entity_keys IS 'Deleting a row here makes everything encrypted for that entity unreadable.';

CREATE TABLE kordant.entity_versions (
    entity_id UUID NOT NULL,
    data_version BIGINT DEFAULT '0' NOT NULL,
    refreshed_version BIGINT DEFAULT '0' NOT NULL,
    inputs JSONB DEFAULT '{}' NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    refreshed_algorithm INTEGER DEFAULT '0' NOT NULL,
    refreshed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT entity_versions_pkey PRIMARY KEY (entity_id),
    CONSTRAINT entity_versions_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.entity_versions IS 'An entity''s insights are stale while data_version > refreshed_version, after a change of the rules, and on every new day.';
COMMENT ON COLUMN kordant.entity_versions.inputs IS 'by kind of input: the version it changed in';
COMMENT ON COLUMN kordant.entity_versions.refreshed_algorithm IS 'the version of the rules of its last refresh';
CREATE INDEX entity_versions_changed_at_idx ON kordant.entity_versions (changed_at) WHERE data_version > refreshed_version;

CREATE TABLE kordant.exposures (
    id UUID NOT NULL,
    item_id UUID NOT NULL,
    breach_name TEXT NOT NULL,
    secret TEXT NOT NULL,
    judgement TEXT,
    judgement_reason TEXT,
    first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    dismissed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT exposures_pkey PRIMARY KEY (id),
    CONSTRAINT exposures_item_id_breach_name_key UNIQUE (item_id, breach_name),
    CONSTRAINT exposures_secret_check CHECK (secret IN ('mentioned', 'none', 'clear', 'hashed')),
    CONSTRAINT exposures_judgement_check CHECK (judgement IN ('alert', 'withheld_sensitive', 'withheld_unverified', 'not_a_breach', 'not_me')),
    CONSTRAINT exposures_judgement_reason_check CHECK (judgement_reason IN ('breach', 'stealer_log', 'malware', 'sensitive_to_its_owner', 'sensitive_and_not_verified', 'unverified', 'fabricated', 'retired', 'spam_list', 'not_me')),
    CONSTRAINT exposures_item_id_fkey FOREIGN KEY (item_id) REFERENCES kordant.watchlist_items (id) ON DELETE CASCADE,
    CONSTRAINT exposures_breach_name_fkey FOREIGN KEY (breach_name) REFERENCES kordant.breaches (name) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.exposures.judgement_reason IS 'by which rule';
CREATE INDEX exposures_breach_name_idx ON kordant.exposures (breach_name);

CREATE TABLE kordant.insights (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    entity_id UUID NOT NULL,
    kind TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    status TEXT DEFAULT 'new' NOT NULL,
    facts JSONB NOT NULL,
    evidence UUID[] DEFAULT '{}' NOT NULL,
    confidence FLOAT NOT NULL,
    unknown_reason TEXT,
    about_on DATE,
    material_hash BYTEA NOT NULL,
    first_computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT insights_pkey PRIMARY KEY (id),
    CONSTRAINT insights_kind_check CHECK (kind IN ('cash_flow', 'income', 'recurring', 'price_rise', 'duplicate', 'unusual', 'fees', 'forecast', 'runway', 'card_use')),
    CONSTRAINT insights_status_check CHECK (status IN ('new', 'seen', 'dismissed', 'resolved')),
    CONSTRAINT insights_unknown_reason_check CHECK (unknown_reason IN ('short_history', 'no_balance', 'old_balance', 'no_limit', 'no_bills')),
    CONSTRAINT insights_resolved_has_a_moment_check CHECK ((status = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT insights_confidence_check CHECK (confidence BETWEEN 0 AND 1),
    CONSTRAINT insights_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.insights IS 'What accounts say, with what it rests on. An open one is unique by entity, kind and key.';
COMMENT ON COLUMN kordant.insights.dedup_key IS 'the same from night to night';
COMMENT ON COLUMN kordant.insights.facts IS 'amounts and days as text; no name';
COMMENT ON COLUMN kordant.insights.evidence IS 'ids of transactions';
COMMENT ON COLUMN kordant.insights.unknown_reason IS 'why it cannot be said; null: it can';
COMMENT ON COLUMN kordant.insights.about_on IS 'the day that it is about; null: none';
COMMENT ON COLUMN kordant.insights.material_hash IS 'of its facts in coarse steps: another one is news';
CREATE INDEX insights_entity_id_idx ON kordant.insights (entity_id);
CREATE UNIQUE INDEX insights_one_open ON kordant.insights (entity_id, kind, dedup_key) WHERE status <> 'resolved';
CREATE INDEX insights_resolved_at_idx ON kordant.insights (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE kordant.property_findings (
    id UUID NOT NULL,
    watch_id UUID NOT NULL,
    instrument_id UUID NOT NULL,
    event TEXT NOT NULL,
    severity TEXT NOT NULL,
    is_told BOOLEAN NOT NULL,
    is_news BOOLEAN NOT NULL,
    reasons TEXT[] DEFAULT '{}' NOT NULL,
    case_key TEXT,
    before_key TEXT,
    probability FLOAT,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    dismissed_at TIMESTAMP WITH TIME ZONE,
    dismissed_by TEXT,
    CONSTRAINT property_findings_pkey PRIMARY KEY (id),
    CONSTRAINT property_findings_watch_id_instrument_id_key UNIQUE (watch_id, instrument_id),
    CONSTRAINT property_findings_event_check CHECK (event IN ('ownership_change', 'partial_transfer', 'tax_deed', 'transfer_on_death', 'tod_revoked', 'correction', 'name_change', 'power_of_attorney', 'power_revoked', 'contract', 'mortgage', 'mortgage_change', 'assignment', 'lien', 'lis_pendens', 'release', 'partial_release', 'mailing_address_changed', 'owner_changed_on_roll', 'other', 'unknown')),
    CONSTRAINT property_findings_severity_check CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT property_findings_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES kordant.watched_properties (id) ON DELETE CASCADE,
    CONSTRAINT property_findings_instrument_id_fkey FOREIGN KEY (instrument_id) REFERENCES kordant.property_instruments (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.property_findings.is_told IS 'worth an alert, if it is also news';
COMMENT ON COLUMN kordant.property_findings.is_news IS 'it became known after the watch began';
COMMENT ON COLUMN kordant.property_findings.case_key IS 'the instrument that it belongs to';
COMMENT ON COLUMN kordant.property_findings.before_key IS 'the deed by which the owners before held it';
COMMENT ON COLUMN kordant.property_findings.probability IS 'of an owner watch: that the name is theirs';
CREATE INDEX property_findings_instrument_id_idx ON kordant.property_findings (instrument_id);

CREATE TABLE kordant.property_rolls (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE NOT NULL,
    is_listed BOOLEAN NOT NULL,
    owners_hash BYTEA,
    mailing_hash BYTEA,
    address_index BYTEA,
    waiting_hash BYTEA,
    waiting_since DATE,
    waiting_owners_encrypted BYTEA,
    CONSTRAINT property_rolls_pkey PRIMARY KEY (id),
    CONSTRAINT property_rolls_waits_since_a_day_check CHECK ((waiting_hash IS NULL) = (waiting_since IS NULL)),
    CONSTRAINT property_rolls_id_fkey FOREIGN KEY (id) REFERENCES kordant.watched_properties (id) ON DELETE CASCADE,
    CONSTRAINT property_rolls_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.property_rolls IS 'what the county''s owner roll says of a watched parcel, as keyed hashes: to see when it changes';
COMMENT ON COLUMN kordant.property_rolls.is_listed IS 'the roll had this parcel when it was last asked';
COMMENT ON COLUMN kordant.property_rolls.owners_hash IS 'keyed, of the owners in one spelling; null: it named none yet';
COMMENT ON COLUMN kordant.property_rolls.mailing_hash IS 'keyed, of the mailing address in one spelling';
COMMENT ON COLUMN kordant.property_rolls.address_index IS 'blind index that documents with this address alone are kept under';
COMMENT ON COLUMN kordant.property_rolls.waiting_hash IS 'of other owners, who wait for a document that explains them';
COMMENT ON COLUMN kordant.property_rolls.waiting_owners_encrypted IS 'their names, a line each, until that is decided';
CREATE INDEX property_rolls_address_index_idx ON kordant.property_rolls (address_index) WHERE address_index IS NOT NULL;
CREATE INDEX property_rolls_subscriber_id_idx ON kordant.property_rolls (subscriber_id);
CREATE INDEX property_rolls_waiting_since_idx ON kordant.property_rolls (waiting_since) WHERE waiting_since IS NOT NULL;

CREATE TABLE kordant.removal_checks (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,
    source TEXT NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_checks_pkey PRIMARY KEY (id),
    CONSTRAINT removal_checks_verdict_check CHECK (verdict IN ('listed', 'not_listed', 'unknown')),
    CONSTRAINT removal_checks_unknown_has_a_reason_check CHECK ((verdict = 'unknown') = (reason IS NOT NULL)),
    CONSTRAINT removal_checks_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
CREATE INDEX removal_checks_request_id_checked_at_idx ON kordant.removal_checks (request_id, checked_at);

CREATE TABLE kordant.removal_disclosures (
    message_id UUID NOT NULL,
    request_id UUID NOT NULL,
    broker_id UUID NOT NULL,
    fields TEXT[] NOT NULL,
    legal_ground TEXT NOT NULL,
    channel TEXT NOT NULL,
    disclosed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_disclosures_pkey PRIMARY KEY (message_id),
    CONSTRAINT removal_disclosures_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.removal_disclosures IS 'What was disclosed to whom, when and why; written before the message goes out.';
COMMENT ON COLUMN kordant.removal_disclosures.fields IS 'the names of what was disclosed';
CREATE INDEX removal_disclosures_request_id_idx ON kordant.removal_disclosures (request_id);

CREATE TABLE kordant.removal_events (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL,
    evidence JSONB DEFAULT '{}' NOT NULL,
    actor TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_events_pkey PRIMARY KEY (id),
    CONSTRAINT removal_events_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.removal_events IS 'One row a move, and one for what happened without a move (the states are then the same).';
COMMENT ON COLUMN kordant.removal_events.reason IS 'a code: the rule that moved it';
COMMENT ON COLUMN kordant.removal_events.evidence IS 'ids, days and codes; never an identifier';
CREATE INDEX removal_events_request_id_at_idx ON kordant.removal_events (request_id, at);

CREATE TABLE kordant.removal_messages (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    broker_id UUID NOT NULL,
    kind TEXT NOT NULL,
    channel TEXT NOT NULL,
    contact TEXT NOT NULL,
    status TEXT DEFAULT 'queued' NOT NULL,
    tries INTEGER DEFAULT '0' NOT NULL,
    code TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE,
    lease_id UUID,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT removal_messages_pkey PRIMARY KEY (id),
    CONSTRAINT removal_messages_kind_check CHECK (kind IN ('request', 'reminder')),
    CONSTRAINT removal_messages_channel_check CHECK (channel IN ('drp', 'form_post', 'email', 'web_form', 'drop')),
    CONSTRAINT removal_messages_status_check CHECK (status IN ('queued', 'sending', 'sent', 'failed', 'uncertain', 'withdrawn')),
    CONSTRAINT removal_messages_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.removal_messages IS 'Everything that goes to a broker.';
COMMENT ON COLUMN kordant.removal_messages.id IS 'in the Message-ID, and the agent_request_id';
COMMENT ON COLUMN kordant.removal_messages.contact IS 'the broker''s address or link that it goes to';
COMMENT ON COLUMN kordant.removal_messages.code IS 'of the last outcome; never a text of the server';
COMMENT ON COLUMN kordant.removal_messages.lease_id IS 'the engine''s lease under which its sender holds it';
CREATE INDEX removal_messages_broker_id_begun_at_idx ON kordant.removal_messages (broker_id, begun_at) WHERE begun_at IS NOT NULL;
CREATE INDEX removal_messages_broker_id_due_at_idx ON kordant.removal_messages (broker_id, due_at) WHERE status IN ('queued', 'sending');
CREATE INDEX removal_messages_contact_idx ON kordant.removal_messages (contact) WHERE kind = 'request';
CREATE INDEX removal_messages_request_id_idx ON kordant.removal_messages (request_id);

CREATE TABLE kordant.removal_references (
    reference_index BYTEA NOT NULL,
    request_id UUID NOT NULL,
    CONSTRAINT removal_references_pkey PRIMARY KEY (reference_index, request_id),
    CONSTRAINT removal_references_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.removal_references.reference_index IS 'keyed hash of a case number, with its domain';
CREATE INDEX removal_references_request_id_idx ON kordant.removal_references (request_id);

CREATE TABLE kordant.removal_replies (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    dedupe_key BYTEA NOT NULL,
    matched_by TEXT NOT NULL,
    sender_domain TEXT DEFAULT '' NOT NULL,
    is_own_domain BOOLEAN NOT NULL,
    class TEXT NOT NULL,
    detail TEXT,
    rule TEXT NOT NULL,
    sentence_encrypted BYTEA,
    text_encrypted BYTEA,
    link_encrypted BYTEA,
    moved BOOLEAN DEFAULT false NOT NULL,
    needs_person BOOLEAN DEFAULT false NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_replies_pkey PRIMARY KEY (id),
    CONSTRAINT removal_replies_class_check CHECK (class IN ('received', 'in_progress', 'extended', 'form_required', 'confirmation_link', 'identity_asked', 'done', 'no_match', 'rejected', 'exempt', 'auto_reply', 'contact_moved', 'bounced', 'unknown')),
    CONSTRAINT removal_replies_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE,
    CONSTRAINT removal_replies_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE,
    CONSTRAINT removal_replies_dedupe_key_key UNIQUE (dedupe_key)
);
COMMENT ON COLUMN kordant.removal_replies.dedupe_key IS 'keyed hash of the message';
COMMENT ON COLUMN kordant.removal_replies.is_own_domain IS 'whether the sender''s domain is the broker''s';
COMMENT ON COLUMN kordant.removal_replies.sentence_encrypted IS 'the sentence that decided';
COMMENT ON COLUMN kordant.removal_replies.link_encrypted IS 'a confirmation link that waits to be followed';
CREATE INDEX removal_replies_links ON kordant.removal_replies (request_id) WHERE link_encrypted IS NOT NULL;
CREATE INDEX removal_replies_received_at_idx ON kordant.removal_replies (received_at) WHERE needs_person;
CREATE INDEX removal_replies_request_id_received_at_idx ON kordant.removal_replies (request_id, received_at);
CREATE INDEX removal_replies_subscriber_id_idx ON kordant.removal_replies (subscriber_id);

CREATE TABLE kordant.source_checks (
    item_id UUID NOT NULL,
    source TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,
    attempts INTEGER NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    retry_at TIMESTAMP WITH TIME ZONE,
    lease_id UUID,
    CONSTRAINT source_checks_pkey PRIMARY KEY (item_id, source),
    CONSTRAINT source_checks_source_check CHECK (source IN ('dumps', 'hibp', 'xposedornot', 'leakcheck')),
    CONSTRAINT source_checks_verdict_check CHECK (verdict IN ('clean', 'exposed', 'unknown')),
    CONSTRAINT source_checks_reason_check CHECK (reason IN ('key_refused', 'forbidden', 'bad_request', 'rate_limited', 'unavailable', 'timed_out', 'unreachable', 'redirected', 'unreadable', 'too_large', 'circuit_open', 'not_asked')),
    CONSTRAINT source_checks_unknown_has_a_reason_check CHECK ((verdict = 'unknown') = (reason IS NOT NULL)),
    CONSTRAINT source_checks_item_id_fkey FOREIGN KEY (item_id) REFERENCES kordant.watchlist_items (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.source_checks.attempts IS 'without an answer, one after the other';
COMMENT ON COLUMN kordant.source_checks.lease_id IS 'the engine''s lease under which a scan is asking it just now';
CREATE INDEX source_checks_retry_idx ON kordant.source_checks (source, retry_at);

CREATE TABLE kordant.source_hints (
    item_id UUID NOT NULL,
    source TEXT NOT NULL,
    reference TEXT NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT source_hints_pkey PRIMARY KEY (item_id, source, reference),
    CONSTRAINT source_hints_source_check CHECK (source IN ('dumps', 'hibp', 'xposedornot', 'leakcheck')),
    CONSTRAINT source_hints_item_id_fkey FOREIGN KEY (item_id) REFERENCES kordant.watchlist_items (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.source_hints IS 'What a source pushed and no scan has taken up yet.';

CREATE TABLE kordant.voice_analyses (
    id UUID NOT NULL,
    job_id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    match TEXT,
    enrolment_id UUID,
    score FLOAT,
    margin FLOAT,
    synthesis TEXT,
    screen_score FLOAT,
    windows JSONB NOT NULL,
    band TEXT,
    seconds FLOAT,
    speech_s FLOAT,
    voices INTEGER DEFAULT '0' NOT NULL,
    is_whole BOOLEAN DEFAULT true NOT NULL,
    speaker_model TEXT,
    detector TEXT,
    analysed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT voice_analyses_pkey PRIMARY KEY (id),
    CONSTRAINT voice_analyses_job_id_key UNIQUE (job_id),
    CONSTRAINT voice_analyses_unknown_has_a_reason_check CHECK (status <> 'unknown' OR reason IS NOT NULL),
    CONSTRAINT voice_analyses_status_check CHECK (status IN ('ok', 'insufficient_speech', 'undecodable', 'unknown')),
    CONSTRAINT voice_analyses_reason_check CHECK (reason IN ('model_missing', 'sound_gone', 'detector_failed', 'analysis_failed', 'not_sound', 'no_sound_stream', 'too_large', 'decoder_crashed', 'decoder_timed_out', 'partly_read')),
    CONSTRAINT voice_analyses_match_check CHECK (match IN ('consistent', 'inconclusive', 'not_consistent')),
    CONSTRAINT voice_analyses_synthesis_check CHECK (synthesis IN ('signs_of_synthesis', 'inconclusive', 'no_signs_found')),
    CONSTRAINT voice_analyses_band_check CHECK (band IN ('wide', 'phone')),
    CONSTRAINT voice_analyses_job_id_fkey FOREIGN KEY (job_id) REFERENCES kordant.analysis_jobs (id) ON DELETE CASCADE,
    CONSTRAINT voice_analyses_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT voice_analyses_enrolment_id_fkey FOREIGN KEY (enrolment_id) REFERENCES kordant.voice_enrolments (id) ON DELETE SET NULL
);
COMMENT ON TABLE kordant.voice_analyses IS 'What was said of a clip: scores and closed words, no sound and no embedding.';
COMMENT ON COLUMN kordant.voice_analyses.match IS 'null: nobody is enrolled, or nothing can be said';
COMMENT ON COLUMN kordant.voice_analyses.enrolment_id IS 'the member it is most like';
COMMENT ON COLUMN kordant.voice_analyses.margin IS 'by how much the best member leads the second';
COMMENT ON COLUMN kordant.voice_analyses.screen_score IS 'the median of the windows''';
COMMENT ON COLUMN kordant.voice_analyses.windows IS 'of each window where it begins, in seconds, its score, and what that alone says';
CREATE INDEX voice_analyses_enrolment_id_idx ON kordant.voice_analyses (enrolment_id) WHERE enrolment_id IS NOT NULL;
CREATE INDEX voice_analyses_subscription_id_analysed_at_idx ON kordant.voice_analyses (subscription_id, analysed_at);

CREATE TABLE kordant.watched_name_keys (
    watch_id UUID NOT NULL,
    key_index BYTEA NOT NULL,
    CONSTRAINT watched_name_keys_pkey PRIMARY KEY (watch_id, key_index),
    CONSTRAINT watched_name_keys_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES kordant.watched_properties (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.watched_name_keys.key_index IS 'blind index of what a name is looked up by';
CREATE INDEX watched_name_keys_key_index_idx ON kordant.watched_name_keys (key_index);

CREATE TABLE kordant.account_links (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    account_id UUID NOT NULL,
    connection_id UUID NOT NULL,
    provider_account_encrypted BYTEA NOT NULL,
    provider_account_index BYTEA NOT NULL,
    is_primary BOOLEAN NOT NULL,
    resource_status TEXT DEFAULT 'available' NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    rekeyed_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT account_links_pkey PRIMARY KEY (id),
    CONSTRAINT account_links_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT account_links_account_id_fkey FOREIGN KEY (account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE,
    CONSTRAINT account_links_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.account_links IS 'Over which connection an account is read; after a reconnect the same account has another link.';
COMMENT ON COLUMN kordant.account_links.is_primary IS 'others only cross-check: nothing is counted twice';
COMMENT ON COLUMN kordant.account_links.resource_status IS 'as the provider says';
CREATE INDEX account_links_account_id_idx ON kordant.account_links (account_id);
CREATE INDEX account_links_connection_id_idx ON kordant.account_links (connection_id);
CREATE INDEX account_links_entity_id_idx ON kordant.account_links (entity_id);
CREATE UNIQUE INDEX account_links_once ON kordant.account_links (connection_id, provider_account_index) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX account_links_one_primary ON kordant.account_links (account_id) WHERE ended_at IS NULL AND is_primary;

CREATE TABLE kordant.alerts (
    id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    exposure_id UUID,
    finding_id UUID,
    analysis_id UUID,
    severity TEXT NOT NULL,
    why JSONB NOT NULL,
    provisional BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT alerts_pkey PRIMARY KEY (id),
    CONSTRAINT alerts_exposure_id_key UNIQUE (exposure_id),
    CONSTRAINT alerts_finding_id_severity_key UNIQUE (finding_id, severity),
    CONSTRAINT alerts_analysis_id_key UNIQUE (analysis_id),
    CONSTRAINT alerts_about_one_thing_check CHECK (num_nonnulls(exposure_id, finding_id, analysis_id) = 1),
    CONSTRAINT alerts_severity_check CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT alerts_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT alerts_exposure_id_fkey FOREIGN KEY (exposure_id) REFERENCES kordant.exposures (id) ON DELETE CASCADE,
    CONSTRAINT alerts_finding_id_fkey FOREIGN KEY (finding_id) REFERENCES kordant.property_findings (id) ON DELETE CASCADE,
    CONSTRAINT alerts_analysis_id_fkey FOREIGN KEY (analysis_id) REFERENCES kordant.voice_analyses (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.alerts.why IS 'reasons by code and id; never an identifier';
COMMENT ON COLUMN kordant.alerts.provisional IS 'told before its dump was read to the end; severity and why may still change';
CREATE INDEX alerts_subscription_id_created_at_idx ON kordant.alerts (subscription_id, created_at);

CREATE TABLE kordant.bank_balances (
    account_id UUID NOT NULL,
    kind TEXT NOT NULL,
    as_of_at TIMESTAMP WITH TIME ZONE NOT NULL,
    amount NUMERIC(19, 4) NOT NULL,
    currency TEXT NOT NULL,
    fetched_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT bank_balances_pkey PRIMARY KEY (account_id, kind, as_of_at),
    CONSTRAINT bank_balances_kind_check CHECK (kind IN ('current', 'available', 'blocked', 'auto_invested', 'reserved', 'limit', 'used')),
    CONSTRAINT bank_balances_account_id_fkey FOREIGN KEY (account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.bank_balances IS 'What the bank said; debt of a card is negative.';

CREATE TABLE kordant.bank_consents (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    connection_id UUID,
    consent_encrypted BYTEA,
    status TEXT NOT NULL,
    permissions TEXT[] DEFAULT '{}' NOT NULL,
    granted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    end_reason TEXT,
    told_days SMALLINT,
    CONSTRAINT bank_consents_pkey PRIMARY KEY (id),
    CONSTRAINT bank_consents_status_check CHECK (status IN ('awaiting_authorisation', 'authorised', 'rejected')),
    CONSTRAINT bank_consents_end_reason_check CHECK (end_reason IN ('consent_expired', 'customer_manually_rejected', 'customer_manually_revoked', 'consent_max_date_reached', 'consent_technical_issue', 'internal_security_reason', 'other')),
    CONSTRAINT bank_consents_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT bank_consents_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES kordant.bank_connections (id) ON DELETE SET NULL
);
COMMENT ON TABLE kordant.bank_consents IS 'What its owner agreed to; without expires_at it holds until revoked. Kept after its end as proof.';
COMMENT ON COLUMN kordant.bank_consents.consent_encrypted IS 'the provider''s id';
COMMENT ON COLUMN kordant.bank_consents.told_days IS 'of the warnings before it expires, the last one given: 30, 7, 1';
CREATE INDEX bank_consents_connection_id_idx ON kordant.bank_consents (connection_id);
CREATE INDEX bank_consents_entity_id_idx ON kordant.bank_consents (entity_id);
CREATE INDEX bank_consents_expires_at_idx ON kordant.bank_consents (expires_at) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX bank_consents_one_open ON kordant.bank_consents (connection_id) WHERE ended_at IS NULL;

CREATE TABLE kordant.card_bills (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    account_id UUID NOT NULL,
    bill_index BYTEA NOT NULL,
    due_on DATE NOT NULL,
    closed_on DATE,
    total NUMERIC(19, 4),
    minimum NUMERIC(19, 4),
    currency TEXT NOT NULL,
    state TEXT NOT NULL,
    charges JSONB DEFAULT '[]' NOT NULL,
    payments JSONB DEFAULT '[]' NOT NULL,
    unexplained NUMERIC(19, 4),
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT card_bills_pkey PRIMARY KEY (id),
    CONSTRAINT card_bills_state_check CHECK (state IN ('open', 'closed', 'partly_paid', 'paid', 'overdue', 'instalmented')),
    CONSTRAINT card_bills_account_id_bill_index_key UNIQUE (account_id, bill_index),
    CONSTRAINT card_bills_account_id_fkey FOREIGN KEY (account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.card_bills IS 'total is what is owed, so positive; unexplained is total less rows, charges and reversals.';
COMMENT ON COLUMN kordant.card_bills.bill_index IS 'of the provider''s id';
COMMENT ON COLUMN kordant.card_bills.closed_on IS 'as the bank says; null: it does not';
COMMENT ON COLUMN kordant.card_bills.charges IS 'kind and amount, as text';
COMMENT ON COLUMN kordant.card_bills.payments IS 'day, amount, kind';
CREATE INDEX card_bills_account_id_due_on_idx ON kordant.card_bills (account_id, due_on);

CREATE TABLE kordant.exposure_evidence (
    exposure_id UUID NOT NULL,
    dump_id UUID NOT NULL,
    line BIGINT NOT NULL,
    occurrences INTEGER NOT NULL,
    sites TEXT[] DEFAULT '{}' NOT NULL,
    CONSTRAINT exposure_evidence_pkey PRIMARY KEY (exposure_id, dump_id),
    CONSTRAINT exposure_evidence_exposure_id_fkey FOREIGN KEY (exposure_id) REFERENCES kordant.exposures (id) ON DELETE CASCADE,
    CONSTRAINT exposure_evidence_dump_id_fkey FOREIGN KEY (dump_id) REFERENCES kordant.breach_dumps (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.exposure_evidence.line IS 'the first line that names it, from 1';
COMMENT ON COLUMN kordant.exposure_evidence.sites IS 'where they logged in, by a stealer log';
CREATE INDEX exposure_evidence_dump_id_idx ON kordant.exposure_evidence (dump_id);

CREATE TABLE kordant.finance_notices (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    connection_id UUID,
    kind TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    severity TEXT NOT NULL,
    facts JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT finance_notices_pkey PRIMARY KEY (id),
    CONSTRAINT finance_notices_kind_check CHECK (kind IN ('needs_user', 'consent_expiring', 'consent_ended', 'stale', 'quarantine', 'insight')),
    CONSTRAINT finance_notices_severity_check CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT finance_notices_entity_id_dedup_key_key UNIQUE (entity_id, dedup_key),
    CONSTRAINT finance_notices_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT finance_notices_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.finance_notices IS 'What the owner of bank data is told: through the outbox, when a subscription is.';
COMMENT ON COLUMN kordant.finance_notices.dedup_key IS 'told once';
COMMENT ON COLUMN kordant.finance_notices.facts IS 'codes, days and ids; never a name or text';
CREATE INDEX finance_notices_connection_id_idx ON kordant.finance_notices (connection_id) WHERE connection_id IS NOT NULL;

CREATE TABLE kordant.quarantined_rows (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    connection_id UUID NOT NULL,
    row_index BYTEA NOT NULL,
    reason TEXT NOT NULL,
    raw_encrypted BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT quarantined_rows_pkey PRIMARY KEY (id),
    CONSTRAINT quarantined_rows_connection_id_row_index_key UNIQUE (connection_id, row_index),
    CONSTRAINT quarantined_rows_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT quarantined_rows_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.quarantined_rows IS 'Rows of a bank that could not be understood.';
COMMENT ON COLUMN kordant.quarantined_rows.row_index IS 'of its content: the same row is kept once';
CREATE INDEX quarantined_rows_created_at_idx ON kordant.quarantined_rows (created_at);
CREATE INDEX quarantined_rows_entity_id_idx ON kordant.quarantined_rows (entity_id);

CREATE TABLE kordant.source_evidence (
    exposure_id UUID NOT NULL,
    source TEXT NOT NULL,
    reference TEXT NOT NULL,
    data_classes TEXT[] DEFAULT '{}' NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT source_evidence_pkey PRIMARY KEY (exposure_id, source, reference),
    CONSTRAINT source_evidence_source_check CHECK (source IN ('dumps', 'hibp', 'xposedornot', 'leakcheck')),
    CONSTRAINT source_evidence_exposure_id_fkey FOREIGN KEY (exposure_id) REFERENCES kordant.exposures (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.source_evidence.reference IS 'the source''s own stable key for the breach';
COMMENT ON COLUMN kordant.source_evidence.data_classes IS 'as the source told them';

CREATE TABLE kordant.sync_results (
    sync_run_id UUID NOT NULL,
    connection_id UUID NOT NULL,
    outcome TEXT NOT NULL,
    error_class TEXT,
    error_code TEXT,
    counts JSONB DEFAULT '{}' NOT NULL,
    data_as_of TIMESTAMP WITH TIME ZONE,
    duration_ms INTEGER NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT sync_results_pkey PRIMARY KEY (sync_run_id, connection_id),
    CONSTRAINT sync_results_outcome_check CHECK (outcome IN ('complete', 'partial', 'failed')),
    CONSTRAINT sync_results_sync_run_id_fkey FOREIGN KEY (sync_run_id) REFERENCES kordant.sync_runs (id) ON DELETE CASCADE,
    CONSTRAINT sync_results_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.sync_results.error_class IS 'transient, user, permanent, ours; null: none';
CREATE INDEX sync_results_connection_id_idx ON kordant.sync_results (connection_id);
CREATE INDEX sync_results_ended_at_idx ON kordant.sync_results (ended_at);

CREATE TABLE kordant.webhook_events (
    id UUID NOT NULL,
    provider TEXT NOT NULL,
    event_key BYTEA NOT NULL,
    event TEXT NOT NULL,
    connection_id UUID,
    removed_aliases BYTEA[] DEFAULT '{}' NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_events_provider_check CHECK (provider IN ('pluggy', 'ofb', 'belvo', 'file')),
    CONSTRAINT webhook_events_provider_event_key_key UNIQUE (provider, event_key),
    CONSTRAINT webhook_events_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.webhook_events IS 'Hints that something is new; the body is not kept.';
COMMENT ON COLUMN kordant.webhook_events.event_key IS 'of the provider''s id of the event';
COMMENT ON COLUMN kordant.webhook_events.removed_aliases IS 'of deleted rows';
CREATE INDEX webhook_events_connection_id_idx ON kordant.webhook_events (connection_id);
CREATE INDEX webhook_events_received_at_idx ON kordant.webhook_events (received_at);

CREATE TABLE kordant.notification_outbox (
    id UUID NOT NULL,
    alert_id UUID,
    report_id UUID,
    removal_event_id UUID,
    finance_notice_id UUID,
    subscription_id UUID NOT NULL,
    category TEXT DEFAULT 'breach' NOT NULL,
    channel TEXT NOT NULL,
    address_id UUID,
    status TEXT DEFAULT 'queued' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    interruptions INTEGER DEFAULT '0' NOT NULL,
    begun BOOLEAN DEFAULT true NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    lease_id UUID,
    held_for TEXT,
    mail_id UUID,
    reason TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    provider_id TEXT,
    receipt TEXT,
    receipt_at TIMESTAMP WITH TIME ZONE,
    traceparent TEXT DEFAULT kordant.traceparent(),
    CONSTRAINT notification_outbox_pkey PRIMARY KEY (id),
    CONSTRAINT notification_outbox_alert_id_channel_address_id_key UNIQUE (alert_id, channel, address_id),
    CONSTRAINT notification_outbox_report_id_channel_address_id_key UNIQUE (report_id, channel, address_id),
    CONSTRAINT notification_outbox_removal_event_id_channel_address_id_key UNIQUE (removal_event_id, channel, address_id),
    CONSTRAINT notification_outbox_finance_notice_id_channel_address_id_key UNIQUE (finance_notice_id, channel, address_id),
    CONSTRAINT notification_outbox_about_one_thing_check CHECK (num_nonnulls(alert_id, report_id, removal_event_id, finance_notice_id) = 1),
    CONSTRAINT notification_outbox_category_check CHECK (category IN ('breach', 'home_title', 'voice', 'removal', 'report', 'finance')),
    CONSTRAINT notification_outbox_channel_check CHECK (channel IN ('email', 'fcm', 'apns', 'web_push', 'sms')),
    CONSTRAINT notification_outbox_status_check CHECK (status IN ('queued', 'sending', 'sent', 'deferred', 'suppressed', 'failed', 'dead')),
    CONSTRAINT notification_outbox_held_for_check CHECK (held_for IN ('daily', 'weekly', 'many', 'together')),
    CONSTRAINT notification_outbox_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES kordant.alerts (id) ON DELETE CASCADE,
    CONSTRAINT notification_outbox_report_id_fkey FOREIGN KEY (report_id) REFERENCES kordant.reports (id) ON DELETE CASCADE,
    CONSTRAINT notification_outbox_removal_event_id_fkey FOREIGN KEY (removal_event_id) REFERENCES kordant.removal_events (id) ON DELETE CASCADE,
    CONSTRAINT notification_outbox_finance_notice_id_fkey FOREIGN KEY (finance_notice_id) REFERENCES kordant.finance_notices (id) ON DELETE CASCADE,
    CONSTRAINT notification_outbox_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT notification_outbox_address_id_fkey FOREIGN KEY (address_id) REFERENCES kordant.contact_addresses (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.notification_outbox.address_id IS 'null: the subscriber''s contact';
COMMENT ON COLUMN kordant.notification_outbox.interruptions IS 'attempts that may have sent it unseen';
COMMENT ON COLUMN kordant.notification_outbox.begun IS 'its sender has begun it: it may be out';
COMMENT ON COLUMN kordant.notification_outbox.lease_id IS 'the engine''s lease under which its sender holds it';
COMMENT ON COLUMN kordant.notification_outbox.held_for IS 'it waits for others, to go out in one message with them';
COMMENT ON COLUMN kordant.notification_outbox.mail_id IS 'the message that carries it and others; null: its own, under its id';
COMMENT ON COLUMN kordant.notification_outbox.reason IS 'why it was deferred, suppressed or given up; never an address';
COMMENT ON COLUMN kordant.notification_outbox.provider_id IS 'what the other side calls it';
COMMENT ON COLUMN kordant.notification_outbox.receipt IS 'what the other side last told of it';
COMMENT ON COLUMN kordant.notification_outbox.traceparent IS 'the W3C context of the trace that it is part of';
CREATE INDEX notification_outbox_address_id_idx ON kordant.notification_outbox (address_id) WHERE address_id IS NOT NULL;
CREATE INDEX notification_outbox_channel_due_at_idx ON kordant.notification_outbox (channel, due_at) WHERE status IN ('queued', 'deferred', 'sending');
CREATE UNIQUE INDEX notification_outbox_contact_once ON kordant.notification_outbox (alert_id, channel) WHERE address_id IS NULL;
CREATE UNIQUE INDEX notification_outbox_finance_contact_once ON kordant.notification_outbox (finance_notice_id, channel) WHERE address_id IS NULL;
CREATE INDEX notification_outbox_mail_id_idx ON kordant.notification_outbox (mail_id) WHERE mail_id IS NOT NULL;
CREATE INDEX notification_outbox_provider_id_idx ON kordant.notification_outbox (provider_id) WHERE provider_id IS NOT NULL;
CREATE UNIQUE INDEX notification_outbox_removal_contact_once ON kordant.notification_outbox (removal_event_id, channel) WHERE address_id IS NULL;
CREATE UNIQUE INDEX notification_outbox_report_contact_once ON kordant.notification_outbox (report_id, channel) WHERE address_id IS NULL;
CREATE INDEX notification_outbox_subscription_id_idx ON kordant.notification_outbox (subscription_id);

CREATE TABLE kordant.transactions (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    entity_id UUID NOT NULL,
    alias BYTEA NOT NULL,
    state TEXT NOT NULL,
    booked_on DATE NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE,
    authorised_on DATE,
    amount NUMERIC(19, 4) NOT NULL,
    currency TEXT NOT NULL,
    original_amount NUMERIC(19, 4),
    original_currency TEXT,
    type TEXT NOT NULL,
    type_raw TEXT,
    mcc TEXT,
    counterparty_encrypted BYTEA,
    counterparty_index BYTEA,
    transfer_index BYTEA,
    description_encrypted BYTEA,
    merchant_key TEXT,
    category_id TEXT,
    category_source TEXT,
    bill_id UUID,
    instalment_no SMALLINT,
    instalment_of SMALLINT,
    purchase_on DATE,
    plan_id UUID,
    transfer_id UUID,
    transfer_status TEXT,
    iof_of UUID,
    refund_of UUID,
    provider_id_encrypted BYTEA,
    content_hash BYTEA NOT NULL,
    extra_hash BYTEA NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    missing_since_at TIMESTAMP WITH TIME ZONE,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    removed_by TEXT,
    removed_reason TEXT,
    CONSTRAINT transactions_pkey PRIMARY KEY (id),
    CONSTRAINT transactions_state_check CHECK (state IN ('scheduled', 'pending', 'posted', 'expired', 'removed')),
    CONSTRAINT transactions_type_check CHECK (type IN ('pix', 'ted', 'doc', 'internal_transfer', 'boleto', 'collection', 'package_fee', 'single_fee', 'payroll', 'salary_portability', 'deposit', 'withdrawal', 'card', 'overdraft_interest', 'yield', 'redemption', 'credit_operation', 'reserved_balance', 'purchase', 'bill_payment', 'reversal', 'interest', 'tax', 'annual_fee', 'other')),
    CONSTRAINT transactions_category_source_check CHECK (category_source IN ('user', 'rule', 'provider', 'mcc', 'dictionary', 'model')),
    CONSTRAINT transactions_transfer_status_check CHECK (transfer_status IN ('own', 'one_leg', 'candidate')),
    CONSTRAINT transactions_account_id_alias_key UNIQUE (account_id, alias),
    CONSTRAINT transactions_account_id_fkey FOREIGN KEY (account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE,
    CONSTRAINT transactions_bill_id_fkey FOREIGN KEY (bill_id) REFERENCES kordant.card_bills (id) ON DELETE SET NULL
);
COMMENT ON TABLE kordant.transactions IS 'Our id never changes, nor its account; what the bank says of it may.';
COMMENT ON COLUMN kordant.transactions.entity_id IS 'of the account: repeated here for set-based work';
COMMENT ON COLUMN kordant.transactions.alias IS 'of the provider''s present id, or of the row''s fingerprint';
COMMENT ON COLUMN kordant.transactions.authorised_on IS 'the day on which it was first pending';
COMMENT ON COLUMN kordant.transactions.type_raw IS 'the source''s word, where ours is `other`';
COMMENT ON COLUMN kordant.transactions.counterparty_index IS 'of a CPF or CNPJ';
COMMENT ON COLUMN kordant.transactions.transfer_index IS 'of the id that both legs of a payment carry';
COMMENT ON COLUMN kordant.transactions.merchant_key IS 'a known firm in clear; any other name as a keyed hash behind ~';
COMMENT ON COLUMN kordant.transactions.plan_id IS 'the same for all instalments of one purchase';
COMMENT ON COLUMN kordant.transactions.transfer_id IS 'the row of transfers that this is a leg of';
COMMENT ON COLUMN kordant.transactions.iof_of IS 'the foreign purchase that this tax is of';
COMMENT ON COLUMN kordant.transactions.refund_of IS 'the transaction that this one reverses, whole or in part';
COMMENT ON COLUMN kordant.transactions.provider_id_encrypted IS 'while provisional: to ask for it by its id';
COMMENT ON COLUMN kordant.transactions.content_hash IS 'keyed, over what decides and shows it';
COMMENT ON COLUMN kordant.transactions.extra_hash IS 'keyed, over what arrives late: category, bill, merchant';
COMMENT ON COLUMN kordant.transactions.removed_by IS 'bank, user';
CREATE INDEX transactions_account_id_booked_on_idx ON kordant.transactions (account_id, booked_on);
CREATE INDEX transactions_bill_id_idx ON kordant.transactions (bill_id) WHERE bill_id IS NOT NULL;
CREATE INDEX transactions_entity_id_merchant_key_idx ON kordant.transactions (entity_id, merchant_key);
CREATE INDEX transactions_provisional ON kordant.transactions (account_id) WHERE state IN ('scheduled', 'pending');

CREATE TABLE kordant.transaction_aliases (
    account_id UUID NOT NULL,
    alias BYTEA NOT NULL,
    transaction_id UUID NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT transaction_aliases_pkey PRIMARY KEY (account_id, alias),
    CONSTRAINT transaction_aliases_account_id_fkey FOREIGN KEY (account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE,
    CONSTRAINT transaction_aliases_transaction_id_fkey FOREIGN KEY (transaction_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.transaction_aliases IS 'Former ids of a transaction; its present one is in its row.';
CREATE INDEX transaction_aliases_transaction_id_idx ON kordant.transaction_aliases (transaction_id);

CREATE TABLE kordant.transaction_versions (
    transaction_id UUID NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    booked_on DATE NOT NULL,
    amount NUMERIC(19, 4) NOT NULL,
    type TEXT NOT NULL,
    reason TEXT NOT NULL,
    sync_run_id UUID,
    ended_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT transaction_versions_pkey PRIMARY KEY (transaction_id, version),
    CONSTRAINT transaction_versions_reason_check CHECK (reason IN ('posted', 'restated', 'rekeyed', 'removed', 'revived', 'expired', 'user')),
    CONSTRAINT transaction_versions_transaction_id_fkey FOREIGN KEY (transaction_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.transaction_versions IS 'What a transaction was before it changed, and why it did; append-only.';

CREATE TABLE kordant.transfers (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    out_id UUID NOT NULL,
    in_id UUID NOT NULL,
    confidence FLOAT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT transfers_pkey PRIMARY KEY (id),
    CONSTRAINT transfers_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT transfers_out_id_fkey FOREIGN KEY (out_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE,
    CONSTRAINT transfers_in_id_fkey FOREIGN KEY (in_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE
);
CREATE INDEX transfers_entity_id_idx ON kordant.transfers (entity_id);
CREATE UNIQUE INDEX transfers_one_in ON kordant.transfers (in_id);
CREATE UNIQUE INDEX transfers_one_out ON kordant.transfers (out_id);

CREATE TRIGGER agent_grants_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.agent_grants
    FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER api_tokens_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.api_tokens
    FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE ON kordant.audit_log
    FOR EACH ROW EXECUTE FUNCTION kordant.refuse_audit_change();
CREATE TRIGGER audit_log_chain BEFORE INSERT ON kordant.audit_log
    FOR EACH ROW EXECUTE FUNCTION kordant.chain_audit();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON kordant.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.refuse_audit_change();
CREATE TRIGGER breaches_wake_sensors AFTER INSERT ON kordant.breaches
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();
CREATE TRIGGER change_sets_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.change_sets
    FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER count_attempts AFTER UPDATE ON kordant.job_attempts REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_attempts();
CREATE TRIGGER count_breaches AFTER UPDATE ON kordant.job_attempts REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_breaches();
CREATE TRIGGER count_deleted AFTER DELETE ON kordant.source_verdicts REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_verdicts();
CREATE TRIGGER count_inserted AFTER INSERT ON kordant.source_verdicts REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_verdicts();
CREATE TRIGGER count_starts AFTER INSERT ON kordant.job_attempts REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_starts();
CREATE TRIGGER count_updated AFTER UPDATE ON kordant.source_verdicts REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_verdicts();
CREATE TRIGGER job_pauses_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.job_pauses
    FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER job_requests_moves BEFORE UPDATE OF status ON kordant.job_requests
    FOR EACH ROW WHEN ((old.status IS DISTINCT FROM new.status)) EXECUTE FUNCTION kordant.check_request_move();
CREATE TRIGGER notification_outbox_wake_sensors AFTER INSERT ON kordant.notification_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();
CREATE TRIGGER principals_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.principals
    FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER removal_begins AFTER INSERT ON kordant.removal_requests REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.check_removal_begins();
CREATE TRIGGER removal_moves AFTER UPDATE ON kordant.removal_requests REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.check_removal_moves();
CREATE TRIGGER reports_leftover AFTER DELETE OR UPDATE OF storage_key ON kordant.reports
    FOR EACH ROW EXECUTE FUNCTION kordant.remember_report_leftover();
CREATE TRIGGER scheduler_config_audit AFTER INSERT OR DELETE OR UPDATE ON kordant.scheduler_config
    FOR EACH ROW EXECUTE FUNCTION kordant.audit_row_change();
CREATE TRIGGER scheduler_config_history AFTER INSERT OR DELETE OR UPDATE ON kordant.scheduler_config
    FOR EACH ROW EXECUTE FUNCTION kordant.keep_schedule_history();
CREATE TRIGGER scheduler_config_version BEFORE INSERT OR UPDATE ON kordant.scheduler_config
    FOR EACH ROW EXECUTE FUNCTION kordant.count_schedule_version();
CREATE TRIGGER subscriptions_wake_sensors AFTER INSERT OR UPDATE OF tier, status ON kordant.subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();
CREATE TRIGGER watchlist_items_wake_sensors AFTER INSERT ON kordant.watchlist_items
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();

INSERT INTO kordant.removal_moves (from_state, to_state)
SELECT from_state, unnest(string_to_array(to_states, ' ')) FROM (VALUES
    ('draft', 'cancelled contact_moved needs_user_action queued'),
    ('queued', 'bounced cancelled contact_moved denied needs_user_action sent'),
    ('sent', 'acknowledged bounced cancelled completed contact_moved denied exempt extended in_progress needs_identity needs_user_action no_match overdue verified_removed'),
    ('acknowledged', 'cancelled completed contact_moved denied exempt extended in_progress needs_identity needs_user_action no_match overdue verified_removed'),
    ('needs_user_action', 'acknowledged cancelled completed contact_moved denied exempt extended in_progress needs_identity no_match overdue queued sent verified_removed'),
    ('needs_identity', 'acknowledged cancelled completed contact_moved denied exempt extended in_progress needs_user_action no_match overdue verified_removed'),
    ('in_progress', 'cancelled completed contact_moved denied exempt extended needs_identity needs_user_action no_match overdue verified_removed'),
    ('extended', 'cancelled completed contact_moved denied exempt in_progress needs_identity needs_user_action no_match overdue verified_removed'),
    ('completed', 'cancelled relisted verified_removed needs_user_action needs_identity in_progress denied exempt'),
    ('no_match', 'cancelled relisted needs_user_action needs_identity in_progress denied exempt completed'),
    ('denied', 'cancelled completed escalated no_match queued needs_user_action needs_identity in_progress exempt'),
    ('exempt', 'cancelled completed escalated needs_user_action needs_identity in_progress denied no_match'),
    ('contact_moved', 'cancelled completed needs_user_action no_match queued'),
    ('bounced', 'cancelled contact_moved needs_user_action queued'),
    ('overdue', 'acknowledged bounced cancelled completed contact_moved denied escalated exempt extended in_progress needs_identity needs_user_action no_match verified_removed'),
    ('escalated', 'acknowledged bounced cancelled completed contact_moved denied exempt extended in_progress needs_identity needs_user_action no_match verified_removed'),
    ('verified_removed', 'cancelled relisted'),
    ('relisted', 'cancelled completed contact_moved escalated needs_user_action queued')
) AS moves (from_state, to_states);
INSERT INTO kordant.audit_progress (id, seq, hash) VALUES (1, 0, sha256('kordant audit'));

-- Programs that only queue get USAGE on the schema and EXECUTE on enqueue_job (docs/sql.md), and nothing else.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA kordant FROM PUBLIC;
