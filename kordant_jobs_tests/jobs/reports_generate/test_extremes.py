"""Reports of subscribers at the edges, page by page: nothing is cut off, no heading stands alone, no figure lacks.

Positions are asked of poppler's pdftotext, in points on A4 (595 × 842) with margins of 18 to 20 mm.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from functools import lru_cache
from xml.etree import ElementTree

import pikepdf
import pytest

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.reports_generate.content import ReportContent, write_report
from kordant_jobs.jobs.reports_generate.layout import Pdf
from kordant_jobs.jobs.reports_generate.renderer import render
from kordant_jobs.wording import wording
from kordant_jobs_tests.jobs.reports_generate.extremes import EXTREMES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed"),
    pytest.mark.parametrize("name", EXTREMES),
]

XHTML = "{http://www.w3.org/1999/xhtml}"
MARGIN_PT = 20 / 25.4 * 72
BOTTOM_PT = 842 - MARGIN_PT
NEAR_BOTTOM_PT = 24
"""A heading this near to the end of a page would have nothing of its section below it."""


@lru_cache(maxsize=len(EXTREMES))
def made(name: str) -> tuple[ReportContent, Pdf]:
    content = write_report(*EXTREMES[name])
    return content, render(content)


def pdftotext(pdf: Pdf, *how: str) -> str:
    return subprocess.run(
        ["pdftotext", *how, "-", "-"], input=pdf.content, capture_output=True, check=True
    ).stdout.decode()


def lines_of(pdf: Pdf) -> list[list[tuple[float, float, float, str]]]:
    """Each page's lines: left, right, bottom, text."""
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", pdftotext(pdf, "-bbox-layout"))
    pages = ElementTree.fromstring(text).iter(f"{XHTML}page")
    return [
        [
            (
                float(line.get("xMin", "")),
                float(line.get("xMax", "")),
                float(line.get("yMax", "")),
                " ".join(word.text or "" for word in line.iter(f"{XHTML}word")),
            )
            for line in page.iter(f"{XHTML}line")
        ]
        for page in pages
    ]


def headings(content: ReportContent) -> set[str]:
    """What the report's sections are called."""
    say = wording(Locale(content.lang)).say
    fixed = ("What we checked", "What to do", "Open exposures by severity", "First seen, by period")
    return (
        {say(one) for one in (*fixed, "How to read this report")}
        | {content.changes_title}
        | {table.title for table in content.tables}
    )


def test_no_text_leaves_the_page_or_runs_into_its_foot(name: str) -> None:
    _, pdf = made(name)
    for page in lines_of(pdf):
        assert page
        for left, right, bottom, text in page:
            assert left >= MARGIN_PT - 2, text
            assert right <= 595 - MARGIN_PT + 2, text
            assert bottom <= BOTTOM_PT + 2 or re.search(r"^Kordant$|\d+ (of|de) \d+$", text), text


def test_no_heading_stands_alone_at_the_end_of_a_page(name: str) -> None:
    content, pdf = made(name)
    titles = headings(content)
    for page in lines_of(pdf):
        for _, _, bottom, text in page:
            if text in titles:
                assert bottom < BOTTOM_PT - NEAR_BOTTOM_PT, text


def test_every_breach_is_in_the_text_and_the_figures_are_those_of_the_summary(name: str) -> None:
    content, pdf = made(name)
    text = re.sub(r"\s+", "", pdftotext(pdf))
    for table in content.tables:
        for row in table.rows:
            assert re.sub(r"\s+", "", row.title)[:20] in text
    for tile in content.tiles:
        assert re.sub(r"\s+", "", tile.value) in text


def test_it_is_tagged_page_by_page_and_says_its_language(name: str) -> None:
    content, pdf = made(name)
    with pikepdf.open(io.BytesIO(pdf.content)) as opened:
        assert str(opened.Root.Lang) == content.lang
        assert opened.open_metadata()["pdfuaid:part"] == "1"
        assert len(opened.pages) == pdf.pages
        for page in opened.pages:
            assert "/StructParents" in page
            assert str(page.Tabs) == "/S"
