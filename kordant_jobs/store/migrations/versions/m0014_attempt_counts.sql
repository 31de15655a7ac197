CREATE TABLE kordant.attempt_deltas (
    at timestamp with time zone DEFAULT now() NOT NULL,
    job text NOT NULL,
    outcome text NOT NULL,
    cause text NOT NULL,
    bucket smallint NOT NULL,
    attempts bigint NOT NULL,
    sum_ms double precision NOT NULL,
    cpu_s double precision NOT NULL
);
COMMENT ON TABLE kordant.attempt_deltas IS 'Attempts as they end, by statement; a trigger writes it. Folded into attempt_hours and attempt_totals.';
COMMENT ON COLUMN kordant.attempt_deltas.cause IS 'empty: none';
COMMENT ON COLUMN kordant.attempt_deltas.bucket IS 'of the duration: its place in DURATIONS_MS';
CREATE INDEX attempt_deltas_at_idx ON kordant.attempt_deltas (at);

CREATE TABLE kordant.attempt_hours (
    hour timestamp with time zone NOT NULL,
    job text NOT NULL,
    outcome text NOT NULL,
    cause text NOT NULL,
    bucket smallint NOT NULL,
    attempts bigint NOT NULL,
    sum_ms double precision NOT NULL,
    cpu_s double precision NOT NULL,
    CONSTRAINT attempt_hours_pkey PRIMARY KEY (hour, job, outcome, cause, bucket)
);
COMMENT ON TABLE kordant.attempt_hours IS 'Attempts by hour: what is left of history when the rows have gone.';

CREATE TABLE kordant.attempt_totals (
    job text NOT NULL,
    outcome text NOT NULL,
    cause text NOT NULL,
    bucket smallint NOT NULL,
    attempts bigint NOT NULL,
    sum_ms double precision NOT NULL,
    cpu_s double precision NOT NULL,
    CONSTRAINT attempt_totals_pkey PRIMARY KEY (job, outcome, cause, bucket)
);
COMMENT ON TABLE kordant.attempt_totals IS 'Attempts since the beginning: counters that only grow.';

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

CREATE TRIGGER count_attempts AFTER UPDATE ON kordant.job_attempts
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_attempts();
