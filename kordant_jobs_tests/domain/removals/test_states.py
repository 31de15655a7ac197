from __future__ import annotations

from collections import deque

from kordant_jobs.domain.removals.replies import REPLY_MOVES
from kordant_jobs.domain.removals.states import ANSWERS, DONE, REMOVAL_MOVES, TURNS, RemovalState

S = RemovalState
WITH_THE_BROKER = frozenset(
    {S.SENT, S.ACKNOWLEDGED, S.IN_PROGRESS, S.EXTENDED, S.OVERDUE, S.ESCALATED, S.NEEDS_IDENTITY, S.NEEDS_USER_ACTION}
)
"""The broker may still answer, and its answer moves the request."""


def test_every_state_is_in_the_table_and_says_who_acts_next() -> None:
    assert set(REMOVAL_MOVES) == set(RemovalState) == set(TURNS)


def test_every_state_can_be_reached_from_a_draft() -> None:
    seen, waiting = {S.DRAFT}, deque([S.DRAFT])
    while waiting:
        fresh = REMOVAL_MOVES[waiting.popleft()] - seen
        seen |= fresh
        waiting += fresh
    assert seen == set(RemovalState)


def test_verified_removed_is_only_reached_once_the_broker_had_the_request() -> None:
    before = {state for state, after in REMOVAL_MOVES.items() if S.VERIFIED_REMOVED in after}
    assert before == WITH_THE_BROKER | {S.COMPLETED}
    assert not before & {S.DRAFT, S.QUEUED, S.NO_MATCH, S.DENIED, S.EXEMPT}


def test_every_answer_can_move_every_request_that_is_with_the_broker() -> None:
    for state in WITH_THE_BROKER:
        for answer in ANSWERS - {state, S.ACKNOWLEDGED}:
            assert answer in REMOVAL_MOVES[state], (state, answer)


def test_a_relisting_reopens_what_was_done_and_nothing_leaves_cancelled() -> None:
    for state in (S.COMPLETED, S.NO_MATCH, S.VERIFIED_REMOVED):
        assert S.RELISTED in REMOVAL_MOVES[state]
    assert not REMOVAL_MOVES[S.CANCELLED]
    assert all(S.CANCELLED in REMOVAL_MOVES[state] for state in RemovalState if state is not S.CANCELLED)


def test_what_a_reply_leads_to_can_follow_a_sent_request() -> None:
    for state in REPLY_MOVES.values():
        assert state is None or state in REMOVAL_MOVES[S.SENT]


def test_no_party_acts_next_after_the_end() -> None:
    assert {state for state, turn in TURNS.items() if turn == "nobody"} == DONE
