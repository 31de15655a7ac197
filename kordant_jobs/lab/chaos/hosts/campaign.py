"""Strike, recover, compare: mixed runs on two hosts, judged by the ledgers of outside parties."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Annotated

import typer

from kordant_jobs.cli.output import err, print_table
from kordant_jobs.engine.requests import Priority
from kordant_jobs.errors import TransientError
from kordant_jobs.lab.chaos.campaign import when_back
from kordant_jobs.lab.chaos.faults import sequence
from kordant_jobs.lab.chaos.hosts.app import OUTSIDE, SYSTEM
from kordant_jobs.lab.chaos.hosts.faults import FAULTS, LONGER_S
from kordant_jobs.lab.chaos.hosts.site import HOSTS, Attempt, Books, HostsSite, hosts_site
from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.lab.waiting import wait_until

LEASE_S = 15.0
OUTSIDE_SHARE = 0.5
"""Of all runs, those that work outside; the others are of every job in turn."""
WORK_S = (0.5, 4.0)
BEYOND_LEASE_S = 3.0
"""The promise: work that was struck runs again within the lease and so much more."""
SINGLY = 20
"""Single requests whose way to their op is timed."""
START_GOAL_S = 0.3
LASTING = 2
"""Pieces of outside work for which a long cut is not long enough: one that works on during it is heard."""
ENDED_WITHIN_S = 240.0


@dataclass(frozen=True, kw_only=True)
class Struck:
    """One fault: when it struck and was over, on the wall clock, and the request made right after it struck."""

    kind: str
    host: str
    at: float
    over: float
    probe: int


def strike(kind: str, at: HostsSite, chance: Random, jobs: Iterator[str], runs: int) -> Struck:
    """One fault amid work, once both hosts are up; back when all outside work has ended.

    Raises:
        TransientError: it has not.
    """
    wait_until(at.whole, ENDED_WITHIN_S, "a host did not come back")
    outside = max(LASTING + 2, round(runs * OUTSIDE_SHARE))
    lasting = LASTING if kind == "cut_long" else 0
    lasts_s = float(at.environ["KORDANT_LEASE_S"]) + LONGER_S
    numbers = at.work_outside([lasts_s] * lasting)
    numbers += at.work_outside([chance.uniform(*WORK_S) for _ in range(outside - lasting - 1)])
    at.work_at_jobs([next(jobs) for _ in range(runs - outside)], chance)
    struck = numbers[:lasting] or numbers
    wait_until(lambda: at.where_is(struck), ENDED_WITHIN_S, "no host does outside work")
    host = chance.choice(at.where_is(struck) or HOSTS)
    time.sleep(chance.uniform(0, WORK_S[0]))
    began = time.time()
    fault = threading.Thread(target=FAULTS[kind], args=(at, host, chance))
    fault.start()
    (probe,) = when_back(lambda: at.work_outside([0.0], Priority.CRITICAL))
    fault.join()
    over = time.time()
    wait_until(
        lambda: when_back(lambda: at.open_requests(OUTSIDE.name)) == 0, ENDED_WITHIN_S, f"{kind}: work did not end"
    )
    return Struck(kind=kind, host=host, at=began, over=over, probe=probe)


def recoveries(struck: Sequence[Struck], attempts: Mapping[int, Sequence[Attempt]]) -> list[float]:
    """The seconds from each fault until all that it struck had begun again, and the request right after it as well."""
    found = []
    for one in struck:
        until = [attempts[one.probe][0].began_at if len(attempts[one.probe]) == 1 else attempts[one.probe][-1].began_at]
        for tries in attempts.values():
            for first, second in pairwise(tries):
                if first.began_at < one.at <= second.began_at:
                    until.append(second.began_at)
        found.append(max(until) - one.at)
    return found


def late_calls(struck: Sequence[Struck], attempts: Mapping[int, Sequence[Attempt]], lease_s: float) -> int:
    """Calls to the outside by a host that was cut off, later than the lease after the cut."""
    return sum(
        one.at + lease_s < when < one.over
        for one in struck if one.kind == "cut_long"
        for tries in attempts.values() for each in tries if each.worker == one.host
        for when in each.calls
    )  # fmt: skip


def starts_of(at: HostsSite) -> list[float]:
    """The seconds from a committed request to its op's first call, of requests one after the other."""
    found = []
    for _ in range(SINGLY):
        (number,) = at.work_outside([0.0])
        asked_at = time.time()
        wait_until(lambda: at.open_requests(OUTSIDE.name) == 0, ENDED_WITHIN_S, "a single run did not end")
        found.append(min(times[0] for (one, _), times in at.calls().items() if one == number) - asked_at)
    return found


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """The results of all faults."""

    struck: Sequence[Struck]
    books: Books
    starts: Sequence[float]
    lease_s: float
    gave_up: bool

    @property
    def recoveries(self) -> list[float]:
        """Of each fault, in seconds."""
        return recoveries(self.struck, self.books.attempts)

    def figures(self) -> list[Figure]:
        """Against their goals."""

        def figure(key: str, value: float, unit: str = "", goal: float | None = None) -> Figure:
            return Figure(key=key, value=value, unit=unit, goal=goal)

        books, took = self.books, self.recoveries or [0.0]
        p95 = quantiles(took, n=20, method="inclusive")[-1] if len(took) > 1 else took[0]
        return [
            figure("faults", len(self.struck)),
            figure("requests", books.requests),
            figure("runs", books.runs),
            figure("lost", books.lost, goal=0),
            figure("doubled", books.doubled, goal=0),
            figure("beside_its_successor", books.beside, goal=0),
            figure("late_calls", late_calls(self.struck, books.attempts, self.lease_s), goal=0),
            figure("gave_up", self.gave_up, goal=0),
            figure("recovery_p50_s", median(took), "s"),
            figure("recovery_p95_s", p95, "s", self.lease_s + BEYOND_LEASE_S),
            figure("recovery_worst_s", max(took), "s"),
            figure("request_to_op_p50_s", median(self.starts), "s", START_GOAL_S),
            figure("mails", books.mails),
            figure("mails_lost", books.mails_lost, goal=0),
            figure("mails_doubled_after_message_id", books.mails_doubled, goal=0),
            figure("mail_copies_before_message_id", books.copies, goal=books.counted),
        ]


