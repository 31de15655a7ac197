-- Everything of ours, as it stood when the migrations were squashed into one start. Later migrations are Alembic's, in
-- files beside this one (`kordant-jobs db migration 'what'` writes one).

CREATE FUNCTION kordant.check_request_move() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION kordant.count_schedule_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION kordant.insert_request(p_id uuid, p_job text, p_payload jsonb, p_priority smallint, p_run_at timestamp with time zone, p_at timestamp with time zone, p_idempotency_key text, p_window interval, p_merge_key text, p_debounce interval, p_debounce_at_most interval, p_throttle interval, p_entity_key text, p_tenant text, p_requested_by text, p_head_start interval, OUT request_id uuid, OUT fresh boolean) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION kordant.keep_schedule_history() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION kordant.remember_report_leftover() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.storage_key <> OLD.storage_key THEN
        INSERT INTO kordant.report_leftovers (storage_key) VALUES (OLD.storage_key)
        ON CONFLICT (storage_key) DO UPDATE SET since_at = clock_timestamp();
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION kordant.tenant_step() RETURNS interval
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT interval '10 seconds' $$;

CREATE FUNCTION kordant.uuid7() RETURNS uuid
    LANGUAGE sql
    AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

CREATE FUNCTION kordant.wake_sensors() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('kordant_events', TG_TABLE_NAME);
    RETURN NULL;
END $$;

CREATE TABLE kordant.alerted (
    subscription_id uuid NOT NULL,
    blind_index bytea NOT NULL,
    breach_name text NOT NULL,
    alerted_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE kordant.alerted IS 'Each identifier and breach is told once, also when the item was removed and added again.';

CREATE TABLE kordant.alerts (
    id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    exposure_id uuid NOT NULL,
    severity text NOT NULL,
    why jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    provisional boolean DEFAULT false NOT NULL,
    CONSTRAINT alerts_severity_check CHECK ((severity = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text])))
);

COMMENT ON COLUMN kordant.alerts.why IS 'reasons by code and id; never an identifier';

COMMENT ON COLUMN kordant.alerts.provisional IS 'told before its dump was read to the end; severity and why may still change';

CREATE TABLE kordant.breach_dumps (
    id uuid NOT NULL,
    content_sha256 bytea NOT NULL,
    file_label text NOT NULL,
    file_key bytea NOT NULL,
    file_size bigint NOT NULL,
    file_mtime_ns bigint NOT NULL,
    breach_name text NOT NULL,
    told_shape text,
    status text DEFAULT 'registered'::text NOT NULL,
    reason text,
    shape text,
    compression text,
    encoding text,
    lines bigint DEFAULT '0'::bigint NOT NULL,
    records bigint DEFAULT '0'::bigint NOT NULL,
    bad_lines jsonb DEFAULT '{}'::jsonb NOT NULL,
    known_at timestamp with time zone DEFAULT now() NOT NULL,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    ingested_at timestamp with time zone,
    CONSTRAINT breach_dumps_status_check CHECK ((status = ANY (ARRAY['registered'::text, 'ingested'::text, 'quarantined'::text, 'superseded'::text, 'dismissed'::text])))
);

COMMENT ON COLUMN kordant.breach_dumps.file_label IS 'the file''s name, with what looks personal left out';

COMMENT ON COLUMN kordant.breach_dumps.file_key IS 'keyed hash of the file''s name';

CREATE TABLE kordant.breach_lookups (
    source text NOT NULL,
    reference text NOT NULL,
    found boolean NOT NULL,
    looked_up_at timestamp with time zone NOT NULL,
    CONSTRAINT breach_lookups_source_check CHECK ((source = ANY (ARRAY['dumps'::text, 'hibp'::text, 'xposedornot'::text, 'leakcheck'::text])))
);

COMMENT ON TABLE kordant.breach_lookups IS 'Breaches that a source was asked to describe: not asked again at once when it knew none.';

CREATE TABLE kordant.breaches (
    name text NOT NULL,
    source text NOT NULL,
    title text NOT NULL,
    domain text DEFAULT ''::text NOT NULL,
    breached_on date,
    added_at timestamp with time zone,
    modified_at timestamp with time zone,
    pwn_count bigint,
    description text DEFAULT ''::text NOT NULL,
    data_classes text[] DEFAULT '{}'::text[] NOT NULL,
    is_verified boolean DEFAULT false NOT NULL,
    is_fabricated boolean DEFAULT false NOT NULL,
    is_sensitive boolean DEFAULT false NOT NULL,
    is_retired boolean DEFAULT false NOT NULL,
    is_spam_list boolean DEFAULT false NOT NULL,
    is_malware boolean DEFAULT false NOT NULL,
    is_stealer_log boolean DEFAULT false NOT NULL,
    is_subscription_free boolean DEFAULT false NOT NULL,
    logo_path text,
    attribution text,
    disclosure_url text,
    extra jsonb DEFAULT '{}'::jsonb NOT NULL,
    known_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT breaches_source_check CHECK ((source = ANY (ARRAY['hibp'::text, 'dump'::text, 'paste'::text, 'xposedornot'::text, 'leakcheck'::text])))
);

