"""A report's content as HTML, or directly as PDF. `layout.py` turns HTML into PDF.

Fonts that a report needs besides its own are found by its characters; they are Python packages (Noto, OFL), so that the
same report has the same bytes on every machine. Characters that no font has are replaced.
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from html import escape
from importlib.resources import files

from anyascii import anyascii
from jinja2 import Environment, PackageLoader, StrictUndefined

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.reports_generate.content import ReportContent
from kordant_jobs.jobs.reports_generate.layout import Pdf, ReportPage, lay_out
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


@dataclass(frozen=True)
class Font:
    """A font file in a package, under a family name that no machine has, for the characters that match `pattern`."""

    family: str
    package: str
    file: str
    pattern: re.Pattern[str]

    @property
    def path(self) -> str:
        """The path of the font file."""
        return str(files(self.package).joinpath(self.file))


def _noto(script: str, ranges: str) -> Font:
    pattern = re.compile(f"[{ranges}]")
    return Font(f"Kordant {script}", "manimgx_fonts", f"NotoSans{script}[wght].ttf", pattern)


OWN = tuple(
    Font(f"Kordant {script or 'Text'}", __package__, f"fonts/NotoSans{script}-Regular.ttf", re.compile("."))
    for script in ("", "Hebrew", "Arabic")
)
"""The report's own fonts, always loaded."""

MORE = (
    _noto("Armenian", "\u0530-\u058f\ufb13-\ufb17"),
    _noto("Devanagari", "\u0900-\u097f\ua8e0-\ua8ff\u1cd0-\u1cff"),
    _noto("Bengali", "\u0980-\u09ff"),
    _noto("Gurmukhi", "\u0a00-\u0a7f"),
    _noto("Gujarati", "\u0a80-\u0aff"),
    _noto("Oriya", "\u0b00-\u0b7f"),
    _noto("Tamil", "\u0b80-\u0bff"),
    _noto("Telugu", "\u0c00-\u0c7f"),
    _noto("Kannada", "\u0c80-\u0cff"),
    _noto("Malayalam", "\u0d00-\u0d7f"),
    _noto("Sinhala", "\u0d80-\u0dff"),
    _noto("Thai", "\u0e00-\u0e7f"),
    _noto("Lao", "\u0e80-\u0eff"),
    _noto("Myanmar", "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"),
    _noto("Georgian", "\u10a0-\u10ff\u1c90-\u1cbf\u2d00-\u2d2f"),
    _noto("Ethiopic", "\u1200-\u139f\u2d80-\u2ddf\uab00-\uab2f"),
    _noto("Khmer", "\u1780-\u17ff\u19e0-\u19ff"),
    _noto("Arabic", "\u0600-\u06ff\u0750-\u077f\u0870-\u08ff\ufb50-\ufdff\ufe70-\ufefe"),
    Font(
        "Kordant CJK",
        "noto_cjk_sans_jp_regular",
        "NotoSansCJKjp-Regular.otf",
        re.compile(
            "[\u1100-\u11ff\u2e80-\u31ff\u3200-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f"
            "\uff00-\uffef\U00020000-\U0003ffff]"
        ),
    ),
    Font(
        "Kordant Emoji",
        "manimgx_fonts",
        "NotoEmoji[wght].ttf",
        re.compile("[\u200d\u203c-\u3299\ufe0f\U0001f000-\U0001faff\U000e0020-\U000e007f]"),
    ),
    _noto("Symbols", "\u2000-\u2bff\U0001f100-\U0001f2ff"),
)
"""The fonts that are loaded when a report has their characters. Chinese names are also shown in Japanese forms."""

_FIRST_RARE = "\u0250"
"""Below it, a report's own font has every character that XML allows."""


@lru_cache(maxsize=len(OWN) + len(MORE))
def characters_of(font: Font) -> frozenset[int]:
    """The code points that a font has a glyph for."""
    from fontTools.ttLib import TTFont

    with TTFont(font.path, lazy=True) as file:
        return frozenset(file["cmap"].getBestCmap())


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The fonts that the characters of a text need, and the `missing` characters that no font has."""

    fonts: tuple[Font, ...] = ()
    missing: frozenset[str] = frozenset()


def needs_of(text: str) -> Needs:
    """The fonts that a text needs besides a report's own.

    >>> [font.family for font in needs_of("Jane 山田 สมชาย").fonts], needs_of("Jane Åžůñ Ελένη Иван").fonts
    (['Kordant Thai', 'Kordant CJK'], ())
    """
    rare = {one for one in set(text) if one >= _FIRST_RARE and not _is_silent(one)}
    left = {one for one in rare if not any(ord(one) in characters_of(font) for font in OWN)}
    fonts = []
    for font in MORE:
        found = {one for one in left if font.pattern.match(one) and ord(one) in characters_of(font)}
        if found:
            fonts.append(font)
            left -= found
    return Needs(fonts=tuple(fonts), missing=frozenset(left))


def _is_silent(character: str) -> bool:
    """True for a character without a glyph of its own: joiners, direction marks, variation selectors, blanks."""
    return unicodedata.category(character) in {"Cf", "Cc", "Zs", "Zl", "Zp"} or "\ufe00" <= character <= "\ufe0f"


def in_latin(html: str, missing: Collection[str]) -> str:
    """`html` with each missing character in Latin letters, or a question mark where there are none for it.

    >>> in_latin("<b>ᏣᎳᎩ</b>", set("ᏣᎳᎩ"))
    '<b>TsaLaGi</b>'
    """
    return html.translate({ord(one): escape(anyascii(one).strip() or "?") for one in missing})
