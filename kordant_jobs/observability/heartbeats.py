"""Heartbeats of Dagster's daemons, read from Dagster's own table."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.operators.alert_rules import BY_NAME
from kordant_jobs.engine.control import DAEMON_LOCK

SLOW = {"KORDANT_RETENTION": 900.0}
"""Daemons that may be silent for so many seconds, since they write no heartbeat during long work."""

_THERE = sa.text("SELECT to_regclass('dagster.daemon_heartbeats') IS NOT NULL")
_AGES = sa.text("""
SELECT daemon_type, extract(epoch FROM now() AT TIME ZONE 'UTC' - timestamp)::float8 FROM dagster.daemon_heartbeats
WHERE daemon_id = (SELECT daemon_id FROM dagster.daemon_heartbeats ORDER BY timestamp DESC LIMIT 1) ORDER BY 1
""")


def ages_s(connection: Connection) -> Mapping[str, float]:
    """Seconds since the last heartbeat of each daemon of the newest daemon process. Earlier ones are left out: they may
    have run daemons that this one does not have. Empty before Dagster's first start."""
    if not connection.execute(_THERE).scalar():
        return {}
    return {row[0]: row[1] for row in connection.execute(_AGES)}


def processes(connection: Connection) -> int:
    """The number of connected daemon processes: the leader and its standbys."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :lock"
    count: int = connection.execute(sa.text(query), {"lock": DAEMON_LOCK}).scalar_one()
    return count


def allowed_s(part: str) -> float:
    """The seconds without a heartbeat after which a daemon counts as silent."""
    return SLOW.get(part, BY_NAME["daemon_silent"].fires_at)


def silent(ages_s: Mapping[str, float]) -> set[str]:
    """The daemons whose last heartbeat is older than allowed.

    >>> sorted(silent({"SENSOR": 500.0, "SCHEDULER": 5.0, "KORDANT_RETENTION": 500.0}))
    ['SENSOR']
    """
    return {part for part, age_s in ages_s.items() if age_s > allowed_s(part)}
