"""The doctor's checks of the running Postgres: standbys, isolation of callers."""

from collections.abc import Iterator

from kordant_jobs.observability.doctor import ExaminedSystem, Finding, Skipped, fail, warn
from kordant_jobs.store.access import isolation as callers

LAG_S = 60.0
LAG_MB = 1024.0
"""Megabytes that a standby may lag, and that an unread replication slot may keep (default of max_wal_size)."""


def replication(system: ExaminedSystem) -> Iterator[Finding]:
    """Standbys, if there are any, keep up, and no replication slot without a reader keeps much WAL."""
    if system.rows("SELECT 1 WHERE pg_is_in_recovery()"):
        yield fail("the database is a standby", "nothing can be written", "point KORDANT_DATABASE_URL at the primary")
        return
    behind = system.rows(
        "SELECT application_name, coalesce(extract(epoch FROM replay_lag), 0)::float8, coalesce("
        "pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(replay_lsn, flush_lsn, sent_lsn)), 0)::float8 / 1e6 "
        "FROM pg_stat_replication WHERE state IN ('catchup', 'streaming') ORDER BY 1"
    )
    for name, lag_s, lag_mb in behind:
        if lag_s > LAG_S or lag_mb > LAG_MB:
            yield warn(
                f"the standby {name or '(unnamed)'} is {lag_s:,.0f} s and {lag_mb:,.1f} MB behind",
                "if the primary is lost now, so is that much",
                "check that machine, its disk and the network between: SELECT * FROM pg_stat_replication",
            )
    kept = system.rows(
        "SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 / 1e6 FROM pg_replication_slots "
        "WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY 1"
    )
    for name, size_mb in kept:
        if size_mb > LAG_MB:
            yield warn(
                f"the replication slot {name} has no reader and keeps {size_mb:,.0f} MB of WAL",
                "the disk fills until Postgres stops",
                f"start its standby again, or SELECT pg_drop_replication_slot('{name}')",
            )


def isolation(system: ExaminedSystem) -> Iterator[Finding]:
    """The database itself isolates callers with a scope."""
    system.must_run()
    scoped = "SELECT 1 FROM kordant.principals WHERE tenants IS NOT NULL OR entities IS NOT NULL LIMIT 1"
    if not system.rows(scoped):
        raise Skipped("no caller has a scope")
    with system.connection() as connection:
        if not callers.is_hardened(connection):
            yield warn(
                "row security of callers with a scope is off, or lacks a table",
                "only the API's own queries keep tenants apart",
                "`kordant-jobs db harden` as a user that may create roles; then start `up` again",
            )
