"""The text of a mail about bank accounts: connections that need their owner, consents that end, stale data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kordant_jobs.domain.finance.states import ConsentEnd, NoticeKind
from kordant_jobs.domain.insights.insight import Kind
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.news import NewsLine, NewsMessage, write_news
from kordant_jobs.store.finance.notices import FinanceNoticeRow
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line

YOURS = frozenset({NoticeKind.NEEDS_USER, NoticeKind.CONSENT_EXPIRING, NoticeKind.CONSENT_ENDED})


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


def _text(words: Wording, row: FinanceNoticeRow) -> str:
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
    needing = sum(NoticeKind(row.kind) in YOURS for row in rows)
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
        [(NewsLine(about=_about(words, row), text=_text(words, row)), NoticeKind(row.kind) in YOURS) for row in rows],
        subject=finance_subject(words, rows),
        others_title=words.say("What there is to know"),
        more=lambda number: words.count("And one more.", "And %(number)s more.", number),
        why=words.say("You get this mail because you connected bank accounts to Kordant."),
    )
