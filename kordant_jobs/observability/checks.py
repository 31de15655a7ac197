"""The doctor's checks, by id. A check yields one finding for each fault, and nothing when all is well."""

import importlib.metadata
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from ctypes.util import find_library
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from kordant_jobs.adapters.drop_folder import open_clip_place, open_dump_place
from kordant_jobs.adapters.voice.drop_folder import left_behind
from kordant_jobs.domain.operators.alert_rules import BY_NAME
from kordant_jobs.domain.schedules.simulation import check_moments
from kordant_jobs.engine.control import host_rows
from kordant_jobs.engine.plugins import DAGSTER_VERSION
from kordant_jobs.errors import KordantError, TransientError
from kordant_jobs.observability import database_checks, heartbeats, outside_checks, standing, system_checks
from kordant_jobs.observability.doctor import Check, ExaminedSystem, Finding, Skipped, fail, warn
from kordant_jobs.observability.query_checks import QUERIES
from kordant_jobs.store import migrate
from kordant_jobs.store.audit import log
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import progress as schedule_progress
from kordant_jobs.store.server import open_keyring
from kordant_jobs.store.tables import wanted_indexes
from kordant_jobs.triggers import copy

CLEANED_WITHIN_D = BY_NAME["cleanup_missed"].fires_at
CHECKED_WITHIN = timedelta(hours=1)
SHOWN_WITHIN = timedelta(minutes=2)
DISK_FREE_MB, DISK_FREE_SHARE = 1024, 0.05
FOLDERS = "KORDANT_STATE_DIR, KORDANT_DROP_DIR, KORDANT_CORPUS_DIR, KORDANT_REPORTS_DIR"
CLOCK_S = 1.0
POSTGRES_MIN = 140_000
AUDIT_ROWS = 100_000
NOT_TICKING = (
    "its schedule in Dagster is switched off, or the daemon does not tick",
    "`kordant-jobs schedules list`, and switch it on in Dagster's UI",
)
SEEN_BY = "`kordant-jobs dead list`"


def driver(system: ExaminedSystem) -> Iterator[Finding]:
    """The database driver and Dagster have the versions that this release needs."""
    found = tuple(int(part) for part in importlib.metadata.version("sqlalchemy").split(".")[:2])
    if found >= (2, 1):
        yield fail(
            f"SQLAlchemy {'.'.join(map(str, found))} is installed",
            "from 2.1 on dagster-postgres takes another driver and breaks on NOTIFY",
            "run the set-up again: `python3 -m kordant_jobs version`",
        )
    dagster = importlib.metadata.version("dagster")
    if dagster != DAGSTER_VERSION and system.settings.has_queue:
        yield fail(
            f"dagster {dagster} is installed, {DAGSTER_VERSION} is wanted",
            "the warm launcher uses classes that change between versions",
            "run the set-up again, or set KORDANT_LAUNCHER=stock",
        )


def database(system: ExaminedSystem) -> Iterator[Finding]:
    """The database answers, is new enough, and its settings keep committed data safe."""
    if system.db is None:
        yield fail("the database does not answer", "nothing works without it", "see KORDANT_DATABASE_URL, or run `up`")
        return
    with system.connection() as connection:
        version = int(connection.execute(sa.text("SHOW server_version_num")).scalar_one())
        settings = {
            name: connection.execute(sa.text(f"SHOW {name}")).scalar_one()
            for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
        }
    if version < POSTGRES_MIN:
        yield fail(f"Postgres {version // 10_000} is older than 14", "statements are used that it lacks", "upgrade it")
    for name, value in settings.items():
        if value == "off":
            what = "tables grow without end" if name == "autovacuum" else "a crash of the machine loses or breaks data"
            yield warn(f"{name} is off", what, f"ALTER SYSTEM SET {name} = on; then SELECT pg_reload_conf()")


def migrations(system: ExaminedSystem) -> Iterator[Finding]:
    """The database is at the newest migration of this version."""
    if system.db is None:
        raise Skipped("the database does not answer")
    stands_at, newest = migrate.revision(system.db), migrate.newest()
    if stands_at is None:
        yield fail(
            "the database is empty",
            "there is nothing to check in it yet",
            "run `kordant-jobs up`, or `kordant-jobs db upgrade`, which make its tables",
        )
    elif stands_at != newest:
        yield fail(
            f"the database is at migration {stands_at}, this version's newest is {newest}",
            "tables that the code speaks of are missing, or are another version's",
            "`kordant-jobs db upgrade`, or use the version that brought it there",
        )


