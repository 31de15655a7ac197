"""The PDF itself: accessible, the same every time, and it says what the figures say."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pikepdf
import pytest

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.jobs.reports_generate.content import Opened, write_report
from kordant_jobs.jobs.reports_generate.layout import Pdf
from kordant_jobs.jobs.reports_generate.renderer import html_of, render
from kordant_jobs.jobs.reports_generate.rules import ReportFigures
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, exposure, figures, source, typical


@lru_cache
def made(locale: str = "en") -> Pdf:
    return render(write_report(typical(locale), OPENED))


def text_of(pdf: Pdf) -> str:
    """What a reader that copies text out of the PDF gets."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    run = subprocess.run(["pdftotext", "-", "-"], input=pdf.content, capture_output=True, check=True)
    return re.sub(r"\s+", " ", run.stdout.decode())


def shown(what: ReportFigures, opened: Opened = OPENED) -> str:
    """The report's text, before it is laid out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html_of(write_report(what, opened))))


@pytest.mark.parametrize(("locale", "title"), [("en", "Monthly protection report"), ("pt-BR", "Relatório mensal")])
def test_the_pdf_is_tagged_and_names_its_language_title_and_standard(locale: str, title: str) -> None:
    with pikepdf.open(io.BytesIO(made(locale).content)) as pdf:
        assert pdf.Root.MarkInfo.Marked == True  # noqa: E712 - a pikepdf object
        assert str(pdf.Root.Lang) == locale
        assert pdf.Root.ViewerPreferences.DisplayDocTitle == True  # noqa: E712 - as above
        assert str(pdf.docinfo["/Title"]).startswith(title)
        assert pdf.open_metadata()["pdfuaid:part"] == "1"
        assert "/StructTreeRoot" in pdf.Root
        assert len(pdf.pages) == made(locale).pages
        with pdf.open_outline() as outline:
            assert len(outline.root) >= 1


def _structure(node: pikepdf.Object) -> list[tuple[str, str]]:
    """Every structure element's kind with its alternative text."""
    found = []
    if isinstance(node, pikepdf.Dictionary):
        if "/S" in node:
            found.append((str(node.S), str(node.get("/Alt", ""))))
        children = node.get("/K")
        for child in children if isinstance(children, pikepdf.Array) else [children]:
            if isinstance(child, pikepdf.Dictionary):
                found += _structure(child)
    return found


def test_headings_tables_lists_and_charts_are_what_they_are_to_a_screen_reader() -> None:
    with pikepdf.open(io.BytesIO(made().content)) as pdf:
        kinds = _structure(pdf.Root.StructTreeRoot)
    names = [kind for kind, _ in kinds]
    for kind in ("/H1", "/H2", "/Table", "/TH", "/TD", "/L", "/LI"):
        assert kind in names, kind
    charts = [alternative for kind, alternative in kinds if kind == "/Figure"]
    assert len(charts) == 2
    assert charts[0] == "Open exposures by severity. Critical: 1, High: 1, Medium: 2, Low: 1."
    assert charts[1].endswith("May 26: 0, Jun 26: 3.")


def test_only_our_own_fonts_are_in_it_and_each_is_embedded() -> None:
    with pikepdf.open(io.BytesIO(made().content)) as pdf:
        fonts = [
            one for one in pdf.objects if isinstance(one, pikepdf.Dictionary) and one.get("/Type") == "/FontDescriptor"
        ]
        names = {str(font.FontName) for font in fonts}
        assert all("/FontFile2" in font or "/FontFile3" in font for font in fonts)
    assert names
    assert all("Kordant" in name or "Noto" in name for name in names), names


def test_the_same_content_gives_the_same_bytes() -> None:
    assert render(write_report(typical(), OPENED)).content == made().content


def test_nothing_about_the_file_but_its_pages_names_the_person() -> None:
    with pikepdf.open(io.BytesIO(made().content)) as pdf:
        about = f"{dict(pdf.docinfo)} {pdf.open_metadata()}"
    assert "Jane" not in about
    assert "watched" not in about


def test_the_text_in_the_pdf_equals_the_figures() -> None:
    text = text_of(made())
    for part in (
        "3 new exposures of your data",
        "j•••@watched.example",
        "+1 ••• ••• 0143",
        "Adobe",
        "with a readable password",
        "2 collections of stolen data could not be read yet.",
        "Collection of unknown origin",
        "June 1, 2026 to June 30, 2026",
    ):
        assert part in text, part
    assert "jane.roe" not in text


def test_portuguese_is_portuguese_throughout() -> None:
    text = shown(typical("pt-BR"))
    for part in (
        "3 novas exposições",
        "1 de junho de 2026 a 30 de junho",
        "Troque a senha",
        "com uma senha legível",
    ):
        assert part in text, part


@pytest.mark.parametrize("reason", ["1 breach dump could not be read yet", "the source of tomorrow was down"])
def test_an_unknown_is_never_an_all_clear(reason: str) -> None:
    text = shown(figures(sources=(source(Verdict.CLEAN), replace(source(Verdict.UNKNOWN, reason), source="hibp"))))
    assert "This is no all clear" in text
    assert "Nothing was found, but not everything could be checked" in text


def test_nothing_found_anywhere_is_said_plainly() -> None:
    assert "Every source was checked in this period, and none of them holds your data." in shown(figures())


def test_an_exposed_report_with_a_gap_says_that_there_may_be_more() -> None:
    assert "there may be more" in shown(typical())
    assert "there may be more" not in shown(figures(exposure(1)))


def test_names_and_titles_are_text_whatever_is_in_them() -> None:
    html = html_of(
        write_report(
            figures(exposure(1, title="<script>alert(1)</script>")), replace(OPENED, name='<img src="file:///x">')
        )
    )
    assert "<script>" not in html
    assert "<img" not in html


def test_a_name_from_right_to_left_and_a_title_of_300_characters_are_rendered() -> None:
    pdf = render(write_report(figures(exposure(1, title="x" * 300)), replace(OPENED, name="يوسف דוד")))
    assert pdf.pages <= 2
    assert "يوسف" in text_of(pdf)


WITHOUT_PANGO = """
from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.renderer import render
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, figures
try:
    render(write_report(figures(), OPENED))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_machine_without_pango_gets_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "weasyprint.py").write_text("print('advice ' * 99); raise OSError('cannot load library pango')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANGO], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("SetupError PDF reports need the Pango library")
    assert run.stdout.count("\n") == 1
