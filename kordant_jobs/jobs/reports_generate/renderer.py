"""A report's content as HTML, or directly as PDF. `layout.py` turns HTML into PDF."""

from dataclasses import asdict, replace
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.reports_generate.content import ReportContent
from kordant_jobs.jobs.reports_generate.layout import Pdf, ReportPage, lay_out
from kordant_jobs.jobs.reports_generate.scripts import in_latin, needs_of
from kordant_jobs.wording import wording


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
    """The report as HTML before layout. It is also well-formed XML."""
    return _templates(Locale(content.lang)).get_template("report.html").render(asdict(content))


def page_of(content: ReportContent) -> ReportPage:
    """The page of a report; any process can lay it out."""
    words = wording(Locale(content.lang))
    html = html_of(content)
    needs = needs_of(html)
    if needs.missing:
        note = words.count(
            "One character is in none of our fonts; it is written in Latin letters.",
            "%(number)s characters are in none of our fonts; they are written in Latin letters.",
            len(needs.missing),
        )
        html = in_latin(html_of(replace(content, notes=[*content.notes, note])), needs.missing)
    return ReportPage(
        html=html,
        page_word=words.say("Page"),
        of_word=words.say("of"),
        identifier=content.identifier,
        fonts=tuple((font.family, font.path) for font in needs.fonts),
        replaced=len(needs.missing),
    )


def render(content: ReportContent) -> Pdf:
    """Lay the report out and write it, in this process.

    Raises:
        SetupError: WeasyPrint or the libraries that it needs are missing.
    """
    return lay_out(page_of(content))
