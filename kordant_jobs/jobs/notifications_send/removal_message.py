"""The text of a mail about removal requests: what the subscriber must do, then what brokers have done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.jobs.notifications_send.news import NewsLine, NewsMessage, write_news
from kordant_jobs.store.removals.notices import RemovalNoticeRow
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line, removal_state

ASKED = frozenset({RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY})
YOURS = ASKED | {RemovalState.ESCALATED}


def _text(words: Wording, row: RemovalNoticeRow, *, has_page: bool) -> str:
    if row.state_now != row.state:  # what was said is not so any more
        return words.say("There is news in Kordant.")
    if row.is_unread:
        return words.say("It wrote again. We read what it says, and tell you then.")
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
        case state:
            said = removal_state(words, state)
            return f"{said[0].upper()}{said[1:]}."


def write_removal_message(
    rows: Sequence[RemovalNoticeRow],
    name: str,
    *,
    pages: Sequence[str],
    done_link: Callable[[UUID], str] | None = None,
) -> NewsMessage:
    """The text of one mail about these events. Events that are out of date are left out. `pages` are those to open, in
    the order of `rows`; `done_link` makes the address at which the subscriber reports that they did what a broker
    wanted."""
    words = wording(Locale(rows[0].locale))
    current = [row for row in rows if row.state_now == row.state] or list(rows)
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
