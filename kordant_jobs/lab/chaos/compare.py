"""`chaos --compare`: the same faults on ours and on others, judged by the ledger of the sink that none of them touches.

For each system and fault: a number of jobs is requested, the fault is injected after the first effect, a supervisor
starts again at once what has died, and the ledger is read until all is done or the time-out has passed. A backlog is no
fault, but measured beside them: a critical job is requested once thousands of others wait.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from kordant_jobs.cli.output import err, out, print_json, print_table
from kordant_jobs.errors import KordantError, SettingsError, TransientError
from kordant_jobs.lab.chaos.app import LEASE_S
from kordant_jobs.lab.chaos.site import sink
from kordant_jobs.lab.chaos.systems import SYSTEMS, WORK_S, Peer
from kordant_jobs.lab.figures import machine
from kordant_jobs.lab.waiting import wait_until

JOBS = 12
TIMEOUT_S = 45.0
"""Longer than what brings work back in any of them: leases and heartbeats of 2 to 10 s, a check every 10 s. Celery on
Redis delivers again after an hour (`visibility_timeout`), which counts as lost here."""
POISON_RUNS = 4
"""Of the deadly job: the first and three retries."""
AWAY_S = 1.0
"""The time in which a restarting server is away, in seconds."""
POISON_S = 20.0
"""The time in which the job that kills its process is watched, in seconds."""
JUMPS_S, JUMPED_S = (3600, -3600, 0), 2.0
"""Seconds that the clock of a worker is ahead, in turn, and the seconds that each lasts."""
BACKLOG_JOBS = 2000


@dataclass(frozen=True, kw_only=True)
class Score:
    """The result of one fault on one system. `not_done`: jobs without an effect when the time-out had passed.

    `repeated`: effects that were asked for more than once. The sink has each key's effect once; at a party that takes
    no key they would be doubled. `runs_of_poison`: how often the deadly job began.
    """

    system: str
    fault: str
    asked: int
    not_done: int
    repeated: int
    recovery_s: float | None
    """From the fault, or from the critical request, to the last effect; None: not all were had."""
    runs_of_poison: int | None = None


KILL, DATABASE, BROKER, CLOCK = "worker killed", "database restarted", "broker emptied", "clock changed"
POISON, BACKLOG = "poison job", "backlog"
FAULTS = ((KILL, DATABASE, BROKER, CLOCK, POISON), (BACKLOG,))
"""Those that strike one after the other; each group a system that was just started, the poison last."""
ASKED = {CLOCK: 3 * JOBS, BACKLOG: BACKLOG_JOBS}
"""The jobs of faults that last."""


def _calls(ledger: Path) -> Counter[int]:
    return Counter(int(line.split()[0]) for line in ledger.read_text().splitlines())


def strike(system: str, fault: str, peer: Peer, ledger: Path, port: int, numbers: Sequence[int]) -> Score | None:
    """One fault amid these jobs. None: it cannot happen to this system."""
    dead = numbers[-1] + 1
    if (fault == DATABASE and peer.postgres is None) or (fault == BROKER and peer.redis is None):
        return None
    if fault == CLOCK and not (peer.clock and peer.clock.is_there):
        err.print("no clock is changed: there is no C compiler (apt-get install gcc libc6-dev)")
        return None
    peer.ask(numbers, port)
    wait_until(lambda: any(_calls(ledger)[one] for one in numbers), 60, f"{system} did not begin")
    struck = time.monotonic()
    match fault:
        case "worker killed":
            time.sleep(1.5 * WORK_S)  # the first ones are over: those that run now have had no effect yet
            wait_until(lambda: bool(peer.executing()), 10, f"{system} executes nothing")
            with suppress(ProcessLookupError):
                os.kill(peer.executing()[0], signal.SIGKILL)
        case "poison job":
            peer.poison(dead, port)
        case "backlog":
            numbers = [dead]
            peer.ask(numbers, port, urgent=True)
        case "clock changed":
            assert peer.clock is not None  # noqa: S101 - see above
            for ahead_s in JUMPS_S:
                peer.clock.set_ahead(ahead_s)
                time.sleep(JUMPED_S)
        case "database restarted" | "broker emptied":
            server = peer.postgres if fault == DATABASE else peer.redis
            assert server is not None  # noqa: S101 - see above
            server.stop()
            time.sleep(AWAY_S)
            server.start()
    recovery: float | None = None
    with suppress(TransientError):
        wait_until(lambda: all(_calls(ledger)[one] for one in numbers), TIMEOUT_S, "")
        recovery = time.monotonic() - struck
    if fault == POISON:
        time.sleep(max(0.0, struck + POISON_S - time.monotonic()))
    else:
        time.sleep(2 * WORK_S + LEASE_S)  # what comes twice comes now
    calls = _calls(ledger)
    return Score(
        system=system,
        fault=fault,
        asked=len(numbers),
        not_done=sum(1 for one in numbers if not calls[one]),
        repeated=sum(1 for one in numbers if calls[one] > 1),
        recovery_s=recovery,
        runs_of_poison=calls[dead] if fault == POISON else None,
    )


def scores(only: Sequence[str]) -> Iterator[Score]:
    """Every fault on every system."""
    if unknown := set(only) - set(SYSTEMS):
        raise SettingsError(f"there is no system {min(unknown)!r}; there are {', '.join(SYSTEMS)}.")
    for name, faults in product(only or SYSTEMS, FAULTS):
        with tempfile.TemporaryDirectory(prefix="kordant-compare-", ignore_cleanup_errors=True) as place:
            folder = Path(place)
            folder.chmod(0o755)
            with sink(folder) as port, SYSTEMS[name](folder, port) as peer:
                for number, fault in enumerate(faults):
                    err.print(f"{name}: {fault} …")
                    numbers = range(1000 * number, 1000 * number + ASKED.get(fault, JOBS))
                    found = strike(name, fault, peer, folder / "ledger", port, numbers)
                    if found is not None:
                        err.print(f"  {found}")
                        yield found


def is_kept(one: Score) -> bool:
    """True if our promise held: every effect was had, and the poison was given up."""
    return not one.not_done and (one.runs_of_poison or 0) <= POISON_RUNS


def compare(only: Sequence[str], *, as_json: bool) -> int:
    """Print the table. 0: ours lost nothing, and gave the poison up; 1: it did not; 2: it could not run."""
    where, found = machine(), []
    try:
        for one in scores(only):
            found.append(one)
    except KordantError as error:
        err.print(f"chaos --compare could not run: {error}")
        return 2
    if as_json:
        print_json({"machine": where, "scores": [vars(one) for one in found]})
    else:
        rows = [
            (
                one.system,
                one.fault,
                f"{one.not_done} of {one.asked}",
                one.repeated,
                "never" if one.recovery_s is None else f"{one.recovery_s:.1f}",
                one.runs_of_poison,
            )
            for one in found
        ]
        print_table(
            ["system", "fault", f"not done in {TIMEOUT_S:g} s", "asked again", "recovered s", "runs of the poison"],
            rows,
        )
        out.print("")
    return int(not all(is_kept(one) for one in found if one.system == "ours"))
