"""The classes that dagster.yaml names: the engine's run coordinator, run launcher, storage and compute logs, bound to
our system.

They also make Dagster's own commands work in the checkout: they find or start Postgres, and run jobs in Dagster's own
way where no `up` serves the queue.
"""

import atexit
import os
import sys
from contextlib import ExitStack
from functools import lru_cache

from kordant_jobs.app import SYSTEM
from kordant_jobs.bootstrap.lock import living_owner
from kordant_jobs.bootstrap.state import UP_CLAIM
from kordant_jobs.engine.plugins import HostRunLauncher, QuietComputeLogManager, RequestCoordinator, ServerStorage
from kordant_jobs.postgres.database import dagster_url
from kordant_jobs.settings import load_settings
from kordant_jobs.store.server import open_server, prepare
from kordant_jobs.triggers import reloader

__all__ = ["ComputeLogs", "Coordinator", "Launcher", "Storage"]

ComputeLogs = QuietComputeLogManager
"""The output of a step, captured without a separate process for each stream, in storage/ below DAGSTER_HOME."""


class Coordinator(RequestCoordinator):
    """Makes a request in our queue of every run that Dagster submits."""

    system = SYSTEM


class Launcher(HostRunLauncher):
    """Starts runs from the warm process here, on other hosts, or in Dagster's own way."""

    system = SYSTEM


class Storage(ServerStorage):
    """Dagster's tables beside ours, in your own Postgres or the embedded one."""

    @classmethod
    def find_server(cls) -> str:
        """The URL of Dagster's schema, after starting Postgres and migrating it."""
        return join()


@lru_cache(maxsize=1)
def join() -> str:
    """Make this process and its children part of the project: Postgres runs until it ends, our settings configure it,
    and without an `up` that serves the queue Dagster's own coordinator and launcher are used.

    Raises:
        KordantError: one line that says what is missing.
    """
    settings = load_settings()
    if living_owner(settings.state_dir / UP_CLAIM) is None:
        os.environ["KORDANT_LAUNCHER"] = "stock"
    stack = ExitStack()
    server = stack.enter_context(open_server(settings))
    atexit.register(stack.close)
    db, _, key_made = prepare(server, settings)
    db.dispose()
    reloader.prepare(server.url, settings.state_dir, _say)  # schedules are made from rows
    if key_made:
        _say(f"a master key was made: {settings.key_file}. Keep a copy in a safe place.")
    os.environ["KORDANT_STATE_DIR"] = str(settings.state_dir)
    os.environ["KORDANT_EMBEDDED"] = "1" if server.embedded else ""
    os.environ["KORDANT_DATABASE_URL"] = server.url
    os.environ["KORDANT_DAGSTER_URL"] = dagster_url(server.url)
    return os.environ["KORDANT_DAGSTER_URL"]


def _say(words: str) -> None:
    sys.stderr.write(f"kordant-jobs: {words}\n")
