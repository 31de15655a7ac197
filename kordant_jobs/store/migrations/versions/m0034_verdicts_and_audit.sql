CREATE TABLE kordant.verdict_counts (
    checked_on date NOT NULL,
    source text NOT NULL,
    verdict text NOT NULL,
    reason text NOT NULL,
    subscriptions bigint NOT NULL
);
COMMENT ON TABLE kordant.verdict_counts IS 'Verdicts by day, to be summed: a trigger adds a row for what each statement changed in source_verdicts.';
COMMENT ON COLUMN kordant.verdict_counts.reason IS 'empty: none';
COMMENT ON COLUMN kordant.verdict_counts.subscriptions IS 'negative: verdicts that were replaced or deleted';
CREATE INDEX verdict_counts_checked_on_idx ON kordant.verdict_counts (checked_on);

CREATE FUNCTION kordant.count_verdicts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO kordant.verdict_counts
        SELECT checked_on, source, verdict, coalesce(reason, ''), -count(*) FROM old_rows GROUP BY 1, 2, 3, 4;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO kordant.verdict_counts
        SELECT checked_on, source, verdict, coalesce(reason, ''), count(*) FROM new_rows GROUP BY 1, 2, 3, 4;
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION kordant.count_verdicts() FROM PUBLIC;

CREATE TRIGGER count_inserted AFTER INSERT ON kordant.source_verdicts
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_verdicts();
CREATE TRIGGER count_updated AFTER UPDATE ON kordant.source_verdicts
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_verdicts();
CREATE TRIGGER count_deleted AFTER DELETE ON kordant.source_verdicts
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kordant.count_verdicts();

INSERT INTO kordant.verdict_counts
SELECT checked_on, source, verdict, coalesce(reason, ''), count(*) FROM kordant.source_verdicts GROUP BY 1, 2, 3, 4;
DROP INDEX IF EXISTS kordant.source_verdicts_checked_on_source_verdict_reason_idx;

CREATE TABLE kordant.audit_progress (
    id smallint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    verified_at timestamp with time zone,
    fault_seq bigint,
    fault text,
    CONSTRAINT audit_progress_pkey PRIMARY KEY (id),
    CONSTRAINT audit_progress_single_check CHECK (id = 1)
);
COMMENT ON TABLE kordant.audit_progress IS 'How far this pass over the audit log has verified it, and what is wrong since the last whole pass.';
INSERT INTO kordant.audit_progress (id, seq, hash) VALUES (1, 0, sha256('kordant audit'));
