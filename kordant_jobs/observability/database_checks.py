"""The doctor's checks of the running Postgres: locks, dead rows, standbys, isolation of callers."""

from __future__ import annotations

from collections.abc import Iterator

from kordant_jobs.observability.doctor import ExaminedSystem, Finding, Skipped, fail, warn
from kordant_jobs.store.access import isolation as callers

LOCK_WAIT_S = 30
DEAD_ROWS = 100_000
EVENTS_GB = 20.0
LAG_S = 60.0
LAG_MB = 1024.0
"""Megabytes that a standby may lag, and that an unread replication slot may keep (default of max_wal_size)."""


def locks(system: ExaminedSystem) -> Iterator[Finding]:
    """No statement waits long for a lock."""
    waiting = system.rows(
        "SELECT pid, pg_blocking_pids(pid), extract(epoch FROM now() - query_start)::float8 FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event <> 'advisory' "
        "AND query_start < now() - make_interval(secs => :wait) ORDER BY query_start LIMIT 20",
        wait=LOCK_WAIT_S,
    )
    for pid, blockers, age_s in waiting:
        by = ", ".join(map(str, blockers)) or "?"
        yield warn(
            f"Postgres process {pid} has waited {age_s:,.0f} s for a lock that {by} holds",
            "what it does stands still, and so does whatever needs the same rows",
            f"see what it does (pg_stat_activity), or end it: SELECT pg_terminate_backend({by})",
        )


def tables(system: ExaminedSystem) -> Iterator[Finding]:
    """Tables are vacuumed, and Dagster's event log is pruned."""
    rows = system.rows(
        "SELECT c.oid::regclass::text, 'autovacuum_enabled=false' = ANY(coalesce(c.reloptions, '{}')), "
        "coalesce(s.n_dead_tup, 0), coalesce(s.n_live_tup, 0) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid "
        "WHERE n.nspname IN ('kordant', 'dagster') AND c.relkind = 'r' ORDER BY 1"
    )
    for name, is_off, dead, alive in rows:
        if is_off:
            yield warn(
                f"autovacuum is off for {name}",
                "it grows without end",
                f"ALTER TABLE {name} RESET (autovacuum_enabled)",
            )
        elif dead > DEAD_ROWS and dead > alive:
            yield warn(
                f"{name} holds {dead:,} dead rows beside {alive:,} live ones",
                "queries read them all; a transaction that was left open keeps them",
                f"end old transactions, then VACUUM (ANALYZE) {name}",
            )
    for (size,) in system.rows("SELECT pg_total_relation_size(to_regclass('dagster.event_logs'))"):
        if size is not None and size > EVENTS_GB * 1e9:
            yield warn(
                f"Dagster's event log takes {size / 1e9:,.1f} GB",
                "backups and the UI become slow",
                "lower KORDANT_KEEP_DONE_DAYS, or `kordant-jobs db prune`",
            )


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
