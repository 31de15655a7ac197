"""The report's section on data brokers: each request's state, its clock, the next step and whose turn it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.messages import CheckVerdict
from kordant_jobs.domain.removals.states import TURNS, RemovalState, Turn, turn_of
from kordant_jobs.jobs.reports_generate.rules import RemovalLine
from kordant_jobs.wording import Wording

ROWS_MAX = 150
"""Brokers in one report; the others are counted. The subscriber's turn comes first."""
BROKER_MAX = 80


@dataclass(frozen=True, kw_only=True)
class RemovalRow:
    """One line of the table."""

    broker: str
    state: str
    answers: str
    clock: str
    next_step: str
    turn: str


@dataclass(frozen=True, kw_only=True)
class RemovalSection:
    """The section; `rows` is empty where nothing was asked for."""

    title: str
    heads: tuple[str, str, str, str, str]
    rows: list[RemovalRow]
    more: str


def _state(words: Wording, state: RemovalState, line: RemovalLine) -> str:
    match state:
        case RemovalState.COMPLETED if not line.can_check:
            return words.say("removed, as the broker says")
        case RemovalState.OVERDUE if line.reminders:
            return words.say("overdue; we remind the broker")
        case RemovalState.ESCALATED if line.check_says == CheckVerdict.LISTED:
            return words.say("still lists you; a complaint is ready for you")
        case RemovalState.RELISTED if not line.can_complain:
            return words.say("listed again")
    return {
        RemovalState.DRAFT: words.say("about to be sent"),
        RemovalState.QUEUED: words.say("about to be sent"),
        RemovalState.SENT: words.say("sent"),
        RemovalState.ACKNOWLEDGED: words.say("received by the broker"),
        RemovalState.NEEDS_USER_ACTION: words.say("needs you"),
        RemovalState.NEEDS_IDENTITY: words.say("asks for more proof of who you are"),
        RemovalState.IN_PROGRESS: words.say("in progress"),
        RemovalState.EXTENDED: words.say("the broker took more time, as the law allows"),
        RemovalState.COMPLETED: words.say("removed, as the broker says; not yet checked by us"),
        RemovalState.NO_MATCH: words.say("holds nothing about you, as the broker says"),
        RemovalState.DENIED: words.say("refused"),
        RemovalState.EXEMPT: words.say("kept under a law that allows it"),
        RemovalState.CONTACT_MOVED: words.say("the broker's address changed; we look for the new one"),
        RemovalState.BOUNCED: words.say("did not arrive; we try another way"),
        RemovalState.OVERDUE: words.say("overdue"),
        RemovalState.ESCALATED: words.say("overdue; a complaint is ready for you"),
        RemovalState.VERIFIED_REMOVED: words.say("removed, checked by us"),
        RemovalState.RELISTED: words.say("listed again; we ask again"),
        RemovalState.CANCELLED: words.say("withdrawn"),
    }[state]


def _turn(words: Wording, turn: Turn) -> str:
    return {
        Turn.US: words.say("ours"),
        Turn.OPERATOR: words.say("ours"),
        Turn.BROKER: words.say("the broker's"),
        Turn.SUBSCRIBER: words.say("yours"),
        Turn.NOBODY: "–",
    }[turn]


def _limited_step(words: Wording, state: RemovalState, line: RemovalLine) -> str | None:
    """The next step where it is not the usual one: a reply waits, we can't see the answer, no law helps, no check."""
    if line.is_unread:
        return words.say("we read what the broker answered")
    match state:
        case RemovalState.SENT if line.channel == RemovalChannel.DROP:
            return words.say("registered brokers fetch the request; none answers you")
        case RemovalState.SENT if line.channel == RemovalChannel.WEB_FORM:
            return words.say("the broker answers you; tell Kordant what it says")
        case RemovalState.OVERDUE if not line.can_complain:
            return words.say("no law obliges it to answer")
        case RemovalState.ESCALATED if line.channel == RemovalChannel.WEB_FORM:
            return words.say("if it did not answer you, send the complaint to the authority")
        case RemovalState.COMPLETED if not line.can_check:
            return words.say("its site cannot be searched by us")
        case RemovalState.RELISTED if not line.can_complain:
            return words.say("we ask it again, three times at most")
        case _:
            return None


