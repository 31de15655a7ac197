"""How things stand now, as queries that `/metrics` and the console share: what waits, runs and is dead, and sources."""

from __future__ import annotations

QUEUE = """
SELECT job, priority, count(*) FILTER (WHERE run_at <= now()), count(*) FILTER (WHERE run_at > now()),
       coalesce(extract(epoch FROM now() - min(run_at) FILTER (WHERE run_at <= now())), 0)
FROM kordant.job_requests WHERE status = 'pending' GROUP BY 1, 2 ORDER BY 1, 2
"""
DEAD = """
SELECT job, count(*) FROM kordant.job_requests WHERE status = 'dead' AND acknowledged_at IS NULL GROUP BY 1 ORDER BY 1
"""
RUNNING = "SELECT job, count(*) FROM kordant.job_requests WHERE status = 'running' GROUP BY 1 ORDER BY 1"
PAUSED = "SELECT job, 1 FROM kordant.job_pauses ORDER BY 1"
SOURCES = """
SELECT source, CASE WHEN open_until > now() THEN 0 ELSE 1 END,
       coalesce(extract(epoch FROM last_ok_at), 0) FROM kordant.source_states ORDER BY 1
"""
VERDICTS = """
SELECT source, verdict, coalesce(reason, ''), count(*) FROM kordant.source_verdicts
WHERE checked_on >= (now() AT TIME ZONE 'UTC')::date GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
