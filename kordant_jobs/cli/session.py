"""The session of a command: the settings, the running Postgres, the keyring, and the environment for child
processes.

Light to import: what opens a session is imported when one is opened, so that helps and usage errors do not wait for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from kordant_jobs.store.people.keyring import Keyring
    from kordant_jobs.store.server import Server


@dataclass(frozen=True, kw_only=True)
class Session:
    """An opened project: its database is migrated and its master key verified."""

    settings: Settings
    server: Server
    db: Engine
    keyring: Keyring
    key_made: bool

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment in which Dagster's processes use the same database, state and settings."""
        from kordant_jobs.cli.dagster_home import prepare_dagster_home
        from kordant_jobs.postgres.database import dagster_url

        return {
            **os.environ,
            "KORDANT_STATE_DIR": str(self.settings.state_dir),
            "KORDANT_DATABASE_URL": self.server.url,
            "KORDANT_DAGSTER_URL": dagster_url(self.server.url),
            "KORDANT_EMBEDDED": "1" if self.server.embedded else "",
            "DAGSTER_HOME": str(prepare_dagster_home(CHECKOUT, self.settings.state_dir)),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")])),
        }


@contextmanager
def open_session(settings: Settings | None = None) -> Iterator[Session]:
    """Open the project for one command: start or reach Postgres, migrate it, verify the master key; and record the
    command, if the audit log records it.

    Raises:
        KordantError: one line that says what is missing.
    """
    from kordant_jobs.cli.recorded import record
    from kordant_jobs.store.server import open_server, prepare

    settings = settings or load_settings()
    with open_server(settings) as server:
        db, keyring, key_made = prepare(server, settings)
        try:
            record(db, keyring, sys.argv[1:])
            yield Session(settings=settings, server=server, db=db, keyring=keyring, key_made=key_made)
        finally:
            db.dispose()


def use_demo_state() -> Path:
    """Use the demo's own state folder for this process's settings, so that it never touches real data."""
    folder = load_settings().state_dir
    demo = folder if folder.name == "demo" else folder / "demo"
    demo.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["KORDANT_STATE_DIR"] = str(demo)
    os.environ["KORDANT_BREACH_CATALOGUE"] = str(demo / "catalogue.json")
    return demo
