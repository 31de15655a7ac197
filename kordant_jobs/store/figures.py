"""Counts of the database's content, for `kordant-jobs status` and the demo."""

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.postgres.database import saying_what_failed

_QUERIES = {
    "subscriptions": "SELECT tier, count(*) FROM kordant.subscriptions WHERE status = 'active' GROUP BY 1",
    "watchlist_items": "SELECT kind, count(*) FROM kordant.watchlist_items WHERE removed_at IS NULL GROUP BY 1",
    "breaches": "SELECT source, count(*) FROM kordant.breaches GROUP BY 1",
    "dumps": "SELECT status, count(*) FROM kordant.breach_dumps GROUP BY 1",
    "exposures": "SELECT coalesce(judgement, 'unjudged'), count(*) FROM kordant.exposures GROUP BY 1",
    "alerts": "SELECT severity, count(*) FROM kordant.alerts GROUP BY 1",
    "notifications": "SELECT status, count(*) FROM kordant.notification_outbox GROUP BY 1",
    "reports": "SELECT kind, count(*) FROM kordant.reports GROUP BY 1",
}

_LINES = """
SELECT coalesce(sum(lines), 0), coalesce(sum(records), 0),
       coalesce(sum((SELECT sum(value::bigint) FROM jsonb_each_text(bad_lines))), 0)
FROM kordant.breach_dumps
"""


_ATTENTION = {
    "requests": "SELECT status, count(*) FROM kordant.job_requests WHERE status IN ('pending', 'running') GROUP BY 1",
    "dead letters": """
        SELECT CASE WHEN acknowledged_at IS NULL THEN 'unseen' ELSE 'seen' END, count(*) FROM kordant.job_requests
        WHERE status = 'dead' GROUP BY 1""",
    "paused": """
        SELECT concat('job ', job), 1 FROM kordant.job_pauses
        UNION ALL SELECT concat('channel ', channel), 1 FROM kordant.channel_pauses WHERE paused_until > now()
        UNION ALL SELECT concat('schedule ', job, ':', tier), 1 FROM kordant.scheduler_config
        WHERE paused_at IS NOT NULL AND (paused_until IS NULL OR paused_until > now())""",
}


def attention(db: Engine) -> dict[str, dict[str, int]]:
    """The numbers of waiting and running requests, dead requests, and paused ones."""
    with saying_what_failed(), db.connect() as connection:
        return {
            name: {row[0]: int(row[1]) for row in connection.execute(sa.text(f"{query} ORDER BY 1"))}
            for name, query in _ATTENTION.items()
        }


def figures(db: Engine) -> dict[str, dict[str, int]]:
    """Counts by kind of everything that the project stores."""
    found: dict[str, dict[str, int]] = {}
    with saying_what_failed(), db.connect() as connection:
        for name, query in _QUERIES.items():
            found[name] = {row[0]: int(row[1]) for row in connection.execute(sa.text(query + " ORDER BY 1"))}
        lines, records, bad = connection.execute(sa.text(_LINES)).one()
    found["dump_lines"] = {"lines": int(lines), "records": int(records), "bad": int(bad)}
    return found
