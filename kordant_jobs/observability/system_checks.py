"""The doctor's checks of this machine: processes and their code, ports, files, models, tokens."""

import socket
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from pydantic import SecretStr

from kordant_jobs.adapters.voice.models.files import damaged, load_models
from kordant_jobs.app import SYSTEM
from kordant_jobs.engine.control import DAEMON_LOCK, warm_is_outdated
from kordant_jobs.errors import TransientError
from kordant_jobs.observability.doctor import ExaminedSystem, Finding, Skipped, fail, warn
from kordant_jobs.postgres.embedded.folders import find_folders
from kordant_jobs.settings import secret_variables, secrets_of

FRESH_S = 45.0
"""Seconds within which a live daemon wrote a heartbeat: Dagster's daemons write one every 30 s or more often."""
STANDBY_WITHIN_S = 60.0
"""Seconds after the first daemon's start by which a second is expected: `up` starts it once all parts answer."""
OUTDATED_AFTER_S = 60.0
"""Seconds after which old code is a fault. The warm process checks every 3 s, and importing takes some seconds."""
OPEN_FILES_SHARE = 0.8
PART_MB = 3000
"""A part of `up` normally takes 200 to 500 MB without its runs; Dagster's daemon has leaked (dagster#32070)."""
UNUSED = timedelta(days=90)
ENDS_WITHIN = timedelta(days=7)
ANCHORED_WITHIN_S = 900.0
ANSWER_S = 3.0
SECRET_MIN = 6
"""The fewest letters of a secret that is searched in command lines; shorter ones occur in ordinary words."""
ACCEPTS = 0x10000
"""The flag of a listening socket in /proc/net/unix (`__SO_ACCEPTCON`)."""
_PARTS: Mapping[tuple[str, str | None], str] = {
    ("kordant_jobs.pages.dagster_ui", None): "webserver",
    ("dagster._daemon", None): "daemon",
    ("kordant_jobs.cli", "notifications"): "pages",
    ("kordant_jobs.cli", "api"): "api",
    **{(SYSTEM.app, name): name for name in ("daemon", "warm", "host", "code-server")},
}
"""The parts of `up` by the module of their command line and the word behind it."""
KEY_FILES = ("dkim_key_path", "apns_key_path", "vapid_key_path", "fcm_service_account", "drp_key_path")


def secrets(system: ExaminedSystem) -> Iterator[Finding]:
    """Key files and the state folder are readable by their owner only."""
    named = {f"KORDANT_{name.upper()}": getattr(system.settings, name) for name in KEY_FILES}
    ours = {"the state folder": system.settings.state_dir, "an operator's token": system.settings.operator_token}
    for variable, path in {**named, **ours}.items():
        if path is None or not path.exists():
            continue
        mode = path.stat().st_mode
        if mode & (0o022 if _is_entered_by_the_server(path) else 0o077):
            yield fail(
                f"{path} ({variable}) has the mode {stat.filemode(mode)}",
                "other users of this machine can read what is in it",
                f"chmod {'700' if stat.S_ISDIR(mode) else '600'} {path}",
            )


def _is_entered_by_the_server(path: Path) -> bool:
    """True for root's state folder if the embedded Postgres is in it and runs as another user, who must enter the
    folder. Our files in it all have the mode 0600."""
    found = find_folders(path) if path.is_dir() else None
    inside = found is not None and found.base.parent == path and found.data.is_dir()
    return inside and found is not None and found.data.stat().st_uid != path.stat().st_uid


def children(system: ExaminedSystem) -> Iterator[Finding]:
    """No command line shows a secret, and no part has one in its environment that it does not need."""
    system.must_run()
    hidden = secret_variables() - {"KORDANT_UI_SECRET"}  # the web server asks its callers for it
    values = {name: getattr(system.settings, name.removeprefix("KORDANT_").lower()) for name in sorted(hidden)}
    for process in _family(system):
        with suppress(psutil.Error):
            line, held = process.cmdline(), process.environ()
            for name, value in values.items():
                text = value.get_secret_value() if isinstance(value, SecretStr) else ""
                if len(text) >= SECRET_MIN and any(text in one for one in line):
                    yield fail(
                        f"the command line of {process.name()} (process {process.pid}) holds {name}",
                        "everyone on this machine reads it",
                        "give it in the environment of `up`, and make a new one",
                    )
            part = part_of(line)
            needed = secrets_of(part, launcher=system.settings.launcher) if part else hidden
            if found := sorted(name for name in hidden - needed if held.get(name)):
                yield fail(
                    f"the {part} (process {process.pid}) holds {', '.join(found)}",
                    "this part does not need it, and what gets into it would have it",
                    "start it with `kordant-jobs up`, which leaves it out",
                )


