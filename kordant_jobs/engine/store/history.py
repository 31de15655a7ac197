"""Dagster's own history in Postgres: runs with their events and tags, and the ticks of sensors and schedules.

Only for retention: count and delete old rows, in sets; Dagster's own API deletes run by run. Snapshots of jobs stay:
there is one for each version of a job, and runs share them.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.engine.store.tables import run_progress
from kordant_jobs.postgres.schema import DAGSTER_SCHEMA

_RUNS = f"""
    FROM {DAGSTER_SCHEMA}.runs WHERE status = ANY(CAST(:statuses AS text[]))
    AND update_timestamp < CAST(:before AS timestamptz)
"""
_TICKS = f"""
    FROM {DAGSTER_SCHEMA}.job_ticks WHERE (status = 'SKIPPED') = :skipped AND status <> 'STARTED'
    AND "timestamp" < CAST(:before AS timestamptz)
"""


def has_dagster_tables(connection: Connection) -> bool:
    """True when Dagster's tables exist."""
    return connection.execute(sa.text(f"SELECT to_regclass('{DAGSTER_SCHEMA}.runs')")).scalar() is not None


def count_runs(connection: Connection, statuses: Sequence[str], *, before: datetime) -> int:
    """The number of runs with these statuses that have not changed since `before`."""
    values = {"statuses": list(statuses), "before": before}
    found: int = connection.execute(sa.text(f"SELECT count(*) {_RUNS}"), values).scalar_one()
    return found


def delete_runs(connection: Connection, statuses: Sequence[str], *, before: datetime, limit: int) -> list[str]:
    """Delete such runs with their tags, events and progress, at most `limit`, the oldest first. Returns their ids."""
    oldest = f"SELECT run_id {_RUNS} ORDER BY update_timestamp LIMIT :limit FOR UPDATE SKIP LOCKED"
    values = {"statuses": list(statuses), "before": before, "limit": limit}
    ids = list(connection.execute(sa.text(oldest), values).scalars())
    if ids:
        for table in ("event_logs", "run_tags", "runs"):
            statement = sa.text(f"DELETE FROM {DAGSTER_SCHEMA}.{table} WHERE run_id = ANY(CAST(:ids AS text[]))")  # noqa: S608 - constants
            connection.execute(statement, {"ids": ids})
        connection.execute(sa.delete(run_progress).where(run_progress.c.run_id.in_(ids)))
    return ids


def count_ticks(connection: Connection, *, skipped: bool, before: datetime) -> int:
    """The number of ticks older than `before`: those that were skipped, or the others."""
    values = {"skipped": skipped, "before": before}
    found: int = connection.execute(sa.text(f"SELECT count(*) {_TICKS}"), values).scalar_one()
    return found


def delete_ticks(connection: Connection, *, skipped: bool, before: datetime, limit: int) -> int:
    """Delete such ticks, at most `limit`, the oldest first. Returns the number deleted."""
    oldest = f"SELECT id {_TICKS} ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED"
    statement = sa.text(f"DELETE FROM {DAGSTER_SCHEMA}.job_ticks WHERE id IN ({oldest})")  # noqa: S608 - constants
    return connection.execute(statement, {"skipped": skipped, "before": before, "limit": limit}).rowcount
