"""Queries of the current state that `/metrics` and the console share: pending, running and dead requests, and
sources."""

QUEUE = """
WITH RECURSIVE jobs AS (
    SELECT min(job) AS job FROM kordant.job_requests WHERE status = 'pending' UNION ALL
    SELECT (SELECT min(job) FROM kordant.job_requests r WHERE r.status = 'pending' AND r.job > jobs.job) FROM jobs
    WHERE job IS NOT NULL
)
SELECT job, priority, due, later, oldest_s FROM jobs CROSS JOIN generate_series(0, 3) priority CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE run_at <= now()) AS due, count(*) FILTER (WHERE run_at > now()) AS later,
           coalesce(extract(epoch FROM now() - min(run_at) FILTER (WHERE run_at <= now())), 0) AS oldest_s
    FROM kordant.job_requests r WHERE r.job = jobs.job AND r.priority = priority.priority AND r.status = 'pending'
) waiting WHERE due + later > 0 ORDER BY 1, 2
"""
"""Reads only the index of pending requests (job, priority, turn_at, run_at), not the rows."""
DEAD = """
SELECT job, count(*) FROM kordant.job_requests WHERE status = 'dead' AND acknowledged_at IS NULL GROUP BY 1 ORDER BY 1
"""
SLA = """
SELECT j.job, max(extract(epoch FROM coalesce(r.ended_at, now()) - r.run_at) / j.sla_s)::float8
FROM unnest(CAST(:jobs AS text[]), CAST(:slas AS float8[])) j (job, sla_s) JOIN kordant.job_requests r ON r.job = j.job
WHERE r.run_at <= now() AND (r.status = 'running' OR r.status = 'completed' AND r.ended_at > now() - interval '1 hour'
      OR r.status = 'pending' AND NOT EXISTS (SELECT FROM kordant.job_pauses p WHERE p.job = r.job))
GROUP BY 1 ORDER BY 1
"""
"""By job, the time from due to done of its slowest request, open or completed within an hour, as a multiple of its
SLA."""
RUNNING = "SELECT job, count(*) FROM kordant.job_requests WHERE status = 'running' GROUP BY 1 ORDER BY 1"
PAUSED_JOBS = "SELECT job, 1 FROM kordant.job_pauses ORDER BY 1"
SOURCES = """
SELECT source, CASE WHEN open_until > now() THEN 0 ELSE 1 END,
       coalesce(extract(epoch FROM last_ok_at), 0) FROM kordant.source_states ORDER BY 1
"""
VERDICTS = """
SELECT source, verdict, reason, sum(subscriptions)::bigint FROM kordant.verdict_counts
WHERE checked_on >= (now() AT TIME ZONE 'UTC')::date GROUP BY 1, 2, 3 HAVING sum(subscriptions) <> 0 ORDER BY 1, 2, 3
"""
