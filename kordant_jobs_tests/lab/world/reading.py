"""A slow, plain reader of the demo's dumps that shares no code with the project: who stands on which line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import idna
import zstandard

LONGEST_LINE = 1 << 20
_EMAIL = re.compile(r"[^\s@:;,|\"'<>()]+@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]+")
_USERNAME = re.compile(r"@?[\w.\-]{3,64}")
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[(),;]|[^'(),;]+")


@dataclass(frozen=True)
class Row:
    """What one line, or one SQL tuple, holds: identifiers by kind in canonical form, and the secret beside them."""

    line: int
    identifiers: tuple[tuple[str, str], ...]
    secret: str


def unpacked(path: Path) -> bytes:
    """The bytes of a dump, a zip's members end to end."""
    data = path.read_bytes()
    match path.suffix:
        case ".gz":
            return gzip.decompress(data)
        case ".xz":
            return lzma.decompress(data)
        case ".zst":
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        case ".zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return b"".join(archive.read(name) for name in archive.namelist())
    return data


def lines_of(path: Path, encoding: str) -> list[str]:
    """The text of a dump by lines; bytes that are not in the encoding stay as surrogates."""
    data = unpacked(path).removeprefix(b"\xef\xbb\xbf")
    codec = "utf-8" if encoding == "utf-8-sig" else encoding
    texts = data.decode(codec, "surrogateescape").split("\n")
    assert texts.pop() == "", "the text ends with a line end"
    return [text.removesuffix("\r") for text in texts]


def rows_of(path: Path, encoding: str) -> tuple[list[Row], int]:
    """The rows that name somebody, and how many lines or tuples are bad."""
    rows, bad = [], 0
    for line, text in enumerate(lines_of(path, encoding), 1):
        if not path.name.startswith("TalkTavern") and len(text.encode("utf-8", "replace")) > LONGEST_LINE:
            bad += 1
            continue
        for fields in _fields(path.name, line, text):
            found = tuple(identified(kind, value) for kind, value in fields.items() if kind != "secret" and value)
            named = tuple((kind, value) for kind, value in found if value)
            if named:
                rows.append(Row(line, named, fields.get("secret") or ""))
            else:
                bad += 1
    return rows, bad


def identified(kind: str, raw: str) -> tuple[str, str]:
    """The canonical form, '' for what is no identifier."""
    text = raw.strip()
    if kind == "email" and _EMAIL.fullmatch(text):
        local, _, domain = text.lower().partition("@")
        return kind, f"{local}@{domain if domain.isascii() else idna.encode(domain).decode()}"
    if kind == "phone" and re.fullmatch(r"[+\d(). \-]{9,24}", text):
        digits = re.sub(r"\D", "", text).removeprefix("011")
        return kind, f"+{digits}" if text.startswith(("+", "011", "1-")) else f"+1{digits}"
    if kind == "username" and _USERNAME.fullmatch(text) and re.search(r"[^\W_]", text):
        return kind, text.removeprefix("@").lower()
    return kind, ""


def _fields(name: str, line: int, text: str) -> Iterator[dict[str, str]]:
    """By the file, since here we know which is which. Nothing for lines that are neither good nor bad."""
    match name.split(".", maxsplit=1)[0]:
        case "CrumbleCloud":
            email, _, secret = text.partition(":")
            yield {"email": email, "secret": secret}
        case "FableFinance":
            email, secret = [*re.split("[;,]", text, maxsplit=1), ""][:2]
            yield {"email": email, "secret": secret}
        case "SpamSpire":
            yield from [{"email": text}] if text else []
        case "found-on-a-forum":
            username, _, secret = text.partition(":")
            yield {"username": username, "secret": secret}
        case "PixelPantry":
            yield from _columns(line, next(csv.reader([text]), []), 7, {"phone": 2, "email": 5, "secret": 6})
        case "HeartHarbor":
            yield from _columns(line, text.split("\t"), 3, {"username": 0, "email": 1, "secret": 2})
        case "LojaLegal":
            yield from _columns(0, text.split(";"), 4, {"email": 0, "secret": 1})
        case "ParcelPigeon":
            yield from _columns(0, text.split("|"), 3, {"phone": 0})
        case "GameGrotto":
            yield _json(text)
        case "TalkTavern":
            yield from _tuples(text)


def _columns(line: int, values: list[str], count: int, places: dict[str, int]) -> Iterator[dict[str, str]]:
    if line == 1:
        return
    yield {kind: values[place] for kind, place in places.items()} if len(values) == count else {}


def _json(text: str) -> dict[str, str]:
    try:
        held = json.loads(text)
    except ValueError:
        return {}
    return {"username": held["username"], **held["contact"], "secret": held.get("password")}


def _tuples(text: str) -> Iterator[dict[str, str]]:
    start = "INSERT INTO `members` VALUES "
    if not text.startswith(start):
        return
    values: list[str] = []
    for token in _TOKEN.findall(text, len(start)):
        if token == "(":
            values = []
        elif token == ")":
            names = ("username", "email", "phone", "secret")
            yield dict(zip(names, values[1:5], strict=True)) if len(values) == 7 else {}
        elif token.startswith("'"):
            values.append(re.sub(r"\\(.)", r"\1", token[1:-1]))
        elif token not in ",;":
            values.append("" if token == "NULL" else token)
