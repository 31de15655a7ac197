"""The compiled way through a combo list gives what the general way gives, line by line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kordant_jobs.adapters.dumps import Blinder, DumpLimits, DumpShape, open_dump
from kordant_jobs.adapters.dumps.model import SECRET_CODES
from kordant_jobs.domain.identifiers.blinding import BlindingKey
from kordant_jobs.lab.world.dump_files import write_dumps
from kordant_jobs.lab.world.population import make_population

KEY = BlindingKey(key=bytes(range(32)))
BLINDER = Blinder(KEY)
LIMITS = DumpLimits(max_bytes=1 << 30, max_ratio=1_000)
CODES = list(SECRET_CODES)

Found = tuple[list[tuple[int, bytes, str]], int, dict[str, int]]


def both(path: Path, shape: DumpShape | None = None, limits: DumpLimits = LIMITS) -> tuple[Found, Found]:
    """Records (line, blind index, secret), lines and bad lines, by the general and by the compiled way."""
    general: list[tuple[int, bytes, str]] = []
    compiled: list[tuple[int, bytes, str]] = []
    lines = [0, 0]
    bad: list[dict[str, int]] = [{}, {}]
    with open_dump(path, limits=limits, phone_region="US", shape=shape) as dump:
        for batch in dump.batches():
            for line, kind, identifier, secret in batch.records.iter_rows():
                general.append((line, KEY.indexes(kind, [identifier])[0], secret))
            lines[0] += batch.lines
            _count(bad[0], batch.bad_lines)
    with open_dump(path, limits=limits, phone_region="US", shape=shape) as dump:
        for blind in dump.blinded(BLINDER):
            for line, index, code in zip(blind.line.tolist(), blind.index, blind.secret.tolist(), strict=True):
                compiled.append((line, index.tobytes(), CODES[code]))
            lines[1] += blind.lines
            _count(bad[1], blind.bad_lines)
    strongest: dict[tuple[int, bytes], str] = {}  # of what a line says twice the strongest counts, as in the corpus
    for line, index, secret in compiled:
        strongest[line, index] = max(strongest.get((line, index), CODES[0]), secret, key=CODES.index)
    distinct = sorted((line, index, secret) for (line, index), secret in strongest.items())
    return (sorted(general), lines[0], bad[0]), (distinct, lines[1], bad[1])


def _count(total: dict[str, int], more: object) -> None:
    for reason, count in dict(more).items():  # type: ignore[call-overload]  # a mapping
        total[reason] = total.get(reason, 0) + count


_locals = st.text(st.sampled_from("abzAZ059.._-+!#'/"), min_size=0, max_size=12)
_hosts = st.text(st.sampled_from("abzAZ09..--_x"), min_size=0, max_size=12) | st.sampled_from(
    ["mail.example", "a.b", "x.9y", "x.y9", "xn--a.b", "b" * 63 + ".example", "MAIL.Example", "a.b-", "a-b.c-d"]
)
_addresses = st.builds("{}@{}".format, _locals, _hosts) | st.sampled_from(
    [
        "ana@mail.example",
        "a" * 50 + "@mail.example",
        "a" * 51 + "@mail.example",
        "a" * 52 + "@mail.example",
        "é@a.b",
        "",
    ]
)
_hex = st.builds(
    lambda size, upper: ("AbCdEf0123456789" * 8)[:size].upper() if upper else ("0a1b2c3d" * 16)[:size],
    st.sampled_from([15, 16, 31, 32, 33, 40, 56, 63, 64, 65, 96, 128]),
    st.booleans(),
)
_secrets = (
    st.text(st.sampled_from("aZ09nNuUlLoOeE/!$ :;,|'\"=_*{}\\é\t"), max_size=24)
    | _hex
    | st.builds("{}{}".format, _hex, st.sampled_from([":salt", " x", "=", "==", "$", "g", '"', "\té", "|"]))
    | st.sampled_from(
        [
            "null",
            "NULL",
            "None",
            "n/a",
            "(null)",
            "<blank>",
            "\\N",
            "nullable",
            "pbkdf2_sha256$abcdef",
            "$2b$10$abcdefghij",
            "{SSHA}abc",
            "0x" + "ab" * 16,
            "*" + "AB" * 20,
            "A" * 22 + "==",
            " " * 20,
            "pw,+12025550143",
            "+1 (202) 555-0143",
            "4111111111111111",
            "4111-1111-1111-1111",
            "DE89370400440532013000",
            "529.982.247-25",
            "078-05-1120",
            "x bob@mail.example",
            "x josé@mail.example",
            "bob%40mail.example",
            "b&#64;mail.example",
            "b&#x40;mail.example",
            "b\\u0040mail.example",
            "bob=40mail.example",
            "bob＠mail.example",
        ]
    )
)
_lines = (
    st.builds("{}{}{}{}".format, _addresses, st.sampled_from(":;,|\t "), _secrets, st.sampled_from(["", "\r"]))
    | _addresses
    | st.sampled_from(["", " ", "\r", "# comment", "https://site.example:ana@mail.example:pw", "\x00\x01"])
).map(lambda line: line.replace("\n", "").encode())
_broken = st.builds(lambda line: line.replace(b"9", b"\xe9"), _lines)


@given(lines=st.lists(_lines | _broken, min_size=1, max_size=25), ends=st.booleans())
@settings(max_examples=120)
def test_each_line_says_the_same_either_way(
    lines: list[bytes], ends: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Behind twenty plain lines, so that the compiled way is taken."""
    plain = [f"p{n}@mail.example:secret{n}".encode() for n in range(60)]
    path = tmp_path_factory.mktemp("blind") / "dump.txt"
    path.write_bytes(b"\n".join([*plain, *lines]) + b"\n" * ends)
    general, compiled = both(path, DumpShape.COMBO)
    assert compiled == general


