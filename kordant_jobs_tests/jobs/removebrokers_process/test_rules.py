from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.removals.states import DONE, REMOVAL_MOVES, RemovalState
from kordant_jobs.jobs.removebrokers_process.rules import Action, decide
from kordant_jobs.store.removals.due import SCHEMA

COLUMNS = SCHEMA | dict.fromkeys(("can_ask", "has_form", "has_search"), pl.Boolean())

NOW = datetime(2026, 6, 1, 6, tzinfo=UTC)
DAYS = st.none() | st.dates(date(2026, 1, 1), date(2026, 12, 31))
PAST = st.timedeltas(timedelta(0), timedelta(days=150)).map(lambda ago: NOW - ago)
MOMENTS = st.none() | st.timedeltas(timedelta(days=-150), timedelta(days=200)).map(lambda ago: NOW - ago)
ROWS = st.fixed_dictionaries(
    {
        "id": st.just("1"),
        "state": st.sampled_from([one.value for one in RemovalState]),
        "reason": st.sampled_from([None, "other", "too_many_requests"]),
        "channel": st.sampled_from([None, "email", "drp", "web_form"]),
        "can_ask": st.booleans(),
        "has_form": st.booleans(),
        "has_search": st.booleans(),
        "attempts": st.integers(0, 5),
        "reminders": st.integers(0, 3),
        "asked_user": st.integers(0, 5),
        "answered": st.booleans(),
        "confirm_by_on": DAYS,
        "answer_by_on": DAYS,
        "extended_by_on": DAYS,
        "check_says": st.sampled_from([None, "listed", "not_listed", "unknown"]),
        "checked_at": MOMENTS,
        "state_since": PAST,
        "cool_until": MOMENTS,
        "can_complain": st.booleans(),
    }
)


def decided(row: dict[str, Any]) -> dict[str, Any]:
    return decide(pl.DataFrame([row], schema=COLUMNS), NOW).to_dicts()[0]


@given(ROWS)
def test_every_decision_is_an_allowed_move_and_waits_for_something_later(row: dict[str, Any]) -> None:
    found = decided(row)
    state = RemovalState(row["state"])
    if found["to_state"] is not None:
        assert RemovalState(found["to_state"]) in REMOVAL_MOVES[state]
    elif found["next_at"] is not None and row["answer_by_on"] and row["extended_by_on"]:
        assert found["next_at"] > NOW
    if state in DONE - {RemovalState.DENIED} and found["to_state"] is not None:
        assert found["to_state"] == RemovalState.RELISTED


@given(ROWS)
def test_verified_removed_needs_a_fresh_check_of_our_own(row: dict[str, Any]) -> None:
    found = decided(row)
    if found["to_state"] == RemovalState.VERIFIED_REMOVED:
        assert row["check_says"] == "not_listed"
        assert row["checked_at"] >= row["state_since"]
    if row["check_says"] == "unknown":
        assert found["to_state"] not in {RemovalState.VERIFIED_REMOVED, RemovalState.RELISTED}


@given(ROWS)
def test_a_missing_identity_is_never_answered_by_ourselves(row: dict[str, Any]) -> None:
    found = decided({**row, "state": RemovalState.NEEDS_IDENTITY.value})
    assert found["to_state"] is None
    assert found["action"] in {Action.ASK_USER, Action.NOTHING}


@pytest.mark.parametrize(
    ("days", "to", "action"),
    [(-1, None, "nothing"), (1, None, "nothing"), (2, "overdue", "remind"), (20, "overdue", "remind")],
)
def test_a_deadline_counts_until_its_day_has_passed_everywhere(days: int, to: str | None, action: str) -> None:
    """At 6:00 UTC it is still the evening before in Hawaii."""
    found = decided(waiting(days))
    assert (found["to_state"], found["action"]) == (to, action)


def test_a_business_of_the_protocol_is_asked_every_day_not_only_at_its_deadline() -> None:
    assert decided({**waiting(-30), "channel": "drp"})["next_at"] == NOW + timedelta(days=1)
    assert decided({**waiting(-30), "channel": "email"})["next_at"] > NOW + timedelta(days=30)
    asked = {**waiting(-30), "channel": "drp", "state": "needs_identity", "asked_user": 9}
    assert decided(asked)["next_at"] == NOW + timedelta(days=1)


def waiting(days: int) -> dict[str, Any]:
    """A request whose deadline was so many days ago."""
    return dict.fromkeys(COLUMNS) | {
        "id": "1", "state": "sent", "can_ask": True, "has_form": False, "has_search": True, "attempts": 1,
        "reminders": 1, "asked_user": 0, "answered": True, "answer_by_on": NOW.date() - timedelta(days=days),
        "extended_by_on": NOW.date() + timedelta(days=45), "state_since": NOW - timedelta(days=46),
        "can_complain": True,
    }  # fmt: skip


@pytest.mark.parametrize("state", ["relisted", "overdue"])
def test_where_no_complaint_can_be_had_none_is_drafted(state: str) -> None:
    found = decided({**waiting(20), "state": state, "attempts": 3, "can_complain": False})
    assert (found["to_state"], found["action"]) == (None, "nothing")


@pytest.mark.parametrize(
    ("state", "attempts", "to", "action"),
    [
        ("relisted", 1, "queued", "request"),
        ("relisted", 3, "escalated", "complain"),
        ("overdue", 1, "escalated", "complain"),
    ],
)
def test_a_broker_that_never_heeds_us_is_complained_about_and_not_asked_for_ever(
    state: str, attempts: int, to: str, action: str
) -> None:
    found = decided({**waiting(20), "state": state, "attempts": attempts})
    assert (found["to_state"], found["action"]) == (to, action)
