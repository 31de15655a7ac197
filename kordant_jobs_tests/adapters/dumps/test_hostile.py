"""Damaged, forged and oversized files end in one clear line and bounded memory."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kordant_jobs.adapters.dumps import DumpLimits, DumpShape, content_sha256, open_dump
from kordant_jobs.errors import DumpUnreadable, TransientError
from kordant_jobs_tests.adapters.dumps.planted import (
    COMPRESSIONS,
    LIMITS,
    SHAPES,
    combo,
    expected,
    people,
    read,
    zipped,
)

PACKED = [name for name in COMPRESSIONS if name != "none"]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return tmp_path / "a b@c.de.txt"  # a name that must not come up in any message


def refused(path: Path, *, limits: DumpLimits = LIMITS, shape: DumpShape | None = None) -> str:
    with pytest.raises(DumpUnreadable) as caught:
        read(path, limits=limits, shape=shape)
    text = str(caught.value)
    assert "\n" not in text
    assert "@" not in text
    return text


@pytest.mark.parametrize("compression", PACKED)
def test_a_cut_archive_is_damaged_wherever_it_was_cut(dump: Path, compression: str) -> None:
    data = COMPRESSIONS[compression](combo(people(1, 25)).encode())
    for size in range(1, len(data)):
        dump.write_bytes(data[:size])
        refused(dump)


@pytest.mark.parametrize("compression", PACKED)
def test_damage_in_the_middle_never_passes_for_another_error(dump: Path, compression: str) -> None:
    data = COMPRESSIONS[compression](combo(people(1, 400)).encode())
    rng = random.Random(1)
    for _ in range(20):
        broken = bytearray(data)
        broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        dump.write_bytes(broken)
        with contextlib.suppress(DumpUnreadable):  # zstd without a checksum may let a flipped letter pass
            read(dump)


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz", "zstd"])
def test_streams_end_to_end_are_one_text_and_garbage_behind_them_is_damage(dump: Path, compression: str) -> None:
    pack = COMPRESSIONS[compression]
    first, second = people(1, 50), people(3, 80)
    data = pack(combo(first).encode()) + pack(combo(second).encode())
    dump.write_bytes(data)
    assert read(dump)[0] == expected(first) | expected(second, first_line=51)
    dump.write_bytes(data + b"\x00" * 512)
    assert read(dump)[0] == expected(first) | expected(second, first_line=51)
    for garbage in (b"x", b"garbage behind the end", b"\x00\x00x"):
        dump.write_bytes(data + garbage)
        refused(dump)


def test_the_members_of_a_zip_are_read_in_turn(dump: Path) -> None:
    first, second = people(1, 50), people(3, 80)
    with zipfile.ZipFile(dump, "w") as archive:
        archive.writestr("../../etc/passwd/", "")
        archive.writestr("readme.txt", "No identifiers are in this text, only words and more words.\nTruly.\n")
        archive.writestr("logo.png", bytes(range(32)) * 40)
        archive.writestr("a.txt", combo(first).rstrip("\n"))
        archive.writestr("../b.csv", SHAPES["csv"][0](second))
    found, lines, _, _ = read(dump)
    assert found == expected(first, first_line=3) | expected(second, first_line=54)
    assert lines == 2 + 50 + 81


def test_an_encrypted_zip_is_named_as_the_reason(dump: Path) -> None:
    data = bytearray(zipped(combo(people(1)).encode()))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    dump.write_bytes(data)
    assert "encrypted" in refused(dump)


def test_a_member_that_cannot_be_read_is_skipped_and_said_so(dump: Path) -> None:
    with zipfile.ZipFile(dump, "w") as archive:
        archive.writestr("a.txt", combo(people(1)))
        archive.writestr("b.sqlite", b"SQLite format 3\x00" + bytes(100))
    with open_dump(dump, limits=LIMITS, phone_region="US") as opened:
        found = sum(batch.records.height for batch in opened.batches())
        assert found == len(expected(people(1)))
        assert [(one.member, one.reason) for one in opened.ledger.skipped] == [
            (2, "an SQLite database, which is not read here")
        ]
        assert "1 member not read" in str(opened.ledger.problem())


@pytest.mark.parametrize("outer", PACKED)
@pytest.mark.parametrize("inner", PACKED)
def test_an_archive_in_an_archive_is_read(dump: Path, outer: str, inner: str) -> None:
    dump.write_bytes(COMPRESSIONS[outer](COMPRESSIONS[inner](combo(people(1)).encode())))
    assert read(dump)[0] == expected(people(1))


def test_archives_nested_too_deeply_are_refused(dump: Path) -> None:
    data = combo(people(1)).encode()
    for _ in range(8):
        data = gzip.compress(data)
    dump.write_bytes(data)
    assert "nested too deeply" in refused(dump)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (b"\n\n\n", "No identifiers"),
        (b"the quick brown fox\njumps over the lazy dog\n", "No identifiers"),
        (b"swordfish\nhunter2\npassword1\n", "given as plain"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "7z"),
        (b"SQLite format 3\x00" + bytes(100), "SQLite"),
        (b"\x7fELF" + random.Random(1).randbytes(5_000), "binary"),
        (b"x" * 257 + b"ustar" + b"\x00" * 500, "tar"),
    ],
    ids=["empty", "empty-gzip", "blank", "prose", "words", "7z", "sqlite", "elf", "tar"],
)
def test_what_is_no_dump_is_refused_with_a_reason(dump: Path, data: bytes, word: str) -> None:
    dump.write_bytes(data)
    assert word in refused(dump)


def test_a_file_that_is_not_there_or_a_folder_is_unreadable(dump: Path, tmp_path: Path) -> None:
    assert "cannot be read" in refused(dump)
    assert "cannot be read" in refused(tmp_path)
    with pytest.raises(DumpUnreadable):
        content_sha256(dump)


def test_an_error_of_the_disk_says_nothing_about_the_dump() -> None:
    memory = Path("/proc/self/mem")  # a file that opens, and whose first page can't be read: EIO
    if not memory.exists():
        pytest.skip("no /proc here")
    with pytest.raises(TransientError, match="Input/output error"):
        content_sha256(memory)
    with pytest.raises(TransientError, match="Input/output error"), open_dump(memory, limits=LIMITS, phone_region="US"):
        pass


def test_a_given_shape_that_does_not_fit_is_refused(dump: Path) -> None:
    dump.write_text(combo(people(1)))
    assert "json_lines" in refused(dump, shape=DumpShape.JSON_LINES)


def test_the_content_hash_is_of_the_file_itself(dump: Path) -> None:
    dump.write_bytes(b"abc")
    assert content_sha256(dump) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_dump_over_the_byte_limit_is_refused(dump: Path) -> None:
    dump.write_text(combo(people(1)))
    assert "KORDANT_DUMP_MAX_BYTES" in refused(dump, limits=DumpLimits(max_bytes=1_000, max_ratio=200))


MEASURED = """
import resource, sys, threading, time
from pathlib import Path
from kordant_jobs.adapters.dumps import DumpLimits, open_dump
from kordant_jobs.errors import DumpUnreadable, TransientError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found, lines, bad = 0, 0, {}
try:
    limits = DumpLimits(max_bytes=1 << 40, max_ratio=200)
    with open_dump(Path(sys.argv[1]), limits=limits, phone_region="US") as dump:
        for batch in dump.batches():
            found, lines = found + batch.records.height, lines + batch.lines
            for reason, count in batch.bad_lines.items():
                bad[reason] = bad.get(reason, 0) + count
    print(found, lines, bad)
