"""More of the doctor's checks: processes, ports, files, locks, tokens, and whom operators' notices reach."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import psutil

from kordant_jobs.adapters.voice.models.files import damaged, open_ears
from kordant_jobs.catalog import CATALOG
from kordant_jobs.observability.alerting import open_operators
from kordant_jobs.observability.doctor import Finding, Patient, Skipped, fail, warn

FRESH_S = 45.0
"""Dagster's daemons give a sign each 30 s at least."""
ORPHANED_AFTER_S = 60
LOCK_WAIT_S = 30
DEAD_ROWS = 100_000
EVENTS_GB = 20.0
UNUSED = timedelta(days=90)
ENDS_WITHIN = timedelta(days=7)
ANCHORED_WITHIN_S = 900.0
ANSWER_S = 3.0
KEY_FILES = ("dkim_key_path", "apns_key_path", "vapid_key_path", "fcm_service_account", "drp_key_path")


def secrets(patient: Patient) -> Iterator[Finding]:
    """Files with keys, and the state folder, are for their owner alone."""
    named = {f"KORDANT_{name.upper()}": getattr(patient.settings, name) for name in KEY_FILES}
    for variable, path in {**named, "the state folder": patient.settings.state_dir}.items():
        if path is None or not path.exists():
            continue
        mode = path.stat().st_mode
        if mode & 0o077:
            yield fail(
                f"{path} ({variable}) has the mode {stat.filemode(mode)}",
                "other users of this machine can read what is in it",
                f"chmod {'700' if stat.S_ISDIR(mode) else '600'} {path}",
            )


def leader(patient: Patient) -> Iterator[Finding]:
    """One daemon process leads, and no other gives signs of life."""
    patient.must_run()
    if patient.settings.launcher == "warm":
        [[held]] = patient.rows(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()) AND "
            "(classid::bigint << 32 | objid::bigint) = hashtext('kordant_jobs.daemon')::bigint"
        )
        if not held:
            yield fail("no daemon process leads", "nothing starts", "`kordant-jobs logs daemon`, then start `up` again")
    if not patient.rows("SELECT 1 WHERE to_regclass('dagster.daemon_heartbeats') IS NOT NULL"):
        return
    fresh = patient.rows(
        "SELECT DISTINCT daemon_id FROM dagster.daemon_heartbeats "
        "WHERE timestamp > now() AT TIME ZONE 'UTC' - make_interval(secs => :fresh)",
        fresh=FRESH_S,
    )
    if len(fresh) > 1:
        yield fail(
            f"{len(fresh)} daemon processes give signs of life",
            "each starts what is scheduled, so that it runs twice",
            "end the one that `up` did not start (`dagster-daemon run`, or `dagster dev`)",
        )


def ports(patient: Patient) -> Iterator[Finding]:
    """What runs answers on its ports, and the port that a proxy leads to is ours to take."""
    settings = patient.settings
    if patient.stack is None:
        if settings.public_url and _answers("127.0.0.1", settings.public_port):
            yield fail(
                f"another program listens on port {settings.public_port}",
                "the pages behind KORDANT_PUBLIC_URL are served there, and on no other port",
                "end it, or set KORDANT_PUBLIC_PORT and the proxy to another",
            )
        return
    for name, url in patient.stack.get("urls", {}).items():
        found = urlsplit(url)
        if not _answers(found.hostname or "", found.port or 80):
            yield fail(
                f"{name} does not answer on port {found.port}", "it has died or hangs", "`kordant-jobs logs`, then `up`"
            )


def _answers(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), ANSWER_S):
        return True
    return False


def exposure(patient: Patient) -> Iterator[Finding]:
    """No process of ours listens beyond this machine."""
    patient.must_run()
    assert patient.stack is not None  # noqa: S101 - for the type checker
    with suppress(psutil.Error):
        top = psutil.Process(patient.stack["pid"])
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.Error):
                for one in process.net_connections(kind="inet"):
                    if one.status == psutil.CONN_LISTEN and not ip_address(one.laddr.ip).is_loopback:
                        yield fail(
                            f"{process.name()} (process {process.pid}) listens on {one.laddr.ip}:{one.laddr.port}",
                            "whoever reaches this machine reaches it, without a login or TLS",
                            "bind it to 127.0.0.1, and put a proxy with TLS before it",
                        )


def runs(patient: Patient) -> Iterator[Finding]:
    """Every run that Dagster shows as running is worked on."""
    if not patient.rows("SELECT 1 WHERE to_regclass('dagster.runs') IS NOT NULL"):
        raise Skipped("Dagster has not started yet")
    jobs = [name for row in CATALOG for name in row.dagster_jobs]
    left = patient.rows(
        "SELECT run_id, pipeline_name FROM dagster.runs r WHERE status = 'STARTED' AND pipeline_name = ANY(:jobs) "
        "AND start_time < extract(epoch FROM now()) - :after AND NOT EXISTS "
        "(SELECT FROM kordant.job_leases l WHERE l.run_id = r.run_id) ORDER BY 2, 1 LIMIT 20",
        jobs=jobs,
        after=ORPHANED_AFTER_S,
    )
    for run_id, job in left:
        yield warn(
            f"run {run_id} of {job} is shown as running, and no process works on it",
            "its request goes on in another run; Dagster's UI shows this one for ever",
            "in Dagster's UI: the run's page, Terminate, Force termination immediately",
        )


