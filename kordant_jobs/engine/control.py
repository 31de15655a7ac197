"""Watch and change the queue, from any process: no Dagster is needed.

operate                 find, inspect, cancel, replay, acknowledge, expire, pause, prune
Filter, Request         which requests; one as it stands, with `RequestStatus` and `Cause`
read_progress           how far a run is
attempt_counts          attempts in figures: since the beginning, by hour
leases                  slots and rates that hold over all processes, and free themselves when a holder dies
Listener                waits for a notification of Postgres without polling; `WAKES` is the channel of sensors
host_rows               the hosts of workers, where runs are on several machines
DAEMON_LOCK             the advisory lock of the one daemon that works
socket_path             where a warm process listens; `warm_is_outdated`: it has other code than the checkout
"""

from kordant_jobs.engine.launcher.code import warm_is_outdated
from kordant_jobs.engine.launcher.protocol import socket_path
from kordant_jobs.engine.listen import WAKES, Listener
from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.requests import Cause, RequestStatus
from kordant_jobs.engine.store import attempt_counts, host_rows, leases
from kordant_jobs.engine.store.progress import read_progress
from kordant_jobs.engine.store.requests import Filter, Request
from kordant_jobs.engine.system import DAEMON_LOCK

__all__ = [
    "DAEMON_LOCK",
    "WAKES",
    "Cause",
    "Filter",
    "Listener",
    "Request",
    "RequestStatus",
    "attempt_counts",
    "host_rows",
    "leases",
    "operate",
    "read_progress",
    "socket_path",
    "warm_is_outdated",
]
