"""Phone numbers as columns hold them: several in a cell, with extensions, without '+', as spreadsheets leave them.

The whole column decides how it is read: bare digits are numbers of the dump's own country, unless most become valid
international numbers with a '+'. In that case numbers without a '+' must be allotted ones, so that a guess never turns
other digits into a phone number.
"""

from __future__ import annotations

import re
import unicodedata

import phonenumbers
import polars as pl

from kordant_jobs.adapters.dumps.bulk import canonical_rows, settled_numbers
from kordant_jobs.domain.identifiers import IdentifierKind, normalise

_SAMPLE = 400
_MOSTLY = 0.6
_BARE = r"^\s*[1-9][0-9]{9,14}(?:\.0)?\s*$"
_ODD = r"(?i)[^0-9+() ./-]|^\s*00|\.0\s*$|\(\+|\+52 ?1|/.*[+(]|\+.*\+"
_INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_LABEL = re.compile(r"(?i)^\s*(?:tel|phone|mobile|callto|sms|whatsapp)\s*[:=]\s*")
_EXTENSION = re.compile(
    r"(?i)\s*(?:;\s*(?:ext|phone-context)=.*|,?\s*(?:ext(?:ension)?|x|#|ramal|poste|durchwahl)\.?\s*:?\s*\d{1,8})\s*$"
)
_SEVERAL = re.compile(r"\s*(?:[;|\n]|,|/|\bor\b|\band\b)\s*|\s+(?=\+)")
_OLD_MEXICAN = re.compile(r"^521(?=\d{10}$)")
_FLOAT = re.compile(r"^(\d{7,15})\.0$")
_SCIENTIFIC = re.compile(r"^(\d)[.,](\d{6,14})[eE]\+?(\d{1,2})$")


def phones(values: pl.Series, *, region: str) -> pl.DataFrame:
    """The phone numbers of a column, as `bulk.canonical_rows`: `row` and `identifier`, where a row may occur more than
    once."""
    frame = pl.DataFrame({"row": pl.int_range(len(values), dtype=pl.UInt32, eager=True), "raw": values}).drop_nulls()
    settled = frame["raw"].str.contains(settled_numbers())
    parts = [frame.filter(settled).select("row", identifier="raw")]
    frame = frame.filter(~settled)
    if frame.is_empty():
        return parts[0]
    bare = frame["raw"].str.contains(_BARE)
    if bare.any() and _is_of_the_world(frame.filter(bare)["raw"], region):
        parts.append(_one_by_one(frame.filter(bare), region, world=True))
        frame = frame.filter(~bare)
    odd = frame["raw"].str.contains(_ODD)
    plain = frame.filter(~odd)
    rows = canonical_rows(IdentifierKind.PHONE, plain["raw"], phone_region=region)
    parts.append(rows.with_columns(plain["row"].gather(rows["row"])))
    unread = plain.join(parts[-1], on="row", how="anti")
    parts.append(_one_by_one(pl.concat([frame.filter(odd), unread]), region, world=False))
    return pl.concat(parts)


def _is_of_the_world(values: pl.Series, region: str) -> bool:
    sample = [_OLD_MEXICAN.sub("52", value.strip().removesuffix(".0")) for value in values.head(_SAMPLE).to_list()]
    world = sum(_allotted(f"+{value}", None) for value in sample)
    home = sum(_allotted(value, region) for value in sample)
    return world > home and world >= _MOSTLY * len(sample)


def _allotted(text: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False


def _one_by_one(frame: pl.DataFrame, region: str, *, world: bool) -> pl.DataFrame:
    distinct = frame["raw"].unique()
    found = [phones_in(value, region, world=world) for value in distinct.to_list()]
    mapping = pl.DataFrame({"raw": distinct, "identifier": pl.Series(found, dtype=pl.List(pl.String))})
    mapping = mapping.filter(pl.col("identifier").list.len() > 0).explode("identifier")
    return frame.join(mapping, on="raw").select("row", "identifier")


def phones_in(text: str, region: str, *, world: bool = False) -> list[str]:
    """The phone numbers in a cell.

    >>> phones_in("+12025550143 / +442079460958", "US"), phones_in("(202) 555-0144 ext. 5", "US")
    (['+12025550143', '+442079460958'], ['+12025550144'])
    >>> phones_in("12025550143.0", "US"), phones_in("(+44) 7911 123456", "US"), phones_in("0049 30 123456", "US")
    (['+12025550143'], ['+447911123456'], ['+4930123456'])
    """
    cleaned = _cleaned(text)
    whole = _phone(cleaned, region, world=world)
    if whole is None and _SCIENTIFIC.match(text.strip()):  # a spreadsheet has taken it for a number: no '+' is left
        whole = _phone(cleaned, region, world=True)
    if whole is not None:
        return [whole]
    parts = [part for part in _SEVERAL.split(cleaned) if part.strip()]
    if not 1 < len(parts) <= 8:
        return []
    found = [_phone(_cleaned(part), region, world=world) for part in parts]
    return list(dict.fromkeys(one for one in found if one is not None))


def _cleaned(text: str) -> str:
    value = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    value = re.sub(r"\s", " ", value).strip(" \t'\"`=<>")
    value = _EXTENSION.sub("", _LABEL.sub("", value))
    if match := _SCIENTIFIC.match(value):
        digits, power = match[1] + match[2], int(match[3])
        value = digits if len(digits) == power + 1 else value
    if match := _FLOAT.match(value):
        value = match[1]
    return value.strip(" \t'\"")


def _phone(value: str, region: str, *, world: bool) -> str | None:
    if re.match(r"^\(\+\d{1,3}\)", value):  # (+44) 20 …
        value = "+" + value[2:].replace(")", " ", 1)
    if value.startswith("00") and len(re.sub(r"\D", "", value)) >= 10:
        dialled = normalise(IdentifierKind.PHONE, f"+{value[2:].lstrip()}")
        if dialled is not None and _allotted(dialled, None):
            return _one_form(dialled)
    digits = _OLD_MEXICAN.sub("52", re.sub(r"\D", "", value))
    if re.match(r"^\+52\s?1\D?\d{2}", value) and len(digits) == 12:
        value = f"+{digits}"
    if world and not value.startswith("+") and _allotted(f"+{digits}", None):
        return _one_form(normalise(IdentifierKind.PHONE, f"+{digits}"))
    return _one_form(normalise(IdentifierKind.PHONE, value, phone_region=region))


def _one_form(canonical: str | None) -> str | None:
    """The number in one form. Mexico's mobile numbers had a 1 after the country code until 2019; without it, it is the
    same phone."""
    if canonical is not None and len(canonical) == 14 and canonical.startswith("+521"):
        return f"+52{canonical[4:]}"
    return canonical
