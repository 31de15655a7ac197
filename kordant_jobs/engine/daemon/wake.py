"""Maps each notification of Postgres to the daemon that it wakes.

`NOTIFY kordant_events` (sent by every writer of data that a sensor reads) wakes the sensors. So does the end of a run
that a sensor requested, since new data may wait for it. Backfills are woken by a trigger on Dagster's own table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

import psycopg2
import sqlalchemy as sa

from kordant_jobs.engine.listen import Listener

BACKFILLS = "kordant_backfills"
RECONNECT_S = 0.5
LONGEST_WAIT_S = 60.0

_TRIGGER = """
CREATE OR REPLACE FUNCTION kordant_notify_backfill() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM pg_notify('kordant_backfills', '');
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER kordant_backfill AFTER INSERT OR UPDATE ON bulk_actions FOR EACH STATEMENT
  EXECUTE FUNCTION kordant_notify_backfill();
"""


class Wake:
    """A thread that listens, and calls a channel's function when a notification comes."""

    def __init__(self, url: str, on: Mapping[str, Callable[[], None]]) -> None:
        self._listener = Listener(url, list(on))
        self._on = on
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kordant-wake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._listener.wake()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(sa.exc.OperationalError, psycopg2.Error):
                self._listen()
            self._stop.wait(RECONNECT_S)

    def _listen(self) -> None:
        self._listener.open(first=_TRIGGER)
        for wake in self._on.values():
            wake()  # what came while no process listened
        while not self._stop.is_set():
            for channel in {one.channel for one in self._listener.wait(LONGEST_WAIT_S)}:
                self._on[channel]()
