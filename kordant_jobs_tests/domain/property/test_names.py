"""Names that recorders wrote, apart and beside each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.property.likeness import likeness
from kordant_jobs.domain.property.names import NameKind, lookup_keys, parse
from kordant_jobs.domain.property.parcels import PARCELS, ParcelKind, masked_parcel, normalise_parcel


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HARLOW JANE M", "Harlow, Jane"),
        ("HARLOW JANE MARIE", "HARLOW JANE M ET AL"),
        ("HARLOW JESSICA", "ORHLAW JESSICA"),
        ("MÜLLER JOSÉ", "MULLER JOSE"),
        ("STATE UNIVERSITY OF THE LAKES", "STATE UNIV OF THE LAKES"),
        ("LAKESIDE UNIVERSITY", "LAKESIDE UNIVERSITYDEPT. OF UROLOGY"),
        ("LAKESIDE UNIVERSITY TRUSTEES", "LAKESIDE UNVRSTY NYCTRS"),
        ("ELM STREET HOLDINGS LLC", "ELM STREET HOLDINGS, L.L.C."),
    ],
)
def test_spellings_of_one_are_one(one: str, other: str) -> None:
    assert likeness(parse(one), parse(other)).probability >= 0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HARLOW JANE M", "HARLOW PETER"),
        ("HARLOW JANE", "BENTLEY JANE"),
        ("BRADSHAW SARAH", "BRADSHAW ANDREW"),
        ("HARLOW JANE M", "HARLOW JANE K"),
        ("LAKESIDE UNIVERSITY", "TEACHERS COLLEGE LAKESIDE UNIVERSITY"),
        ("LAKESIDE UNIVERSITY", "LAKESIDE UNIVERSITYCHAPTER OF THE FRATERNITY"),
        ("1432 PARTNERS LIMITED LIABILITY COMPANY", "1432 NORTH BROAD LLC"),
        ("SMITH JOHN", "ACME PROPERTIES LLC"),
        ("12 ELM ST LLC", "14 ELM ST LLC"),
    ],
)
def test_near_neighbours_are_apart(one: str, other: str) -> None:
    assert likeness(parse(one), parse(other)).probability < 0.5


@given(st.text(max_size=60))
def test_any_text_is_taken_apart(text: str) -> None:
    name = parse(text)
    assert name.kind in NameKind
    lookup_keys(name)


@given(st.sampled_from(sorted(ParcelKind)), st.text(max_size=30))
def test_normalising_a_parcel_number_twice_changes_nothing(kind: ParcelKind, text: str) -> None:
    once = normalise_parcel(kind, text)
    assert once is None or normalise_parcel(kind, once) == once


@pytest.mark.parametrize("kind", ParcelKind)
def test_a_mask_hides_the_middle(kind: ParcelKind) -> None:
    canonical = normalise_parcel(kind, PARCELS[kind].example)
    assert canonical is not None
    assert canonical not in masked_parcel(canonical)