except DumpUnreadable as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def measured(path: Path) -> tuple[str, int]:
    """What comes of reading it in a process of its own, and the MiB that it took on top of the imports."""
    command = [sys.executable, "-c", MEASURED, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    said, grown = done.stdout.strip().splitlines()
    return said, int(grown)


@pytest.mark.slow
def test_a_line_of_two_gigabytes_is_one_bad_line_in_bounded_memory(dump: Path) -> None:
    with dump.open("wb") as file:
        file.write(combo(people(1)).encode())
        file.write(b"x@y.zz:")
        file.seek(2 << 30, os.SEEK_CUR)  # a hole: takes no disk
        file.write(b"\nlast@example.com:pw\n")
    said, grown = measured(dump)
    assert said.startswith("402 402 ")  # of the long line the address at its beginning
    assert grown < 300


@pytest.mark.parametrize("compression", ["gzip", "zstd", "zip", "xz"])
def test_a_bomb_is_refused_in_bounded_memory(dump: Path, compression: str) -> None:
    start, zeros = combo(people(1)).encode(), bytes(1 << 20)
    if compression == "zip":
        with (
            zipfile.ZipFile(dump, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("a.txt", "w") as member,
        ):
            member.write(start)
            for _ in range(70):
                member.write(zeros)
    elif compression == "zstd":
        out = io.BytesIO()
        with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
            writer.write(start)
            for _ in range(70):
                writer.write(zeros)
        dump.write_bytes(out.getvalue())
    else:
        dump.write_bytes(COMPRESSIONS[compression](start + zeros * 70))
    said, grown = measured(dump)
    assert "zip bombs" in said
    assert grown < 300


_texts = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(str.encode),
    st.lists(
        st.sampled_from(
            [*":;,\t|\"'\\(){}\n\r\x00 ", "a@b.cd", '"email"', "INSERT INTO u VALUES ", "CREATE TABLE u (",
             "email,phone,password", "é", "\ud7ff", "+12025550143", "john"]
        ),
        max_size=60,
    ).map(lambda parts: "".join(parts).encode()),
)  # fmt: skip


@given(
    data=_texts,
    tail=_texts,
    magic=st.sampled_from(
        [
            b"",
            b"\x1f\x8b\x08",
            b"PK\x03\x04",
            b"\xfd7zXZ\x00",
            b"\x28\xb5\x2f\xfd",
            b"BZh9",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
        ]
    ),
    shape=st.sampled_from([None, *DumpShape]),
    block_bytes=st.sampled_from([1, 16, 1 << 20]),
)
@example(data=b"email\n", tail=b"\n", magic=b"", shape=DumpShape.CSV, block_bytes=16)
@settings(max_examples=200)
def test_any_bytes_give_batches_or_dump_unreadable(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    tail: bytes,
    magic: bytes,
    shape: DumpShape | None,
    block_bytes: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(magic + data + b"\na@b.cd:pw\n" + tail)
    limits = DumpLimits(max_bytes=1 << 20, max_ratio=200, block_bytes=block_bytes, max_line_bytes=64)
    batches = []
    with (
        contextlib.suppress(DumpUnreadable),
        open_dump(path, limits=limits, phone_region="US", shape=shape) as dump,
    ):
        batches = list(dump.batches())
    lines = sum(batch.lines for batch in batches)
    assert all(0 < line <= lines for batch in batches for line in batch.records["line"])
