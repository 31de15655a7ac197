"""The report's section on data brokers: each request's state, its deadline, the next step and whose turn it is.
Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.replies import CheckVerdict
from kordant_jobs.domain.removals.states import TURNS, RemovalState, Turn, turn_of
from kordant_jobs.jobs.reports_generate.rules import RemovalLine
from kordant_jobs.wording import Wording
from kordant_jobs.wording.texts import removal_state

ROWS_MAX = 150
"""The most brokers in one report; the others are counted. Requests in which the subscriber must act come first."""
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
    """The section; `rows` is empty where there are no requests."""

    title: str
    heads: tuple[str, str, str, str, str]
    rows: list[RemovalRow]
    more: str


def _state(words: Wording, state: RemovalState, line: RemovalLine) -> str:
    is_listed = line.check_says == CheckVerdict.LISTED
    return removal_state(words, state, reminded=line.reminders > 0, can_check=line.can_check,
                         can_complain=line.can_complain, is_listed=is_listed)  # fmt: skip


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
    """The next step; the turn names who takes it."""
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
    """The answer of the broker and the result of our own check, side by side."""
    if line.check_says is None or line.checked_on is None:
        return words.say("not checked by us")
    day = words.day(line.checked_on, "medium")
    if line.check_says == CheckVerdict.LISTED:
        said = words.say("our check of %(day)s found you", day=day)
        is_said = line.says_done and not line.is_unread
        return words.say("The broker says that it is removed; %(check)s.", check=said) if is_said else said
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
    said = words.say("the broker wrote again; we read it first") if line.is_unread else None
    return RemovalRow(
        broker=line.broker[:BROKER_MAX],
        state=said or _state(words, state, line),
        answers=_answers(words, line),
        clock=clock,
        next_step=_next_step(words, state, line),
        turn=_turn(words, _turn_of(line)),
    )


def removal_section(words: Wording, lines: Sequence[RemovalLine]) -> RemovalSection:
    """The section of one report. Requests in which the subscriber must act come first."""
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