def locks(patient: Patient) -> Iterator[Finding]:
    """No statement waits long for a lock."""
    waiting = patient.rows(
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


def tables(patient: Patient) -> Iterator[Finding]:
    """Tables are vacuumed, and Dagster's event log is pruned."""
    rows = patient.rows(
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
    for (size,) in patient.rows("SELECT pg_total_relation_size(to_regclass('dagster.event_logs'))"):
        if size is not None and size > EVENTS_GB * 1e9:
            yield warn(
                f"Dagster's event log takes {size / 1e9:,.1f} GB",
                "backups and the UI become slow",
                "lower KORDANT_KEEP_DONE_DAYS, or `kordant-jobs db prune`",
            )


def models(patient: Patient) -> Iterator[Finding]:
    """Where voices are watched, the models that listen are there."""
    [[used]] = patient.rows("SELECT count(*) FROM kordant.voice_enrolments")
    if not used:
        raise Skipped("no voice is enrolled")
    ears = open_ears(patient.settings.models, patient.settings.voice_detector)
    if ears.models is None:
        yield fail(f"voices are watched, and {ears.problem}", "every clip is unknown", "`kordant-jobs models pull`")
        return
    for path in damaged(ears.models):
        yield fail(
            f"{path} is not the file that its manifest describes", "clips are unknown", "`kordant-jobs models pull`"
        )


def mail(patient: Patient) -> Iterator[Finding]:
    """The mail server answers."""
    if patient.settings.smtp_url is None:
        raise Skipped("KORDANT_SMTP_URL is unset: mails go to a folder")
    found = urlsplit(patient.settings.smtp_url.get_secret_value())
    port = found.port or (465 if found.scheme == "smtps" else 587)
    if not _answers(found.hostname or "", port):
        yield fail(
            f"the mail server does not answer on port {port}",
            "no mail goes out; they wait in the outbox",
            "correct KORDANT_SMTP_URL, or see to the server",
        )


def tokens(patient: Patient) -> Iterator[Finding]:
    """Tokens are used, and none ends unnoticed."""
    rows = patient.rows(
        "SELECT t.id, t.principal_id, t.created_at, t.expires_at, u.used_at, EXISTS (SELECT FROM kordant.api_tokens o "
        "WHERE o.principal_id = t.principal_id AND o.revoked_at IS NULL AND o.expires_at > t.expires_at) "
        "FROM kordant.api_tokens t JOIN kordant.principals p ON p.id = t.principal_id AND p.disabled_at IS NULL "
        "LEFT JOIN kordant.token_uses u ON u.token_id = t.id "
        "WHERE t.revoked_at IS NULL AND p.role IN ('service', 'agent') ORDER BY t.created_at"
    )
    now = patient.clock()
    for token_id, whose, created_at, expires_at, used_at, has_later in rows:
        renew = f"`kordant-jobs tokens rotate {token_id}`, and give it to its caller"
        if now - UNUSED < expires_at <= now and not has_later:
            yield warn(
                f"the last token of {whose} ended on {expires_at:%Y-%m-%d}",
                "its calls are refused",
                f"`kordant-jobs tokens create {whose}`, or `tokens disable {whose}` if that is meant",
            )
        elif now < expires_at < now + ENDS_WITHIN and not has_later and expires_at - created_at > 2 * ENDS_WITHIN:
            yield warn(f"the last token of {whose} ends on {expires_at:%Y-%m-%d}", "its calls will be refused", renew)
        elif expires_at > now and max(created_at, used_at or created_at) < now - UNUSED:
            said = f"since {used_at:%Y-%m-%d}" if used_at else "ever"
            yield warn(
                f"the token {token_id} of {whose} was not used {said}",
                "nobody would notice if another used it",
                f"`kordant-jobs tokens revoke {token_id}`",
            )


def anchors(patient: Patient) -> Iterator[Finding]:
    """The audit log is anchored outside the database."""
    path = patient.settings.audit_anchor
    if path is None:
        raise Skipped("KORDANT_AUDIT_ANCHOR is unset: no anchor is kept")
    patient.must_run()
    age_s = time.time() - path.stat().st_mtime if path.exists() else None
    if age_s is None or age_s > ANCHORED_WITHIN_S:
        since = "was never written" if age_s is None else f"is {age_s / 60:,.0f} min old"
        yield fail(
            f"the anchor of the audit log {since}",
            "entries since then could be changed without a trace",
            f"`kordant-jobs audit anchor`; the API writes {path} while `up` runs: `kordant-jobs logs api`",
        )


def notices(patient: Patient) -> Iterator[Finding]:
    """Operators' notices and the heartbeat arrive (only with --send)."""
    if not patient.sends:
        raise Skipped("`kordant-jobs doctor --send` sends a test notice")
    operators = open_operators(patient.settings)
    for place in range(len(operators)):
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        if not operators.tell(place, "test: kordant-jobs doctor", f"A test of {when}; nothing is wrong.", urgent=False):
            yield fail(
                f"address {place + 1} of KORDANT_ALERT_URLS took no test notice",
                "this operator would not be told",
                "correct the address; `kordant-jobs alerts test` tries again",
            )
    if patient.settings.heartbeat_url is not None:
        try:
            httpx.get(patient.settings.heartbeat_url.get_secret_value(), timeout=ANSWER_S).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield fail(
                f"KORDANT_HEARTBEAT_URL does not take a ping ({type(error).__name__})",
                "whoever waits for it believes that all is down, or would not notice",
                "correct the address, or see to that service",
            )
