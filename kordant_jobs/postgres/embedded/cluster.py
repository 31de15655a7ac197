"""The data directory, which is created completely or not at all and never opened by another version; and the server's
settings."""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from kordant_jobs.errors import PermanentError, SetupError
from kordant_jobs.postgres.embedded.account import Account
from kordant_jobs.postgres.embedded.binaries import Binaries
from kordant_jobs.postgres.embedded.folders import Folders, give

# Who may connect: one system user, over the socket, as `postgres`. The socket's folder already lets in only
# the server's user and root; `peer` keeps out other programs that run as `nobody`.
HBA = "local all all peer map=client\n"

# An ERROR of Postgres can quote a value ('invalid input syntax …: "ann@example.com"'), a DETAIL quotes keys
# and statements. So the log takes LOG, FATAL and PANIC only, one line each.
PRIVATE_LOG = {
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_duration": "off",
    "log_checkpoints": "off",
    "log_destination": "stderr",
    "logging_collector": "off",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
}


def ensure_cluster(folders: Folders, binaries: Binaries, account: Account, *, durable: bool) -> None:
    """Create the data directory if it is missing. An incomplete one left by initdb is never used.

    Raises:
        PermanentError: it was made by another major version; nothing in it is touched.
        SetupError: initdb failed.
    """
    if folders.data.exists():
        check_version(folders.data, binaries)
        return
    for left in folders.base.glob("initdb-*"):
        shutil.rmtree(left, ignore_errors=True)
    draft = folders.base / f"initdb-{secrets.token_hex(4)}"
    give(draft, account)
    # A relative path: initdb hands paths to a shell, and a checkout may lie anywhere.
    options = _initdb_options(binaries, durable=durable)
    command = [str(binaries.folder / "initdb"), "-D", draft.name, *options]
    done = account.run(command, cwd=folders.base)
    if done.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        reason = _reason(done.stdout)
        raise SetupError(f"initdb failed in {folders.base}: {reason}. Make room or access, then start again.")
    draft.rename(folders.data)


def check_version(data: Path, binaries: Binaries) -> None:
    """Refuse data of another major version.

    Raises:
        PermanentError: naming both versions.
    """
    try:
        made_by = (data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise PermanentError(
            f"{data} is no database of Postgres (PG_VERSION: {error.strerror}): move it away to begin again."
        ) from None
    if made_by != str(binaries.major):
        raise PermanentError(
            f"the database in {data} was made by Postgres {made_by}, and the programs here are Postgres "
            f"{binaries.version}: dump it with Postgres {made_by} (pg_dumpall) and load it here, "
            "or move the folder away to begin again. Nothing was changed."
        )


def server_command(folders: Folders, binaries: Binaries, account: Account, settings: Mapping[str, str]) -> list[str]:
    """Write the access rules, and return the server's command line. Settings for safety override the caller's."""
    hba, ident = folders.base / "pg_hba.conf", folders.base / "pg_ident.conf"
    client = account.client.replace('"', '""')
    for path, text in ((hba, HBA), (ident, f'client "{client}" postgres\n')):
        path.write_text(text)
        path.chmod(0o644 if account.is_other else 0o600)
    fixed = {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": str(folders.socket),
        "unix_socket_permissions": "0700",
        "hba_file": str(hba),
        "ident_file": str(ident),
        **PRIVATE_LOG,
    }
    merged = {"timezone": "UTC", "log_timezone": "UTC", **settings, **fixed}
    options = [part for name, value in merged.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries.folder / "postgres"), "-D", str(folders.data), *options]


def clear_remains(folders: Folders) -> None:
    """Remove the files of a dead server that would prevent a new start. Call it only when none of its processes is
    alive."""
    (folders.data / "postmaster.pid").unlink(missing_ok=True)
    for left in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
        (folders.socket / left).unlink(missing_ok=True)


def last_log_line(log: Path) -> str:
    """The reason why the server did not start: the last refusal in its log."""
    try:
        return _reason(log.read_text(errors="replace"))
    except OSError:
        return "it left no log"


def _initdb_options(binaries: Binaries, *, durable: bool) -> list[str]:
    options = ["-U", "postgres", "-A", "peer", "-E", "UTF8", "--locale=C", "--no-instructions"]
    if binaries.major >= 17:  # C.UTF-8 that is the same on every machine
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options if durable else [*options, "--no-sync"]


def _reason(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:"))]
    return (telling or lines or ["no reason given"])[-1].strip()[-300:].removesuffix(".")


def durable_settings(settings: Mapping[str, str]) -> bool:
    """True when the caller wants data that survives a power failure."""
    return settings.get("fsync", "on").lower() not in {"off", "false", "no", "0"}