def part_of(line: Sequence[str]) -> str | None:
    """The part of `up` with this command line. None: it is no part, but `up` itself or a child of a part.

    >>> part_of(["python", "-m", "kordant_jobs.cli", "api", "serve"]), part_of(["python", "-m", "kordant_jobs", "up"])
    ('api', None)
    """
    for one, module, word in zip(line, line[1:], [*line[2:], ""], strict=False):
        if one == "-m" and (part := _PARTS.get((module, None)) or _PARTS.get((module, word))):
            return part
    return None


def servers(system: ExaminedSystem) -> Iterator[Finding]:
    """No other process listens on our sockets or ports."""
    system.must_run()
    stack = system.stack or {}
    ours = {one.pid for one in _family(system)}
    ports = {urlsplit(url).port or 80 for url in stack.get("urls", {}).values()}
    strangers = set[tuple[int, int | None]]()
    with suppress(psutil.Error):  # macOS shows them to root alone
        strangers = {
            (one.laddr.port, one.pid)
            for one in psutil.net_connections(kind="tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port in ports and one.pid not in ours
        }
    for port, pid in sorted(strangers, key=str):
        yield fail(
            f"{f'process {pid}' if pid else 'a process of another user'} listens on our port {port}, too",
            "it gets a part of the calls, by chance (SO_REUSEPORT)",
            "end it, or start `up` on other ports",
        )
    if (count := _listeners(stack.get("code_server", ""))) > 1:
        yield fail(
            f"{count} code servers listen on {stack['code_server']}",
            "runs may start with the code of a server that is not reloaded any more",
            "end `up` and every process that `lsof` names for this socket, then start it again",
        )


def _listeners(path: str) -> int:
    """The number of sockets that listen at a path: on Linux an earlier one stays open. 0 on other systems."""
    table = Path("/proc/net/unix")
    rows = [line.split(maxsplit=7) for line in table.read_text().splitlines()[1:]] if table.exists() else []
    return sum(row[-1] == path and bool(int(row[3], 16) & ACCEPTS) for row in rows)


def leader(system: ExaminedSystem) -> Iterator[Finding]:
    """One daemon process leads, another stands by, and no stray one is active."""
    system.must_run()
    if system.settings.launcher == "warm":
        [[held]] = system.rows(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()) AND "
            "(classid::bigint << 32 | objid::bigint) = hashtext(:lock)::bigint",
            lock=DAEMON_LOCK,
        )
        if not held:
            yield fail("no daemon process leads", "nothing starts", "`kordant-jobs logs daemon`, then start `up` again")
        [[daemons, for_s]] = system.rows(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(backend_start)), 0)::float8 "
            "FROM pg_stat_activity WHERE datname = current_database() AND application_name = :lock",
            lock=DAEMON_LOCK,
        )
        if daemons == 1 and for_s > STANDBY_WITHIN_S:
            yield warn(
                "no second daemon process stands by",
                "if the one that leads is killed, nothing starts for some seconds",
                "`kordant-jobs logs daemon-standby`; `up` starts it again by itself unless it fails each time",
            )
    if not system.rows("SELECT 1 WHERE to_regclass('dagster.daemon_heartbeats') IS NOT NULL"):
        return
    fresh = system.rows(
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


def ports(system: ExaminedSystem) -> Iterator[Finding]:
    """Running parts answer on their ports; if `up` is not running, the port of the public pages is free."""
    settings = system.settings
    if system.stack is None:
        if settings.public_url and is_listening("127.0.0.1", settings.public_port):
            yield fail(
                f"another program listens on port {settings.public_port}",
                "the pages behind KORDANT_PUBLIC_URL are served there, and on no other port",
                "end it, or set KORDANT_PUBLIC_PORT and the proxy to another",
            )
        return
    for name, url in system.stack.get("urls", {}).items():
        found = urlsplit(url)
        if not is_listening(found.hostname or "", found.port or 80):
            yield fail(
                f"{name} does not answer on port {found.port}", "it has died or hangs", "`kordant-jobs logs`, then `up`"
            )


def is_listening(host: str, port: int) -> bool:
    """True when a program accepts a connection at this address."""
    with suppress(OSError), socket.create_connection((host, port), ANSWER_S):
        return True
    return False


def exposure(system: ExaminedSystem) -> Iterator[Finding]:
    """Our processes listen on loopback addresses only."""
    system.must_run()
    for process in _family(system):
        with suppress(psutil.Error):
            for one in process.net_connections(kind="inet"):
                if one.status == psutil.CONN_LISTEN and not ip_address(one.laddr.ip).is_loopback:
                    yield fail(
                        f"{process.name()} (process {process.pid}) listens on {one.laddr.ip}:{one.laddr.port}",
                        "everyone who reaches this machine reaches it, without a login or TLS",
                        "bind it to 127.0.0.1, and put a proxy with TLS before it",
                    )


def processes(system: ExaminedSystem) -> Iterator[Finding]:
    """No process is close to its limit of open files, and no part takes too much memory."""
    system.must_run()
    ours = _family(system)
    for process in ours:
        with suppress(psutil.Error, AttributeError):  # only Linux says how many files a process may open
            opened, most = process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)[0]
            if 0 < OPEN_FILES_SHARE * most < opened:
                yield warn(
                    f"{process.name()} (process {process.pid}) has {opened:,} files open and may have {most:,}",
                    "the next connection or file is refused",
                    "raise the limit before `up` (ulimit -n, or LimitNOFILE= of the unit)",
                )
    with suppress(psutil.Error):
        for supervisor in ours[0].children() if ours else ():
            for part in supervisor.children():
                size_mb = part.memory_info().rss / 1e6
                if size_mb > PART_MB:
                    yield warn(
                        f"the part `{' '.join(part.cmdline()[1:4])}` (process {part.pid}) takes {size_mb:,.0f} MB",
                        "it leaks, and the system will end one of our processes when memory is out",
                        f"kill {part.pid}: `up` starts it again, and nothing under way is lost",
                    )


