"""Strike, recover, compare: the campaign of faults, its figures and its table."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Annotated, TypeVar

import typer
from sqlalchemy.exc import DBAPIError

from kordant_jobs.cli.output import err, print_table
from kordant_jobs.cli.runs import progress_bar
from kordant_jobs.errors import DatabaseUnavailable, TransientError
from kordant_jobs.lab.chaos.faults import FAULTS, sequence
from kordant_jobs.lab.chaos.site import Books, Site, site
from kordant_jobs.lab.figures import Figure, finish

REQUESTS, AFTER = 7, 2
"""Requests a fault, and how many of them come right after it; the others are under way when it strikes."""
WORK_S = (0.02, 0.3)
STRIKE_WITHIN_S = 0.6
RECOVERY_S = 5.0
"""The promise: running again within so long, plus what the design waits (a retry's delay, a lease)."""
GIVEN_UP_AFTER_S = 90.0

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One fault: how long until everything asked for by then was done, and how long the design waits of that."""

    kind: str
    recovered_s: float
    by_design_s: float

    @property
    def late(self) -> bool:
        """True if it took longer than promised."""
        return self.recovered_s > RECOVERY_S + self.by_design_s


def strike(kind: str, at: Site, chance: Random, requests: int = REQUESTS) -> Strike:
    """One fault amid work, once the system is whole, and its recovery.

    Raises:
        TransientError: work was still open, or a part still away, after a minute and a half.
    """
    deadline = time.monotonic() + GIVEN_UP_AFTER_S
    while not at.whole():
        if time.monotonic() > deadline:
            raise TransientError(f"a part did not come back in {GIVEN_UP_AFTER_S:g} s: {'; '.join(at.said[-3:])}")
        time.sleep(0.1)
    at.enqueue([chance.uniform(*WORK_S) for _ in range(requests - AFTER)])
    time.sleep(chance.uniform(0, STRIKE_WITHIN_S))
    by_design_s = FAULTS[kind](at, chance)
    struck = time.monotonic()
    when_back(lambda: at.enqueue([chance.uniform(*WORK_S) for _ in range(AFTER)]))
    while when_back(at.open_requests):
        if time.monotonic() - struck > GIVEN_UP_AFTER_S:
            stuck = "; ".join(f"{one} {status} {error}" for one, status, error in at.stuck())
            raise TransientError(f"{kind}: work was still open after {GIVEN_UP_AFTER_S:g} s ({stuck})")
        time.sleep(0.02)
    return Strike(kind=kind, recovered_s=time.monotonic() - struck, by_design_s=by_design_s)


def when_back(act: Callable[[], T]) -> T:
    """Act once the database is there again."""
    deadline = time.monotonic() + GIVEN_UP_AFTER_S
    while True:
        try:
            return act()
        except (DBAPIError, DatabaseUnavailable):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """The results of all faults."""

    strikes: Sequence[Strike]
    books: Books
    gave_up: str | None

    def figures(self) -> list[Figure]:
        """Against their goals."""
        excess = [one.recovered_s - one.by_design_s for one in self.strikes]
        books = self.books

        def figure(key: str, value: float, unit: str = "", goal: float | None = None) -> Figure:
            return Figure(key=key, value=value, unit=unit, goal=goal)

        return [
            figure("faults", len(self.strikes)),
            figure("requests", books.asked),
            figure("lost", books.lost, goal=0),
            figure("doubled", books.doubled, goal=0),
            figure("late", sum(one.late for one in self.strikes) + bool(self.gave_up), goal=0),
            figure("unfinished_runs", books.unfinished, goal=0),
            figure("recovery_p50_s", median(excess) if excess else 0.0, "s"),
            figure("recovery_worst_s", max(excess, default=0.0), "s", RECOVERY_S),
            figure("repeats_refused", books.refused),
            figure("attempts", sum(books.attempts.values())),
        ]


def run_campaign(
    faults: int, seed: int, folder: Path, *, only: Sequence[str] = (), requests: int = REQUESTS, quiet: bool = False
) -> Campaign:
    """Inject this number of faults into a system in this folder, each while `requests` requests run, and compare the
    ledgers at the end.

    Raises:
        KordantError: the system did not start, or there is no such fault.
    """
    chance = Random(seed)  # noqa: S311 - the same seed, the same faults
    kinds = sequence(faults, chance, only)
    strikes: list[Strike] = []
    gave_up = None
    with progress_bar() as bar:
        bar.disable = quiet
        task = bar.add_task("chaos", total=faults, note="starting")
        with site(folder) as at:
            at.enqueue([0.0])
            while at.open_requests():
                time.sleep(0.05)
            for kind in kinds:
                bar.update(task, note=kind)
                try:
                    strikes.append(strike(kind, at, chance, requests))
                except TransientError as error:
                    gave_up = str(error)
                    err.print(gave_up)
                    break
                bar.update(task, advance=1)
            bar.update(task, note="comparing")
            books = settled_books(at)
    return Campaign(strikes=strikes, books=books, gave_up=gave_up)


def settled_books(at: Site, timeout_s: float = 90.0) -> Books:
    """The books once Dagster shows no run as under way; a run whose daemon was killed before it
    was handed on is given up by Dagster after a minute."""
    deadline = time.monotonic() + timeout_s
    while (books := at.books()).unfinished and time.monotonic() < deadline:
        time.sleep(0.2)
    return books


def print_strikes(campaign: Campaign) -> None:
    """A line a kind of fault."""
    rows = []
    for kind in FAULTS:
        mine = [one for one in campaign.strikes if one.kind == kind]
        if mine:
            times = [one.recovered_s for one in mine]
            allowed = RECOVERY_S + mine[0].by_design_s
            late = sum(one.late for one in mine)
            rows.append(
                (kind, len(mine), f"{median(times):.2f}", f"{max(times):.2f}", f"{allowed:.1f}", late or "none")
            )
    print_table(["fault", "times", "recovered p50 s", "worst s", "allowed s", "late"], rows)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(campaign.books.attempts.items()))
    err.print(f"attempts: {outcomes}")


def chaos(faults: int, seed: int, *, only: Sequence[str], requests: int, as_json: bool) -> int:
    """Run a campaign and print it. 0 when every effect was had exactly once and every recovery was in time, 1 when
    not, 2 when it could not run.
    """

    def measure() -> list[Figure]:
        with tempfile.TemporaryDirectory(prefix="kordant-chaos-", ignore_cleanup_errors=True) as folder:
            campaign = run_campaign(faults, seed, Path(folder), only=only, requests=requests)
        if not as_json:
            print_strikes(campaign)
        return campaign.figures()

    return finish("chaos", measure, as_json=as_json)


def chaos_command(
    faults: Annotated[int, typer.Option(min=1, help="How many faults strike, one after the other.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same faults in the same order.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Only this kind of fault; may be given again.")] = None,
    requests: Annotated[int, typer.Option(min=3, help="Requests a fault.")] = 7,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Five faults and a backlog, on ours, Celery, procrastinate and stock Dagster."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Strike a system of its own with kills, pauses, restarts and cuts, and count effects in an outside ledger. Exit
    code 0: every effect came exactly once and in time, 1: one did not, 2: it could not run."""
    if compare:
        from kordant_jobs.lab.chaos.compare import compare as compare_systems

        raise SystemExit(compare_systems(only or (), as_json=as_json))
    raise SystemExit(chaos(faults, seed, only=only or (), requests=requests, as_json=as_json))
