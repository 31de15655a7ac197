"""Newcomers find the row that they are, each row once; what cannot be decided is not merged."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.finance.matching import Known, Matches, Newcomer, match
from kordant_jobs.domain.finance.states import TransactionState as State

DAY = date(2026, 3, 10)


def new(place: int, amount: str = "-50.00", *, after: int = 0, text: str = "PADARIA SOL", **more: Any) -> Newcomer:
    fields: dict[str, Any] = {"state": State.POSTED, "currency": "BRL", **more}
    return Newcomer(
        place=place, amount=Decimal(amount), booked_on=DAY + timedelta(days=after), description=text, **fields
    )


def old(number: int, amount: str = "-50.00", *, after: int = 0, text: str = "PADARIA SOL", **more: Any) -> Known:
    fields: dict[str, Any] = {"state": State.PENDING, "currency": "BRL", **more}
    return Known(
        id=UUID(int=number),
        amount=Decimal(amount),
        booked_on=DAY + timedelta(days=after),
        description=text,
        **fields,
    )


def claimed(found: Matches) -> dict[int, int]:
    return {place: one.int for place, one in found.claims.items()}


@pytest.mark.parametrize(("after", "matched"), [(0, True), (8, True), (9, False), (-1, False)])
def test_a_pending_row_posts_within_eight_days_and_never_before(after: int, matched: bool) -> None:
    assert claimed(match([new(0, after=after)], [old(1)])) == ({0: 1} if matched else {})


def test_of_two_equal_pending_rows_one_posting_closes_exactly_one() -> None:
    assert len(match([new(0, after=1)], [old(1), old(2)]).claims) == 1
    assert len(match([new(0, after=1), new(1, after=1)], [old(1), old(2)]).claims) == 2


def test_between_unlike_candidates_of_one_amount_nothing_is_guessed() -> None:
    found = match([new(0, after=1, text="LOJA AZUL")], [old(1, text="LOJA VERDE"), old(2, text="LOJA PRETA")])
    assert not found.claims
    assert found.ambiguous == {0}


def test_the_alike_one_is_taken_when_it_is_well_ahead() -> None:
    found = match([new(0, after=1)], [old(1, text="POSTO SHELL 123"), old(2, text="PADARIA SOL LTDA")])
    assert claimed(found) == {0: 2}


def test_a_tip_is_suggested_and_not_merged() -> None:
    found = match([new(0, "-60.00", after=2)], [old(1)])
    assert not found.claims
    assert found.suggested == {0}
    assert not match([new(0, "-66.00", after=2)], [old(1)]).suggested


def test_forty_rows_restated_at_closing_are_the_same_forty() -> None:
    known = [old(n, f"-{n}.10", state=State.POSTED, is_restated=True, text=f"LOJA {n}") for n in range(1, 41)]
    newcomers = [new(n, f"-{n}.10", after=n % 2, text=f"LOJA {n} SAO PAULO") for n in range(1, 41)]
    assert claimed(match(newcomers, known)) == {n: n for n in range(1, 41)}


def test_equal_fares_of_two_days_keep_their_days() -> None:
    fares = [old(1, "-5.00", state=State.POSTED, is_restated=True, text="METRO"),
             old(2, "-5.00", state=State.POSTED, is_restated=True, text="METRO", after=1)]  # fmt: skip
    newcomers = [new(0, "-5.00", after=1, text="METRO"), new(1, "-5.00", text="METRO")]
    assert claimed(match(newcomers, fares)) == {0: 2, 1: 1}


def test_another_instalment_of_the_same_purchase_is_another_row() -> None:
    known = [old(1, state=State.POSTED, is_restated=True, purchase_on=DAY, instalment_no=1)]
    assert not match([new(0, purchase_on=DAY, instalment_no=2, after=1)], known).claims
    assert claimed(match([new(0, purchase_on=DAY, instalment_no=1, after=30)], known)) == {0: 1}


@pytest.mark.parametrize(
    ("after", "text", "is_it"),
    [(0, "UBER TRIP SAO PAULO", True), (0, "PADARIA", False), (1, "UBER TRIP", False), (1, "PADARIA", False)],
)
def test_an_open_row_is_only_a_like_one_of_its_day(after: int, text: str, is_it: bool) -> None:
    known = [old(1, state=State.POSTED, is_open=True, text="UBER TRIP")]
    assert claimed(match([new(0, after=after, text=text)], known)) == ({0: 1} if is_it else {})


def test_a_final_row_is_claimed_by_no_one() -> None:
    assert not match([new(0)], [old(1, state=State.POSTED)]).claims


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from(["A", "LOJA B"])), max_size=12)


@given(ROWS, ROWS)
def test_no_row_is_claimed_twice(newcomers: list[tuple[int, int, str]], known: list[tuple[int, int, str]]) -> None:
    found = match(
        [new(n, f"-{amount}", after=after, text=text) for n, (after, amount, text) in enumerate(newcomers)],
        [old(n + 1, f"-{amount}", after=after, text=text) for n, (after, amount, text) in enumerate(known)],
    )
    assert len(set(found.claims.values())) == len(found.claims)
    assert not found.ambiguous & set(found.claims)


@given(ROWS)
def test_a_replay_under_new_ids_claims_every_row(rows: list[tuple[int, int, str]]) -> None:
    known = [
        old(n + 1, f"-{amount}", after=after, text=text, state=State.POSTED, is_restated=True)
        for n, (after, amount, text) in enumerate(rows)
    ]
    newcomers = [new(n, f"-{amount}", after=after, text=text) for n, (after, amount, text) in enumerate(rows)]
    assert len(match(newcomers, known).claims) == len(rows)
