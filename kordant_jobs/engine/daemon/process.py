"""The daemon process. It leads or stands by. It ends on SIGTERM once its rounds are done, or when another process
leads."""

import os
import signal
import sys
import threading

from dagster import DagsterInstance

from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.daemon.dispatch import DispatchDaemon
from kordant_jobs.engine.daemon.leader import Leader
from kordant_jobs.engine.daemon.loops import FastBackfillDaemon, FastSensorDaemon, daemons, wake_all
from kordant_jobs.engine.daemon.retention import RetentionDaemon
from kordant_jobs.engine.daemon.wake import BACKFILLS, Wake, watch_drops
from kordant_jobs.engine.dagster_private.daemons import DagsterDaemon, run_daemons
from kordant_jobs.engine.launcher.code import fingerprint
from kordant_jobs.engine.store.requests import EVENTS
from kordant_jobs.engine.system import System

LOST = 75
"""The exit code (EX_TEMPFAIL) when another process leads now; the supervisor restarts this one as a standby."""


def run(system: System, workspace: str) -> int:
    """Serve as leader or standby until SIGTERM (0), or until another process leads (75)."""
    dagster_private.check_dagster()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with dagster_private.open_instance_with_tables(dagster_private.dagster_home()) as instance:
        sys.stderr.write(f"daemon process {os.getpid()} stands by\n")
        fingerprint(system.definitions)  # what it imports is behind us when our turn comes
        leader = Leader(dagster_private.storage_url(instance))
        if not leader.wait(stop):
            return 0
        sys.stderr.write(f"daemon process {os.getpid()} leads\n")
        try:
            return _lead(system, instance, workspace, leader, stop)
        finally:
            leader.release()


def _lead(system: System, instance: DagsterInstance, workspace: str, leader: Leader, stop: threading.Event) -> int:
    lost = threading.Event()

    def on_lost() -> None:
        sys.stderr.write("another daemon process leads, or the database is away: ending, to start again as a standby\n")
        lost.set()
        stop.set()

    watching = threading.Thread(target=leader.watch, args=(on_lost, stop), name="kordant-leader", daemon=True)
    watching.start()
    wake = Wake(
        dagster_private.storage_url(instance),
        {
            EVENTS: FastSensorDaemon.event.wake,
            BACKFILLS: FastBackfillDaemon.event.wake,
        },
    )
    for folder in system.settings().watched_folders:
        watch_drops(folder, FastSensorDaemon.event.wake, stop)
    own: list[DagsterDaemon] = [RetentionDaemon(system), DispatchDaemon(system)]
    try:
        run_daemons(instance, workspace, lambda inst: daemons(inst, own), stop, wake_all)
    finally:
        wake.close()
    return LOST if lost.is_set() else 0
