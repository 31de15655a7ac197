"""`domain.identifiers.normalise` for a column. It must give the same result for each value; a property in the tests
checks that.

Regular expressions in Polars decide plain ASCII values, with few exceptions; the others go through `normalise` itself,
each distinct value once.
"""

from __future__ import annotations

import re
from functools import cache

import phonenumbers
import polars as pl
from phonenumbers.phonemetadata import PhoneMetadata

from kordant_jobs.domain.identifiers import TRIMMED, USERNAME_MAX, USERNAME_MIN, IdentifierKind, normalise
from kordant_jobs.domain.identifiers.email import FILES, LOCAL_ASCII
from kordant_jobs.domain.identifiers.person import NAMES_MAX, NAMES_MIN

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = rf"^{_ATOM}(?:\.{_ATOM})*@"
# Without two dashes in a row, so that an A-label ('xn--…') never passes unproved.
_EMAIL = rf"{_LOCAL}(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z][a-z0-9]*(?:-[a-z0-9]+)*$"
_ANY_EMAIL = rf"^{LOCAL_ASCII}@(?:[a-z0-9_-]+\.)+[a-z0-9-]+$"
_FILE = rf"\.(?:{'|'.join(sorted(FILES))})$"
_SHORT = 64  # up to here neither a local part nor a label can be too long, and the pattern alone decides
_USERNAME = r"^[!-?A-~]*[A-Za-z0-9][!-?A-~]*$"
_PHONE = r"^\+?[0-9\t ().\-/]{4,32}$"
_PHONE_PUNCTUATION = r"[\t ().\-/]"
_PERSON = r"^[A-Za-z][A-Za-z ,;|.'-]{1,90}[ ,;|](?:18|19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}$"
_ASCII = r"^[\x00-\x7f]*$"


def canonical_rows(kind: IdentifierKind, values: pl.Series, *, phone_region: str) -> pl.DataFrame:
    """The rows of `values` that are identifiers: `row` (UInt32, the place in `values`) and `identifier`, in no
    order."""
    frame = pl.DataFrame({"row": pl.int_range(len(values), dtype=pl.UInt32, eager=True), "raw": values})
    frame = frame.drop_nulls("raw")
    if kind is IdentifierKind.EMAIL:
        parts = _emails(frame)
    elif kind is IdentifierKind.PHONE:
        parts = _phones(frame, phone_region)
    elif kind is IdentifierKind.USERNAME:
        parts = _usernames(frame)
    elif kind is IdentifierKind.PERSON:
        parts = _persons(frame)
    else:
        parts = [_one_by_one(kind, frame, phone_region)]
    return pl.concat(parts)


