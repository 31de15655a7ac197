"""Which notification of Postgres wakes which daemon.

`NOTIFY kordant_events` (by whoever writes what a sensor looks at) wakes the sensors, and so does the end of a run that
a sensor asked for: what came meanwhile waits for that. Backfills are woken by a trigger on Dagster's own table.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Mapping

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 names its class in lower case

from kordant_jobs.engine.daemon.leader import connect, libpq

BACKFILLS = "kordant_backfills"
WAKES = "kordant/wakes"
"""A tag of sensors: with the value 'events', `NOTIFY kordant_events` has them look at once; their minimum interval is
then only the net for what nobody notified."""
RECONNECT_S = 0.5

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
    """A thread that listens, and calls what belongs to a channel when something comes."""

    def __init__(self, url: str, on: Mapping[str, Callable[[], None]]) -> None:
        self._url = libpq(url)
        self._on = on
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kordant-wake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                connection = connect(self._url)
            except psycopg2.Error:
                self._stop.wait(RECONNECT_S)
                continue
            try:
                self._listen(connection)
            except (psycopg2.Error, OSError):
                self._stop.wait(RECONNECT_S)
            finally:
                connection.close()

    def _listen(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_TRIGGER)
            for channel in self._on:
                cursor.execute(f'LISTEN "{channel}"')
        for wake in self._on.values():
            wake()  # what came while nobody listened
        while not self._stop.is_set():
            if select.select([connection], [], [], 1.0)[0]:
                connection.poll()
                for channel in {notify.channel for notify in connection.notifies}:
                    self._on[channel]()
                connection.notifies.clear()
