"""A mail that lists news by the line: first what the subscriber must do, then what is only for information. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.wording import Wording
from kordant_jobs.wording.texts import one_line

LINES_MAX = 40


@dataclass(frozen=True, kw_only=True)
class NewsLine:
    """One line of news: its subject, what to do or what happened, and the page to open, if any."""

    about: str
    text: str
    page: str = ""
    done: str = ""
    """The link that reports that it was done, shown as `done_word`."""
    done_word: str = ""


@dataclass(frozen=True, kw_only=True)
class NewsMessage:
    """The parts of such a mail in the subscriber's language, as plain text without markup."""

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


def write_news(
    words: Wording,
    locale: Locale,
    name: str,
    lines: Sequence[tuple[NewsLine, bool]],
    *,
    subject: str,
    others_title: str,
    more: Callable[[int], str],
    why: str,
) -> NewsMessage:
    """The mail with these lines (True: the subscriber must act). `more` gives the sentence for the number left out,
    `why` the reason why the subscriber gets the mail."""
    yours = [line for line, is_yours in lines if is_yours]
    others = [line for line, is_yours in lines if not is_yours]
    left_out = max(0, len(yours) - LINES_MAX) + max(0, len(others) - LINES_MAX)
    return NewsMessage(
        locale=locale.value,
        subject=subject,
        preview=lines[0][0].text,
        severity=(Severity.MEDIUM if yours else Severity.LOW).value,
        greeting=words.say("Hello %(name)s,", name=one_line(name, 120)) if name.strip() else words.say("Hello,"),
        headline=subject,
        yours_title=words.say("Your turn"),
        yours=yours[:LINES_MAX],
        others_title=others_title,
        others=others[:LINES_MAX],
        more=more(left_out) if left_out else None,
        footer=[why, words.say("We never ask for a password, and no mail of ours needs one.")],
    )
