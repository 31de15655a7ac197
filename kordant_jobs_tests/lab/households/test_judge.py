"""The judge of insights measures what it has floors for, on a small world; many seeds are a command."""

from __future__ import annotations

import math

from kordant_jobs.lab.bench.judge_insights import GOALS
from kordant_jobs.lab.households.judge import judge


def test_every_figure_with_a_floor_is_measured_and_streams_and_cash_flow_are_found() -> None:
    figures = judge(1, entities=20)
    assert set(figures) == set(GOALS)
    assert all(math.isfinite(one) for one in figures.values())
    for name in ("recurring_precision", "recurring_recall", "cash_flow_months_right"):
        assert figures[name] > 0.9, name
