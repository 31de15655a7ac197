"""Mails that list news by the line, first what the subscriber must do, then what is only for information: about bank
accounts, and about removal requests. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kordant_jobs.domain.finance.states import ConsentEnd, NoticeKind
from kordant_jobs.domain.insights.insight import Kind
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.jobs.notifications_send.alert_message import MailText, greeting
from kordant_jobs.store.finance.notices import FinanceNoticeRow
from kordant_jobs.store.removals.notices import RemovalNoticeRow
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line, removal_state

LINES_MAX = 40


@dataclass(frozen=True, kw_only=True)
class NoticeLine:
    """One line of news: its subject, what to do or what happened, and the page to open, if any."""

    about: str
    text: str
    page: str = ""
    done: str = ""
    """The link that reports that it was done, shown as `done_word`."""
    done_word: str = ""


@dataclass(frozen=True, kw_only=True)
class NewsMessage(MailText):
    """Such a mail."""

    yours_title: str
    yours: list[NoticeLine]
    no_action_title: str
    others: list[NoticeLine]
    more: str | None


def write_news(
    words: Wording,
    locale: Locale,
    name: str,
    lines: Sequence[tuple[NoticeLine, bool]],
    *,
    subject: str,
    no_action_title: str,
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
        greeting=greeting(words, name),
        headline=subject,
        yours_title=words.say("Your turn"),
        yours=yours[:LINES_MAX],
        no_action_title=no_action_title,
        others=others[:LINES_MAX],
        more=more(left_out) if left_out else None,
        footer=[why, words.say("We never ask for a password, and no mail of ours needs one.")],
    )


FINANCE_YOURS = frozenset({NoticeKind.NEEDS_USER, NoticeKind.CONSENT_EXPIRING, NoticeKind.CONSENT_ENDED})


def _needs(words: Wording, reason: str) -> str:
    return {
        "login_error": words.say(
            "Your bank refused the log-in. Connect it again in Kordant; we do not try by ourselves."
        ),
        "account_locked": words.say("Your bank has locked the access. Unlock it there, then connect it again."),
        "mfa_needed": words.say("Your bank asks for a code that only you have. Confirm it in Kordant."),
        "consent_pending": words.say("Your bank waits for you to confirm the consent in its app."),
        "consent_not_granted": words.say("The consent was not given at your bank. Start again if you want it."),
    }.get(reason, words.say("Your bank needs you before we can read on. Open the connection in Kordant."))


def _ended(words: Wording, reason: str) -> str:
    return {
        ConsentEnd.CONSENT_EXPIRED: words.say(
            "The consent has expired. Renew it to go on; until then nothing is read."
        ),
        ConsentEnd.CONSENT_MAX_DATE_REACHED: words.say(
            "The consent has reached the longest term that is allowed. Give a new one to go on."
        ),
        ConsentEnd.CUSTOMER_MANUALLY_REVOKED: words.say(
            "You revoked the consent. Nothing is read any more, and the data goes within 30 days."
        ),
        ConsentEnd.CUSTOMER_MANUALLY_REJECTED: words.say("You declined the consent. Nothing is read."),
        ConsentEnd.CONSENT_TECHNICAL_ISSUE: words.say(
            "Your bank ended the consent for a technical reason. Give a new one."
        ),
        ConsentEnd.INTERNAL_SECURITY_REASON: words.say("Your bank ended the consent for its security. Ask your bank."),
    }.get(ConsentEnd(reason), words.say("The consent has ended. Give a new one to go on."))


def _insight(words: Wording, kind: str) -> str:
    """The sentence about an insight, without its amounts: these are shown in Kordant."""
    return {
        Kind.PRICE_RISE.value: words.say(
            "Something that you pay for regularly has become dearer. See by how much in Kordant."
        ),
        Kind.DUPLICATE.value: words.say("You may have been charged twice. Look at both charges in Kordant."),
        Kind.UNUSUAL.value: words.say("A charge is far above what you usually pay there. See it in Kordant."),
        Kind.FORECAST.value: words.say("Your balance may fall below zero within 30 days. See why in Kordant."),
    }.get(kind, words.say("There is news in Kordant."))


def _finance_text(words: Wording, row: FinanceNoticeRow) -> str:
    reason = str(row.facts.get("reason", ""))
    match NoticeKind(row.kind):
        case NoticeKind.NEEDS_USER:
            return _needs(words, reason)
        case NoticeKind.CONSENT_ENDED:
            return _ended(words, reason if reason in set(ConsentEnd) else ConsentEnd.OTHER)
        case NoticeKind.CONSENT_EXPIRING:
            day = words.day(datetime.fromisoformat(str(row.facts["expires_at"])).date())
            return words.say(
                "The consent ends on %(day)s. Renew it in your bank's app, so that nothing is missing.", day=day
            )
        case NoticeKind.STALE:
            day = words.day(datetime.fromisoformat(str(row.facts["data_as_of"])).date())
            return words.say("Its data has not been refreshed since %(day)s. What we show may be out of date.", day=day)
        case NoticeKind.QUARANTINE:
            return words.say("What it sent does not fit what we know. We left your data as it was, and look into it.")
        case NoticeKind.INSIGHT:
            return _insight(words, str(row.facts.get("kind", "")))


def _about(words: Wording, row: FinanceNoticeRow) -> str:
    """The bank's name; where the provider has only a number for it, general words."""
    bank = str(row.facts.get("institution") or "")
    if any(sign.isalpha() for sign in bank):
        return one_line(bank, 80)
    return words.say("Your accounts") if NoticeKind(row.kind) is NoticeKind.INSIGHT else words.say("Your bank")


def finance_subject(words: Wording, rows: Sequence[FinanceNoticeRow]) -> str:
    """The subject line of the mail. It names no bank."""
    needing = sum(NoticeKind(row.kind) in FINANCE_YOURS for row in rows)
    if needing:
        return words.count("%(number)s bank connection needs you", "%(number)s bank connections need you", needing)
    return words.count("News of %(number)s bank account", "News of %(number)s bank accounts", len(rows))


def write_finance_message(rows: Sequence[FinanceNoticeRow], name: str) -> NewsMessage:
    """The text of one mail about these notices."""
    words = wording(Locale(rows[0].locale))
    return write_news(
        words,
        Locale(rows[0].locale),
        name,
        [
            (
                NoticeLine(about=_about(words, row), text=_finance_text(words, row)),
                NoticeKind(row.kind) in FINANCE_YOURS,
            )
            for row in rows
        ],
        subject=finance_subject(words, rows),
        no_action_title=words.say("What there is to know"),
        more=lambda number: words.count("And one more.", "And %(number)s more.", number),
        why=words.say("You get this mail because you connected bank accounts to Kordant."),
    )


ASKED = frozenset({RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY})
REMOVAL_YOURS = ASKED | {RemovalState.ESCALATED}


def _removal_text(words: Wording, row: RemovalNoticeRow, *, has_page: bool) -> str:
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
            NoticeLine(
                about=one_line(row.broker_name, 80),
                text=_removal_text(words, row, has_page=bool(page_of[row.id])),
                page=page_of[row.id] if row.state in ASKED else "",
                done=done_link(row.request_id) if done_link and row.state in ASKED else "",
                done_word=words.say("Done? Say so here"),
            ),
            row.state in REMOVAL_YOURS,
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
        no_action_title=words.say("What became of your requests"),
        more=lambda number: words.count("And one more broker.", "And %(number)s more brokers.", number),
        why=words.say("You get this mail because Kordant asks data brokers to delete your data."),
    )
