"""The same planted people written in every shape, encoding and compression, from a seed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import zstandard

from kordant_jobs.adapters.dumps import DumpLimits, DumpShape, open_dump

LIMITS = DumpLimits(max_bytes=1 << 32, max_ratio=200, block_bytes=1 << 16)
MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"
Found = set[tuple[int, str, str, str]]
Person = tuple[str, str]  # e-mail, secret


def people(seed: int, count: int = 400) -> list[Person]:
    """E-mails in mixed case, some outside ASCII; passwords in clear, hashed, empty, with delimiters in
    them."""
    rng = random.Random(seed)
    names = [
        "john",
        "Mary.Ann",
        "kate_99",
        "o'neil",
        "josé",
        "müller",
        "x-y",
        "Bob+shop",
        "ЖЕНЯ" if seed % 2 else "jürgen",
    ]
    hosts = ["Example.com", "mail.example.org", "bücher.example", "web.example.net"]
    secrets = [
        "hunter2",
        "pa:ss",
        "p;w,d|x",
        "",
        MD5,
        "$2a$10$abcdefghijklmnopqrstuv",
        "mit leer",
        "passwört",
        "quo'te",
    ]
    return [(f"{rng.choice(names)}{at}@{rng.choice(hosts)}", rng.choice(secrets)) for at in range(count)]


def expected(persons: list[Person], *, first_line: int = 1, secrets: bool = True) -> Found:
    """The records that must come out, a person a line."""
    found = set()
    for at, (email, secret) in enumerate(persons):
        kind = "none" if not secret or not secrets else "hashed" if secret == MD5 or secret[0] == "$" else "clear"
        canonical = email.lower().replace("bücher.example", "xn--bcher-kva.example")
        found.add((first_line + at, "email", canonical, kind))
    return found


def combo(persons: list[Person], delimiter: str = ":") -> str:
    return "".join(f"{email}{delimiter}{secret}\n" for email, secret in persons)


def comma_values(persons: list[Person]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "Password", "full name", "E-Mail"])
    writer.writerows([at, secret, 'Doe, "JD" John', email] for at, (email, secret) in enumerate(persons))
    return out.getvalue()


def json_lines(persons: list[Person]) -> str:
    rows = [{"id": at, "user": {"mail": e, "n": [1]}, "pwd": s} for at, (e, s) in enumerate(persons)]
    return "".join(json.dumps(row, ensure_ascii=at % 2 == 0) + "\n" for at, row in enumerate(rows))


def sql_tuple(at: int, email: str, secret: str) -> str:
    quoted = [value.replace("\\", "\\\\").replace("'", "\\'" if at % 2 else "''") for value in (email, secret)]
    return f"({at},'it''s (a), \\'name\\'','{quoted[0]}','{quoted[1]}',NULL)"


def sql(persons: list[Person]) -> str:
    rows = [sql_tuple(at, *person) for at, person in enumerate(persons)]
    head = "INSERT INTO `users` (`id`, `name`, `email`, `password`, `x`) VALUES "
    return "".join(f"{head}{row};\n" for row in rows)


def plain(persons: list[Person]) -> str:
    return "".join(f"{email}\n" for email, _ in persons)


SHAPES: dict[str, tuple[Callable[[list[Person]], str], DumpShape, int]] = {
    "colon": (combo, DumpShape.COMBO, 1),
    "semicolon": (lambda p: combo(p, ";"), DumpShape.COMBO, 1),
    "comma": (lambda p: combo(p, ","), DumpShape.COMBO, 1),
    "bar": (lambda p: combo(p, "|"), DumpShape.COMBO, 1),
    "tab": (lambda p: combo(p, "\t"), DumpShape.COMBO, 1),
    "csv": (comma_values, DumpShape.CSV, 2),
    "json": (json_lines, DumpShape.JSON_LINES, 1),
    "sql": (sql, DumpShape.SQL_INSERT, 1),
    "plain": (plain, DumpShape.PLAIN, 1),
}
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf8": lambda text: text.encode(),
    "bom": lambda text: text.encode("utf-8-sig"),
    "latin1": lambda text: text.encode("latin-1"),
    "utf16": lambda text: text.encode("utf-16"),
    "utf16-be-bare": lambda text: text.encode("utf-16-be"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
    "no-last-newline": lambda text: text.rstrip("\n").encode(),
}


def zipped(data: bytes, name: str = "dump.txt") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "zip": zipped,
}


def read(
    path: Path, *, limits: DumpLimits = LIMITS, shape: DumpShape | None = None, region: str = "US"
) -> tuple[Found, int, dict[str, int], DumpShape]:
    """Everything that comes out of a dump: records, lines, bad lines, shape."""
    bad: dict[str, int] = {}
    frames, lines = [], 0
    with open_dump(path, limits=limits, phone_region=region, shape=shape) as dump:
        for batch in dump.batches():
            frames.append(batch.records)
            lines += batch.lines
            for reason, count in batch.bad_lines.items():
                bad[reason] = bad.get(reason, 0) + count
        records = pl.concat(frames).rows() if frames else []
        assert len(set(records)) == len(records)
        return set(records), lines, bad, dump.shape
