"""What a report may claim, and over which days."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.insights.insight import Kind
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.jobs.reports_generate.rules import (
    ClipLine,
    MoneyLine,
    Period,
    PropertyLine,
    RemovalLine,
    ReportKind,
    grouped,
    overall,
    period_before,
)
from kordant_jobs_tests.jobs.reports_generate.samples import NOON, PHONE, exposure, figures, source

REMOVAL = RemovalLine(
    broker="A broker", state="sent", sent_on=None, deadline_on=None, says_done=False, check_says=None, checked_on=None
)
PROPERTY = PropertyLine(
    watch_id=UUID(int=500),
    county="A county",
    has_parcel=True,
    has_liens=True,
    verdict="no_changes",
    reason=None,
    data_as_of=None,
    events=(),
    open_charges=(),
)
MONEY = MoneyLine(entity_id=UUID(int=600), kind=Kind.FEES, facts={"paid": "1.00"}, unknown_reason=None, line_id=None)
CLIP = ClipLine(
    clip_id=UUID(int=700),
    received_at=NOON,
    seconds=9.0,
    status="ok",
    reason=None,
    match="inconclusive",
    synthesis="inconclusive",
    band="wide",
    voices=1,
    is_whole=True,
    windows=(),
    analysis_id=UUID(int=701),
    severity=None,
)


@pytest.mark.parametrize(("verdict", "is_gap"), [("no_changes", False), ("unknown", True), (None, True)])
def test_a_county_that_was_not_checked_is_a_gap(verdict: str | None, *, is_gap: bool) -> None:
    found = replace(figures(), properties=(PROPERTY, replace(PROPERTY, verdict=verdict)))
    assert found.has_unknown_property is is_gap


@given(st.lists(st.sampled_from(Verdict)), st.integers(0, 3))
def test_all_clear_is_only_said_when_every_source_said_so(verdicts: Collection[Verdict], exposures: int) -> None:
    said = overall(verdicts, exposures=exposures)
    assert (said is Verdict.CLEAN) == (bool(verdicts) and set(verdicts) == {Verdict.CLEAN} and not exposures)


@pytest.mark.parametrize(
    ("kind", "start", "end", "before"),
    [
        (ReportKind.MONTHLY, date(2026, 1, 1), date(2026, 2, 1), date(2025, 12, 1)),
        (ReportKind.WEEKLY, date(2026, 3, 2), date(2026, 3, 9), date(2026, 2, 23)),
        (ReportKind.ON_DEMAND, date(2026, 3, 1), date(2026, 3, 11), date(2026, 2, 19)),
    ],
)
def test_the_period_before_ends_where_this_one_starts(kind: ReportKind, start: date, end: date, before: date) -> None:
    found = period_before(Period(kind=kind, start_on=start, end_on=end))
    assert (found.start_on, found.end_on) == (before, start)


def test_a_breach_is_one_row_and_the_most_urgent_comes_first() -> None:
    rows = grouped(
        [exposure(1, severity=Severity.LOW), exposure(2), exposure(1, item=PHONE, severity=Severity.CRITICAL)]
    )
    assert [(row.breach.breach_name, row.severity.value, len(row.exposures)) for row in rows] == [
        ("Breach1", "critical", 2),
        ("Breach2", "high", 1),
    ]


def test_the_hash_changes_with_anything_shown_and_with_nothing_else() -> None:
    base = figures(exposure(1))
    assert base.sha256() == figures(exposure(1)).sha256()
    others = [
        figures(exposure(1, title="Renamed")),
        figures(exposure(1), locale="pt-BR"),
        figures(exposure(1), sources=(source(Verdict.UNKNOWN, "it was down"),)),
        figures(exposure(1), history=(0, 0, 0, 1)),
        replace(base, items=()),
        replace(base, removals=(REMOVAL,)),
        replace(base, properties=(PROPERTY,)),
        replace(base, properties=(replace(PROPERTY, verdict="unknown"),)),
        replace(base, money=(MONEY,)),
        replace(base, clips=(CLIP,)),
        figures(),
    ]
    assert len({base.sha256(), *(other.sha256() for other in others)}) == len(others) + 1


def test_what_the_database_keeps_of_it_is_counts_and_ids() -> None:
    kept = figures(exposure(1, title="Jane's club")).as_counts()
    assert (kept["new"], kept["open"], kept["by_severity"]["high"]) == (1, 1, 1)
    assert kept["exposure_ids"] == [str(UUID(int=1001))]
    assert "Jane" not in str(kept)
