"""When history is pruned: as one more of Dagster's daemons, so in the one process that leads, every ten minutes."""

from __future__ import annotations

import logging
import time
from typing import Any

from sqlalchemy.exc import DBAPIError

from kordant_jobs.engine.dagster_private import dagster_home, run_files
from kordant_jobs.engine.dagster_private.daemons import DaemonIterator, DagsterDaemon
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.retention import Keep, Pruned, prune
from kordant_jobs.postgres.database import create_engine
from kordant_jobs.settings import Settings

log = logging.getLogger(__name__)

_YIELD_S = 5.0
"""How often Dagster may write a heartbeat for this daemon."""


class RetentionDaemon(DagsterDaemon):
    """Prunes when it starts, and every `prune_every_s` from then on."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings

    @classmethod
    def daemon_type(cls) -> str:
        """The name of its heartbeat."""
        return "KORDANT_RETENTION"

    def core_loop(self, workspace_process_context: Any, shutdown_event: Any) -> DaemonIterator:
        """Dagster's hook."""
        url = self._settings.database_url
        if url is None:
            return
        db = create_engine(url.get_secret_value(), pool_size=1)
        clock = DatabaseClock(db)
        try:
            while not shutdown_event.is_set():
                next_at = time.monotonic() + self._settings.prune_every_s
                try:
                    pruned = prune(
                        db,
                        now=clock.now(),
                        keep=Keep.of(self._settings),
                        run_files=run_files(dagster_home()),
                        go_on=lambda: not shutdown_event.is_set(),
                    )
                    if pruned != Pruned():
                        log.info("pruned: %s", pruned)
                except DBAPIError as error:
                    log.warning("pruning broke off (%s); the next time does the rest", type(error.orig).__name__)
                db.dispose()  # no connection is kept for ten minutes
                while time.monotonic() < next_at and not shutdown_event.wait(_YIELD_S):
                    yield None
        finally:
            db.dispose()
