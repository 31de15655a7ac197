"""The queue's entry to the warm process: runs are created and handed over at once, and their ends are received by a
thread."""

import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.launcher.protocol import ask, connect, end_from_wire
from kordant_jobs.engine.launcher.run import limits_of
from kordant_jobs.engine.launcher.run_launcher import HOST_TAG
from kordant_jobs.engine.runs import CANCELED, RunEnd, RunIsOver, RunOrder
from kordant_jobs.errors import TransientError

RECONNECT_S = 0.25


class WarmStarter:
    """Starts runs without Dagster's own queue (a RunStarter). Thread-safe."""

    def __init__(
        self, instance: DagsterInstance, factory: dagster_private.RunFactory, path: Path, *, grace_s: float
    ) -> None:
        self._instance = instance
        self._factory = factory
        self._path = path
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._host = socket.gethostname()
        self._refused = False
        """True when the warm process did not answer the last request for a run."""

    def ready(self) -> bool:
        """True when the code is loaded and a warm process answers."""
        if self._refused:
            with suppress(TransientError), connect(self._path, 1.0):
                self._refused = False
        return not self._refused and self._factory.ready()

    def start(self, order: RunOrder) -> None:
        """Hand a run over, creating it first unless it exists. From the second run of a job on this takes milliseconds.

        Raises:
            TransientError: the code server or the warm process does not answer; a run that was made for this is
                failed, one that was there is queued as before.
            PermanentError: no such job, or not its config.
            RunIsOver: it was there, and has ended.
        """
        tags = {**order.tags, HOST_TAG: self._host}
        with self._lock:
            if order.is_there:
                run = dagster_private.start_given(self._instance, order.run_id, tags)
            else:
                run = self._factory.create(replace(order, tags=tags))
        if run is None:
            raise RunIsOver
        request = {"op": "start", "run_id": run.run_id, "limits": limits_of({**order.tags, **run.tags})}
        try:
            ask(self._path, request)
        except TransientError as error:
            self._refused = True
            if order.is_there:
                dagster_private.queued_again(self._instance, run)
            else:
                dagster_private.fail(self._instance, run.run_id, f"It was not started: {error}", {})
            raise

    def stop(self, run_id: str, *, cause: str) -> None:
        """Ask a run to end; SIGKILL follows after the grace time. With the cause 'canceled' it ends as canceled."""
        if cause == CANCELED:
            dagster_private.cancel(self._instance, run_id)
        ask(self._path, {"op": "stop", "run_id": run_id, "cause": cause, "grace_s": self._grace_s})


class WarmWatcher:
    """The ends of runs as the warm process reports them (a RunWatcher). A separate thread listens, and sets `woken`, if
    given, at each end."""

    def __init__(self, path: Path, woken: threading.Event | None = None) -> None:
        self._path = path
        self._woken = woken
        self._ends: queue.SimpleQueue[RunEnd] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._boot: str | None = None
        self._last = 0
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._listen, name="kordant-run-watcher", daemon=True)
        self._thread.start()

    def ended(self) -> Iterator[RunEnd]:
        """The ends since the last call, including those of runs that other processes started. Never blocks."""
        while True:
            try:
                yield self._ends.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        if connection := self._connection:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._path, 5.0) as connection:
                    connection.settimeout(None)
                    self._connection = connection
                    request = {"op": "watch", "boot": self._boot, "after": self._last}
                    connection.sendall(json.dumps(request).encode() + b"\n")
                    with connection.makefile("rb") as lines:
                        for line in lines:
                            self._take(json.loads(line))
            except (TransientError, OSError, ValueError):
                pass
            self._stop.wait(RECONNECT_S)

    def _take(self, message: dict[str, Any]) -> None:
        if "boot" in message:
            if message["boot"] != self._boot:
                self._boot, self._last = message["boot"], 0
            return
        self._last = message["seq"]
        self._ends.put(end_from_wire(message))
        if self._woken:
            self._woken.set()
