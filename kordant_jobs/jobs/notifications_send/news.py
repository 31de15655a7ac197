"""The shape of a mail that tells news by the line: what needs the subscriber, then what is only to be known. Pure."""

from __future__ import annotations

from dataclasses import dataclass

LINES_MAX = 40


@dataclass(frozen=True, kw_only=True)
class NewsLine:
    """One piece of news: what it is about, what to do or what happened, and the page to open, if any."""

    about: str
    text: str
    page: str = ""


@dataclass(frozen=True, kw_only=True)
class NewsLetter:
    """The parts of such a mail, all in the subscriber's language, none of it marked up."""

    locale: str
    subject: str
    preview: str
    severity: str
    greeting: str
    headline: str
    yours_title: str
    yours: list[NewsLine]
    others_title: str
    others: list[NewsLine]
    more: str | None
    footer: list[str]