def _split(frame: pl.DataFrame, sure: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows where `sure` is true, and the other rows."""
    mask = frame.select(sure.alias("sure")).to_series()
    if mask.all():
        return frame, frame.clear()
    return frame.filter(mask), frame.filter(~mask)


def _taken(frame: pl.DataFrame, identifier: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"row": frame["row"], "identifier": identifier})


def _emails(frame: pl.DataFrame) -> list[pl.DataFrame]:
    raw = pl.col("raw")
    accepted = []
    for step in (raw, raw.str.strip_chars(TRIMMED).str.to_lowercase()):  # most need neither
        frame = frame if step is raw else frame.with_columns(lowered=step)
        value = raw if step is raw else pl.col("lowered")
        sure, frame = _split(
            frame, (value.str.len_bytes() <= _SHORT) & value.str.contains(_EMAIL) & ~value.str.contains(_FILE)
        )
        accepted.append(sure.select("row", value.alias("identifier")))
        if frame.is_empty():
            return accepted
        frame = frame.filter(raw.str.contains("@", literal=True))
    others = frame.filter(~raw.str.contains(_ASCII) | pl.col("lowered").str.contains(_ANY_EMAIL))
    return [*accepted, _one_by_one(IdentifierKind.EMAIL, others, "")]


def _usernames(frame: pl.DataFrame) -> list[pl.DataFrame]:
    raw = pl.col("raw")
    frame = frame.with_columns(raw.str.strip_chars(TRIMMED))
    plain, others = _split(frame, raw.str.contains(_ASCII))
    plain = plain.with_columns(raw.str.strip_chars_start("@"))
    plain = plain.filter(raw.str.len_bytes().is_between(USERNAME_MIN, USERNAME_MAX) & raw.str.contains(_USERNAME))
    return [_taken(plain, plain["raw"].str.to_lowercase()), _one_by_one(IdentifierKind.USERNAME, others, "")]


def _persons(frame: pl.DataFrame) -> list[pl.DataFrame]:
    raw = pl.col("raw").str.strip_chars(TRIMMED)
    frame = frame.with_columns(raw, day=raw.str.tail(10).str.to_date("%Y-%m-%d", strict=False))
    plain, others = _split(frame, pl.col("day").is_not_null() & pl.col("raw").str.contains(_PERSON))
    name = pl.col("raw").str.head(-10).str.to_lowercase().str.extract_all("[a-z]+")
    plain = plain.with_columns(parts=name).filter(pl.col("parts").list.len().is_between(NAMES_MIN, NAMES_MAX))
    identifier = plain.select(
        pl.concat_str(pl.col("parts").list.sort().list.join("|"), pl.col("raw").str.tail(10), separator="|")
    ).to_series()
    return [_taken(plain, identifier), _one_by_one(IdentifierKind.PERSON, others.select("row", "raw"), "")]


def _phones(frame: pl.DataFrame, region: str) -> list[pl.DataFrame]:
    raw = pl.col("raw")
    frame = frame.with_columns(raw.str.strip_chars(TRIMMED))
    frame = frame.filter(raw.str.contains(_PHONE) | ~raw.str.contains(_ASCII))
    digits = raw.str.replace_all(_PHONE_PUNCTUATION, "")
    international, national = _sure_numbers(region)
    bare, others = _split(frame, digits.str.contains(international))
    bare = bare.with_columns(digits).filter(raw.str.len_bytes() <= 16)
    parts = [_taken(bare, bare["raw"])]
    if national is not None:
        code, pattern, refused = national
        local, others = _split(others, digits.str.contains(pattern) & ~digits.str.contains(refused))
        local = local.with_columns((pl.lit(f"+{code}") + digits).alias("raw"))
        parts.append(_taken(local, local["raw"]))
    return [*parts, _one_by_one(IdentifierKind.PHONE, others, region)]


def _one_by_one(kind: IdentifierKind, frame: pl.DataFrame, region: str) -> pl.DataFrame:
    distinct = frame["raw"].unique()
    found = [normalise(kind, value, phone_region=region) for value in distinct.to_list()]
    mapping = pl.DataFrame({"raw": distinct, "identifier": pl.Series(found, dtype=pl.String)}).drop_nulls()
    return frame.join(mapping, on="raw").select("row", "identifier")


def settled_numbers() -> str:
    """The pattern of phone numbers that are already in canonical form, whatever the region."""
    return _sure_numbers("")[0]


@cache
def _sure_numbers(region: str) -> tuple[str, tuple[str, str, str] | None]:
    """Patterns of the numbers that libphonenumber returns unchanged, from its own metadata: numbers of a possible
    length that start with neither a zero nor a possible national prefix.

    The first pattern is for numbers with '+' and country code. The second is for `region`: its country code, numbers
    written without one, and those among them that libphonenumber must still check.
    """
    codes: list[str] = []
    for code in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE):
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(
            code, phonenumbers.region_code_for_country_code(code)
        )
        first = _first_digits(metadata)
        if metadata is not None and first:
            lengths = _lengths(metadata, below=16 - len(str(code)))
            codes.append(f"{code}[{first}](?:{lengths})")
    international = rf"^\+(?:{'|'.join(codes)})$"
    code = phonenumbers.country_code_for_region(region)
    main = PhoneMetadata.metadata_for_region_or_calling_code(code, phonenumbers.region_code_for_country_code(code))
    own = PhoneMetadata.metadata_for_region(region, None)
    if not code or main is None or own is None:
        return international, None
    first = "".join(sorted(set(_first_digits(main)) & set(_first_digits(own))))
    if not first:
        return international, None
    lengths = _lengths(main, below=16 - len(str(code)))
    refused = rf"^(?:{code}|{_rust(own.international_prefix or '0')})"
    return international, (str(code), f"^[{first}](?:{lengths})$", refused)


def _lengths(metadata: PhoneMetadata, *, below: int) -> str:
    return "|".join(f"[0-9]{{{length - 1}}}" for length in _possible_lengths(metadata) if length < below)


def _possible_lengths(metadata: PhoneMetadata) -> tuple[int, ...]:
    general = metadata.general_desc
    return tuple(general.possible_length) if general is not None else ()


def _first_digits(metadata: PhoneMetadata | None) -> str:
    """The digits that no national prefix of this country starts with, zero excluded."""
    if metadata is None:
        return ""
    prefix = metadata.national_prefix_for_parsing
    if prefix is None:
        return "123456789"
    pattern = re.compile(prefix)
    if pattern.match(""):
        return ""
    # The prefixes that occur are alternatives of literals and digit classes: probe with every start of 8
    # digits.
    return "".join(digit for digit in "123456789" if not _can_start(prefix, digit))


def _can_start(prefix: str, digit: str) -> bool:
    """True when a match of `prefix` may begin with `digit`; in doubt True."""
    return digit in re.sub(r"\\d", "0123456789", re.sub(r"\{[0-9,]+\}", "", prefix)) or "-" in prefix


def _rust(pattern: str) -> str:
    return pattern.replace(r"\d", "[0-9]")