def _family(system: ExaminedSystem) -> list[psutil.Process]:
    """`up` and all processes that it started; empty when it has just ended."""
    with suppress(psutil.Error):
        top = psutil.Process((system.stack or {})["pid"])
        return [top, *top.children(recursive=True)]
    return []


def code(system: ExaminedSystem) -> Iterator[Finding]:
    """Runs start with the current code on disk."""
    system.must_run()
    if system.settings.launcher != "warm":
        raise Skipped(f"there is no warm process (KORDANT_LAUNCHER={system.settings.launcher})")
    try:
        is_outdated = warm_is_outdated(system.settings.state_dir, SYSTEM.definitions, after_s=OUTDATED_AFTER_S)
    except TransientError as error:
        yield fail("the warm process does not answer", f"no run starts ({error})", "`kordant-jobs logs warm`")
        return
    if is_outdated:
        yield warn(
            "the warm process runs other code than is on disk",
            "runs start with the code of before, since what is new cannot be imported",
            "`kordant-jobs logs warm` has the error; once it is fixed, the new code is used within seconds",
        )


def models(system: ExaminedSystem) -> Iterator[Finding]:
    """If voices are enrolled, the models that compare them are complete."""
    [[used]] = system.rows("SELECT count(*) FROM kordant.voice_enrolments")
    if not used:
        raise Skipped("no voice is enrolled")
    loaded = load_models(system.settings.models, system.settings.voice_detector)
    if loaded.models is None:
        yield fail(f"voices are watched, and {loaded.problem}", "every clip is unknown", "`kordant-jobs models pull`")
        return
    for path in damaged(loaded.models):
        yield fail(
            f"{path} is not the file that its manifest describes", "clips are unknown", "`kordant-jobs models pull`"
        )


def tokens(system: ExaminedSystem) -> Iterator[Finding]:
    """No token is unused for 90 days, and none expires without a successor."""
    rows = system.rows(
        "SELECT t.id, t.principal_id, t.created_at, t.expires_at, u.used_at, EXISTS (SELECT FROM kordant.api_tokens o "
        "WHERE o.principal_id = t.principal_id AND o.revoked_at IS NULL AND o.expires_at > t.expires_at) "
        "FROM kordant.api_tokens t JOIN kordant.principals p ON p.id = t.principal_id AND p.disabled_at IS NULL "
        "LEFT JOIN kordant.token_uses u ON u.token_id = t.id "
        "WHERE t.revoked_at IS NULL AND p.role IN ('service', 'agent') ORDER BY t.created_at"
    )
    now = system.clock()
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
                "its use by another would not be noticed",
                f"`kordant-jobs tokens revoke {token_id}`",
            )


def anchors(system: ExaminedSystem) -> Iterator[Finding]:
    """The anchor of the audit log outside the database is recent."""
    path = system.settings.anchors
    system.must_run()
    age_s = time.time() - path.stat().st_mtime if path.exists() else None
    if age_s is None or age_s > ANCHORED_WITHIN_S:
        since = "was never written" if age_s is None else f"is {age_s / 60:,.0f} min old"
        yield fail(
            f"the anchor of the audit log {since}",
            "entries since then could be changed without a trace",
            f"`kordant-jobs audit anchor`; the API writes {path} while `up` runs: `kordant-jobs logs api`",
        )
