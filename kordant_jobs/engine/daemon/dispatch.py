"""Runs the queue's loop as one of Dagster's daemons, so that its health shows in Dagster's UI."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from kordant_jobs.engine.daemon.queue_loop import dispatch_queue
from kordant_jobs.engine.dagster_private import RunFactory, RunTemplates, storage_url
from kordant_jobs.engine.dagster_private.daemons import DaemonIterator, DagsterDaemon, QueuedRunCoordinatorDaemon
from kordant_jobs.engine.launcher.code import fingerprint
from kordant_jobs.engine.launcher.history import DagsterHistory
from kordant_jobs.engine.launcher.protocol import socket_path
from kordant_jobs.engine.launcher.starter import WarmStarter, WarmWatcher
from kordant_jobs.engine.remote.k8s import PodStarter
from kordant_jobs.engine.remote.starter import HostStarter, NoWatcher
from kordant_jobs.engine.runs import RunStarter
from kordant_jobs.engine.system import System

_YIELD_S = 1.0
"""Seconds between two heartbeats that Dagster may write for this daemon."""


class DispatchDaemon(DagsterDaemon):
    """Runs the dispatcher in a thread of its own, in place of Dagster's queue daemon. It has that daemon's name, since
    the UI checks its heartbeat. Dagster logs an error in the loop and restarts it."""

    def __init__(self, system: System) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster's has no types
        self._system = system

    @classmethod
    def daemon_type(cls) -> str:
        """The name of its heartbeat."""
        return QueuedRunCoordinatorDaemon.daemon_type()

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        system, settings = self._system, self._system.settings()
        path = socket_path(settings.state_dir)
        instance = workspace_process_context.instance
        templates = RunTemplates(
            path=settings.state_dir / "run-templates.json",
            code=partial(fingerprint, system.definitions),
            storage_url=storage_url(instance),
        )
        factory = RunFactory(instance, workspace_process_context, templates)
        history = DagsterHistory(instance)
        woken, stop, errors = threading.Event(), threading.Event(), list[BaseException]()
        starter: RunStarter
        slots: Callable[[], int] | None = None
        watcher: WarmWatcher | NoWatcher = NoWatcher()
        match settings.launcher:
            case "celery":
                starter = HostStarter.of(system, instance, factory)
                slots = starter.slots
            case "k8s":
                starter = PodStarter(instance, factory)
                slots = partial(int, settings.host_runs)
            case _:
                starter = WarmStarter(instance, factory, path, grace_s=settings.stop_grace_s)
                watcher = WarmWatcher(path, woken)

        def body() -> None:
            try:
                dispatch_queue(
                    system,
                    instance,
                    starter=starter,
                    watcher=watcher,
                    history=history,
                    slots=slots,
                    woken=woken,
                    stop=stop,
                )
            except BaseException as error:  # noqa: BLE001 - raised again below, where Dagster logs it
                errors.append(error)

        thread = threading.Thread(target=body, name="kordant-dispatch", daemon=True)
        thread.start()
        try:
            while thread.is_alive() and not shutdown_event.wait(_YIELD_S):
                yield None
            if errors:
                raise errors[0]
            yield None
        finally:
            stop.set()
            woken.set()
            thread.join()
            watcher.close()
