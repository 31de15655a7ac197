"""Dagster's home in the state folder, and its tables, prepared before any Dagster process starts."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from kordant_jobs.app import SYSTEM
from kordant_jobs.bootstrap.kept import last_log_line, rotate
from kordant_jobs.bootstrap.state import project_file
from kordant_jobs.engine.system import System
from kordant_jobs.errors import PermanentError

_TABLES = {"alembic_version", "runs", "event_logs", "job_ticks", "kvs", "daemon_heartbeats"}
"""At least one table of each of Dagster's storages (run, event log, schedule)."""


WORKSPACE = "workspace.yaml"
"""The file in DAGSTER_HOME that tells the webserver and the daemon of `up` where the code is."""
_CODE_SERVER = b"""\
load_from:
  - grpc_server:
      socket:
        env: KORDANT_CODE_SERVER_SOCKET
      location_name: kordant_jobs
"""


def prepare_dagster_home(checkout: Path, state_dir: Path, system: System = SYSTEM) -> Path:
    """Prepare DAGSTER_HOME of this state folder, with the checkout's current dagster.yaml, for the classes of `system`.
    Returns its path."""
    home = state_dir / "dagster"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    instance = (
        project_file("dagster.yaml", checkout).read_bytes().replace(SYSTEM.instance.encode(), system.instance.encode())
    )
    for name, wanted in (("dagster.yaml", instance), (WORKSPACE, _CODE_SERVER)):
        target = home / name
        if not target.exists() or target.read_bytes() != wanted:
            fresh = home / f"{name}.{os.getpid()}"
            fresh.write_bytes(wanted)
            fresh.replace(target)
    return home


def prepare_storage(home: Path, environ: Mapping[str, str], log: Path) -> None:
    """Create Dagster's tables, or migrate them to this version of Dagster; takes milliseconds when they are current.

    This is not left to the processes of the stack: started together on an empty storage, they create the tables at the
    same time, and have stamped them twice ('more than one head').

    Raises:
        PermanentError: they cannot be made; the text has the log's path.
    """
    url = environ.get("KORDANT_DAGSTER_URL", "")
    made_for = hashlib.sha256(f"{version('dagster')} {url}".encode()).hexdigest()
    mark = home / "storage-made-for"
    with suppress(OSError):
        if mark.read_text(encoding="utf-8") == made_for and (not url or _has_tables(url)):
            return
    rotate(log)
    with log.open("ab") as output:
        code = subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "migrate"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**environ, "DAGSTER_HOME": str(home)},
            cwd=home,
            check=False,
        ).returncode
    if code:
        raise PermanentError(f"Dagster's tables cannot be made ({last_log_line(log)}): see {log}")
    mark.write_text(made_for, encoding="utf-8")


def _has_tables(url: str) -> bool:
    """True when Dagster's tables exist: the same URL may lead to another database today."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        return set(inspect(engine).get_table_names()) >= _TABLES
    except SQLAlchemyError:
        return False
