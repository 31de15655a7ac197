"""Names in every script are readable, in our own fonts, with the same bytes everywhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace

import pikepdf
import pytest

from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.renderer import MORE, OWN, characters_of, needs_of, page_of, render
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, typical

NAMES = {
    "山田太郎": "NotoSansCJK", "김철수": "NotoSansCJK", "王小明": "NotoSansCJK", "さくら": "NotoSansCJK",
    "สมชาย": "NotoSansThai", "राम कुमार": "NotoSansDevanagari", "রহিম": "NotoSansBengali", "გიორგი": "NotoSansGeorgian",
    "Արամ": "NotoSansArmenian", "தமிழ்": "NotoSansTamil", "😀": "NotoEmoji", "👨\u200d👩\u200d👧": "NotoEmoji",
}  # fmt: skip


def report(name: str) -> bytes:
    return render(write_report(typical(), replace(OPENED, name=name))).content


def fonts_in(content: bytes) -> set[str]:
    with pikepdf.open(io.BytesIO(content)) as pdf:
        return {
            str(one.FontName).lower()
            for one in pdf.objects
            if isinstance(one, pikepdf.Dictionary) and one.get("/Type") == "/FontDescriptor"
        }


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_set_in_a_font_that_has_it(name: str) -> None:
    page = page_of(write_report(typical(), replace(OPENED, name=name)))
    assert page.replaced == 0
    assert NAMES[name] in page.fonts[0][1]
    plain, own = fonts_in(report("Jane")), fonts_in(report(name))
    assert own - plain, "one more font than Latin needs"
    assert all("kordant" in one or "noto" in one for one in own), own


@pytest.mark.parametrize("name", ["Jane", "José Åžůñ", "Ελένη", "Иван", "محمد", "דוד"])
def test_a_name_in_our_own_fonts_loads_no_other(name: str) -> None:
    assert page_of(write_report(typical(), replace(OPENED, name=name))).fonts == ()


def test_a_character_that_no_font_has_is_written_in_latin_counted_and_said() -> None:
    content = write_report(typical("pt-BR"), replace(OPENED, name="ᏣᎳᎩ"))
    page = page_of(content)
    assert page.replaced == render(content).replaced == 3
    assert "TsaLaGi" in page.html
    assert "3 caracteres não existem em nossas fontes" in page.html
    assert "Ꮳ" not in page.html


def test_the_bytes_do_not_hang_on_what_the_process_made_before() -> None:
    before = report("Jane")
    for name in ("😀", "สมชาย"):
        report(name)
    assert report("Jane") == before


def test_the_fonts_of_the_machine_are_shut_out() -> None:
    """A process of its own asks fontconfig for every font, once ours are set up as a report sets them up."""
    code = (
        "from kordant_jobs.jobs.reports_generate import layout; layout.fonts(); import ctypes, os\n"
        "lib = ctypes.CDLL('libfontconfig.so.1'); lib.FcInitLoadConfigAndFonts.restype = ctypes.c_void_p\n"
        "lib.FcConfigGetFonts.restype = ctypes.POINTER(ctypes.c_int)\n"
        "lib.FcConfigGetFonts.argtypes = [ctypes.c_void_p, ctypes.c_int]\n"
        "found = lib.FcConfigGetFonts(lib.FcInitLoadConfigAndFonts(), 0); print(found[0] if found else 0)"
    )
    environ = {name: value for name, value in os.environ.items() if name != "FONTCONFIG_FILE"}
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "0", run.stdout


def test_every_font_of_the_table_is_there_and_has_what_it_is_listed_for() -> None:
    for font in (*OWN, *MORE):
        assert any(font.pattern.match(chr(one)) for one in characters_of(font)), font.family
    assert needs_of("é\u200f\u202a\ufe0f") == needs_of("")
