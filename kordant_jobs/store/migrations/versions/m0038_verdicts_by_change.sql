ALTER TABLE kordant.source_verdicts ADD COLUMN again_at timestamp with time zone[] DEFAULT '{}' NOT NULL;
COMMENT ON COLUMN kordant.source_verdicts.checked_on IS 'the UTC day whose knowledge this is; the first one of the month with this verdict';
COMMENT ON COLUMN kordant.source_verdicts.again_at IS 'the checks of later days of the month that gave the same verdict, one a UTC day';
ALTER TABLE kordant.source_verdicts SET (fillfactor = 70);

CREATE FUNCTION kordant.check_days(checked_on date, again_at timestamp with time zone[]) RETURNS SETOF date
LANGUAGE sql IMMUTABLE AS $$
    SELECT checked_on UNION ALL SELECT (t AT TIME ZONE 'UTC')::date FROM unnest(again_at) t
$$;
REVOKE EXECUTE ON FUNCTION kordant.check_days(date, timestamp with time zone[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION kordant.count_verdicts() RETURNS trigger LANGUAGE plpgsql AS $$
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
