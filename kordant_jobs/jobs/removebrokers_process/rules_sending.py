"""Decides the next state of a message to a broker, and of its request. Pure."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.clocks import Ask, Law, deadlines
from kordant_jobs.domain.removals.replies import MessageKind, MessageStatus
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.jobs.removebrokers_process.rules import after_day
from kordant_jobs.ports import DeliveryOutcome, RightsStatus, WebOutcome

RETRY_AFTER = timedelta(hours=4)
TRY_MOST_DAYS = 5
"""RFC 5321 §4.5.4.1 asks for 4 to 5 days before a mail is given up."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """The result for a message: its status and code, when it is tried again, and where its request goes (None: it
    stays). `fault` says that the broker's contact does not work; `is_handed_over` False: nothing was disclosed."""

    status: MessageStatus
    code: str
    to: RemovalState | None = None
    reason: str = ""
    again_at: datetime | None = None
    fault: bool = False
    is_handed_over: bool = True


def after_mail(
    outcome: DeliveryOutcome,
    code: str | None,
    *,
    kind: str,
    age: timedelta,
    now: datetime,
    is_handed_over: bool = True,
) -> Fate:
    """After a mail was given to the server. What may have arrived is sent again under the same Message-ID."""
    is_request = kind == MessageKind.REQUEST
    if outcome is DeliveryOutcome.DELIVERED:
        return Fate(
            status=MessageStatus.SENT, code=code or "taken", to=RemovalState.SENT if is_request else None, reason="sent"
        )
    passing = outcome in {DeliveryOutcome.DEFERRED, DeliveryOutcome.UNCERTAIN}
    if passing and age < timedelta(days=TRY_MOST_DAYS):
        return Fate(
            status=MessageStatus.QUEUED,
            code=code or "deferred",
            again_at=now + RETRY_AFTER,
            is_handed_over=is_handed_over,
        )
    return Fate(
        status=MessageStatus.FAILED,
        is_handed_over=is_handed_over,
        code=code or outcome.value,
        to=RemovalState.BOUNCED if is_request else None,
        reason="address_dead" if outcome is DeliveryOutcome.NO_SUCH_ADDRESS else "mail_refused",
        fault=outcome is DeliveryOutcome.NO_SUCH_ADDRESS,
    )


def after_post(outcome: WebOutcome) -> Fate:
    """After a form was posted. One that may have been accepted is not posted again: a person checks it."""
    if outcome.done:
        return Fate(status=MessageStatus.SENT, code=outcome.code, to=RemovalState.SENT, reason="form_posted")
    if outcome.uncertain:
        return Fate(
            status=MessageStatus.UNCERTAIN,
            code=outcome.code,
            to=RemovalState.NEEDS_USER_ACTION,
            reason="form_may_be_posted",
        )
    return Fate(
        status=MessageStatus.FAILED,
        code=outcome.code,
        to=RemovalState.BOUNCED,
        reason="form_refused",
        fault=True,
        is_handed_over=outcome.is_handed_over,
    )


def after_no_rights(code: str, *, is_passing: bool, age: timedelta, now: datetime, is_handed_over: bool = True) -> Fate:
    """After a business of the Data Rights Protocol did not take a request: again later while that may help, at most
    `TRY_MOST_DAYS`; then another channel."""
    if is_passing and age < timedelta(days=TRY_MOST_DAYS):
        return Fate(status=MessageStatus.QUEUED, code=code, again_at=now + RETRY_AFTER, is_handed_over=is_handed_over)
    return Fate(
        status=MessageStatus.FAILED,
        code=code,
        to=RemovalState.BOUNCED,
        reason="drp_refused",
        fault=True,
        is_handed_over=is_handed_over,
    )


RIGHTS_MOVES: dict[str, RemovalState | None] = {
    "open": RemovalState.ACKNOWLEDGED,
    "in_progress": RemovalState.IN_PROGRESS,
    "need_user_verification": RemovalState.NEEDS_IDENTITY,
    "fulfilled": RemovalState.COMPLETED,
    "revoked": RemovalState.CANCELLED,
    "denied": RemovalState.DENIED,
    "expired": RemovalState.OVERDUE,
}
"""The states of the Data Rights Protocol, as ours."""


RUNNING = frozenset({"open", "in_progress"})


def of_rights(status: RightsStatus, *, answer_by_on: date | None = None) -> tuple[RemovalState | None, str]:
    """Our state and its reason for a status of the protocol. One that is not known moves nothing. A business that
    expects to be done only after its last day took the law's extension.

    >>> of_rights(RightsStatus(request_id="1", state="denied", reason="no_match"))
    (<RemovalState.NO_MATCH: 'no_match'>, 'no_match')
    """
    if status.state == "denied" and status.reason == "no_match":
        return RemovalState.NO_MATCH, "no_match"
    if status.state in RUNNING and status.expected_by and answer_by_on and status.expected_by.date() > answer_by_on:
        return RemovalState.EXTENDED, "drp_extended"
    state = RIGHTS_MOVES.get(status.state)
    return state, status.reason or ("other" if status.state == "denied" else f"drp_{status.state}")


def extended_to(status: RightsStatus, law: Law, ask: Ask, sent_on: date) -> date | None:
    """The last day of an extension: the one that the business names, at most the one that the law allows (None where it
    allows no extension)."""
    at_most = deadlines(law, ask, sent_on).extended_by_on
    return min(status.expected_by.date(), at_most) if status.expected_by and at_most else None


def verification_page(status: RightsStatus) -> str | None:
    """The page where the subscriber proves who they are to the business: an https address, and only while it asks for
    that.

    >>> verification_page(RightsStatus(request_id="1", state="open", user_verification_url="https://b.com/v"))
    """
    page = status.user_verification_url if status.state == "need_user_verification" else None
    return page if page and re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?([/?][!-~]*)?", page) else None


def sent_facts(law: Law, ask: Ask, now: datetime, *, channel: str) -> dict[str, Any]:
    """The facts of a request when the broker has it: the day, its deadlines, and its next check. California's DROP is
    no broker, and has no deadline towards a person: brokers fetch requests there, and none answers."""
    if channel == RemovalChannel.DROP:
        return {"sent_on": now.date(), "channel": channel}
    found = deadlines(law, ask, now.date())
    return {
        "channel": channel,
        "sent_on": now.date(),
        "confirm_by_on": found.confirm_by_on,
        "answer_by_on": found.answer_by_on,
        "extended_by_on": found.extended_by_on,
        "next_at": after_day(found.confirm_by_on or found.answer_by_on),
    }
