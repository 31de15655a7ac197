"""Turns HTML into PDF/UA-1 (ISO 14289-1: tagged, with language and title). The same page gives the same bytes: dates
and the document's id are given with the page, fonts come from `fonts/`. It imports little, since each renderer process
pays for it; `renderer.py` makes the HTML."""

from __future__ import annotations

import atexit
import os
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kordant_jobs.errors import SetupError
from kordant_jobs.jobs.reports_generate.structure import complete_structure

if TYPE_CHECKING:
    from weasyprint import CSS, HTML
    from weasyprint.text.fonts import FontConfiguration

HERE = files(__package__)

os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
"""fontTools stamps a subset font with this moment in place of now: the same report has the same bytes."""


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """A report before layout: its HTML (personal), the words around the page numbers, its id in the file."""

    html: str = field(repr=False)
    page_word: str
    of_word: str
    identifier: bytes
    fonts: tuple[tuple[str, str], ...] = ()
    """Families and files of the fonts that it needs besides those of the style sheet."""
    replaced: int = 0
    """The number of characters that no font has; they are written in Latin letters."""


@dataclass(frozen=True, kw_only=True)
class Pdf:
    """A finished report."""

    content: bytes = field(repr=False)
    pages: int
    replaced: int = 0
    """The number of characters that no font has; they are written in Latin letters."""


@lru_cache(maxsize=1)
def fonts() -> FontConfiguration:
    """The fonts of this process, loaded once. The machine's own fonts are excluded, since they differ by machine."""
    from weasyprint.text.fonts import FontConfiguration

    os.environ["FONTCONFIG_FILE"] = str(HERE.joinpath("fonts", "fonts.conf"))
    return FontConfiguration()


@atexit.register
def _free_fonts() -> None:
    """Free WeasyPrint's fonts before the interpreter unloads its modules, to avoid an error message at exit."""
    style.cache_clear()
    fonts.cache_clear()


@lru_cache
def style(page_word: str, of_word: str, more: tuple[tuple[str, str], ...] = ()) -> CSS:
    """The style sheet with these words and `more` fonts. It is cached in each process, since reading it loads the
    fonts."""
    return read_style(page_word, of_word, fonts(), more)


def read_style(page_word: str, of_word: str, fonts: FontConfiguration, more: tuple[tuple[str, str], ...] = ()) -> CSS:
    """The style sheet with these words, read again, with its fonts loaded into `fonts`."""
    from weasyprint import CSS

    sheet = HERE.joinpath("templates", "report.css").read_text("utf-8")
    faces = [f'@font-face {{ font-family: "{family}"; src: url("{Path(file).as_uri()}") }}\n' for family, file in more]
    families = "".join(f', "{family}"' for family, _ in more)
    return CSS(
        string="".join(faces)
        + sheet.replace("{page}", page_word).replace("{of}", of_word).replace("{families}", families),
        base_url=f"{HERE}/templates/",
        font_config=fonts,
    )


@lru_cache(maxsize=1)
def _browser_style() -> CSS:
    """A browser's default style of our tags; `templates/browser.css` explains why WeasyPrint's is not used."""
    from weasyprint import CSS

    return CSS(string=HERE.joinpath("templates", "browser.css").read_text("utf-8"))


def _parsed(page: ReportPage) -> HTML:
    """The page parsed for WeasyPrint. Our template is also XML, which Python parses in 1 ms where WeasyPrint's HTML
    parser takes 16; text that is not XML (a name with a control character) is still parsed as HTML."""
    from cssselect2 import ElementWrapper
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    nothing = URLFetcher(allowed_protocols=("none",))
    try:
        root = ElementTree.fromstring(page.html)  # noqa: S314 - our own template, with every value escaped
    except ElementTree.ParseError:
        return HTML(string=page.html, url_fetcher=nothing)
    document = HTML(string="", url_fetcher=nothing)
    document.wrapper_element = ElementWrapper.from_html_root(root, content_language=None)
    document.etree_element = root
    document._ua_stylesheets = lambda forms=False: [_browser_style()]
    return document


def finish(document: Any, pdf: Any) -> None:
    """Complete the structure, then store each object's bytes: the file's id is a hash over them, so they would
    otherwise be made and compressed twice."""
    import pydyf

    complete_structure(document, pdf)

    class Written(pydyf.Object):  # type: ignore[misc]  # pydyf has no types
        """An object in its final bytes."""

        data = b""

        def __init__(self, whole: Any) -> None:
            super().__init__()
            self.number, self.generation, self.data = whole.number, whole.generation, whole.data
            self._compressible = whole.compressible

        @property
        def compressible(self) -> bool:
            return bool(self._compressible)

    pdf.objects = [one if one.free == "f" else Written(one) for one in pdf.objects]


def lay_out(page: ReportPage) -> Pdf:
    """Lay the page out and write it.

    Raises:
        SetupError: WeasyPrint or the libraries that it needs are missing.
    """
    try:
        with redirect_stdout(StringIO()):  # it prints a page of advice when a library is missing
            import weasyprint  # noqa: F401 - only whether it can be imported
    except (ImportError, OSError):
        raise SetupError(
            "PDF reports need the Pango library, which is missing. Run `python3 -m kordant_jobs demo` once, which "
            "fetches it, or install it (Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0)."
        ) from None
    document = _parsed(page).render(
        font_config=fonts(), stylesheets=[style(page.page_word, page.of_word, page.fonts)], pdf_variant="pdf/ua-1"
    )
    raw = document.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=page.identifier, finisher=finish)
    if raw is None:
        raise SetupError("WeasyPrint gave no PDF. Install the version that requirements.lock names.")
    return Pdf(content=raw, pages=len(document.pages), replaced=page.replaced)
