"""Runs the queue's loop as one of Dagster's daemons, so that its health shows in Dagster's UI."""

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from dagster import DagsterInstance

from kordant_jobs.engine.dagster_private import RunFactory, RunTemplates, storage_url
from kordant_jobs.engine.dagster_private.daemons import DaemonIterator, DagsterDaemon, QueuedRunCoordinatorDaemon
from kordant_jobs.engine.launcher.code import fingerprint
from kordant_jobs.engine.launcher.coordinator import Intake, RequestCoordinator
from kordant_jobs.engine.launcher.history import end_of
from kordant_jobs.engine.launcher.protocol import socket_path
from kordant_jobs.engine.launcher.starter import WarmStarter, WarmWatcher
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.dispatch import Dispatcher, DispatchSettings
from kordant_jobs.engine.remote.k8s import PodStarter
from kordant_jobs.engine.remote.starter import HostStarter, NoWatcher
from kordant_jobs.engine.runs import RunHistory, RunStarter, RunWatcher
from kordant_jobs.engine.system import System
from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres.database import create_engine


def dispatch_queue(
    system: System,
    instance: DagsterInstance,
    *,
    starter: RunStarter,
    watcher: RunWatcher,
    history: RunHistory | None = None,
    slots: Callable[[], int] | None = None,
    woken: threading.Event,
    stop: threading.Event,
) -> None:
    """Dispatch requests until `stop` is set, and at once whenever `woken` is set. `slots`: see `Dispatcher`.

    Raises:
        SettingsError: KORDANT_DATABASE_URL is unset in this process.
    """
    settings = system.settings()
    url = settings.database_url
    if url is None:
        raise SettingsError("KORDANT_DATABASE_URL is unset in the daemon: start it through `kordant-jobs up`.")
    db = create_engine(url)
    clock, coordinator = DatabaseClock(db), instance.run_coordinator
    dispatcher = Dispatcher(
        db,
        starter,
        watcher,
        clock,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        history=history,
        intake=Intake(db, instance, coordinator, clock).check if isinstance(coordinator, RequestCoordinator) else None,
        settings=DispatchSettings(lease_s=settings.lease_s),
        slots=slots,
        catalog=system.rows,
        parties=system.parties,
    )

    def pass_on() -> None:
        while not stop.is_set():
            woken.wait()
            woken.clear()
            dispatcher.wake()
        dispatcher.wake()

    waker = threading.Thread(target=pass_on, name="kordant-dispatch-waker", daemon=True)
    waker.start()
    try:
        dispatcher.run(stop)
    finally:
        stop.set()
        woken.set()
        waker.join()
        dispatcher.close()
        db.dispose()


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
        history = partial(end_of, instance)
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
