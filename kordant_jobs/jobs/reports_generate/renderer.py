"""A report's content as PDF/UA-1 (ISO 14289-1: tagged, with language and title). The same content gives the same
bytes: dates and the document's id come from the content, fonts from `fonts/`."""

from __future__ import annotations

import atexit
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from io import StringIO
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from kordant_jobs.domain.subscriptions import Locale
from kordant_jobs.errors import SetupError
from kordant_jobs.jobs.reports_generate.content import ReportContent
from kordant_jobs.jobs.reports_generate.wording import wording

if TYPE_CHECKING:
    from weasyprint import CSS  # type: ignore[import-untyped]
    from weasyprint.text.fonts import FontConfiguration  # type: ignore[import-untyped]

HERE = files(__package__)


@dataclass(frozen=True, kw_only=True)
class Pdf:
    """A finished report."""

    content: bytes
    pages: int


@lru_cache(maxsize=len(Locale))
def _templates(locale: Locale) -> Environment:
    """Jinja with the words of `locale` as `say`."""
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["say"] = wording(locale).say
    return environment


def html_of(content: ReportContent) -> str:
    """The report as HTML, before it is laid out."""
    return _templates(Locale(content.lang)).get_template("report.html").render(asdict(content))


@lru_cache(maxsize=1)
def _fonts() -> FontConfiguration:
    from weasyprint.text.fonts import FontConfiguration

    return FontConfiguration()


@atexit.register
def _let_go_of_fonts() -> None:
    """WeasyPrint's fonts must be gone before the interpreter's modules are, or it complains while going."""
    _style.cache_clear()
    _fonts.cache_clear()


@lru_cache(maxsize=len(Locale))
def _style(locale: Locale) -> CSS:
    """The style sheet with the page numbers in `locale`; read once a process, since it loads the fonts."""
    from weasyprint import CSS

    sheet = HERE.joinpath("templates", "report.css").read_text("utf-8")
    page, of = wording(locale).say("Page"), wording(locale).say("of")
    return CSS(
        string=sheet.replace("{page}", page).replace("{of}", of), base_url=f"{HERE}/templates/", font_config=_fonts()
    )


def render(content: ReportContent) -> Pdf:
    """Lay the report out and write it.

    Raises:
        SetupError: WeasyPrint or the libraries that it needs are missing.
    """
    try:
        with redirect_stdout(StringIO()):  # it prints a page of advice when a library is missing
            from weasyprint import HTML
        from weasyprint.urls import URLFetcher  # type: ignore[import-untyped]
    except (ImportError, OSError):
        raise SetupError(
            "PDF reports need the Pango library, which is missing. Run `python3 -m kordant_jobs demo` once, which "
            "fetches it, or install it (Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0)."
        ) from None
    locale = Locale(content.lang)
    nothing = URLFetcher(allowed_protocols=("none",))
    document = HTML(string=html_of(content), url_fetcher=nothing).render(
        font_config=_fonts(), stylesheets=[_style(locale)], pdf_variant="pdf/ua-1"
    )
    raw = document.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=content.identifier)
    if raw is None:
        raise SetupError("WeasyPrint gave no PDF. Install the version that requirements.lock names.")
    return Pdf(content=raw, pages=len(document.pages))
