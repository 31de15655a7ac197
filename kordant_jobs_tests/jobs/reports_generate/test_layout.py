"""The ways in which a page is laid out faster than WeasyPrint would on its own change nothing."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from weasyprint import HTML

from kordant_jobs.jobs.reports_generate import layout
from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.layout import ReportPage, lay_out
from kordant_jobs.jobs.reports_generate.renderer import page_of
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, exposure, figures, typical


def made_by_weasyprint_alone(page: ReportPage) -> bytes:
    """With its HTML parser, its browser style sheet and its own writing of objects."""
    document = HTML(string=page.html).render(
        font_config=layout.fonts(),
        stylesheets=[layout.style(page.page_word, page.of_word)],
        pdf_variant="pdf/ua-1",
    )
    return bytes(document.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=page.identifier))


def test_every_byte_is_what_weasyprint_alone_would_write() -> None:
    page = page_of(write_report(typical("pt-BR"), OPENED))
    ElementTree.fromstring(page.html)  # else the quick parser is not even used
    assert lay_out(page).content == made_by_weasyprint_alone(page)


@pytest.mark.parametrize("name", ["Jane \x01 Roe", "J&ne <R>oe \"'"])
def test_a_name_that_is_no_xml_is_rendered_all_the_same(name: str) -> None:
    page = page_of(write_report(figures(exposure(1)), replace(OPENED, name=name)))
    assert lay_out(page).content == made_by_weasyprint_alone(page)
