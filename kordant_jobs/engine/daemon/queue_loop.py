"""The queue's loop as the daemon runs it: with our database, the warm process's starter and watcher, and the real
clock."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from dagster import DagsterInstance

from kordant_jobs.engine.launcher.coordinator import RequestCoordinator
from kordant_jobs.engine.launcher.intake import Intake
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.dispatch import Dispatcher
from kordant_jobs.engine.queue.dispatch_settings import DispatchSettings
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
        intake=Intake(db, instance, coordinator, clock) if isinstance(coordinator, RequestCoordinator) else None,
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
