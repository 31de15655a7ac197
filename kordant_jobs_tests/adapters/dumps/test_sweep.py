"""Addresses however their '@' is written: what is plain besides is judged by the compiled loop, the rest undone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kordant_jobs.adapters.dumps.sweep import addresses, canonical_numbers, number, numbers
from kordant_jobs.adapters.dumps.window import Window


def swept(text: str | bytes) -> list[str]:
    window = Window.of(text if isinstance(text, bytes) else text.encode())
    found = addresses(window, window.stop)
    spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    return [
        found.canonical[place] if found.odd[place] else window.text(start, end)
        for place, (start, end) in enumerate(spans)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=ann%40mail.example%20bob%40mail.example", ["ann@mail.example", "bob@mail.example"]),
        ("ann%2etwo%40mail%2eexample", ["ann.two@mail.example"]),
        ("href=&quot;ann&#x40;mail&#46;example&quot;", ["ann@mail.example"]),
        ("&#97;&#110;n&#64;mail&period;example", ["ann@mail.example"]),
        ("\\u0061nn\\u0040mail\\u002eexample", ["ann@mail.example"]),
        ("n\\u003cann\\u0040mail.example\\u003e", ["ann@mail.example"]),
        ("ａｎｎ＠ｍａｉｌ．ｅｘａｍｐｌｅ", ["ann@mail.example"]),
        ("ann@例え。jp x", ["ann@xn--r8jz45g.jp"]),
        ("jörg@bücher.example:x", ["jörg@xn--bcher-kva.example"]),
        ("jörg@bücher.example".encode("cp1252"), ["jörg@xn--bcher-kva.example"]),
        ("<ann=40mail.example>", ["ann@mail.example"]),
        ("ann=40ma=\nil.example x", ["ann@mail.example"]),
        ("o\\'brien@mail.example", ["o'brien@mail.example"]),
        ("ann%40bob%40mail.example", ["bob@mail.example"]),
        ("%40%40%40 a%40 %40mail.example \\\\u0040 &#64; ＠ ann%40localhost ö@ö", []),
        ("a" * 65 + "%40mail.example", []),
    ],
)
def test_an_address_is_found_however_it_is_written(text: str | bytes, expected: list[str]) -> None:
    assert swept(text) == expected


_signs = st.sampled_from(["@", "%40", "&#64;", "&#x40;", "\\u0040", "＠"])
_words = st.text("abz09._-", min_size=1, max_size=12)
_hosts = st.lists(st.text("abz09", min_size=1, max_size=8), min_size=1, max_size=3).map(".".join)
_around = st.sampled_from([" ", ";", '"', "<", ">", ",", "|", "\n", "(", ":"])


@given(before=_around, local=_words, sign=_signs, host=_hosts, behind=_around)
@settings(max_examples=300)
def test_what_is_found_behind_another_sign_is_what_is_found_behind_the_plain_one(
    before: str, local: str, sign: str, host: str, behind: str
) -> None:
    plain = swept(f"{before}{local}@{host}.example{behind}")
    assert swept(f"{before}{local}{sign}{host}.example{behind}") == plain
    assert all(re.fullmatch(r"[^@]+@[^@]+\.example", found) for found in plain)


def counted(text: str, region: str = "US") -> list[str | None]:
    window = Window.of(text.encode())
    found = numbers(window, window.stop)
    names = dict[int, str | None]()
    for code in np.unique(found.kinds).tolist():
        at = np.flatnonzero(found.kinds == code)
        of_code = canonical_numbers(window, code, found.starts[at], found.ends[at], region)
        names |= dict(zip(at.tolist(), of_code.to_list(), strict=True))
    return [names[place] for place in range(len(found.kinds))]


GROUPED = {
    "DE89370400440532013000": "DE89 3704 0044 0532 0130 00",
    "FR1420041010050500013M02606": "FR14 20041 01005 0500013M026 06",
    "4111111111111111": "4111 1111 1111 1111",
    "378282246310005": "3782 822463 10005",
    "us-ssn:536904399": "536 90 4399",
    "br-cpf:39053344705": "390 533 447 05",
    "+12025550143": "+1 202 555 0143",
}


@pytest.mark.parametrize("gap", [" ", "-", "\u00a0", "\u202f", "\u2007", "\u2009", "\u2011", "\u2013"], ids=ascii)
@pytest.mark.parametrize("canonical", GROUPED)
def test_a_number_is_found_whatever_stands_between_its_groups_and_around_it(canonical: str, gap: str) -> None:
    written = GROUPED[canonical].replace(" ", gap)
    for around in ("{}", "it is “{}”.", "x;{};y", "电话：{}。", "({})", "é {}, é"):
        assert counted(around.format(written)) == [canonical], around


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+1 202 555 0143 17", ["+12025550143"]),
        ("+1 202 555 0143 1985-01-02", ["+12025550143"]),
        ("+49 30/901820, +12025550143/+12025550144", ["+4930901820", "+12025550143", "+12025550144"]),
        ("DE89 3704 0044 0532 0130 01; DE89 3704", []),
        ("xDE89370400440532013000 DE89370400440532013000x DE89370400440532013000", ["DE89370400440532013000"]),
        ("4111 1111-1111 1111 4111 111111111111 4111111111111112", []),
        ("1 536 90 4399 or 536 90 4399 1, a row of numbers; 536-90 4399", []),
    ],
)
def test_what_stands_beside_a_number_is_no_part_of_it(text: str, expected: list[str]) -> None:
    assert [found for found in counted(text) if found] == expected


@given(st.from_regex(r"\+[0-9]{8,14}", fullmatch=True), st.sampled_from(["US", "DE", "ZZ"]))
def test_a_number_of_another_country_is_what_the_rules_for_all_say(text: str, region: str) -> None:
    window = Window.of(text.encode())
    start, end = np.array([window.start]), np.array([window.start + len(text)])
    (found,) = canonical_numbers(window, 1, start, end, region).to_list()
    assert found == number(1, text, region)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call me (212) 555-0143, or 212-555-0144 or 212.555.0145; 1-212-555-0146", 4),
        ("(212)555-0143 (212) 555 0144 1 (212) 555-0145 1 212-555-0146", 4),
        ("a,212-555-0143,5", 1),
        ("2019-01-01 212-555-0143 x", 1),
        ("2125550143 212 555 0143 (21) 255-50143 212-5550143 212-555-01433 512-055-0143", 0),
        ("+44 212-555-0143 v212-555-0143 212-555-0143.5 /212-555-0143 x-212-555-0143 %212-555-0143", 0),
        ("phone: 2125550143", 1),
        ("Cell phone number: 212 555 0143; tel. 12125550144", 2),
        ("call me at 2125550143, my mobile is 2125550144", 2),
        ("<HomePhone>2125550143</HomePhone> <contact_tel>212 555 0144</contact_tel>", 2),
        ('"phone2": 2125550143, phone=2125550144', 2),
        ("hotel 2125550143, cellar 2125550144, phone of ann 2125550145, phone 2125550", 0),
        ("phone: 1546300800 1546300800123 0000000000", 0),
    ],
)
def test_a_phone_without_its_country_is_found_by_its_groups_or_a_word_before_it(text: str, expected: int) -> None:
    found = [one for one in counted(text) if one]
    assert len(found) == expected, found
    assert all(one.startswith("+12125550") for one in found)


@pytest.mark.parametrize(
    ("region", "text", "expected"),
    [
        ("BR", "ligue (11) 96123-4567 ou 212-555-0143; celular: 11961234568", ["+5511961234567", "+5511961234568"]),
        ("DE", "Telefon: 030 901820, Handy 0171/1234567; (212) 555-0143", ["+4930901820", "+491711234567"]),
    ],
)
def test_the_groups_are_those_of_the_dumps_country(region: str, text: str, expected: list[str]) -> None:
    assert [one for one in counted(text, region) if one] == expected