def master_key(system: ExaminedSystem) -> Iterator[Finding]:
    """The master key belongs to this database, and only its owner can read its file."""
    settings = system.settings
    if not settings.key_is_given and settings.key_file.exists() and settings.key_file.stat().st_mode & 0o077:
        mode = stat.filemode(settings.key_file.stat().st_mode)
        yield fail(f"{settings.key_file} has the mode {mode}", "others read the key", f"chmod 600 {settings.key_file}")
        return  # it is not opened like that
    with system.connection() as connection:
        if connection.execute(sa.text("SELECT to_regclass('kordant.keyring_check')")).scalar() is None:
            raise Skipped("the database holds nothing yet")
        known = connection.execute(sa.text("SELECT master_key_id FROM kordant.keyring_check")).scalar()
    if known is None:
        raise Skipped("the database holds nothing yet")
    ring = open_keyring(settings)
    if not ring.opens(known):
        yield fail(
            f"the master key has the id {ring.master_key_id}, the database wants {known}",
            "no encrypted column can be read",
            "set KORDANT_MASTER_KEY or KORDANT_MASTER_KEY_PATH to the key of this database",
        )


def clock(system: ExaminedSystem) -> Iterator[Finding]:
    """This machine's clock and the database's agree."""
    began = system.clock()
    [[there]] = system.rows("SELECT clock_timestamp()")
    apart = max((began - there).total_seconds(), (there - system.clock()).total_seconds())
    if apart > CLOCK_S:
        yield fail(
            f"the clocks are {apart:,.0f} s apart",
            "leases, schedules and deletions count by the database's, logs and drops by this machine's",
            "turn on time synchronisation (chrony, systemd-timesyncd) on both",
        )


def disk(system: ExaminedSystem) -> Iterator[Finding]:
    """There is free space in the folders that we write to."""
    settings = system.settings
    for folder in sorted({settings.state_dir, settings.drop, settings.corpus, settings.reports}):
        place = _existing(folder)
        usage, files = shutil.disk_usage(place), os.statvfs(place)
        if files.f_files and files.f_favail < files.f_files * DISK_FREE_SHARE:
            yield warn(
                f"{files.f_favail:,} more files can be made at {folder}",
                "nothing is written once there are no inodes left, however many bytes are free",
                f"delete files there, or move it: {FOLDERS}",
            )
        if usage.free < DISK_FREE_MB * 1e6 or usage.free < usage.total * DISK_FREE_SHARE:
            yield warn(
                f"{usage.free / 1e9:.1f} GB are free at {folder}",
                "Postgres stops on a full disk, and deletions need room before they give any",
                f"free space, or move it: {FOLDERS}",
            )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def zones(system: ExaminedSystem) -> Iterator[Finding]:
    """Every time zone of schedules and subscriptions is known on this machine."""
    query = (
        "SELECT time_zone FROM kordant.scheduler_config UNION SELECT time_zone FROM kordant.subscriptions ORDER BY 1"
    )
    for [name] in system.rows(query):
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            yield fail(
                f"the time zone {name!r} is unknown here",
                "what is scheduled in it never starts, or starts at another hour",
                "install tzdata, or correct the row: `kordant-jobs schedules set …`",
            )


def schedules(system: ExaminedSystem) -> Iterator[Finding]:
    """Every row of the price list is valid and checked for its ticks, and Dagster has the newest rows."""
    with system.connection() as connection:
        loaded, progress = scheduler_config.load(connection), schedule_progress.read(connection)
    for problem in loaded.problems:
        yield fail(problem, "the row is left out: nothing starts by it", "`kordant-jobs schedules set …`")
    system.must_run()
    now = system.clock()
    for stored in loaded.rows:
        looked_at = progress.get(stored.row.key)
        if stored.inactive_reason(now) or stored.changed_at > now - CHECKED_WITHIN:
            continue
        if looked_at is None:
            if check_moments(stored.row, stored.changed_at, now - CHECKED_WITHIN):
                yield fail(f"{stored.row.name} has never been looked at", *NOT_TICKING)
            continue
        if check_moments(stored.row, looked_at.until, now - CHECKED_WITHIN):
            yield fail(
                f"{stored.row.name} was last looked at {looked_at.until:%Y-%m-%d %H:%M}, and has ticked since",
                *NOT_TICKING,
            )
    shown = {one.row.key: one.version for one in copy.read(system.settings.state_dir)}
    for stored in loaded.rows:
        if shown.get(stored.row.key) != stored.version and stored.changed_at < now - SHOWN_WITHIN:
            yield fail(
                f"{stored.row.name} was changed at {stored.changed_at:%Y-%m-%d %H:%M}, and Dagster has an older row",
                "it starts by its old cron and settings",
                "start `up` again: it writes schedules.json from the table",
            )


