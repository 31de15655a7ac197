"""Lines that were folded are put together, and no others."""

from __future__ import annotations

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.adapters.dumps.folds import BLANK, QUOTED, Fold, Unfolded, folds_of, unfolded

_TEXTS = st.text("ab@.=\n \t\r", max_size=200).map(str.encode)


@given(text=_TEXTS, size=st.integers(1, 60), fold=st.sampled_from([BLANK, QUOTED]))
def test_where_a_text_is_cut_makes_no_difference(text: bytes, size: int, fold: Fold) -> None:
    reader = Unfolded(io.BytesIO(text), fold)
    assert b"".join(iter(lambda: reader.read(size), b"")) == unfolded(text, fold)


@given(text=_TEXTS, fold=st.sampled_from([BLANK, QUOTED]))
def test_lines_keep_their_number(text: bytes, fold: Fold) -> None:
    text += b"\n"
    assert unfolded(text, fold).count(b"\n") in (
        text.count(b"\n"),
        text.count(b"\n") + 1,
    )  # a fold without a line behind


@pytest.mark.parametrize(
    "lines",
    [
        [f"ann{at}@mail.example:{base64.b64encode(b'secret').decode()[:-1]}=" for at in range(20)],
        [f"{at}, ann{at}@mail.example, aGFzaA=" for at in range(20)],
        [f"mail:: {base64.b64encode(b'ann%02d@mail.example' % at).decode()}" for at in range(20)],
        ["email: ann@mail.example", " bob@mail.example"],
        ["SELECT 1;", "dn:", "  x"],
    ],
)
def test_lists_are_not_taken_for_folded_text(lines: list[str]) -> None:
    assert folds_of("\n".join(lines).encode()) == ()
