"""The bulk normalisation is the scalar one, faster."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kordant_jobs.adapters.dumps.bulk import canonical_rows
from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs_tests.domain.identifiers.test_identifiers import raw_values

_junk = st.text(st.sampled_from(" \t\x1c\x85\u00a0\u200b@.-_aAzZ09éß•\x00'\"xn-İK"), max_size=24)
_labels = st.sampled_from(["a", "xn--bcher-kva", "xn--", "b" * 63, "b" * 64, "a--b", "-a", "9", "Com", "ü"])
_hosts = st.lists(_labels, min_size=1, max_size=5).map(".".join)
_addresses = st.builds("{}@{}".format, st.one_of(_junk, st.text("ab.", max_size=70)), _hosts)
_codes = st.sampled_from(
    ["", "+", "+1", "1", "+44", "44", "+55", "+7", "+39", "+52", "+54", "+49", "+86", "011", "00", "+91"]
)
_numbers = st.builds("{}{}".format, _codes, st.from_regex(r"[0-9 ().-]{4,16}", fullmatch=True))


def _both(kind: IdentifierKind, values: list[str | None], region: str) -> None:
    rows = canonical_rows(kind, pl.Series(values, dtype=pl.String), phone_region=region)
    expected = {
        (at, canonical)
        for at, value in enumerate(values)
        if value is not None and (canonical := normalise(kind, value, phone_region=region))
    }
    assert set(rows.rows()) == expected
    assert rows.height == len(expected)


@given(
    kind=st.sampled_from(IdentifierKind),
    values=st.lists(st.one_of(st.none(), raw_values, _junk, _addresses, _numbers), max_size=20),
    region=st.sampled_from(["US", "GB", "BR", "IT", "AR", "RU", "CA", "ZZ"]),
)
@settings(max_examples=100)
def test_bulk_equals_scalar_for_every_kind(kind: IdentifierKind, values: list[str | None], region: str) -> None:
    _both(kind, values, region)


@given(values=st.lists(_addresses, max_size=30))
@settings(max_examples=100)
def test_bulk_equals_scalar_for_addresses_at_their_limits(values: list[str | None]) -> None:
    _both(IdentifierKind.EMAIL, values, "US")


@given(
    values=st.lists(_numbers, max_size=30),
    region=st.sampled_from(["US", "GB", "BR", "CN", "DE", "CA", "KZ", "MX"]),
)
@settings(max_examples=100)
def test_bulk_equals_scalar_for_phone_numbers(values: list[str | None], region: str) -> None:
    _both(IdentifierKind.PHONE, values, region)


_names = st.text(st.sampled_from("aBz .,-'|;éß9\t’"), max_size=14)
_days = st.sampled_from(["1980-01-31", "1980-02-30", "1799-01-01", "2099-12-31", "1980-1-31", "80-01-31", ""])


@given(values=st.lists(st.builds("{}{}{}".format, _names, st.sampled_from([" ", "  ", ",", "|", "\t", ""]), _days)))
@settings(max_examples=150)
def test_bulk_equals_scalar_for_persons(values: list[str | None]) -> None:
    _both(IdentifierKind.PERSON, values, "US")


@pytest.mark.parametrize("region", ["US", "GB", "BR", "DE", "RU", "JP"])
def test_bulk_equals_scalar_for_every_country_code_and_length(region: str) -> None:
    digits = "2345678912345678"
    numbers = [
        f"+{code}{first}{digits[:size]}" for code in range(1, 999, 7) for first in "0189" for size in range(6, 12, 2)
    ]
    numbers += [f"{first}{digits[:size]}" for first in range(1, 99) for size in range(5, 13)]
    _both(IdentifierKind.PHONE, [*numbers, None], region)
