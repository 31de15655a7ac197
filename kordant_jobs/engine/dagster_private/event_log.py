"""Dagster's event log with fewer and larger writes; no event is lost."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    DagsterEventType,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster_postgres import (
    PostgresEventLogStorage,
)

_INSERT_EVENT = SqlEventLogStorageTable.insert()


class PooledEventLogStorage(PostgresEventLogStorage):
    """Dagster's event log, without the NOTIFY after every event, which no process of this Dagster version listens to.

    While `held_back` is entered, events that others follow within milliseconds are collected and written in one
    statement: before a step's own code begins, when a step or run fails, when the run ends, before any read, and at the
    latest with the next event a tenth of a second later.
    """

    _waiting: list[dict[str, Any]] | None = None
    _waiting_since = 0.0
    _lock = threading.RLock()
    """Guards the waiting events, since an op may log from several threads."""

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Collect events that may wait."""
        self._waiting = []
        try:
            yield
        finally:
            self._write()
            self._waiting = None

    @property
    def handles_run_events_in_store_event(self) -> bool:
        """True. Otherwise Dagster reads the run again after each event that changes its status."""
        return True

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event, or hold it back, and update its run. Events about assets use Dagster's own code."""
        kind = event.dagster_event.event_type if event.dagster_event else None
        if kind in ASSET_EVENTS or kind in ASSET_CHECK_EVENTS:
            super().store_event(event)
            return
        self.note(event)
        if event.dagster_event and event.dagster_event.is_job_event:
            moment = datetime.fromtimestamp(event.timestamp, UTC)
            self._instance.run_storage.handle_run_event(event.run_id, event.dagster_event, moment)

    def note(self, event: EventLogEntry) -> None:
        """Store one event, or hold it back, without updating its run."""
        kind = event.dagster_event.event_type if event.dagster_event else None
        row = self._event_to_row(event)
        with self._lock:
            if self._waiting is not None:
                now = time.monotonic()
                if not self._waiting:
                    self._waiting_since = now
                self._waiting.append(row)
                if kind not in _MAY_WAIT or now - self._waiting_since > LONGEST_WAIT_S:
                    self._write()
                return
        with self._connect() as connection:
            connection.execute(_INSERT_EVENT, [row])  # a list, so that it is compiled once for one and for many

    def _write(self) -> None:
        with self._lock:
            if self._waiting:
                with super()._connect() as connection:
                    connection.execute(_INSERT_EVENT, self._waiting)
                self._waiting.clear()  # not before: what could not be written is tried again

    def _connect(self) -> AbstractContextManager[sa.Connection]:
        self._write()
        return super()._connect()


LONGEST_WAIT_S = 0.1
_MAY_WAIT = frozenset(
    {
        DagsterEventType.ENGINE_EVENT,
        DagsterEventType.RUN_START,
        DagsterEventType.RESOURCE_INIT_STARTED,
        DagsterEventType.RESOURCE_INIT_SUCCESS,
        DagsterEventType.LOGS_CAPTURED,
        DagsterEventType.LOADED_INPUT,
        DagsterEventType.STEP_INPUT,
        DagsterEventType.STEP_OUTPUT,
        DagsterEventType.HANDLED_OUTPUT,
        DagsterEventType.STEP_SUCCESS,
    }
)
