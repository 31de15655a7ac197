"""The faults: each strikes once, and says how long recovery may take by design."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random

from kordant_jobs.errors import SettingsError
from kordant_jobs.lab.chaos.app import LEASE_S, RETRY_S
from kordant_jobs.lab.chaos.site import Site

PAUSE_S = LEASE_S + 1.0
"""Longer than a lease: who is paused for so long was declared lost."""

Fault = Callable[[Site, Random], float]
"""Strikes; returns the seconds that recovery takes by design, from then on."""


def _signal(pid: int | None, number: int) -> bool:
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _worker(site: Site, chance: Random) -> int | None:
    """A process that executes a run; None when none does within two seconds."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if found := site.workers():
            return chance.choice(sorted(found))
        time.sleep(0.01)
    return None


def kill_worker(site: Site, chance: Random) -> float:
    """SIGKILL to a process that executes a run."""
    _signal(_worker(site, chance), signal.SIGKILL)
    return RETRY_S


def kill_warm(site: Site, chance: Random) -> float:
    """SIGKILL to the warm process, and so to every run."""
    _signal(site.warm(), signal.SIGKILL)
    return RETRY_S


def kill_code_server(site: Site, chance: Random) -> float:
    """SIGKILL to the code server."""
    _signal(site.part("code-server"), signal.SIGKILL)
    return 0.0


def kill_daemon(site: Site, chance: Random) -> float:
    """SIGKILL to the daemon; its claims that were not started yet then run out."""
    _signal(site.daemon(), signal.SIGKILL)
    return LEASE_S + RETRY_S


def pause_worker(site: Site, chance: Random) -> float:
    """SIGSTOP to a process that executes a run, for longer than its lease."""
    return _pause(_worker(site, chance))


def pause_warm(site: Site, chance: Random) -> float:
    """SIGSTOP to the warm process, for longer than a lease."""
    return _pause(site.warm())


def pause_daemon(site: Site, chance: Random) -> float:
    """SIGSTOP to the daemon, for longer than a lease."""
    return _pause(site.daemon())


def _pause(pid: int | None) -> float:
    if _signal(pid, signal.SIGSTOP):
        time.sleep(PAUSE_S)
        _signal(pid, signal.SIGCONT)
    return LEASE_S + RETRY_S


def stop_worker(site: Site, chance: Random) -> float:
    """SIGTERM to a process that executes a run."""
    _signal(_worker(site, chance), signal.SIGTERM)
    return RETRY_S


def stop_warm(site: Site, chance: Random) -> float:
    """SIGTERM to the warm process: what runs may end, and another one goes on."""
    _signal(site.warm(), signal.SIGTERM)
    return RETRY_S


def stop_code_server(site: Site, chance: Random) -> float:
    """SIGTERM to the code server."""
    _signal(site.part("code-server"), signal.SIGTERM)
    return 0.0


def stop_daemon(site: Site, chance: Random) -> float:
    """SIGTERM to the daemon: it drains, and the other one leads."""
    _signal(site.daemon(), signal.SIGTERM)
    return RETRY_S


def stop_all(site: Site, chance: Random) -> float:
    """SIGTERM to daemon, warm process and code server at once."""
    for pid in (site.daemon(), site.warm(), site.part("code-server")):
        _signal(pid, signal.SIGTERM)
    return LEASE_S + RETRY_S


def restart_database(site: Site, chance: Random) -> float:
    """Postgres stops under everybody, and comes back."""
    site.postgres.stop()
    site.postgres.start()
    return LEASE_S + RETRY_S


def cut_connections(site: Site, chance: Random) -> float:
    """Every connection to the database breaks."""
    site.cut_connections()
    return LEASE_S + RETRY_S


FAULTS: Mapping[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_worker, kill_warm, kill_code_server, kill_daemon, pause_worker, pause_warm, pause_daemon,
        stop_worker, stop_warm, stop_code_server, stop_daemon, stop_all, restart_database, cut_connections,
    )
}  # fmt: skip


def sequence(count: int, chance: Random, only: Sequence[str] = (), faults: Mapping[str, object] = FAULTS) -> list[str]:
    """`count` faults in an order of chance, each kind (or each of those named) as often as the others, to within one.

    Raises:
        SettingsError: there is no such fault.

    >>> sorted(set(sequence(len(FAULTS), Random(1)))) == sorted(FAULTS)
    True
    """
    kinds = list(only or faults)
    if unknown := set(kinds) - set(faults):
        raise SettingsError(f"there is no fault {min(unknown)}; there are {', '.join(faults)}.")
    chance.shuffle(kinds)
    chosen = [kinds[place % len(kinds)] for place in range(count)]
    chance.shuffle(chosen)
    return chosen
