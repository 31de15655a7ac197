"""A pair is a transfer when it is the only one that fits, and nobody else's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.finance.states import TransactionType as T
from kordant_jobs.domain.finance.transfers import Pair, decide


def pair(out: int, into: int, **more: Any) -> Pair:
    fields: dict[str, Any] = {
        "out_type": T.PIX, "in_type": T.PIX, "out_is_holder": True, "in_is_holder": True, "same_key": None, "days": 0,
        **more,
    }  # fmt: skip
    return Pair(out_id=UUID(int=out), in_id=UUID(int=100 + into), **fields)


def own(*pairs: Pair) -> set[tuple[int, int]]:
    return {(one.out_id.int, one.in_id.int - 100) for one, _ in decide(pairs).own}


@pytest.mark.parametrize(
    ("facts", "is_own"),
    [
        ({}, True),
        ({"out_is_holder": None, "in_is_holder": None}, True),
        ({"out_is_holder": False, "in_is_holder": None}, False),
        ({"out_is_holder": False, "in_is_holder": False}, False),
        ({"out_is_holder": True, "in_is_holder": None, "days": 3, "in_type": T.TED, "out_type": T.TED}, True),
        ({"out_is_holder": None, "in_is_holder": None, "days": 4}, False),
        ({"out_is_holder": None, "in_is_holder": None, "out_type": T.BOLETO, "in_type": T.BILL_PAYMENT}, True),
        ({"out_is_holder": False, "in_is_holder": False, "same_key": True, "days": 4}, True),
        ({"same_key": False}, True),
        ({"out_is_holder": False, "in_is_holder": True}, False),
    ],
)
def test_what_speaks_for_a_transfer(facts: dict[str, Any], is_own: bool) -> None:
    assert own(pair(1, 1, **facts)) == ({(1, 1)} if is_own else set())


def test_a_decoy_of_the_same_amount_is_left_alone() -> None:
    decoy = pair(2, 1, out_is_holder=False, in_is_holder=True)
    assert own(pair(1, 1), decoy) == {(1, 1)}


def test_between_two_that_fit_as_well_nothing_is_guessed() -> None:
    decided = decide([pair(1, 1), pair(1, 2)])
    assert decided.own == ()
    assert {one.int for one in decided.candidates} == {1, 101, 102}


def test_the_same_end_to_end_id_decides_between_equal_ones() -> None:
    assert own(pair(1, 1, same_key=True), pair(1, 2), pair(2, 2), pair(2, 1, same_key=False)) == {(1, 1), (2, 2)}


LEGS = st.integers(1, 4)


@given(st.lists(st.tuples(LEGS, LEGS, st.integers(-1, 4), st.sampled_from([None, True, False])), max_size=12))
def test_no_row_is_a_leg_of_two(found: list[tuple[int, int, int, bool | None]]) -> None:
    pairs = {(out, into): pair(out, into, days=days, out_is_holder=it) for out, into, days, it in found}
    decided = decide(list(pairs.values()))
    legs = [leg for one, _ in decided.own for leg in (one.out_id, one.in_id)]
    assert len(legs) == len(set(legs))
    assert not decided.candidates & set(legs)
