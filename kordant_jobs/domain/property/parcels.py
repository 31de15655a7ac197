"""Parcel numbers: how each kind is written, checked and masked. The only place that normalises them. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from kordant_jobs.domain.identifiers import HIDDEN


class ParcelKind(StrEnum):
    """The numbering scheme of a county's parcels."""

    BBL = "bbl"
    """New York City: borough (1), block (5), lot (4)."""
    PIN = "pin"
    """Cook County: 14 digits, area-subarea-block-parcel-unit."""
    OPA = "opa"
    """Philadelphia: 9 digits."""
    FOLIO = "folio"
    """Florida counties: 12 or 13 digits (Miami-Dade: 30-2232-066-1610)."""
    APN = "apn"
    """Assessor's parcel number of any other county: letters and digits; separators do not count."""


@dataclass(frozen=True, kw_only=True)
class ParcelSpec:
    """One kind of parcel number: its normaliser, and the example that help texts show."""

    normalise: Callable[[str], str | None]
    example: str


_BBL_PARTS = re.compile(r"\s*([1-5])\s*[-/. ]\s*(\d{1,5})\s*[-/. ]\s*(\d{1,4})\s*")
_SIGNS = re.compile(r"[\s\-./_]+")


def _digits(raw: str) -> str | None:
    text = _SIGNS.sub("", raw.strip())
    return text if text.isascii() and text.isdecimal() else None


def _bbl(raw: str) -> str | None:
    parts = _BBL_PARTS.fullmatch(raw)
    text = f"{parts[1]}{parts[2]:0>5}{parts[3]:0>4}" if parts else _digits(raw)
    if text is None or len(text) != 10 or text[0] not in "12345":
        return None
    return text if int(text[1:6]) and int(text[6:]) else None


def _fixed(*lengths: int, fill: int = 0) -> Callable[[str], str | None]:
    """A normaliser for digits of one of these lengths. `fill`: numbers up to two digits shorter are padded with zeros
    to this length, since spreadsheets drop leading zeros."""

    def normalise(raw: str) -> str | None:
        text = _digits(raw)
        if text is None:
            return None
        if fill and len(text) < fill and len(text) >= fill - 2:
            text = text.zfill(fill)
        return text if len(text) in lengths and text.strip("0") else None

    return normalise


_WORD = re.compile(r"[A-Z]{3,}")
_DECIMAL = re.compile(r"\d+\.0")


def _apn(raw: str) -> str | None:
    text = _SIGNS.sub("", raw.strip()).upper()
    if _DECIMAL.fullmatch(raw.strip()):  # what a spreadsheet made of it
        return None
    good = 4 <= len(text) <= 24 and text.isascii() and text.isalnum() and any(c.isdigit() for c in text)
    return text if good and text.strip("0") else None


PARCELS: Mapping[ParcelKind, ParcelSpec] = MappingProxyType(
    {
        ParcelKind.BBL: ParcelSpec(normalise=_bbl, example="3-01234-0056"),
        ParcelKind.PIN: ParcelSpec(normalise=_fixed(14, fill=14), example="14-28-322-033-1007"),
        ParcelKind.OPA: ParcelSpec(normalise=_fixed(9, fill=9), example="141463300"),
        ParcelKind.FOLIO: ParcelSpec(normalise=_fixed(12, 13), example="30-2232-066-1610"),
        ParcelKind.APN: ParcelSpec(normalise=_apn, example="0431-B-00017-0000-00"),
    }
)


def normalise_parcel(kind: ParcelKind, raw: str) -> str | None:
    """The canonical parcel number, or None when `raw` is not one. Idempotent; never raises.

    >>> normalise_parcel(ParcelKind.BBL, "3-1234-56"), normalise_parcel(ParcelKind.BBL, "6-1-1")
    ('3012340056', None)
    >>> normalise_parcel(ParcelKind.PIN, "4-28-322-033-1007")
    '04283220331007'
    >>> normalise_parcel(ParcelKind.FOLIO, "30-2232-066-1610")
    '3022320661610'
    """
    return PARCELS[kind].normalise(raw)


def has_words(raw: str) -> bool:
    """True when a text has words beside digits, as in an address or before a name: it is not a parcel number.

    >>> [has_words(one) for one in ("731 Main St", "77-0001-01 John Smith", "0431-B-00017-0000-00", "R0012345")]
    [True, True, False, False]
    """
    return any(map(_WORD.fullmatch, _SIGNS.split(raw.strip().upper())))


def masked_parcel(canonical: str) -> str:
    """The masked parcel number. A short one shows only its last two characters, since the usual mask would hide
    nothing.

    >>> masked_parcel("3012340056"), masked_parcel("1234")
    ('30•••0056', '•••34')
    """
    return f"{canonical[:2]}{HIDDEN}{canonical[-4:]}" if len(canonical) > 8 else f"{HIDDEN}{canonical[-2:]}"


def index_text(county: str, canonical: str) -> str:
    """The text that a parcel's blind index is made of. It has the county, since two counties may use the same number.

    >>> index_text("nyc", "3012340056")
    'nyc|3012340056'
    """
    return f"{county}|{canonical}"
