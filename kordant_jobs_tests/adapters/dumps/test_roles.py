"""Columns of national ids, IBANs, cards, domains, and names beside birth dates: found is what was planted."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from stdnum import luhn

from kordant_jobs.adapters.dumps import Blinder, DumpShape, Role, open_dump
from kordant_jobs.adapters.dumps.columns import role_by_content, role_by_name
from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.domain.identifiers.blinding import BlindingKey
from kordant_jobs_tests.adapters.dumps.planted import LIMITS, read

HEADER = [
    "Nr",
    "Full Name",
    "Date of Birth",
    "SSN",
    "IBAN",
    "Card Number",
    "Mobile Phone",
    "User Name",
    "Domain",
    "note",
]
KEY = BlindingKey(key=bytes(range(32)))
Row = dict[str, str]


def _card(digits: str) -> str:
    return digits + luhn.calc_check_digit(digits)


def _iban(account: str) -> str:
    return f"DE{98 - int(f'{account}131400') % 97:02}{account}"


def _rows(count: int = 60) -> list[Row]:
    rng = random.Random(11)
    return [
        {
            "Nr": str(at),
            "Full Name": rng.choice(["Ann {}", "{}, José", "mary-ann O'{}"]).format(chr(65 + at % 26) + "smith"),
            "Date of Birth": f"{1950 + at}-{at % 12 + 1:02}-{at % 28 + 1:02}",
            "SSN": f"{rng.randrange(100, 665):03}-{rng.randrange(1, 99):02}-{rng.randrange(1, 9999):04}",
            "IBAN": _iban(f"{rng.randrange(10**17, 10**18)}"),
            "Card Number": _card(f"4{rng.randrange(10**14):014}"),
            "Mobile Phone": f"+1 202 555 {rng.randrange(10**4):04}",
            "User Name": f"Person{at}",
            "Domain": f"Shop{at}.example",
            "note": rng.choice(["", "vip"]),
        }
        for at in range(count)
    ]


KINDS = {
    "SSN": IdentifierKind.NATIONAL_ID,
    "IBAN": IdentifierKind.IBAN,
    "Card Number": IdentifierKind.CARD,
    "Mobile Phone": IdentifierKind.PHONE,
    "User Name": IdentifierKind.USERNAME,
    "Domain": IdentifierKind.DOMAIN,
}


def _planted(rows: list[Row], first_line: int) -> set[tuple[int, str, str]]:
    planted = set()
    for line, row in enumerate(rows, start=first_line):
        texts = [(kind, row[name]) for name, kind in KINDS.items()]
        texts.append((IdentifierKind.PERSON, f"{row['Full Name']} {row['Date of Birth']}"))
        for kind, text in texts:
            canonical = normalise(kind, text, phone_region="US")
            assert canonical is not None, (kind, text)
            planted.add((line, kind.value, canonical))
    return planted


def _comma(rows: list[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _json(rows: list[Row]) -> str:
    whole = [{**row, "Card Number": int(row["Card Number"]), "person": {"x": 1}} for row in rows]
    return "".join(json.dumps(row) + "\n" for row in whole)


def _sql(rows: list[Row]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    columns = ", ".join(f"`{name}`" for name in HEADER)
    return "".join(f"INSERT INTO `p` ({columns}) VALUES ({', '.join(map(quoted, row.values()))});\n" for row in rows)


@pytest.mark.parametrize(
    ("write", "first_line", "shape"),
    [(_comma, 2, DumpShape.CSV), (_json, 1, DumpShape.JSON_LINES), (_sql, 1, DumpShape.SQL_INSERT)],
)
def test_every_kind_is_found_in_its_column(
    tmp_path: Path, write: Callable[[list[Row]], str], first_line: int, shape: DumpShape
) -> None:
    rows = _rows()
    path = tmp_path / "dump"
    path.write_text(write(rows))
    found, _, bad, detected = read(path)
    assert detected is shape
    assert {(line, kind, who) for line, kind, who, _ in found} == _planted(rows, first_line)
    assert bad == {}
    with open_dump(path, limits=LIMITS, phone_region="US") as dump:
        blinded = {index.tobytes() for batch in dump.blinded(Blinder(KEY)) for index in batch.index}
    assert blinded == {KEY.indexes(kind, [who])[0] for _, kind, who in _planted(rows, first_line)}


def test_without_a_header_numbers_that_prove_themselves_are_found(tmp_path: Path) -> None:
    rows = _rows()
    path = tmp_path / "dump"
    path.write_text("".join("|".join(row.values()) + "\n" for row in rows))
    found, *_ = read(path)
    kinds = {"national_id", "iban", "card", "phone"}
    assert {one[:3] for one in found} == {one for one in _planted(rows, 1) if one[1] in kinds}


@pytest.mark.parametrize(
    ("header", "line", "who"),
    [
        ("first_name;last_name;dob", "John;Doe;1980-01-31", "doe|john|1980-01-31"),
        ("lastname;firstname;birthday", "DOE;John;01/31/1980", "doe|john|1980-01-31"),
        ("name;surname;dob", "John;Doe;2/3/1980", "doe|john|1980-02-03"),
        ("name;surname;dob", "John Doe;Doe;19800131", "doe|john|1980-01-31"),
        ("nome;data_nascimento", "João da Silva;31.01.1980", "da|joao|silva|1980-01-31"),
        ("full name;date of birth", "Doe, John;1980/01/31 00:00:00", "doe|john|1980-01-31"),
    ],
)
def test_a_name_and_a_birth_date_are_one_person(tmp_path: Path, header: str, line: str, who: str) -> None:
    path = tmp_path / "dump"
    path.write_text(f"{header}\n" + f"{line}\n" * 3)
    found, *_ = read(path)
    assert {(kind, one) for _, kind, one, _ in found} == {("person", who)}


def test_outside_the_us_the_day_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text("name,dob\n" + "Ann Reis,02/03/1980\n" * 3)
    assert {one[2] for one in read(path, region="BR")[0]} == {"ann|reis|1980-03-02"}


def test_a_name_alone_and_a_first_name_with_a_birth_date_identify_no_one(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text("email,name,first_name,dob\n" + "".join(f"a{n}@b.example,,Ann,1980-01-02\n" for n in range(9)))
    assert {one[1] for one in read(path)[0]} == {"email"}


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (["536-90-4399", "219-09-9999"], Role.NATIONAL_ID),
        (["536904399", "219099999"], Role.OTHER),
        (["390.533.447-05", "52998224725"], Role.NATIONAL_ID),
        (["356938035643809", "490154203237518"], Role.OTHER),
        (["4111 1111 1111 1111", "378282246310005"], Role.CARD),
        (["GR1601101050000010547023795", "DE89370400440532013000"], Role.IBAN),
    ],
)
def test_only_a_number_with_valid_check_digits_is_taken_for_a_persons_number(values: list[str], role: Role) -> None:
    assert role_by_content(values, "US") is role


@pytest.mark.parametrize(
    ("name", "role"),
    [("Social-Security Number", Role.NATIONAL_ID), ("customer_cpf", Role.NATIONAL_ID), ("cc_num", Role.CARD),
     ("CardHolder Name", Role.NAME), ("user_dob", Role.BORN), ("username", Role.LOGIN), ("city", None)],
)  # fmt: skip
def test_headers_are_known_in_any_spelling(name: str, role: Role | None) -> None:
    assert role_by_name(name) is role
