"""The words of a mail about removal requests: what needs the subscriber, then what brokers are done with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.jobs.notifications_send.alert_message import one_line
from kordant_jobs.jobs.notifications_send.news import NewsLine, NewsMessage, write_news
from kordant_jobs.store.removals.notices import RemovalNoticeRow
from kordant_jobs.wording import Wording, wording

ASKED = frozenset({RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY})
YOURS = ASKED | {RemovalState.ESCALATED}


def _text(words: Wording, row: RemovalNoticeRow, *, has_page: bool) -> str:
    match RemovalState(row.state):
        case RemovalState.NEEDS_IDENTITY if has_page and row.verification_encrypted is not None:
            return words.say("It asks you to prove who you are, on its own page. We send no proof by ourselves.")
        case RemovalState.NEEDS_IDENTITY:
            return words.say("It asks for more proof of who you are. We send none by ourselves: decide in Kordant.")
        case RemovalState.NEEDS_USER_ACTION:
            return {
                "confirmation_link": words.say("It wants you to confirm the request by its link. Open it in Kordant."),
                "agent_not_accepted": words.say(
                    "It takes requests from you only: write to it yourself. Kordant has the text ready."
                ),
                "form_may_be_posted": words.say("We may have filled in its form, and got no answer. Please check."),
            }.get(row.reason, words.say("It takes requests by its form only. Kordant shows the steps."))
        case RemovalState.ESCALATED if row.asked_by == RemovalChannel.WEB_FORM:
            return words.say("Its time to answer is over. If it did not answer you, a complaint is ready for you.")
        case RemovalState.ESCALATED:
            return words.say("It did not do what it has to. A complaint to the authority is ready for you.")
        case RemovalState.COMPLETED if not row.can_check:
            return words.say("It says that your data was removed. Its site cannot be searched by us.")
        case RemovalState.COMPLETED:
            return words.say("It says that your data was removed. We check that ourselves.")
        case RemovalState.VERIFIED_REMOVED:
            return words.say("Removed: our own check finds you there no more.")
        case RemovalState.NO_MATCH:
            return words.say("It says that it holds nothing about you.")
        case RemovalState.EXEMPT:
            return words.say("It keeps your data under a law that lets it.")
        case RemovalState.DENIED:
            return words.say("It refused the request.")
        case _:
            return words.say("There is news in Kordant.")


def write_removal_message(
    rows: Sequence[RemovalNoticeRow],
    name: str,
    *,
    pages: Sequence[str],
    done_link: Callable[[UUID], str] | None = None,
) -> NewsMessage:
    """The words of one mail about these events. `pages` are those to open, in the order of `rows`; `done_link` makes
    the address at which the subscriber says that they did what a broker wanted. What needed the subscriber and does so
    no more is left out."""
    words = wording(Locale(rows[0].locale))
    current = [row for row in rows if row.state not in YOURS or row.state_now == row.state] or list(rows)
    newest = {row.request_id: row for row in current}.values()
    page_of = {row.id: page for row, page in zip(rows, pages, strict=True)}
    lines = [
        (
            NewsLine(
                about=one_line(row.broker_name, 80),
                text=_text(words, row, has_page=bool(page_of[row.id])),
                page=page_of[row.id] if row.state in ASKED else "",
                done=done_link(row.request_id) if done_link and row.state in ASKED else "",
                done_word=words.say("Done? Say so here"),
            ),
            row.state in YOURS,
        )
        for row in newest
    ]
    needing = sum(is_yours for _, is_yours in lines)
    subject = (
        words.count("%(number)s data broker needs you", "%(number)s data brokers need you", needing)
        if needing
        else words.count("News of %(number)s data broker", "News of %(number)s data brokers", len(lines))
    )
    return write_news(
        words,
        Locale(rows[0].locale),
        name,
        lines,
        subject=subject,
        others_title=words.say("What became of your requests"),
        more=lambda number: words.count("And one more broker.", "And %(number)s more brokers.", number),
        why=words.say("You get this mail because Kordant asks data brokers to delete your data."),
    )
