"""The daemon process. Leads or stands by; ends on SIGTERM once its rounds are done; ends when another leads."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from dagster import DagsterInstance

from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.daemon.dispatch import DispatchDaemon, DispatchLoop
from kordant_jobs.engine.daemon.drops import watch_drops
from kordant_jobs.engine.daemon.leader import Leader
from kordant_jobs.engine.daemon.loops import FastBackfillDaemon, FastQueueDaemon, FastSensorDaemon, daemons, wake_all
from kordant_jobs.engine.daemon.queue_loop import dispatch_queue
from kordant_jobs.engine.daemon.retention import RetentionDaemon
from kordant_jobs.engine.daemon.wake import BACKFILLS, EVENTS, RUNS, Wake
from kordant_jobs.engine.dagster_private.daemons import DagsterDaemon, run_daemons
from kordant_jobs.engine.launcher.handover import fingerprint
from kordant_jobs.errors import KordantError
from kordant_jobs.settings import load_settings

LOST = 75
"""Exit code (EX_TEMPFAIL): another process leads now; whoever keeps us starts us anew, as a standby."""


def run(workspace: str, *, dispatch: DispatchLoop | None = None) -> int:
    """Serve as leader or standby until SIGTERM (0), or until another process leads (75)."""
    dagster_private.check_dagster()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with dagster_private.open_instance_with_tables(dagster_private.dagster_home()) as instance:
        sys.stderr.write(f"daemon process {os.getpid()} stands by\n")
        fingerprint(load_settings().definitions_module)  # what it imports is behind us when our turn comes
        leader = Leader(dagster_private.storage_url(instance))
        if not leader.wait(stop):
            return 0
        sys.stderr.write(f"daemon process {os.getpid()} leads\n")
        try:
            return _lead(instance, workspace, leader, stop, dispatch)
        finally:
            leader.release()


def _lead(
    instance: DagsterInstance, workspace: str, leader: Leader, stop: threading.Event, dispatch: DispatchLoop | None
) -> int:
    lost = threading.Event()

    def on_lost() -> None:
        sys.stderr.write("another daemon process leads, or the database is away: ending, to start anew as a standby\n")
        lost.set()
        stop.set()

    watching = threading.Thread(target=leader.watch, args=(on_lost, stop), name="kordant-leader", daemon=True)
    watching.start()
    wake = Wake(
        dagster_private.storage_url(instance),
        {
            EVENTS: FastSensorDaemon.event.wake,
            RUNS: FastQueueDaemon.event.wake,
            BACKFILLS: FastBackfillDaemon.event.wake,
        },
    )
    settings = load_settings()
    watch_drops(settings.drop, FastSensorDaemon.event.wake, stop)
    own: list[DagsterDaemon] = [RetentionDaemon(settings)]
    if dispatch:
        own.append(DispatchDaemon(dispatch, settings))
    try:
        run_daemons(instance, workspace, lambda inst: daemons(inst, own), stop, wake_all)
    finally:
        wake.close()
    return LOST if lost.is_set() else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 and one line when it cannot work."""
    parser = argparse.ArgumentParser(prog="kordant_jobs.engine.daemon")
    parser.add_argument("-w", "--workspace", required=True, help="Dagster's workspace.yaml")
    try:
        return run(os.path.abspath(parser.parse_args(arguments).workspace), dispatch=dispatch_queue)  # noqa: PTH100 - Dagster wants text
    except KordantError as error:
        sys.stderr.write(f"kordant-jobs: {error}\n")
        return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is closed; taking the interpreter apart would be 2 s of CPU that whoever takes over can use
