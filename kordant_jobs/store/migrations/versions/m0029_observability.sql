CREATE FUNCTION kordant.traceparent() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT substring(pg_catalog.current_setting('kordant.traceparent', true)
                     FROM '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
$$;

ALTER TABLE kordant.job_requests ADD COLUMN traceparent text;
ALTER TABLE kordant.job_requests ALTER COLUMN traceparent SET DEFAULT kordant.traceparent();
COMMENT ON COLUMN kordant.job_requests.traceparent IS 'the W3C context of the trace that it is part of';
ALTER TABLE kordant.notification_outbox ADD COLUMN traceparent text;
ALTER TABLE kordant.notification_outbox ALTER COLUMN traceparent SET DEFAULT kordant.traceparent();
COMMENT ON COLUMN kordant.notification_outbox.traceparent IS 'the W3C context of the trace that it is part of';

ALTER TABLE kordant.job_catalogue ADD COLUMN sla_s double precision;
COMMENT ON COLUMN kordant.job_catalogue.sla_s IS 'from due to done; null: nothing is promised';

CREATE TABLE kordant.start_lags (
    job text NOT NULL,
    bucket smallint NOT NULL,
    starts bigint NOT NULL,
    sum_s double precision NOT NULL,
    CONSTRAINT start_lags_pkey PRIMARY KEY (job, bucket)
);
COMMENT ON TABLE kordant.start_lags IS 'Attempts by how long they were due before a run took them, since the beginning.';
COMMENT ON COLUMN kordant.start_lags.bucket IS 'its place in LAGS_S';

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

CREATE TRIGGER count_starts AFTER INSERT ON kordant.job_attempts
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_starts();

CREATE TABLE kordant.sla_breaches (
    job text NOT NULL,
    breaches bigint NOT NULL,
    CONSTRAINT sla_breaches_pkey PRIMARY KEY (job)
);
COMMENT ON TABLE kordant.sla_breaches IS 'Requests that were completed later than their job promises, since the beginning.';

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

CREATE TRIGGER count_breaches AFTER UPDATE ON kordant.job_attempts
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_breaches();

CREATE TABLE kordant.http_counts (
    method text NOT NULL,
    route text NOT NULL,
    status smallint NOT NULL,
    bucket smallint NOT NULL,
    calls bigint NOT NULL,
    sum_s double precision NOT NULL,
    CONSTRAINT http_counts_pkey PRIMARY KEY (method, route, status, bucket)
);
COMMENT ON TABLE kordant.http_counts IS 'Calls of the API and the console since the beginning; each process adds its own every few seconds.';
COMMENT ON COLUMN kordant.http_counts.route IS 'the template, never the path';
COMMENT ON COLUMN kordant.http_counts.bucket IS 'of the duration: its place in HTTP_S';

CREATE TABLE kordant.policy_denials (
    rule text NOT NULL,
    role text NOT NULL,
    denials bigint NOT NULL,
    CONSTRAINT policy_denials_pkey PRIMARY KEY (rule, role)
);
COMMENT ON TABLE kordant.policy_denials IS 'What the policy refused, by its rule, since the beginning.';

CREATE TABLE kordant.cost_weeks (
    week_of date NOT NULL,
    job text NOT NULL,
    tier text NOT NULL,
    cpu_s double precision NOT NULL,
    subscriptions bigint NOT NULL,
    rolled_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT cost_weeks_pkey PRIMARY KEY (week_of, job, tier)
);
COMMENT ON TABLE kordant.cost_weeks IS 'CPU time by week, job and tier: what is left of cost when the attempts have gone.';
COMMENT ON COLUMN kordant.cost_weeks.tier IS 'empty: for no subscription';
COMMENT ON COLUMN kordant.cost_weeks.subscriptions IS 'active ones of the tier when it was rolled up';

CREATE TABLE kordant.token_uses (
    token_id text NOT NULL,
    used_at timestamp with time zone NOT NULL,
    CONSTRAINT token_uses_pkey PRIMARY KEY (token_id),
    CONSTRAINT token_uses_token_id_fkey FOREIGN KEY (token_id) REFERENCES kordant.api_tokens (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.token_uses IS 'When a token was last good for a call, to the hour.';

CREATE TABLE kordant.queue_depths (
    job text NOT NULL,
    minute timestamp with time zone NOT NULL,
    due bigint NOT NULL,
    CONSTRAINT queue_depths_pkey PRIMARY KEY (job, minute)
);
COMMENT ON TABLE kordant.queue_depths IS 'How many requests were due in each minute of the last hour: does a queue grow?';

REVOKE EXECUTE ON FUNCTION kordant.traceparent(), kordant.count_starts(), kordant.count_breaches() FROM PUBLIC;