def daemon(system: ExaminedSystem) -> Iterator[Finding]:
    """No part of the daemon is silent."""
    system.must_run()
    with system.connection() as connection:
        ages = heartbeats.ages_s(connection)
    if not ages:
        raise Skipped("Dagster has not started yet")
    for part in sorted(heartbeats.silent(ages)):
        yield fail(
            f"{part} has been silent for {ages[part]:,.0f} s",
            "nothing starts by schedule, sensor or queue",
            "`kordant-jobs logs daemon`, then end and start `up`",
        )


def dead_letters(system: ExaminedSystem) -> Iterator[Finding]:
    """Every dead letter is acknowledged."""
    for job, count in system.rows(standing.DEAD):
        yield warn(f"{count:,} dead letters of {job}", "work was given up", f"{SEEN_BY}, then replay or acknowledge")


def hosts(system: ExaminedSystem) -> Iterator[Finding]:
    """If runs are spread over hosts, at least one takes runs, none is silent, and all have the same code."""
    if system.settings.launcher != "celery":
        raise Skipped(f"runs are not on hosts (KORDANT_LAUNCHER={system.settings.launcher})")
    with system.connection() as connection:
        found = host_rows.listed(connection, ttl_s=system.settings.lease_s)
    if not any(one.slots and not (one.silent or one.draining) for one in found):
        yield fail("no host takes runs", "requests wait", "start one: `kordant-jobs host`")
    if silent := [one.name for one in found if one.silent]:
        yield warn(
            f"silent: {', '.join(silent)}",
            "it was killed or is cut off; its runs went to others",
            "look at that machine; it leaves the list after a day",
        )
    if len({one.code_version for one in found if not (one.silent or one.draining)}) > 1:
        yield warn(
            "hosts of several versions of the code take runs",
            "those of another version than the daemon's get none",
            "drain the old ones: `kordant-jobs hosts drain NAME`",
        )