CREATE TABLE kordant.catalogue_imports (
    content_sha256 bytea NOT NULL,
    breaches integer NOT NULL,
    rejected integer NOT NULL,
    imported_at timestamp with time zone DEFAULT now() NOT NULL,
    checked_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE kordant.contact_addresses (
    id uuid NOT NULL,
    subscriber_id uuid NOT NULL,
    channel text NOT NULL,
    address_encrypted bytea NOT NULL,
    blind_index bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    removed_reason text,
    CONSTRAINT contact_addresses_channel_check CHECK ((channel = ANY (ARRAY['email'::text, 'fcm'::text, 'apns'::text, 'web_push'::text, 'sms'::text])))
);

COMMENT ON TABLE kordant.contact_addresses IS 'Push tokens, phones and further e-mail addresses; the first e-mail address is subscribers.contact.';

COMMENT ON COLUMN kordant.contact_addresses.blind_index IS '16 bytes; null once the subscriber was forgotten';

CREATE TABLE kordant.dismissals (
    subscription_id uuid NOT NULL,
    blind_index bytea NOT NULL,
    breach_name text NOT NULL,
    said_by text NOT NULL,
    said_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE kordant.dismissals IS '''Not me'': of this identifier in this breach the subscriber hears no more.';

CREATE TABLE kordant.due_slots (
    subscription_id uuid NOT NULL,
    job text NOT NULL,
    tier text NOT NULL,
    anchor smallint NOT NULL,
    slot integer NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE kordant.due_slots IS 'Who is served by which row, and where in its day and month. Only active subscriptions have rows.';

COMMENT ON COLUMN kordant.due_slots.anchor IS 'its day of the week (from 1, Monday) or month; 0: none';

COMMENT ON COLUMN kordant.due_slots.slot IS 'its stable place in a day, below 2^30';

CREATE TABLE kordant.exposure_evidence (
    exposure_id uuid NOT NULL,
    dump_id uuid NOT NULL,
    line bigint NOT NULL,
    occurrences integer NOT NULL
);

COMMENT ON COLUMN kordant.exposure_evidence.line IS 'the first line that names it, from 1';

CREATE TABLE kordant.exposures (
    id uuid NOT NULL,
    item_id uuid NOT NULL,
    breach_name text NOT NULL,
    secret text NOT NULL,
    judgement text,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    dismissed_at timestamp with time zone,
    judgement_reason text,
    CONSTRAINT exposures_judgement_check CHECK ((judgement = ANY (ARRAY['alert'::text, 'withheld_sensitive'::text, 'withheld_unverified'::text, 'not_a_breach'::text, 'not_me'::text]))),
    CONSTRAINT exposures_judgement_reason_check CHECK ((judgement_reason = ANY (ARRAY['breach'::text, 'stealer_log'::text, 'malware'::text, 'sensitive_to_its_owner'::text, 'sensitive_and_not_verified'::text, 'unverified'::text, 'fabricated'::text, 'retired'::text, 'spam_list'::text, 'not_me'::text]))),
    CONSTRAINT exposures_secret_check CHECK ((secret = ANY (ARRAY['none'::text, 'clear'::text, 'hashed'::text])))
);

COMMENT ON COLUMN kordant.exposures.judgement_reason IS 'by which rule';

CREATE SEQUENCE kordant.fences
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE kordant.idempotency_keys (
    job text NOT NULL,
    key text NOT NULL,
    request_id uuid NOT NULL,
    until timestamp with time zone NOT NULL,
    tenant text NOT NULL,
    caller text NOT NULL
);

CREATE TABLE kordant.job_attempts (
    request_id uuid NOT NULL,
    attempt integer NOT NULL,
    lease_id uuid NOT NULL,
    run_id text,
    worker text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    cause text,
    cpu_s double precision,
    peak_memory_mb double precision,
    error text,
    CONSTRAINT job_attempts_cause_check CHECK ((cause = ANY (ARRAY['exception'::text, 'timeout'::text, 'memory'::text, 'cpu'::text, 'killed'::text, 'lost'::text, 'invalid'::text]))),
    CONSTRAINT job_attempts_outcome_check CHECK ((outcome = ANY (ARRAY['success'::text, 'partial'::text, 'failure'::text, 'canceled'::text, 'lost'::text, 'returned'::text])))
);

COMMENT ON COLUMN kordant.job_attempts.lease_id IS 'requests of one run share it';

COMMENT ON COLUMN kordant.job_attempts.cpu_s IS 'of the whole run, which may have served many requests';

COMMENT ON COLUMN kordant.job_attempts.peak_memory_mb IS 'of the whole run';

CREATE TABLE kordant.job_catalogue (
    name text NOT NULL,
    alias text NOT NULL,
    priority smallint NOT NULL
);

COMMENT ON TABLE kordant.job_catalogue IS 'The names that kordant.enqueue_job takes: a copy of catalog.py, written when the dispatcher starts.';

CREATE TABLE kordant.job_leases (
    id uuid NOT NULL,
    name text NOT NULL,
    fence bigint DEFAULT nextval('kordant.fences'::regclass) NOT NULL,
    holder text NOT NULL,
    run_id text,
    adopted boolean DEFAULT false NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.0', autovacuum_vacuum_threshold='500');

COMMENT ON TABLE kordant.job_leases IS 'Slots that expire. Who has no row here any more has lost it and may write nothing.';

COMMENT ON COLUMN kordant.job_leases.name IS 'what it is a slot of: job:<job>, or a limit''s own name';

COMMENT ON COLUMN kordant.job_leases.holder IS 'the process that keeps it alive';

COMMENT ON COLUMN kordant.job_leases.run_id IS 'the run that works under it';

COMMENT ON COLUMN kordant.job_leases.adopted IS 'the run keeps it alive itself';

CREATE TABLE kordant.job_pauses (
    job text NOT NULL,
    reason text NOT NULL,
    paused_by text NOT NULL,
    paused_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE kordant.job_pauses IS 'Jobs of which no run starts; their requests wait.';

CREATE TABLE kordant.job_requests (
    id uuid NOT NULL,
    job text NOT NULL,
    payload jsonb NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    priority smallint NOT NULL,
    run_at timestamp with time zone NOT NULL,
    turn_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    idempotency_key text,
    merge_key text,
    entity_key text,
    tenant text,
    requested_by text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    forgiven integer DEFAULT 0 NOT NULL,
    lease_id uuid,
    fence bigint,
    run_id text,
    root_run_id text,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    progress_done bigint DEFAULT '0'::bigint NOT NULL,
    progress_total bigint DEFAULT '0'::bigint NOT NULL,
    progress_message text DEFAULT ''::text NOT NULL,
    items_failed bigint DEFAULT '0'::bigint NOT NULL,
    summary jsonb,
    cause text,
    error text,
    acknowledged_at timestamp with time zone,
    acknowledged_by text,
    waiting_run_id text,
    CONSTRAINT job_requests_cause_check CHECK ((cause = ANY (ARRAY['exception'::text, 'timeout'::text, 'memory'::text, 'cpu'::text, 'killed'::text, 'lost'::text, 'invalid'::text]))),
    CONSTRAINT job_requests_priority_check CHECK (((priority >= 0) AND (priority <= 3))),
    CONSTRAINT job_requests_run_at_between_2000_and_2200_check CHECK (((run_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (run_at < '2200-01-01 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT job_requests_running_has_a_lease_check CHECK (((status = 'running'::text) = (lease_id IS NOT NULL))),
    CONSTRAINT job_requests_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, 'completed'::text, 'dead'::text, 'cancelled'::text, 'expired'::text])))
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

COMMENT ON COLUMN kordant.job_requests.payload IS 'ids and closed words only';

COMMENT ON COLUMN kordant.job_requests.turn_at IS 'its place in the line of its job and priority: run_at, or later behind its own tenant''s';

COMMENT ON COLUMN kordant.job_requests.merge_key IS 'while it waits, a further request with this key becomes part of it';

COMMENT ON COLUMN kordant.job_requests.entity_key IS 'what it is about, by id';

COMMENT ON COLUMN kordant.job_requests.tenant IS 'for whom, by id: waiting requests are shared out between tenants';

COMMENT ON COLUMN kordant.job_requests.forgiven IS 'attempts before the last replay';

COMMENT ON COLUMN kordant.job_requests.run_id IS 'of the last attempt';

COMMENT ON COLUMN kordant.job_requests.root_run_id IS 'of the first';

COMMENT ON COLUMN kordant.job_requests.items_failed IS 'above 0: completed in part';

COMMENT ON COLUMN kordant.job_requests.error IS 'of the last attempt that failed; one line, no personal data';

COMMENT ON COLUMN kordant.job_requests.waiting_run_id IS 'a run that Dagster made and that starts when this is claimed';

CREATE TABLE kordant.keyring_check (
    id smallint NOT NULL,
    master_key_id text NOT NULL,
    wrapped_root bytea NOT NULL,
    CONSTRAINT keyring_check_single_check CHECK ((id = 1))
);

COMMENT ON TABLE kordant.keyring_check IS 'Proves that the master key of a process is the one this database was written with.';

COMMENT ON COLUMN kordant.keyring_check.wrapped_root IS 'the key of blind indexes, labels and links';

CREATE TABLE kordant.notification_hours (
    subscriber_id uuid NOT NULL,
    quiet_from time without time zone,
    quiet_until time without time zone,
    digest_at time without time zone DEFAULT '08:00:00'::time without time zone NOT NULL,
    digest_weekday smallint DEFAULT '1'::smallint NOT NULL,
    CONSTRAINT notification_hours_digest_weekday_check CHECK (((digest_weekday >= 1) AND (digest_weekday <= 7))),
    CONSTRAINT notification_hours_quiet_has_both_ends_check CHECK (((quiet_from IS NULL) = (quiet_until IS NULL)))
);

COMMENT ON TABLE kordant.notification_hours IS 'Wall times in the zone of the subscription.';

COMMENT ON COLUMN kordant.notification_hours.digest_weekday IS 'from 1, Monday';

CREATE TABLE kordant.notification_outbox (
    id uuid NOT NULL,
    alert_id uuid,
    subscription_id uuid NOT NULL,
    channel text NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    lease_until timestamp with time zone,
    reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    category text DEFAULT 'breach'::text NOT NULL,
    address_id uuid,
    interruptions integer DEFAULT 0 NOT NULL,
    held_for text,
    mail_id uuid,
    provider_id text,
    receipt text,
    receipt_at timestamp with time zone,
    report_id uuid,
    begun boolean DEFAULT true NOT NULL,
    CONSTRAINT notification_outbox_about_one_thing_check CHECK (((alert_id IS NULL) <> (report_id IS NULL))),
    CONSTRAINT notification_outbox_category_check CHECK ((category = ANY (ARRAY['breach'::text, 'home_title'::text, 'voice'::text, 'removal'::text, 'report'::text]))),
    CONSTRAINT notification_outbox_channel_check CHECK ((channel = ANY (ARRAY['email'::text, 'fcm'::text, 'apns'::text, 'web_push'::text, 'sms'::text]))),
    CONSTRAINT notification_outbox_held_for_check CHECK ((held_for = ANY (ARRAY['daily'::text, 'weekly'::text, 'many'::text]))),
    CONSTRAINT notification_outbox_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'sending'::text, 'sent'::text, 'deferred'::text, 'suppressed'::text, 'failed'::text, 'dead'::text])))
);

COMMENT ON COLUMN kordant.notification_outbox.reason IS 'why it was deferred, suppressed or given up; never an address';

COMMENT ON COLUMN kordant.notification_outbox.address_id IS 'null: the subscriber''s contact';

COMMENT ON COLUMN kordant.notification_outbox.interruptions IS 'attempts that may have sent it unseen';

COMMENT ON COLUMN kordant.notification_outbox.held_for IS 'it waits for others, to go out in one message with them';

COMMENT ON COLUMN kordant.notification_outbox.mail_id IS 'the message that carries it and others; null: its own, under its id';

COMMENT ON COLUMN kordant.notification_outbox.provider_id IS 'what the other side calls it';

COMMENT ON COLUMN kordant.notification_outbox.receipt IS 'what the other side last told of it';

COMMENT ON COLUMN kordant.notification_outbox.begun IS 'its sender has begun it: it may be out';

CREATE TABLE kordant.notification_preferences (
    subscriber_id uuid NOT NULL,
    category text NOT NULL,
    channel text NOT NULL,
    mode text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT notification_preferences_category_check CHECK ((category = ANY (ARRAY['breach'::text, 'home_title'::text, 'voice'::text, 'removal'::text, 'report'::text]))),
    CONSTRAINT notification_preferences_channel_check CHECK ((channel = ANY (ARRAY['email'::text, 'fcm'::text, 'apns'::text, 'web_push'::text, 'sms'::text]))),
    CONSTRAINT notification_preferences_mode_check CHECK ((mode = ANY (ARRAY['off'::text, 'at_once'::text, 'daily'::text, 'weekly'::text])))
);

CREATE TABLE kordant.rate_buckets (
    party text NOT NULL,
    tokens double precision NOT NULL,
    filled_at timestamp with time zone NOT NULL
);

CREATE TABLE kordant.report_leftovers (
    storage_key text NOT NULL,
    since_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON COLUMN kordant.report_leftovers.storage_key IS 'no report named it any more at `since_at`';

CREATE TABLE kordant.reports (
    id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    kind text NOT NULL,
    period_start_on date NOT NULL,
    period_end_on date NOT NULL,
    figures jsonb NOT NULL,
    figures_sha256 bytea NOT NULL,
    content_sha256 bytea NOT NULL,
    storage_key text NOT NULL,
    pages integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON COLUMN kordant.reports.period_end_on IS 'the first day that is no more covered';

COMMENT ON COLUMN kordant.reports.figures IS 'counts and ids only';

CREATE TABLE kordant.run_progress (
    run_id text NOT NULL,
    done bigint NOT NULL,
    total bigint NOT NULL,
    message text NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE kordant.scan_watermarks (
    subscription_id uuid NOT NULL,
    job text NOT NULL,
    known_until timestamp with time zone NOT NULL
);

CREATE TABLE kordant.schedule_progress (
    job text NOT NULL,
    tier text NOT NULL,
    until timestamp with time zone NOT NULL,
    position_on date NOT NULL,
    position_slot integer NOT NULL,
    held boolean DEFAULT false NOT NULL
);

CREATE TABLE kordant.schedule_starts (
    id bigint NOT NULL,
    job text NOT NULL,
    tier text NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    due_at timestamp with time zone NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    spans jsonb NOT NULL,
    subscriptions integer,
    version integer NOT NULL,
    CONSTRAINT schedule_starts_kind_check CHECK ((kind = ANY (ARRAY['started'::text, 'dropped'::text])))
);

COMMENT ON TABLE kordant.schedule_starts IS 'What ticks led to. A tick that is looked at again gives the same starts.';

COMMENT ON COLUMN kordant.schedule_starts.source IS 'the tick that decided it, or the sensor';

COMMENT ON COLUMN kordant.schedule_starts.spans IS '[day, anchor, first slot, past slot]';

COMMENT ON COLUMN kordant.schedule_starts.subscriptions IS 'how many there were; null: the job as a whole';

COMMENT ON COLUMN kordant.schedule_starts.version IS 'of the row that it was decided by';

ALTER TABLE kordant.schedule_starts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME kordant.schedule_starts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE kordant.scheduler_config (
    job text NOT NULL,
    tier text NOT NULL,
    cadence text NOT NULL,
    cron text NOT NULL,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    anchor text DEFAULT 'anniversary'::text NOT NULL,
    spread boolean DEFAULT true NOT NULL,
    gap text DEFAULT 'shift'::text NOT NULL,
    fold text DEFAULT 'once'::text NOT NULL,
    catch_up text DEFAULT 'latest'::text NOT NULL,
    catch_up_window_s integer DEFAULT 604800 NOT NULL,
    overlap text DEFAULT 'queue_one'::text NOT NULL,
    priority smallint DEFAULT '2'::smallint NOT NULL,
    realtime boolean DEFAULT false NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    pause_reason text,
    paused_by text,
    paused_at timestamp with time zone,
    paused_until timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_by text DEFAULT CURRENT_USER NOT NULL,
    note text,
    CONSTRAINT scheduler_config_anchor_check CHECK ((anchor = ANY (ARRAY['anniversary'::text, 'calendar'::text]))),
    CONSTRAINT scheduler_config_cadence_check CHECK ((cadence = ANY (ARRAY['every_tick'::text, 'daily'::text, 'weekly'::text, 'monthly'::text]))),
    CONSTRAINT scheduler_config_catch_up_check CHECK ((catch_up = ANY (ARRAY['none'::text, 'latest'::text, 'all'::text]))),
    CONSTRAINT scheduler_config_fold_check CHECK ((fold = ANY (ARRAY['once'::text, 'twice'::text]))),
    CONSTRAINT scheduler_config_gap_check CHECK ((gap = ANY (ARRAY['shift'::text, 'skip'::text]))),
    CONSTRAINT scheduler_config_overlap_check CHECK ((overlap = ANY (ARRAY['allow'::text, 'skip'::text, 'queue_one'::text, 'queue_all'::text, 'cancel_other'::text]))),
    CONSTRAINT scheduler_config_pause_has_a_reason_check CHECK (((paused_at IS NULL) = (pause_reason IS NULL))),
    CONSTRAINT scheduler_config_priority_check CHECK (((priority >= 0) AND (priority <= 3)))
);

COMMENT ON COLUMN kordant.scheduler_config.tier IS '''all'' for a row that is of no tier';

COMMENT ON COLUMN kordant.scheduler_config.version IS 'counted up by a trigger';

CREATE TABLE kordant.scheduler_history (
    job text NOT NULL,
    tier text NOT NULL,
    version integer NOT NULL,
    "row" jsonb,
    changed_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    note text
);

COMMENT ON TABLE kordant.scheduler_history IS 'Written by a trigger, whoever changes scheduler_config.';

COMMENT ON COLUMN kordant.scheduler_history."row" IS 'as it was from then on; null: deleted';

CREATE TABLE kordant.source_checks (
    item_id uuid NOT NULL,
    source text NOT NULL,
    verdict text NOT NULL,
    reason text,
    attempts integer NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    retry_at timestamp with time zone,
    CONSTRAINT source_checks_reason_check CHECK ((reason = ANY (ARRAY['key_refused'::text, 'forbidden'::text, 'bad_request'::text, 'rate_limited'::text, 'unavailable'::text, 'timed_out'::text, 'unreachable'::text, 'redirected'::text, 'unreadable'::text, 'too_large'::text, 'circuit_open'::text, 'not_asked'::text]))),
    CONSTRAINT source_checks_source_check CHECK ((source = ANY (ARRAY['dumps'::text, 'hibp'::text, 'xposedornot'::text, 'leakcheck'::text]))),
    CONSTRAINT source_checks_unknown_has_a_reason_check CHECK (((verdict = 'unknown'::text) = (reason IS NOT NULL))),
    CONSTRAINT source_checks_verdict_check CHECK ((verdict = ANY (ARRAY['clean'::text, 'exposed'::text, 'unknown'::text])))
);

COMMENT ON COLUMN kordant.source_checks.attempts IS 'without an answer, one after the other';

CREATE TABLE kordant.source_evidence (
    exposure_id uuid NOT NULL,
    source text NOT NULL,
    reference text NOT NULL,
    data_classes text[] DEFAULT '{}'::text[] NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    CONSTRAINT source_evidence_source_check CHECK ((source = ANY (ARRAY['dumps'::text, 'hibp'::text, 'xposedornot'::text, 'leakcheck'::text])))
);

COMMENT ON COLUMN kordant.source_evidence.reference IS 'the source''s own stable key for the breach';

COMMENT ON COLUMN kordant.source_evidence.data_classes IS 'as the source told them';

CREATE TABLE kordant.source_hints (
    item_id uuid NOT NULL,
    source text NOT NULL,
    reference text NOT NULL,
    told_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT source_hints_source_check CHECK ((source = ANY (ARRAY['dumps'::text, 'hibp'::text, 'xposedornot'::text, 'leakcheck'::text])))
);

COMMENT ON TABLE kordant.source_hints IS 'What a source pushed and no scan has taken up yet.';

CREATE TABLE kordant.source_states (
    source text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    last_reason text,
    open_until timestamp with time zone,
    last_ok_at timestamp with time zone,
    last_failed_at timestamp with time zone,
    told_off_at timestamp with time zone,
    terms jsonb,
    terms_at timestamp with time zone,
    CONSTRAINT source_states_last_reason_check CHECK ((last_reason = ANY (ARRAY['key_refused'::text, 'forbidden'::text, 'bad_request'::text, 'rate_limited'::text, 'unavailable'::text, 'timed_out'::text, 'unreachable'::text, 'redirected'::text, 'unreadable'::text, 'too_large'::text, 'circuit_open'::text, 'not_asked'::text]))),
    CONSTRAINT source_states_source_check CHECK ((source = ANY (ARRAY['dumps'::text, 'hibp'::text, 'xposedornot'::text, 'leakcheck'::text])))
);

COMMENT ON TABLE kordant.source_states IS 'How each outside source stands, for all processes: a circuit breaker a row.';

COMMENT ON COLUMN kordant.source_states.failures IS 'one after the other, without an answer';

COMMENT ON COLUMN kordant.source_states.terms IS 'what the plan of the key allows';

CREATE TABLE kordant.source_verdicts (
    subscription_id uuid NOT NULL,
    source text NOT NULL,
    checked_on date NOT NULL,
    verdict text NOT NULL,
    reason text,
    exposures integer NOT NULL,
    new_exposures integer NOT NULL,
    covered_until timestamp with time zone NOT NULL,
    checked_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT source_verdicts_unknown_has_a_reason_check CHECK (((verdict <> 'unknown'::text) OR (reason IS NOT NULL))),
    CONSTRAINT source_verdicts_verdict_check CHECK ((verdict = ANY (ARRAY['clean'::text, 'exposed'::text, 'unknown'::text])))
);

COMMENT ON COLUMN kordant.source_verdicts.checked_on IS 'the UTC day whose knowledge this is';

CREATE TABLE kordant.subscriber_keys (
    subscriber_id uuid NOT NULL,
    wrapped_key bytea NOT NULL,
    master_key_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE kordant.subscriber_keys IS 'Deleting a row here makes everything encrypted for that subscriber unreadable.';

CREATE TABLE kordant.subscribers (
    id uuid NOT NULL,
    name_encrypted bytea,
    contact_encrypted bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    forgotten_at timestamp with time zone
);

CREATE TABLE kordant.subscriptions (
    id uuid NOT NULL,
    subscriber_id uuid NOT NULL,
    tier text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    locale text DEFAULT 'en'::text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT subscriptions_locale_check CHECK ((locale = ANY (ARRAY['en'::text, 'pt-BR'::text]))),
    CONSTRAINT subscriptions_status_check CHECK ((status = ANY (ARRAY['active'::text, 'paused'::text, 'cancelled'::text]))),
    CONSTRAINT subscriptions_tier_check CHECK ((tier = ANY (ARRAY['basic'::text, 'plus'::text, 'premium'::text])))
);

CREATE TABLE kordant.suppressions (
    channel text NOT NULL,
    address_index bytea NOT NULL,
    reason text NOT NULL,
    created_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT suppressions_channel_check CHECK ((channel = ANY (ARRAY['email'::text, 'fcm'::text, 'apns'::text, 'web_push'::text, 'sms'::text])))
);

COMMENT ON TABLE kordant.suppressions IS 'Addresses that nothing is sent to, whoever they belong to.';

COMMENT ON COLUMN kordant.suppressions.address_index IS 'the blind index of the address';

CREATE TABLE kordant.watchlist_items (
    id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    subscriber_id uuid NOT NULL,
    kind text NOT NULL,
    identifier_encrypted bytea,
    blind_index bytea,
    verified_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    range_index bytea
);

COMMENT ON COLUMN kordant.watchlist_items.identifier_encrypted IS 'null once the subscriber was forgotten';

COMMENT ON COLUMN kordant.watchlist_items.blind_index IS '16 bytes; null once the subscriber was forgotten';

COMMENT ON COLUMN kordant.watchlist_items.range_index IS '16 bytes: keyed hash of the SHA-1 that range notifications go by';

ALTER TABLE ONLY kordant.alerted
    ADD CONSTRAINT alerted_pkey PRIMARY KEY (subscription_id, blind_index, breach_name);

ALTER TABLE ONLY kordant.alerts
    ADD CONSTRAINT alerts_exposure_id_key UNIQUE (exposure_id);

ALTER TABLE ONLY kordant.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.breach_dumps
    ADD CONSTRAINT breach_dumps_content_sha256_key UNIQUE (content_sha256);

ALTER TABLE ONLY kordant.breach_dumps
    ADD CONSTRAINT breach_dumps_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.breach_lookups
    ADD CONSTRAINT breach_lookups_pkey PRIMARY KEY (source, reference);

ALTER TABLE ONLY kordant.breaches
    ADD CONSTRAINT breaches_pkey PRIMARY KEY (name);

ALTER TABLE ONLY kordant.catalogue_imports
    ADD CONSTRAINT catalogue_imports_pkey PRIMARY KEY (content_sha256);

ALTER TABLE ONLY kordant.contact_addresses
    ADD CONSTRAINT contact_addresses_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.dismissals
    ADD CONSTRAINT dismissals_pkey PRIMARY KEY (subscription_id, blind_index, breach_name);

ALTER TABLE ONLY kordant.due_slots
    ADD CONSTRAINT due_slots_pkey PRIMARY KEY (subscription_id, job);

ALTER TABLE ONLY kordant.exposure_evidence
    ADD CONSTRAINT exposure_evidence_pkey PRIMARY KEY (exposure_id, dump_id);

ALTER TABLE ONLY kordant.exposures
    ADD CONSTRAINT exposures_item_id_breach_name_key UNIQUE (item_id, breach_name);

ALTER TABLE ONLY kordant.exposures
    ADD CONSTRAINT exposures_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant, caller, job, key);

ALTER TABLE ONLY kordant.job_attempts
    ADD CONSTRAINT job_attempts_pkey PRIMARY KEY (request_id, attempt);

ALTER TABLE ONLY kordant.job_catalogue
    ADD CONSTRAINT job_catalogue_alias_key UNIQUE (alias);

ALTER TABLE ONLY kordant.job_catalogue
    ADD CONSTRAINT job_catalogue_pkey PRIMARY KEY (name);

ALTER TABLE ONLY kordant.job_leases
    ADD CONSTRAINT job_leases_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.job_pauses
    ADD CONSTRAINT job_pauses_pkey PRIMARY KEY (job);

ALTER TABLE ONLY kordant.job_requests
    ADD CONSTRAINT job_requests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.keyring_check
    ADD CONSTRAINT keyring_check_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.notification_hours
    ADD CONSTRAINT notification_hours_pkey PRIMARY KEY (subscriber_id);

ALTER TABLE ONLY kordant.notification_outbox
    ADD CONSTRAINT notification_outbox_alert_id_channel_address_id_key UNIQUE (alert_id, channel, address_id);

ALTER TABLE ONLY kordant.notification_outbox
    ADD CONSTRAINT notification_outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.notification_outbox
    ADD CONSTRAINT notification_outbox_report_id_channel_address_id_key UNIQUE (report_id, channel, address_id);

ALTER TABLE ONLY kordant.notification_preferences
    ADD CONSTRAINT notification_preferences_pkey PRIMARY KEY (subscriber_id, category, channel);

ALTER TABLE ONLY kordant.rate_buckets
    ADD CONSTRAINT rate_buckets_pkey PRIMARY KEY (party);

ALTER TABLE ONLY kordant.report_leftovers
    ADD CONSTRAINT report_leftovers_pkey PRIMARY KEY (storage_key);

ALTER TABLE ONLY kordant.reports
    ADD CONSTRAINT reports_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.reports
    ADD CONSTRAINT reports_subscription_id_kind_period_start_on_key UNIQUE (subscription_id, kind, period_start_on);

ALTER TABLE ONLY kordant.run_progress
    ADD CONSTRAINT run_progress_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY kordant.scan_watermarks
    ADD CONSTRAINT scan_watermarks_pkey PRIMARY KEY (subscription_id, job);

ALTER TABLE ONLY kordant.schedule_progress
    ADD CONSTRAINT schedule_progress_pkey PRIMARY KEY (job, tier);

ALTER TABLE ONLY kordant.schedule_starts
    ADD CONSTRAINT schedule_starts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.scheduler_config
    ADD CONSTRAINT scheduler_config_pkey PRIMARY KEY (job, tier);

ALTER TABLE ONLY kordant.scheduler_history
    ADD CONSTRAINT scheduler_history_pkey PRIMARY KEY (job, tier, version);

ALTER TABLE ONLY kordant.source_checks
    ADD CONSTRAINT source_checks_pkey PRIMARY KEY (item_id, source);

ALTER TABLE ONLY kordant.source_evidence
    ADD CONSTRAINT source_evidence_pkey PRIMARY KEY (exposure_id, source, reference);

ALTER TABLE ONLY kordant.source_hints
    ADD CONSTRAINT source_hints_pkey PRIMARY KEY (item_id, source, reference);

ALTER TABLE ONLY kordant.source_states
    ADD CONSTRAINT source_states_pkey PRIMARY KEY (source);

ALTER TABLE ONLY kordant.source_verdicts
    ADD CONSTRAINT source_verdicts_pkey PRIMARY KEY (subscription_id, source, checked_on);

ALTER TABLE ONLY kordant.subscriber_keys
    ADD CONSTRAINT subscriber_keys_pkey PRIMARY KEY (subscriber_id);

ALTER TABLE ONLY kordant.subscribers
    ADD CONSTRAINT subscribers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.subscriptions
    ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kordant.suppressions
    ADD CONSTRAINT suppressions_pkey PRIMARY KEY (channel, address_index);

ALTER TABLE ONLY kordant.watchlist_items
    ADD CONSTRAINT watchlist_items_pkey PRIMARY KEY (id);

CREATE INDEX alerts_subscription_id_created_at_idx ON kordant.alerts USING btree (subscription_id, created_at);

CREATE INDEX breach_dumps_breach_name_idx ON kordant.breach_dumps USING btree (breach_name);

CREATE INDEX breach_dumps_file_key_idx ON kordant.breach_dumps USING btree (file_key);

CREATE INDEX breach_dumps_known_at_idx ON kordant.breach_dumps USING btree (known_at);

CREATE UNIQUE INDEX contact_addresses_once ON kordant.contact_addresses USING btree (subscriber_id, channel, blind_index) WHERE (removed_at IS NULL);

CREATE INDEX due_slots_tick_idx ON kordant.due_slots USING btree (job, tier, anchor, slot) INCLUDE (subscription_id);

CREATE INDEX exposure_evidence_dump_id_idx ON kordant.exposure_evidence USING btree (dump_id);

CREATE INDEX exposures_breach_name_idx ON kordant.exposures USING btree (breach_name);

CREATE INDEX idempotency_keys_until_idx ON kordant.idempotency_keys USING btree (until);

CREATE INDEX job_attempts_lease_id_idx ON kordant.job_attempts USING btree (lease_id);

CREATE INDEX job_attempts_run_id_idx ON kordant.job_attempts USING btree (run_id);

CREATE INDEX job_leases_expires_at_idx ON kordant.job_leases USING btree (expires_at);

CREATE INDEX job_leases_name_idx ON kordant.job_leases USING btree (name);

CREATE INDEX job_leases_run_id_idx ON kordant.job_leases USING btree (run_id);

CREATE INDEX job_requests_cancelling_idx ON kordant.job_requests USING btree (cancel_requested_at) WHERE ((status = 'running'::text) AND (cancel_requested_at IS NOT NULL));

CREATE INDEX job_requests_claim_idx ON kordant.job_requests USING btree (job, priority, turn_at, run_at) WHERE (status = 'pending'::text);

CREATE INDEX job_requests_dead_idx ON kordant.job_requests USING btree (job, ended_at) WHERE (status = 'dead'::text);

CREATE INDEX job_requests_ended_idx ON kordant.job_requests USING btree (ended_at) WHERE (ended_at IS NOT NULL);

CREATE INDEX job_requests_entity_idx ON kordant.job_requests USING btree (entity_key) WHERE (entity_key IS NOT NULL);

CREATE INDEX job_requests_lease_idx ON kordant.job_requests USING btree (lease_id) WHERE (status = 'running'::text);

CREATE UNIQUE INDEX job_requests_merge_once ON kordant.job_requests USING btree (job, merge_key) WHERE ((status = 'pending'::text) AND (merge_key IS NOT NULL));

CREATE INDEX job_requests_next_idx ON kordant.job_requests USING btree (run_at) WHERE (status = 'pending'::text);

CREATE INDEX job_requests_open_idx ON kordant.job_requests USING btree (requested_by) WHERE (status = ANY (ARRAY['pending'::text, 'running'::text]));

CREATE INDEX job_requests_running_key_idx ON kordant.job_requests USING btree (job, entity_key) WHERE ((status = 'running'::text) AND (entity_key IS NOT NULL));

CREATE INDEX job_requests_tenant_idx ON kordant.job_requests USING btree (tenant, job, priority, turn_at, run_at) WHERE ((status = 'pending'::text) AND (tenant IS NOT NULL));

CREATE INDEX job_requests_throttle_idx ON kordant.job_requests USING btree (job, merge_key, started_at) WHERE (merge_key IS NOT NULL);

CREATE INDEX job_requests_waiting_run_idx ON kordant.job_requests USING btree (waiting_run_id) WHERE (waiting_run_id IS NOT NULL);

CREATE INDEX notification_outbox_channel_due_at_idx ON kordant.notification_outbox USING btree (channel, due_at) WHERE (status = ANY (ARRAY['queued'::text, 'deferred'::text, 'sending'::text]));

CREATE UNIQUE INDEX notification_outbox_contact_once ON kordant.notification_outbox USING btree (alert_id, channel) WHERE (address_id IS NULL);

CREATE INDEX notification_outbox_mail_id_idx ON kordant.notification_outbox USING btree (mail_id) WHERE (mail_id IS NOT NULL);

CREATE INDEX notification_outbox_provider_id_idx ON kordant.notification_outbox USING btree (provider_id) WHERE (provider_id IS NOT NULL);

CREATE UNIQUE INDEX notification_outbox_report_contact_once ON kordant.notification_outbox USING btree (report_id, channel) WHERE (address_id IS NULL);

CREATE INDEX notification_outbox_subscription_id_idx ON kordant.notification_outbox USING btree (subscription_id);

CREATE INDEX reports_period_end_on_idx ON kordant.reports USING btree (period_end_on);

CREATE INDEX reports_storage_key_idx ON kordant.reports USING btree (storage_key);

CREATE INDEX schedule_starts_decided_at_idx ON kordant.schedule_starts USING btree (decided_at);

CREATE INDEX schedule_starts_job_tier_source_idx ON kordant.schedule_starts USING btree (job, tier, source);

CREATE INDEX source_checks_retry_idx ON kordant.source_checks USING btree (source, retry_at);

CREATE INDEX subscriptions_subscriber_id_idx ON kordant.subscriptions USING btree (subscriber_id);

CREATE INDEX subscriptions_tier_idx ON kordant.subscriptions USING btree (tier) WHERE (status = 'active'::text);

CREATE INDEX watchlist_items_blind_index_idx ON kordant.watchlist_items USING btree (blind_index);

CREATE UNIQUE INDEX watchlist_items_once ON kordant.watchlist_items USING btree (subscription_id, blind_index) WHERE (removed_at IS NULL);

CREATE INDEX watchlist_items_range_index_idx ON kordant.watchlist_items USING btree (range_index) WHERE (range_index IS NOT NULL);

CREATE INDEX watchlist_items_subscriber_id_idx ON kordant.watchlist_items USING btree (subscriber_id);

CREATE TRIGGER breaches_wake_sensors AFTER INSERT ON kordant.breaches FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();

CREATE TRIGGER job_requests_moves BEFORE UPDATE OF status ON kordant.job_requests FOR EACH ROW WHEN ((old.status IS DISTINCT FROM new.status)) EXECUTE FUNCTION kordant.check_request_move();

CREATE TRIGGER notification_outbox_wake_sensors AFTER INSERT ON kordant.notification_outbox FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();

CREATE TRIGGER reports_leftover AFTER DELETE OR UPDATE OF storage_key ON kordant.reports FOR EACH ROW EXECUTE FUNCTION kordant.remember_report_leftover();

CREATE TRIGGER scheduler_config_history AFTER INSERT OR DELETE OR UPDATE ON kordant.scheduler_config FOR EACH ROW EXECUTE FUNCTION kordant.keep_schedule_history();

CREATE TRIGGER scheduler_config_version BEFORE INSERT OR UPDATE ON kordant.scheduler_config FOR EACH ROW EXECUTE FUNCTION kordant.count_schedule_version();

CREATE TRIGGER subscriptions_wake_sensors AFTER INSERT OR UPDATE OF tier, status ON kordant.subscriptions FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();

CREATE TRIGGER watchlist_items_wake_sensors AFTER INSERT ON kordant.watchlist_items FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();

ALTER TABLE ONLY kordant.alerted
    ADD CONSTRAINT alerted_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.alerts
    ADD CONSTRAINT alerts_exposure_id_fkey FOREIGN KEY (exposure_id) REFERENCES kordant.exposures(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.alerts
    ADD CONSTRAINT alerts_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.breach_dumps
    ADD CONSTRAINT breach_dumps_breach_name_fkey FOREIGN KEY (breach_name) REFERENCES kordant.breaches(name) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.contact_addresses
    ADD CONSTRAINT contact_addresses_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.dismissals
    ADD CONSTRAINT dismissals_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.due_slots
    ADD CONSTRAINT due_slots_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.exposure_evidence
    ADD CONSTRAINT exposure_evidence_dump_id_fkey FOREIGN KEY (dump_id) REFERENCES kordant.breach_dumps(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.exposure_evidence
    ADD CONSTRAINT exposure_evidence_exposure_id_fkey FOREIGN KEY (exposure_id) REFERENCES kordant.exposures(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.exposures
    ADD CONSTRAINT exposures_breach_name_fkey FOREIGN KEY (breach_name) REFERENCES kordant.breaches(name) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.exposures
    ADD CONSTRAINT exposures_item_id_fkey FOREIGN KEY (item_id) REFERENCES kordant.watchlist_items(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.job_attempts
    ADD CONSTRAINT job_attempts_request_id_fkey FOREIGN KEY (request_id) REFERENCES kordant.job_requests(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.notification_hours
    ADD CONSTRAINT notification_hours_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.notification_outbox
    ADD CONSTRAINT notification_outbox_address_id_fkey FOREIGN KEY (address_id) REFERENCES kordant.contact_addresses(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.notification_outbox
    ADD CONSTRAINT notification_outbox_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES kordant.alerts(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.notification_outbox
    ADD CONSTRAINT notification_outbox_report_id_fkey FOREIGN KEY (report_id) REFERENCES kordant.reports(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.notification_outbox
    ADD CONSTRAINT notification_outbox_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.notification_preferences
    ADD CONSTRAINT notification_preferences_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.reports
    ADD CONSTRAINT reports_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.scan_watermarks
    ADD CONSTRAINT scan_watermarks_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.source_checks
    ADD CONSTRAINT source_checks_item_id_fkey FOREIGN KEY (item_id) REFERENCES kordant.watchlist_items(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.source_evidence
    ADD CONSTRAINT source_evidence_exposure_id_fkey FOREIGN KEY (exposure_id) REFERENCES kordant.exposures(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.source_hints
    ADD CONSTRAINT source_hints_item_id_fkey FOREIGN KEY (item_id) REFERENCES kordant.watchlist_items(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.source_verdicts
    ADD CONSTRAINT source_verdicts_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.subscriber_keys
    ADD CONSTRAINT subscriber_keys_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.subscriptions
    ADD CONSTRAINT subscriptions_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.watchlist_items
    ADD CONSTRAINT watchlist_items_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES kordant.subscribers(id) ON DELETE CASCADE;

ALTER TABLE ONLY kordant.watchlist_items
    ADD CONSTRAINT watchlist_items_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES kordant.subscriptions(id) ON DELETE CASCADE;

-- Programs that only queue get USAGE on the schema and EXECUTE on enqueue_job (docs/sql.md), and nothing else.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA kordant FROM PUBLIC;
