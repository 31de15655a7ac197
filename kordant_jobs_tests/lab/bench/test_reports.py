"""The bench of reports gives the promised keys, each with a peer of the same call."""

from __future__ import annotations

import pytest

from kordant_jobs.lab.bench.reports import measure, sample


@pytest.mark.slow  # renderer processes warm up with twenty reports each, so that the scaling is theirs
def test_it_makes_the_reports_by_each_way_and_gives_the_promised_keys_a_peer() -> None:
    figures = {one.key: one for one in measure(reports=2)}
    assert set(figures) == {
        "reports_per_s_core",
        "reports_scaling_2",
        "report_speedup_on_first",
        "report_speedup_on_plain",
    }
    promised = figures["reports_per_s_core"]
    assert promised.peer_value is not None
    assert promised.goal == 0.9 * promised.peer_value
    assert all(one.direction == "min" and one.peer for one in figures.values())


def test_the_same_seed_gives_the_same_reports() -> None:
    assert sample(3) == sample(3)
