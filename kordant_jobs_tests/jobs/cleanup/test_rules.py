"""When a clean-up leaves a kind alone, when a plan is stale, and which clock is not believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kordant_jobs.domain.retention.policies import Action, Policy
from kordant_jobs.jobs.cleanup.rules import clock_fault, why_stale, why_stopped

NOW = datetime(2026, 11, 29, 6, tzinfo=UTC)
YEARS = Policy(kind="k", action=Action.DELETE, keep_days=1825, legal_basis="b")
MONTH = Policy(kind="k", action=Action.DELETE, keep_days=30, legal_basis="b")
SHRED = Policy(kind="k", action=Action.SHRED_KEY, keep_days=365, legal_basis="b")


@pytest.mark.parametrize(
    ("policy", "rows", "total", "past", "stops"),
    [
        (YEARS, 1_000, 1_000, (), False),  # few rows go, whatever their share
        (YEARS, 1_001, 1_001, (), True),
        (YEARS, 5_000, 100_000, (), False),
        (YEARS, 5_001, 100_000, (), True),
        (MONTH, 19_000, 100_000, (), False),  # a week of five is what a month's term takes every week
        (MONTH, 60_000, 100_000, (), True),
        (YEARS, 4_000, 1_000_000, (1_200, 1_300, 1_250), True),
        (YEARS, 3_000, 1_000_000, (1_200, 1_300, 1_250), False),
        (YEARS, 4_000, 1_000_000, (1_200, 1_300), False),  # two runs are no measure
        (SHRED, 101, 1_000, (), True),
        (SHRED, 100, 1_000, (), False),
    ],
)
def test_a_run_stops_at_more_than_the_usual(
    policy: Policy, rows: int, total: int, past: tuple[int, ...], stops: bool
) -> None:
    assert (why_stopped(policy, rows=rows, total=total, past=past) is not None) is stops


@pytest.mark.parametrize(
    ("hours", "planned", "found", "stale"),
    [(23, 1000, 1000, False), (25, 1000, 1000, True), (1, 1000, 1101, True), (1, 1000, 1100, False), (1, 5, 50, False)],
)
def test_a_plan_holds_for_a_day_and_for_about_its_figures(hours: int, planned: int, found: int, stale: bool) -> None:
    assert (why_stale(NOW - timedelta(hours=hours), NOW, planned, found) is not None) is stale


def test_a_clock_is_believed_when_it_agrees_with_ours_and_goes_forward() -> None:
    assert clock_fault(NOW, local=NOW, last=None) is None
    assert clock_fault(NOW, local=NOW + timedelta(minutes=59), last=NOW - timedelta(days=7)) is None
    assert "this machine's" in str(clock_fault(NOW, local=NOW - timedelta(days=4000), last=None))
    assert "later than now" in str(clock_fault(NOW, local=NOW, last=NOW + timedelta(seconds=1)))


def test_a_clock_that_is_far_ahead_is_believed_by_a_person_only() -> None:
    ahead = NOW + timedelta(days=3650)
    assert "3,650 days after the last clean-up" in str(clock_fault(ahead, local=ahead, last=NOW))
    assert clock_fault(ahead, local=ahead, last=NOW, is_attended=True) is None
    assert clock_fault(NOW + timedelta(days=35), local=NOW + timedelta(days=35), last=NOW) is None


def test_a_term_counts_days_in_sao_paulo() -> None:
    assert MONTH.cutoff(NOW.date()).isoformat() == "2026-10-30T00:00:00-03:00"