def run_campaign(
    folder: Path, *, runs: int, faults: int, seed: int, lease_s: float, only: Sequence[str] = ()
) -> Campaign:
    """Ask for so many runs on two hosts, with so many faults between them, and compare the books at the end.

    Raises:
        KordantError: the system did not start, or there is no such fault.
    """
    chance = Random(seed)  # noqa: S311 - the same seed, the same faults
    kinds = sequence(faults, chance, only, FAULTS)
    jobs = cycle([name for name in SYSTEM.rows if name != OUTSIDE.name])
    each = math.ceil(max(runs - SINGLY, 8 * faults) / faults)
    struck: list[Struck] = []
    gave_up = False
    err.print(
        f"{runs} runs on {' and '.join(HOSTS)}, {faults} faults, seed {seed}, a lease of {lease_s:g} s; starting …"
    )
    with hosts_site(folder, lease_s=lease_s) as at:
        try:
            starts = starts_of(at)
            for number, kind in enumerate(kinds, 1):
                struck.append(strike(kind, at, chance, jobs, each))
                took = recoveries(struck[-1:], at.attempts())[0]
                err.print(f"{number} of {faults}: {kind} on {struck[-1].host}, recovered after {took:.1f} s")
            wait_until(lambda: at.open_requests() == 0, ENDED_WITHIN_S, "requests did not end")
            at.work_at_jobs(["notifications_send"], chance)
            wait_until(lambda: at.open_requests() == 0, ENDED_WITHIN_S, "the last mails were not sent")
        except TransientError as error:
            gave_up = True
            err.print(f"{error}: {'; '.join([*at.stuck(), *at.said[-3:]])}")
        books = at.books()
        if books.lost:
            err.print(f"not completed: {'; '.join(at.stuck())}")
    return Campaign(struck=struck, books=books, starts=starts, lease_s=lease_s, gave_up=gave_up)


def print_strikes(campaign: Campaign) -> None:
    """A line a kind of fault."""
    took = list(zip(campaign.struck, campaign.recoveries, strict=True))
    rows = []
    for kind in FAULTS:
        if mine := [seconds for one, seconds in took if one.kind == kind]:
            rows.append((kind, len(mine), f"{median(mine):.1f}", f"{max(mine):.1f}"))
    print_table(["fault", "times", "recovered p50 s", "worst s"], rows)
    err.print("attempts: " + ", ".join(f"{count} {name}" for name, count in sorted(campaign.books.outcomes.items())))


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="kordant-hosts-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def chaos_hosts(
    runs: Annotated[int, typer.Option(min=8, help="How many runs are asked for, of all jobs.")] = 160,
    faults: Annotated[int, typer.Option(min=1, help="How many faults strike, one after the other.")] = 8,
    seed: Annotated[int, typer.Option(help="Same seed, same faults in the same order.")] = 1,
    lease_s: Annotated[float, typer.Option("--lease", min=2, help="The lease in seconds.")] = LEASE_S,
    only: Annotated[list[str] | None, typer.Option(help="Only this kind of fault; may be given again.")] = None,
    keep: Annotated[Path | None, typer.Option(help="A new folder for its state and logs, which is kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Run all jobs on two hosts, each a network namespace, with Redis and Postgres between them: kill runs, workers and
    hosts, cut links, restart servers, and count effects in outside ledgers. Needs root, iproute2 and redis-server. Exit
    code 0: nothing was lost or doubled and all goals are met, 1: one is missed, 2: it could not run."""

    def measure() -> list[Figure]:
        with _place(keep) as folder:
            campaign = run_campaign(folder, runs=runs, faults=faults, seed=seed, lease_s=lease_s, only=only or ())
        if not as_json:
            print_strikes(campaign)
        return campaign.figures()

    raise SystemExit(finish("chaos-hosts", measure, as_json=as_json))
