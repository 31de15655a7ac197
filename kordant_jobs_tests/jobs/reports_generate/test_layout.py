"""The ways in which a page is laid out faster than WeasyPrint would on its own change nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pikepdf
import pytest
from weasyprint import HTML

from kordant_jobs.jobs.reports_generate import layout
from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.layout import ReportPage, complete_structure, lay_out
from kordant_jobs.jobs.reports_generate.renderer import page_of
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, exposure, figures, many, typical


def made_by_weasyprint_alone(page: ReportPage) -> bytes:
    """With its HTML parser, its browser style sheet and its own writing of objects; our structure."""
    document = HTML(string=page.html).render(
        font_config=layout.fonts(),
        stylesheets=[layout.style(page.page_word, page.of_word)],
        pdf_variant="pdf/ua-1",
    )
    return bytes(
        document.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=page.identifier, finisher=complete_structure)
    )


def test_every_byte_is_what_weasyprint_alone_would_write() -> None:
    page = page_of(write_report(typical("pt-BR"), OPENED))
    ElementTree.fromstring(page.html)  # else the quick parser is not even used
    assert lay_out(page).content == made_by_weasyprint_alone(page)


@pytest.mark.parametrize("name", ["Jane \x01 Roe", "J&ne <R>oe \"'"])
def test_a_name_that_is_no_xml_is_rendered_all_the_same(name: str) -> None:
    page = page_of(write_report(figures(exposure(1)), replace(OPENED, name=name)))
    assert lay_out(page).content == made_by_weasyprint_alone(page)


def elements(one: Any) -> Iterator[Any]:
    """Every element of the structure below one."""
    for kid in one.get("/K", []):
        if isinstance(kid, pikepdf.Dictionary):
            yield kid
            yield from elements(kid)


def marked(page: pikepdf.Page) -> list[tuple[str, int | None]]:
    """The marked texts of a page: tag, and its number in the structure."""
    found = []
    for one in pikepdf.parse_content_stream(page):
        if isinstance(one, pikepdf.ContentStreamInstruction) and str(one.operator) in {"BMC", "BDC"}:
            number = int(one.operands[1]["/MCID"]) if str(one.operator) == "BDC" else None
            found.append((str(one.operands[0]), number))
    return found


def test_a_table_over_pages_is_one_and_feet_are_no_text_of_the_report() -> None:
    with pikepdf.open(io.BytesIO(lay_out(page_of(write_report(many(120), OPENED))).content)) as pdf:
        root = pdf.Root.StructTreeRoot
        found = list(elements(root))
        tables = [one for one in found if one.S == "/Table"]
        rows = [sum(one.S == "/TR" for one in elements(table)) for table in tables]
        assert len(pdf.pages) > 3
        assert sorted(rows)[-2:] == [41, 81]  # each with its header once
        heads = [sum(one.S == "/THead" for one in elements(table)) for table in tables]
        assert set(heads) <= {0, 1}
        ids = {str(one["/ID"]) for one in found if "/ID" in one}
        named = [str(head) for one in found if "/A" in one for head in one["/A"].get("/Headers", [])]
        assert named
        assert set(named) <= ids
        for one in found:
            assert one.P.objgen == root.objgen or any(kid == one for kid in one.P.K)
        held = {(one.Pg.objgen, int(kid)) for one in found for kid in one.K if not isinstance(kid, pikepdf.Object)}
        for page in pdf.pages:
            texts = marked(page)
            assert ("/Artifact", None) in texts
            assert all((page.objgen, number) in held for _, number in texts if number is not None)


@pytest.mark.parametrize("locale", ["en", "pt-BR"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_report_with_little_to_say_is_one_page_with_its_receipt_and_without_charts(locale: str, count: int) -> None:
    one = figures(*(exposure(number) for number in range(count)), locale=locale)
    content = write_report(one, OPENED, receipt="r" * 930)
    assert not content.severity_chart
    assert not content.history_chart
    with pikepdf.open(io.BytesIO(lay_out(page_of(content)).content)) as pdf:
        assert len(pdf.pages) == 1
