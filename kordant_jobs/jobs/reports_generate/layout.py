"""Turns HTML into PDF/UA-1 (ISO 14289-1: tagged, with language and title). The same page gives the same bytes: dates
and the document's id are given with the page, fonts come from `fonts/`. It imports little, since each renderer process
pays for it; `renderer.py` makes the HTML.

It repairs the structure of WeasyPrint's PDFs, which screen readers use: WeasyPrint tags page by page, so that the foot
of a page is text without an element, and a table over several pages becomes a separate table on each, with its header
read again. Here feet and repeated headers become artifacts, and such a table becomes one again.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kordant_jobs.errors import SetupError

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


def complete_structure(document: Any, pdf: Any) -> None:
    """Change the objects of a tagged PDF (pydyf's) before it is written; `document` is the document in layout."""
    objects = {one.number: one for one in pdf.objects}
    elements = {number: one for number, one in objects.items() if _is(one, "/StructElem")}
    tables = [one for _, one in sorted(elements.items()) if one["S"] == "/Table"]
    sources = [table for page in document.pages for table in _tables(page._page_box)]
    if len(tables) == len(sources):
        first: dict[int, Any] = {}
        for table, source in zip(tables, sources, strict=True):
            if first.setdefault(id(source), table) is not table:
                _go_on(first[id(source)], table, elements)
    root = next(one for one in objects.values() if _is(one, "/StructTreeRoot"))
    held = set(_held(root, objects))
    _make_artifacts([one for number, one in elements.items() if number not in held], root, objects)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, dict) and value.get("Type") == kind


def _number(reference: Any) -> int:
    return int(reference.split()[0])


def _tables(box: Any) -> Iterator[Any]:
    """The HTML elements of the tables in a box, in the order in which WeasyPrint tags them."""
    box = getattr(box, "_box", box)
    if getattr(box, "is_table_wrapper", False) and box.element_tag == "table":
        yield box.element
        return
    for child in getattr(box, "children", ()):
        yield from _tables(child)


def _go_on(first: Any, table: Any, elements: dict[int, Any]) -> None:
    """Move the rows of a table on a later page into the first page's table."""
    renamed = {}
    for reference in table["K"]:
        part = elements[_number(reference)]
        if part["S"] == "/THead":
            for cell in _cells(part, elements):
                if "ID" in cell:
                    old = cell["ID"].string
                    renamed[old] = old.replace(f"{table.number}-", f"{first.number}-", 1)
        else:
            part["P"] = first.reference
            first["K"].append(reference)
            for cell in _cells(part, elements):
                for head in cell.get("A", {}).get("Headers", ()):
                    head.string = renamed.get(head.string, head.string)
    elements[_number(table["P"])]["K"].remove(table.reference)


def _cells(element: Any, elements: dict[int, Any]) -> Iterator[Any]:
    for reference in element["K"]:
        child = elements.get(_number(reference)) if isinstance(reference, bytes) else None
        if child is not None:
            yield child
            yield from _cells(child, elements)


def _held(element: Any, objects: dict[int, Any]) -> Iterator[int]:
    """The numbers of all elements below an element."""
    for child in element.get("K", ()):
        if isinstance(child, bytes):
            yield _number(child)
            yield from _held(objects[_number(child)], objects)


def _make_artifacts(elements: list[Any], root: Any, objects: dict[int, Any]) -> None:
    """Mark the content of these elements as decoration, and empty them."""
    marks: dict[int, set[int]] = {}
    for one in elements:
        marks.setdefault(_number(one["Pg"]), set()).update(kid for kid in one["K"] if isinstance(kid, int))
        one.clear()
    numbers = objects[_number(root["ParentTree"])]["Nums"]
    by_page = dict(zip(numbers[::2], numbers[1::2], strict=True))
    for number, found in marks.items():
        page = objects[number]
        parents, text = by_page[page["StructParents"]], objects[_number(page["Contents"])].stream
        for mark in found:
            parents[mark] = b"null"
        for at, value in enumerate(text):
            if isinstance(value, dict) and value.get("MCID") in found:
                text[at - 1 : at + 2] = [b"/Artifact", b"", b"BMC"]
