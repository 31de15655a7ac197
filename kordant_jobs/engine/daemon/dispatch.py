"""Where the queue's loop runs: as one more of Dagster's daemons, so that its health shows in Dagster's UI."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Protocol

from kordant_jobs.engine.dagster_private import RunFactory, RunTemplates, storage_url
from kordant_jobs.engine.dagster_private.daemons import DaemonIterator, DagsterDaemon
from kordant_jobs.engine.launcher.handover import fingerprint
from kordant_jobs.engine.launcher.history import DagsterHistory
from kordant_jobs.engine.launcher.protocol import socket_path
from kordant_jobs.engine.launcher.starter import WarmStarter, WarmWatcher
from kordant_jobs.engine.runs import RunHistory, RunStarter, RunWatcher
from kordant_jobs.settings import Settings

_YIELD_S = 1.0
"""How often Dagster may write a heartbeat for this daemon."""


class DispatchLoop(Protocol):
    """The queue's loop: claims, starts, handles ends; back soon after `stop` is set. `woken` is set at every end."""

    def __call__(
        self,
        *,
        starter: RunStarter,
        watcher: RunWatcher,
        history: RunHistory,
        woken: threading.Event,
        stop: threading.Event,
    ) -> None:
        """Run until told to stop."""
        ...


class DispatchDaemon(DagsterDaemon):
    """Runs a DispatchLoop in a thread of its own. An error in the loop is Dagster's to log; it starts the loop anew."""

    def __init__(self, loop: DispatchLoop, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._loop = loop
        self._settings = settings

    @classmethod
    def daemon_type(cls) -> str:
        """The name of its heartbeat."""
        return "KORDANT_DISPATCH"

    def core_loop(self, workspace_process_context: Any, shutdown_event: threading.Event) -> DaemonIterator:
        """Dagster's hook."""
        path = socket_path(self._settings.state_dir)
        instance = workspace_process_context.instance
        settings = self._settings
        templates = RunTemplates(
            path=settings.state_dir / "run-templates.json",
            code=partial(fingerprint, settings.definitions_module),
            storage_url=storage_url(instance),
        )
        factory = RunFactory(instance, workspace_process_context, templates)
        starter = WarmStarter(instance, factory, path, grace_s=self._settings.stop_grace_s)
        history = DagsterHistory(instance)
        woken, stop, errors = threading.Event(), threading.Event(), list[BaseException]()
        watcher = WarmWatcher(path, woken)

        def body() -> None:
            try:
                self._loop(starter=starter, watcher=watcher, history=history, woken=woken, stop=stop)
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
