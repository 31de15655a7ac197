"""Ten subscribers at the edges, whose reports are looked at page by page."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.jobs.reports_generate.content import Opened
from kordant_jobs.jobs.reports_generate.figures import NOT_CHECKED
from kordant_jobs.jobs.reports_generate.rules import ReportFigures, SourceLine
from kordant_jobs_tests.jobs.reports_generate.samples import ITEM, OPENED, exposure, figures, many, source, typical

UNASKED = SourceLine(source="dumps", verdict=Verdict.UNKNOWN, reason=NOT_CHECKED, checks=0, checked_on=None)
FIFTY = {UUID(int=5000 + number): f"person{number:02d}@very-long-domain-of-a-company.example" for number in range(50)}

EXTREMES: dict[str, tuple[ReportFigures, Opened]] = {
    "none": (figures(), OPENED),
    "nothing_watched": (replace(figures(sources=(UNASKED,), history=(0,)), items=()), Opened(name="", identifiers={})),
    "unknown_everywhere": (
        figures(
            sources=tuple(
                replace(source(Verdict.UNKNOWN, f"the source number {number} was down " * 5), source=f"source{number}")
                for number in range(12)
            )
        ),
        OPENED,
    ),
    "five_hundred": (many(), OPENED),
    "five_hundred_in_portuguese": (replace(many(), locale="pt-BR"), OPENED),
    "right_to_left": (typical(), replace(OPENED, name="يوسف بن داود דוד בן יוסף")),
    "title_of_300": (
        figures(exposure(1, title="Wordwithoutend" * 21 + "abcdef"), exposure(2, title="word " * 60)),
        OPENED,
    ),
    "name_without_spaces": (typical("pt-BR"), replace(OPENED, name="Ñandú" * 40)),
    "fifty_watched_in_one_breach": (
        replace(
            figures(*(replace(exposure(1, item=item), exposure_id=item) for item in FIFTY)),
            items=tuple((item, "email") for item in FIFTY),
        ),
        Opened(name="Jane Roe", identifiers=FIFTY),
    ),
    "sixty_kinds_of_data": (
        figures(
            *(
                exposure(
                    number,
                    severity=Severity.CRITICAL,
                    data_classes=tuple(f"Kind of data number {one}" for one in range(60)),
                    is_new=False,
                    item=ITEM,
                )
                for number in range(9)
            )
        ),
        OPENED,
    ),
}
