"""The sweep over a window: every address, and every number with valid check digits, at any place and in any notation.

It knows no shape; its results do not depend on the structure.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import phonenumbers
import polars as pl
from publicsuffixlist import PublicSuffixList
from stdnum import numdb

from kordant_jobs.adapters.dumps.window import Places, Window, decoded
from kordant_jobs.domain.identifiers import IdentifierKind, normalise

_SPECIAL = "example test invalid localhost local internal intranet lan corp home localdomain onion"
"""Names that are no public domains but occur after an '@' in dumps (RFC 6761, and the usual names in internal
networks)."""
_AS_TEXT_AT_ONCE = 1 << 16
"""The odd addresses and numbers that are judged at a time: as texts they take ten times the memory."""
_LOCAL = re.compile(r"(?:[^\W_]|[._+%&’'-])+")
"""The local part, read backwards from the '@'."""
_DOMAIN = re.compile(r"[\w-]+(?:[.。．｡][\w-]+)+")
_SIGNS = re.compile(r"(?i)@|＠|%40|=40|&#0*64;|&#x0*40;|\\u0040")
_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})")
_PERCENT = re.compile(r"%([0-7][0-9a-fA-F])")
_QUOTED = re.compile(r"=([0-7][0-9A-F])|=\r?\n")


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses found, in order. `kinds`: PLAIN ones are in the text as they are; ODD ones are in `canonical` by
    their place, and their span is that of the '@'."""

    starts: Places
    ends: Places
    lines: Places
    odd: npt.NDArray[np.bool_]
    canonical: dict[int, str]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers found, in order; whether they identify persons is not decided yet. Lines are numbered from 0."""

    starts: Places
    ends: Places
    lines: Places
    kinds: npt.NDArray[np.uint8]


def top_domains() -> frozenset[str]:
    """The last labels of hosts that exist, in lower case, and those of internal networks."""
    return _tops()[0]


@cache
def _tops() -> tuple[frozenset[str], npt.NDArray[np.uint64]]:
    from kordant_jobs.adapters.kernels import sweep as kernel

    known = {suffix for suffix in PublicSuffixList(accept_unknown=False)._publicsuffix if "." not in suffix}
    tops = {top.lstrip("*!.") for top in known} | set(_SPECIAL.split())
    return frozenset(tops), kernel.words_table(sorted(top for top in tops if top.isascii() and top))


def addresses(window: Window, stop: int) -> Addresses:
    """Every address that begins before `stop`."""
    from kordant_jobs.adapters.kernels import sweep as kernel

    room = max(256, (stop - window.start) // 24)
    signs, lines = np.empty(room, np.int64), np.empty(room, np.int64)
    at, line = window.start, 0
    parts = [judged(window, signs, lines, 0)]
    while at < stop:
        count, line, at = kernel.find_signs(window.bytes, at, stop - at, line, signs, lines, True)
        parts.append(judged(window, signs, lines, count))
    starts, ends, numbers, kinds, around = (np.concatenate([part[column] for part in parts]) for column in range(5))
    odd = kinds == kernel.ODD
    canonical = dict[int, str]()
    if odd.any():
        places, names = np.flatnonzero(odd), list[str | None]()
        for some in np.split(places, range(_AS_TEXT_AT_ONCE, len(places), _AS_TEXT_AT_ONCE)):
            names += _odd_names(window, around[some].tolist())
        is_one = np.array([name is not None for name in names])
        kept = ~odd
        kept[places[is_one]] = True
        now = (np.cumsum(kept) - 1)[places[is_one]]
        canonical = dict(zip(now.tolist(), filter(None, names), strict=True))
        starts, ends, numbers, odd = starts[kept], ends[kept], numbers[kept], odd[kept]
    return Addresses(starts=starts, ends=ends, lines=numbers, odd=odd, canonical=canonical)


def _odd_names(window: Window, around: list[list[int]]) -> list[str | None]:
    """The addresses that the kernel left undecided, decoded from the text around their '@'."""
    known, found = dict[tuple[bytes, bytes], str | None](), list[str | None]()
    for low, sign, behind, high, simple in around:
        piece = window.raw[low:sign], window.raw[behind if simple else sign : high]
        if piece not in known:
            known[piece] = b"@".join(piece).decode("ascii").lower() if simple else odd_address(*piece)
        found.append(known[piece])
    return found


def other_signs(window: Window, stop: int) -> Places:
    """The lines before `stop` with an '@' in another form."""
    from kordant_jobs.adapters.kernels import sweep as kernel

    signs, lines = np.empty(256, np.int64), np.empty(256, np.int64)
    at, line, parts = window.start, 0, [np.empty(0, np.int64)]
    while at < stop:
        count, line, at = kernel.find_signs(window.bytes, at, stop - at, line, signs, lines, False)
        parts.append(lines[:count].copy())
    return np.concatenate(parts)


def judged(window: Window, signs: Places, lines: Places, count: int) -> list[npt.NDArray[Any]]:
    """Starts, ends, lines and kinds of the addresses around `signs`, and the limits of the text around odd ones."""
    from kordant_jobs.adapters.kernels import sweep as kernel

    starts, ends, numbers = (np.empty(count, np.int64) for _ in range(3))
    kinds, odd = np.empty(count, np.uint8), np.empty((count, 5), np.int64)
    found = kernel.judge_signs(
        window.bytes, signs, lines, count, kernel.CLASSES, _tops()[1], starts, ends, numbers, kinds, odd
    )
    return [starts[:found], ends[:found], numbers[:found], kinds[:found], odd[:found]]


def odd_address(before: bytes, behind: bytes) -> str | None:
    """The address around an '@' at the start of `behind`, with escapes decoded; None when there is none."""
    while before and 0x80 <= before[0] < 0xC0:  # it begins within a character
        before = before[1:]
    left, right = decoded(before), _decoded_start(behind)
    sign = _SIGNS.match(right)
    if sign is None:
        return None
    form = sign[0].lower()
    local = _LOCAL.match(_plain(left, form).replace("\\'", "'").replace("''", "'")[::-1])
    domain = _DOMAIN.match(_plain(right[sign.end() :], form))
    if local is None or domain is None:
        return None
    top = domain[0].rpartition(".")[2]
    host = domain[0]
    while top.lower() not in _tops()[0] and not top.lower().startswith("xn--") and top.isascii():
        host, _, top = host.rpartition(".")
        top = host.rpartition(".")[2]
        if "." not in host:
            return None
    name = local[0][::-1].lstrip("%&+.-'’").rstrip("'’")
    return normalise(IdentifierKind.EMAIL, f"{name}@{host}")


def _decoded_start(data: bytes) -> str:
    """The text of a piece that may end within a character."""
    for size in range(1, 4):
        lead = data[-size] if len(data) >= size else 0
        if lead >= 0xC0:
            data = data[:-size] if lead >= (0x80, 0xC0, 0xE0, 0xF0)[size] else data
            break
        if lead < 0x80:
            break
    return decoded(data)


def _plain(text: str, form: str) -> str:
    """The text with escapes decoded, depending on the form of the '@'."""
    if form.startswith("%"):
        text = _PERCENT.sub(lambda match: chr(int(match[1], 16)), text)
    elif form.startswith("="):
        text = _QUOTED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "", text)
    elif form.startswith("&"):
        text = html.unescape(text)
    if "\\u" in text:
        text = _UNICODE.sub(lambda match: chr(int(match[1], 16)), text)
    if form == "＠":
        text = "".join(chr(ord(one) - 0xFEE0) if "！" <= one <= "～" else one for one in text)
    return text


def numbers(window: Window, stop: int) -> Numbers:
    """Every number before `stop` with a form that may identify a person."""
    from kordant_jobs.adapters.kernels import numbers as kernel

    room = max(256, (stop - window.start) // 64)
    none, sizes = np.empty(0, np.int64), _iban_sizes()
    parts, at, line = [(none, none, none, np.empty(0, np.uint8))], window.start, 0
    while at < stop:
        starts, ends, lines = (np.empty(room, np.int64) for _ in range(3))
        kinds = np.empty(room, np.uint8)
        found, line, at = kernel.find_numbers(window.bytes, at, stop - at, line, sizes, starts, ends, lines, kinds)
        parts.append((starts[:found], ends[:found], lines[:found], kinds[:found]))
    columns = [np.concatenate([part[column] for part in parts]) for column in range(4)]
    return Numbers(starts=columns[0], ends=columns[1], lines=columns[2], kinds=columns[3])


NUMBER_KINDS = {
    1: IdentifierKind.PHONE,
    2: IdentifierKind.CARD,
    3: IdentifierKind.IBAN,
    4: IdentifierKind.NATIONAL_ID,
    5: IdentifierKind.PHONE,
    6: IdentifierKind.PHONE,
}
"""By the codes of `kernels.numbers`."""
_GROUPED = 5


GAPS = "[-\u00a0\u2007-\u200b\u2010-\u2015\u202f]"
"""The separators between groups of digits besides the blank: hyphens, and other kinds of blanks."""
_GAPS = re.compile(GAPS)
_LAST_GROUP = re.compile(r"[^\d]+\d+$")


@cache
def _iban_sizes() -> npt.NDArray[np.uint8]:
    """The number of characters of an IBAN, by the two letters of its country; 0: it has none (ISO 13616's registry)."""
    sizes = np.zeros(26 * 26, np.uint8)
    for at in range(len(sizes)):
        ((_, country),) = numdb.get("iban").info(chr(65 + at // 26) + chr(65 + at % 26))[:1]
        sizes[at] = 4 + sum(map(int, re.findall(r"(\d+)!", country["bban"]))) if country else 0
    return sizes


def number(code: int, text: str, region: str) -> str | None:
    """The canonical form of a number that the sweep found, if it is valid: a phone number has to be allotted, and one
    without '+' to stand in the groups of its country, or behind a word for a phone. (The rule of the groups is the
    leniency EXACT_GROUPING with which libphonenumber finds numbers in texts.)

    >>> number(3, "DE89-3704-0044-0532-0130-00", "US"), number(1, "+1 202 555 0143 17", "US")
    ('DE89370400440532013000', '+12025550143')
    >>> number(5, "(202) 555-0143", "US"), number(5, "(20) 255-50143", "US"), number(6, "2025550143", "US")
    ('+12025550143', None, '+12025550143')
    """
    kind = NUMBER_KINDS[code]
    if kind is not IdentifierKind.PHONE:
        return normalise(kind, _GAPS.sub(" ", text))
    rest: str | None = _GAPS.sub("-", text).replace("/", " ")
    while rest is not None:
        canonical = normalise(kind, rest, phone_region=region)
        if canonical is not None:
            parsed = phonenumbers.parse(canonical)
            if phonenumbers.is_valid_number(parsed) and (code != _GROUPED or _is_grouped(parsed, rest)):
                return canonical
        shorter = _LAST_GROUP.sub("", rest)
        rest = shorter if shorter != rest and code != _GROUPED else None
    return None


def canonical_numbers(window: Window, code: int, starts: Places, ends: Places, region: str) -> pl.Series:
    """`number` of each span of one kind. Numbers that the United States allot, the usual case, are decided by a kernel,
    since `number` takes 100 microseconds each."""
    from kordant_jobs.adapters.kernels.numbers import american

    national = np.full(len(starts), -1, np.int64)
    if NUMBER_KINDS[code] is IdentifierKind.PHONE:
        american(window.bytes, starts, ends, region == "US", _allotted_in_the_us(), national)
    us = pl.DataFrame({"number": national}).select(
        pl.when(pl.col("number") >= 0).then(pl.lit("+1") + pl.col("number").cast(pl.String))
    )
    names, known = us.to_series(), dict[bytes, str | None]()
    left = np.flatnonzero(national < 0)
    for some in np.split(left, range(_AS_TEXT_AT_ONCE, len(left), _AS_TEXT_AT_ONCE)):
        pieces = [window.raw[start:end] for start, end in zip(starts[some].tolist(), ends[some].tolist(), strict=True)]
        known = {one: known[one] if one in known else number(code, decoded(one), region) for one in set(pieces)}
        if len(some):
            names = names.scatter(some, pl.Series([known[one] for one in pieces], dtype=pl.String))
    return names


@cache
def _allotted_in_the_us() -> npt.NDArray[np.bool_]:
    """For each start of four digits: True when the United States allot numbers with it, whatever follows."""
    known: Any = phonenumbers.PhoneMetadata.metadata_for_region("US", None)
    pattern = re.compile(known.fixed_line.national_number_pattern)
    return np.array([pattern.fullmatch(f"{start:04}550143") is not None for start in range(10_000)])


def _is_grouped(parsed: phonenumbers.PhoneNumber, text: str) -> bool:
    """True when the groups of digits are those in which the number's country writes it."""
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return re.findall(r"\d+", national) == re.findall(r"\d+", text)
