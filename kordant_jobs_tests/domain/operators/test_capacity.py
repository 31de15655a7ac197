"""What the capacity model says of ten million agrees with what was worked out by hand; every number has a source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.operators.capacity import COEFFICIENTS, Limits, PlannedSize, exceeded_limits, needs

LIMITS = Limits(scan_memory_mb=4096, report_cpu_s=14_400, report_runs=1)


def test_ten_million_subscribers_need_what_was_worked_out_by_hand() -> None:
    found = {one.key: one.value for one in needs(PlannedSize(subscribers=10_000_000))}
    assert found["scans_a_day"] == pytest.approx(200e3 + 343e3 + 1.6e6, rel=0.01)
    assert found["rows_gb"] == pytest.approx(26)
    assert found["monday_core_hours"] == pytest.approx(147, rel=0.01)
    assert found["first_core_hours"] == pytest.approx(220, rel=0.01)
    assert found["cores"] > 220 / 3


@given(st.integers(1, 10**8), st.integers(2, 10))
def test_more_subscribers_never_need_less(subscribers: int, times: int) -> None:
    less, more = (needs(PlannedSize(subscribers=count)) for count in (subscribers, subscribers * times))
    assert all(one.value <= other.value for one, other in zip(less, more, strict=True))


def test_what_does_not_fit_is_said_and_at_a_small_size_all_fits() -> None:
    large = exceeded_limits(needs(PlannedSize(subscribers=10_000_000)), LIMITS)
    assert [name for name in ("Monday", "first of a month", "PgBouncer") if name in " ".join(large)]
    assert len(large) == 3
    assert exceeded_limits(needs(PlannedSize(subscribers=5_000)), LIMITS) == []


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_every_coefficient_has_a_source_and_changes_the_answer(name: str) -> None:
    one = COEFFICIENTS[name]
    assert one.source
    wanted = PlannedSize(subscribers=10_000_000)
    assert needs(wanted, {name: one.value * 10}) != needs(wanted)