def indexes(system: ExaminedSystem) -> Iterator[Finding]:
    """Every index of our tables exists and is valid."""
    broken = system.rows(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('kordant', 'dagster') "
        "AND NOT (i.indisvalid AND i.indisready) ORDER BY 1"
    )
    for [name] in broken:
        why = "it is not used, and holds no uniqueness"
        yield fail(f"the index {name} is not valid", why, f"REINDEX INDEX {name}")
    if system.db is None or migrate.revision(system.db) != migrate.newest():
        return  # a migration makes or drops them
    there = {name for [name] in system.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'kordant'")}
    for name, statement in sorted(wanted_indexes().items()):
        if name not in there:
            yield fail(f"the index kordant.{name} is missing", "what it was made for reads whole tables", statement)


def drop_places(system: ExaminedSystem) -> Iterator[Finding]:
    """The drop places of dumps and clips can be read."""
    for open_place in (open_dump_place, open_clip_place):
        try:
            sum(1 for _ in open_place(system.settings).entries())
        except (KordantError, OSError) as error:
            yield fail(
                str(error).rstrip("."),
                "nothing that is dropped there is read, and scans wait for it",
                "correct KORDANT_DROP_URL or KORDANT_VOICE_DROP_URL, or the credentials (AWS_…) of this process",
            )


def voices(system: ExaminedSystem) -> Iterator[Finding]:
    """No clip waits for models, none has waited for over two hours, and runs accept every file in the drop folder."""
    place = open_clip_place(system.settings)
    try:
        left = left_behind(place, system.clock())
    except TransientError:
        left = {}  # the check of drop places says so
    if left:
        kinds = ", ".join(f"{number:,} {why}" for why, number in sorted(left.items()))
        yield warn(
            f"{sum(left.values()):,} files in the drop folder of clips are not imported: {kinds}",
            "no alert comes of them, and their content lies there in clear",
            f"name each `<id of the subscription>-…`, or delete it, in {place}",
        )
    [[missing, late]] = system.rows(
        "SELECT count(*) FILTER (WHERE a.reason = 'model_missing'), count(*) FILTER (WHERE a.id IS NULL AND "
        "j.created_at < now() - interval '2 hours') FROM kordant.analysis_jobs j JOIN kordant.subscriptions s "
        "ON s.id = j.subscription_id AND s.status = 'active' LEFT JOIN kordant.voice_analyses a ON a.job_id = j.id "
        "WHERE j.analysed_at IS NULL"
    )
    if missing:
        yield warn(
            f"{missing:,} clips of voices wait for models",
            "their verdict is unknown until then, and their sound is deleted after its term",
            "`kordant-jobs models pull`",
        )
    if late:
        yield warn(
            f"{late:,} clips of voices have waited for over two hours",
            "notifications are late",
            "`kordant-jobs enqueue voiceprint_batch`; `kordant-jobs requests list` says what becomes of it",
        )


def audit(system: ExaminedSystem) -> Iterator[Finding]:
    """The audit log was not changed."""
    with system.connection() as connection:
        rows = connection.execute(sa.text("SELECT coalesce(max(seq), 0) FROM kordant.audit_log")).scalar_one()
        verified_at, seq, kind = log.known_fault(connection)
        if rows <= AUDIT_ROWS:
            ring = open_keyring(system.settings)
            ring.adopt(connection)
            file = system.settings.anchors
            verdict = log.check(connection, ring, log.read_anchors(file, ring) if file.exists() else None)
            seq, kind = verdict.seq, verdict.kind
        elif kind is None and verified_at is None:
            raise Skipped(f"{rows:,} rows take too long for this check: `kordant-jobs audit verify`")
    if kind is not None:
        yield fail(
            f"row {seq} of the audit log is wrong ({kind})",
            "the record was changed",
            "`kordant-jobs audit verify`, and compare with an anchor or a backup",
        )


def cleanup(system: ExaminedSystem) -> Iterator[Finding]:
    """The weekly clean-up ran on time, and no part of it stopped or failed."""
    rows = system.rows(
        "SELECT clock, figures FROM kordant.cleanup_reports WHERE NOT dry_run ORDER BY clock DESC LIMIT 1"
    )
    for at, kinds in rows:
        if (system.clock() - at).days >= CLEANED_WITHIN_D:
            yield warn(f"the last clean-up ran on {at:%Y-%m-%d}", "two were missed", "`kordant-jobs cleanup run`")
        for kind, figures in kinds.items():
            if why := figures.get("stopped") or figures.get("failed"):
                yield warn(f"the clean-up left {kind} alone: {why}", "its rows stay", "`kordant-jobs cleanup plan`")


def libraries(system: ExaminedSystem) -> Iterator[Finding]:
    """The system libraries for drawing reports are installed."""
    for name in ("pango-1.0", "pangoft2-1.0", "harfbuzz"):
        if find_library(name) is None:
            yield fail(f"the library {name} is missing", "no report can be made", "apt-get install libpangoft2-1.0-0")


_MADE = (
    driver, database, migrations, master_key, system_checks.secrets, clock, disk, libraries, zones, schedules,
    system_checks.leader, daemon, system_checks.code, system_checks.processes, system_checks.ports,
    system_checks.servers, system_checks.exposure, system_checks.children, QUERIES["runs"], QUERIES["queue"],
    dead_letters, QUERIES["connections"], hosts, QUERIES["locks"], QUERIES["tables"], indexes,
    database_checks.replication, QUERIES["sources"], QUERIES["dumps"], drop_places, QUERIES["counties"], voices,
    system_checks.models, QUERIES["outbox"], outside_checks.mail, outside_checks.dkim, outside_checks.openid,
    QUERIES["agents"], system_checks.tokens, database_checks.isolation, audit, system_checks.anchors, cleanup,
    outside_checks.notices,
)  # fmt: skip
CHECKS: Mapping[str, Check] = {one.__name__: one for one in _MADE}
"""In the order in which they run and are shown: checks that others depend on come first."""