def test_every_file_of_the_demo_says_the_same_either_way(tmp_path: Path) -> None:
    dumps = write_dumps(make_population(3, 200), tmp_path, seed=3, lines=20_000)
    for file in dumps.files:
        general, compiled = both(tmp_path / file.name)
        assert compiled == general, file.name
        assert general[0], file.name


def test_a_reader_that_skips_blocks_gets_the_rest_with_the_same_numbers(tmp_path: Path) -> None:
    """In blocks of some lines, packed or not."""
    limits = DumpLimits(max_bytes=1 << 30, max_ratio=1_000, block_bytes=4_096, max_line_bytes=2_048)
    dumps = write_dumps(make_population(4, 100), tmp_path, seed=4, lines=4_000)
    for file in dumps.files:
        with open_dump(tmp_path / file.name, limits=limits, phone_region="US") as dump:
            whole = list(dump.blinded(BLINDER))
        for skip in (1, len(whole) - 1, len(whole)):
            with open_dump(tmp_path / file.name, limits=limits, phone_region="US") as dump:
                rest = list(dump.blinded(BLINDER, skip=skip))
            assert [sorted(batch.line.tolist()) for batch in rest] == [
                sorted(batch.line.tolist()) for batch in whole[skip:]
            ], file.name


@pytest.mark.parametrize("size", [1, 7, 8, 9, 24, 63, 64])
def test_a_blind_index_is_the_standard_librarys(size: int) -> None:
    values = [("Abc.9-" * 11)[:size]] * 19
    got = BLINDER._indexes("username", pl.Series([value.lower() for value in values], dtype=pl.String))
    wanted = hashlib.blake2b(values[0].lower().encode(), digest_size=16, key=KEY.key, person=b"username").digest()
    assert [row.tobytes() for row in got] == [wanted] * 19


def test_an_address_behind_the_password_is_mentioned_either_way(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    lines = [f"p{n}@mail.example:secret{n}" for n in range(60)]
    path.write_text(
        "\n".join([*lines, "ann@mail.example:pw!cyd@mail.example:x", "eve@mail.example:pw bob@mail.example", ""])
    )
    general, compiled = both(path)
    assert compiled == general
    assert len(general[0]) == 64
