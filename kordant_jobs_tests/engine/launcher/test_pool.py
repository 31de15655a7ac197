"""What the pool promises before any child has a run."""

from __future__ import annotations

import selectors
from pathlib import Path
from typing import Any

from kordant_jobs.engine.launcher.pool import Entry, Journal, Pool
from kordant_jobs.engine.launcher.run import Run
from kordant_jobs.engine.runs import RunEnd


def pool_in(folder: Path, ends: list[RunEnd]) -> Pool:
    """A pool that has no children, and forks none: whatever it accepts waits."""
    nothing: Any = None
    return Pool(
        instance=nothing,
        engines=(),
        selector=selectors.DefaultSelector(),
        journal=Journal(folder),
        publish=ends.append,
        close_in_child=lambda: None,
        wanted_idle=0,
        most_running=0,
    )


def test_a_run_that_was_accepted_is_found_by_the_next_warm_process_though_no_child_had_it(tmp_path: Path) -> None:
    pool = pool_in(tmp_path, [])
    pool.accept(Run(run_id="r"))
    assert list(Journal(tmp_path).left()) == [Entry(run_id="r", pid=0, start=0)]
    assert pool.busy == 1
    assert pool.find("r")


def test_a_run_that_is_stopped_before_it_began_waits_until_its_end_is_written(tmp_path: Path) -> None:
    ends: list[RunEnd] = []
    pool = pool_in(tmp_path, ends)
    run = Run(run_id="r")
    pool.accept(run)
    pool.stop(run, "canceled", 1.0)
    assert (list(pool.backlog), list(pool.fails), ends) == ([], [run], [])
    assert [entry.run_id for entry in Journal(tmp_path).left()] == ["r"]
