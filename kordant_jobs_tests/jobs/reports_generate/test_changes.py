"""What a report says of the period before: the trend with its direction, and what changed since."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.reports_generate.changes import changes, trend, trend_figure
from kordant_jobs.jobs.reports_generate.rules import ClosedLine, CloseReason, ReportFigures
from kordant_jobs.wording import wording
from kordant_jobs_tests.jobs.reports_generate.samples import exposure, figures, source

WORDS = wording(Locale.EN)


def found(now: int, before: int) -> ReportFigures:
    """So many new exposures, beside so many in the period before."""
    return figures(*(exposure(number) for number in range(now)), history=(before, now))


def closed(number: int, reason: CloseReason, title: str = "") -> ClosedLine:
    return ClosedLine(
        exposure_id=UUID(int=number),
        breach_name=f"Closed{number}",
        breach_source="hibp",
        breach_title=title or f"Closed {number}",
        reason=reason,
    )


@pytest.mark.parametrize(
    ("now", "before", "says", "figure"),
    [
        (3, 1, "2 more than in the period before (1 then, 3 now)", ("2", "more new than in the period before")),
        (1, 1200, "1,199 fewer than", ("1,199", "fewer new than in the period before")),
        (2, 2, "as many as in the period before (2)", ("0", "change from the period before")),
        (0, 0, "none, as in the period before", ("0", "change from the period before")),
    ],
)
def test_the_trend_is_a_sentence_and_a_figure_with_its_direction(
    now: int, before: int, says: str, figure: tuple[str, str]
) -> None:
    assert says in trend(WORDS, found(now, before))
    assert trend_figure(WORDS, found(now, before)) == figure


def test_a_first_period_has_a_line_that_nothing_precedes_it() -> None:
    first = figures(history=(0,))
    assert "no earlier period" in trend(WORDS, first)
    assert trend_figure(WORDS, first) is None
    assert changes(WORDS, replace(first, items_added=2)) == []


@pytest.mark.parametrize(("now", "before", "limited"), [(0, 3, True), (0, 0, True), (3, 0, False)])
def test_over_an_unknown_fewer_is_not_called_better(now: int, before: int, limited: bool) -> None:
    what = replace(found(now, before), sources=(source(Verdict.UNKNOWN, "it was down"),))
    assert ("only for what could be checked" in trend(WORDS, what)) == limited


def test_nothing_changed_is_said() -> None:
    assert changes(WORDS, figures()) == ["Nothing changed since the period before."]


def test_each_change_is_a_sentence_with_its_reason() -> None:
    what = replace(
        figures(exposure(1, title="Adobe"), exposure(2, is_new=False)),
        closed=(
            closed(1, CloseReason.NOT_ME, "LinkedIn"),
            closed(2, CloseReason.NOT_ME, "Dropbox"),
            closed(3, CloseReason.CLOSED),
            closed(4, CloseReason.NOT_WATCHED),
            closed(5, CloseReason.WITHDRAWN),
        ),
        items_added=1,
        items_removed=2,
    )
    assert changes(WORDS, what) == [
        "1 new exposure: Adobe.",
        "2 exposures closed, since you said that they are not yours: LinkedIn and Dropbox.",
        "1 exposure closed: Closed 3.",
        "1 exposure left out, since its identifier is no longer watched: Closed 4.",
        "1 exposure withdrawn, since the breach did not prove true: Closed 5.",
        "1 identifier more is watched.",
        "2 identifiers are no longer watched.",
    ]
    assert changes(wording(Locale.PT_BR), what)[1].startswith("2 exposições encerradas")


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (Verdict.CLEAN, Verdict.UNKNOWN, "Not known any more: LeakCheck."),
        (Verdict.UNKNOWN, Verdict.CLEAN, "Known again: LeakCheck"),
        (Verdict.CLEAN, Verdict.EXPOSED, "Nothing changed"),
        (None, Verdict.UNKNOWN, "Nothing changed"),
    ],
)
def test_a_source_that_is_newly_unknown_or_known_again_is_listed(
    before: Verdict | None, now: Verdict, says: str
) -> None:
    line = replace(source(now, "down" if now is Verdict.UNKNOWN else None), source="leakcheck", before=before)
    assert changes(WORDS, figures(sources=(line,)))[0].startswith(says)


def test_many_breaches_are_counted_after_the_first_few() -> None:
    said = changes(WORDS, figures(*(exposure(number) for number in range(9))))
    assert said[0].startswith("9 new exposures: ")
    assert "and 5 more" in said[0]
