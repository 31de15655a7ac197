"""The comparison's own judgement, on a system that is a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kordant_jobs.lab.chaos.compare import (
    BACKLOG,
    BROKER,
    CLOCK,
    DATABASE,
    POISON_RUNS,
    Score,
    compare,
    is_kept,
    strike,
)
from kordant_jobs.lab.chaos.systems import Peer


class Instant(Peer):
    """Has each effect as it is asked for, one of them twice, and loses the last."""

    def __init__(self, ledger: Path) -> None:
        super().__init__()
        self._ledger = ledger

    def ask(self, numbers: Sequence[int], port: int, *, urgent: bool = False) -> None:
        kept = list(numbers) if urgent else [numbers[0], *numbers[:-1]]
        with self._ledger.open("a") as ledger:
            ledger.writelines(f"{one} new 1\n" for one in kept)

    def poison(self, number: int, port: int) -> None:
        raise AssertionError

    def executing(self) -> list[int]:
        return []


@pytest.mark.parametrize("fault", [DATABASE, BROKER, CLOCK])
def test_a_fault_that_cannot_happen_to_a_system_is_left_out(tmp_path: Path, fault: str) -> None:
    assert strike("instant", fault, Instant(tmp_path / "ledger"), tmp_path / "ledger", 0, range(3)) is None


@pytest.mark.long  # waits for what comes twice
def test_of_a_backlog_only_the_critical_job_counts(tmp_path: Path) -> None:
    found = strike("instant", BACKLOG, Instant(tmp_path / "ledger"), tmp_path / "ledger", 0, range(3))
    assert found
    assert (found.asked, found.not_done, found.repeated) == (1, 0, 0)


def test_a_system_that_is_not_there_is_said_and_is_no_result() -> None:
    assert compare(["nope"], as_json=True) == 2


@pytest.mark.parametrize(
    ("not_done", "runs", "kept"), [(0, None, True), (1, None, False), (0, POISON_RUNS, True), (0, 5, False)]
)
def test_the_promise_is_that_nothing_is_missing_and_the_poison_is_given_up(
    not_done: int, runs: int | None, kept: bool
) -> None:
    one = Score(
        system="ours", fault="x", asked=3, not_done=not_done, repeated=2, recovery_s=None, runs_of_poison=runs
    )  # fmt: skip
    assert is_kept(one) is kept
