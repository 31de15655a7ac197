from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.states import TURNS, RemovalState, Turn
from kordant_jobs.jobs.reports_generate.removals import removal_section
from kordant_jobs.jobs.reports_generate.rules import RemovalLine
from kordant_jobs.wording import wording


@pytest.mark.parametrize(
    ("state", "limit", "said"),
    [
        ("completed", {"can_check": False}, ("removed, as the broker says", "its site cannot be searched by us", "–")),
        ("overdue", {"can_complain": False}, ("overdue", "no law obliges it to answer", "the broker's")),
        ("completed", {"is_unread": True},
          ("the broker wrote again; we read it first", "we read what the broker answered", "ours")),
        ("sent", {"channel": "drop"},
         ("sent", "registered brokers fetch the request; none answers you", "the broker's")),
        ("escalated", {"channel": "web_form"},
         ("overdue; a complaint is ready for you",
          "if it did not answer you, send the complaint to the authority", "yours")),
    ],
)  # fmt: skip
def test_nothing_is_promised_that_cannot_be_had(state: str, limit: dict[str, Any], said: tuple[str, str, str]) -> None:
    line = RemovalLine(
        broker="Spoken", state=state, sent_on=None, deadline_on=None, says_done=False, check_says=None,
        checked_on=None, **limit,
    )  # fmt: skip
    [row] = removal_section(wording(Locale.EN), [line]).rows
    assert (row.state, row.next_step, row.turn) == said


@pytest.mark.parametrize("locale", list(Locale))
@pytest.mark.parametrize("state", list(RemovalState))
def test_each_request_has_a_next_step_unless_it_is_no_ones_turn(locale: Locale, state: RemovalState) -> None:
    line = RemovalLine(
        broker="Spoken", state=state.value, sent_on=None, deadline_on=None, says_done=False, check_says=None,
        checked_on=None, reminders=0,
    )  # fmt: skip
    section = removal_section(wording(locale), [line])
    assert len(section.heads) == 5
    [row] = section.rows
    assert (row.next_step != "–") >= (TURNS[state] is not Turn.NOBODY)


def test_an_answer_that_waits_to_be_read_is_our_turn_and_the_old_one_is_not_repeated() -> None:
    line = RemovalLine(
        broker="Spoken", state="completed", sent_on=None, deadline_on=None, says_done=True, check_says="listed",
        checked_on=date(2026, 3, 2), is_unread=True,
    )  # fmt: skip
    [row] = removal_section(wording(Locale.EN), [line]).rows
    assert (row.state, row.turn) == ("the broker wrote again; we read it first", "ours")
    assert "says" not in row.answers