def _next_step(words: Wording, state: RemovalState, line: RemovalLine) -> str:
    """The next step; the turn says who does it."""
    if limited := _limited_step(words, state, line):
        return limited
    match state:
        case RemovalState.DRAFT | RemovalState.QUEUED:
            return words.say("the request goes out")
        case RemovalState.SENT | RemovalState.ACKNOWLEDGED | RemovalState.IN_PROGRESS | RemovalState.EXTENDED:
            return words.say("the broker answers; after the deadline we remind it")
        case RemovalState.NEEDS_USER_ACTION:
            return words.say("fill in its form or confirm: Kordant has the link")
        case RemovalState.NEEDS_IDENTITY:
            return words.say("decide whether you prove who you are")
        case RemovalState.OVERDUE:
            return words.say("without an answer, we write a complaint for you")
        case RemovalState.ESCALATED:
            return words.say("send the complaint to the authority")
        case RemovalState.COMPLETED:
            return words.say("we check that you are gone")
        case RemovalState.VERIFIED_REMOVED | RemovalState.NO_MATCH:
            return words.say("we keep checking where we can")
        case RemovalState.BOUNCED | RemovalState.CONTACT_MOVED:
            return words.say("we look for another way to reach it")
        case RemovalState.RELISTED:
            return words.say("we ask it again")
        case RemovalState.DENIED | RemovalState.EXEMPT | RemovalState.CANCELLED:
            return "–"


def _answers(words: Wording, line: RemovalLine) -> str:
    """The answers of the broker and of our own check, side by side."""
    if line.check_says is None or line.checked_on is None:
        return words.say("not checked by us")
    day = words.day(line.checked_on, "medium")
    if line.check_says == CheckVerdict.LISTED:
        said = words.say("our check of %(day)s found you", day=day)
        return words.say("The broker says that it is removed; %(check)s.", check=said) if line.says_done else said
    if line.check_says == CheckVerdict.NOT_LISTED:
        return words.say("our check of %(day)s did not find you", day=day)
    return words.say("our check of %(day)s gave no answer", day=day)


def _turn_of(line: RemovalLine) -> Turn:
    return turn_of(RemovalState(line.state), is_unread=line.is_unread, can_check=line.can_check)


def _row(words: Wording, line: RemovalLine) -> RemovalRow:
    state = RemovalState(line.state)
    clock = "–"
    if line.deadline_on and TURNS[state] is Turn.BROKER:
        clock = words.say("answer by %(day)s", day=words.day(line.deadline_on, "medium"))
    elif line.sent_on:
        clock = words.say("sent on %(day)s", day=words.day(line.sent_on, "medium"))
    return RemovalRow(
        broker=line.broker[:BROKER_MAX],
        state=_state(words, state, line),
        answers=_answers(words, line),
        clock=clock,
        next_step=_next_step(words, state, line),
        turn=_turn(words, _turn_of(line)),
    )


def removal_section(words: Wording, lines: Sequence[RemovalLine]) -> RemovalSection:
    """The section of one report, the subscriber's turn first."""
    order = [Turn.SUBSCRIBER, Turn.BROKER, Turn.US, Turn.OPERATOR, Turn.NOBODY]
    found = sorted(lines, key=lambda one: (order.index(_turn_of(one)), one.broker.lower()))
    left_out = len(found) - ROWS_MAX
    return RemovalSection(
        title=words.say("Data brokers"),
        heads=(
            words.say("Broker"),
            words.say("State"),
            words.say("Deadline"),
            words.say("Next step"),
            words.say("Whose turn"),
        ),
        rows=[_row(words, line) for line in found[:ROWS_MAX]],
        more=words.count("And one more broker.", "And %(number)s more brokers.", left_out) if left_out > 0 else "",
    )
