"""The daemon that prunes history every ten minutes. It is one of Dagster's daemons, so it runs only in the leader."""

import logging
import time
from typing import Any

from sqlalchemy.exc import DBAPIError

from kordant_jobs.engine.dagster_private import dagster_home, run_files
from kordant_jobs.engine.dagster_private.daemons import DaemonIterator, DagsterDaemon
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.retention import RetentionDays, prune
from kordant_jobs.engine.system import System
from kordant_jobs.postgres.database import create_engine

log = logging.getLogger(__name__)

_YIELD_S = 5.0
"""Seconds between two heartbeats that Dagster may write for this daemon."""


class RetentionDaemon(DagsterDaemon):
    """Prunes at the start, and then every `prune_every_s`."""

    def __init__(self, system: System) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster's has no types
        self._system = system

    @classmethod
    def daemon_type(cls) -> str:
        """The name of its heartbeat."""
        return "KORDANT_RETENTION"

    def core_loop(self, workspace_process_context: Any, shutdown_event: Any) -> DaemonIterator:
        """Dagster's hook."""
        settings = self._system.settings()
        url = settings.database_url
        if url is None:
            return
        db = create_engine(url, pool_size=1)
        clock = DatabaseClock(db)
        try:
            while not shutdown_event.is_set():
                next_at = time.monotonic() + settings.prune_every_s
                try:
                    pruned = prune(
                        db,
                        now=clock.now(),
                        keep=RetentionDays.of(settings),
                        more=self._system.prunable,
                        run_files=run_files(dagster_home()),
                        go_on=lambda: not shutdown_event.is_set(),
                    )
                    if pruned.rows:
                        log.info("pruned: %s", pruned)
                except DBAPIError as error:
                    log.warning("pruning broke off (%s); the next time does the rest", type(error.orig).__name__)
                db.dispose()  # no connection is kept for ten minutes
                while time.monotonic() < next_at and not shutdown_event.wait(_YIELD_S):
                    yield None
        finally:
            db.dispose()
