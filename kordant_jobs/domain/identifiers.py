"""What identifies a person in a breach, in its one canonical form, and how it may be shown.

The only place that normalises. A watched item and a line of a dump meet because both went through
`normalise`; `adapters/dumps/bulk.py` does the same to columns and is tested to agree with it value by value.
Pure. Blind indexes and encryption are not here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import idna
import phonenumbers
from email_validator import EmailNotValidError, validate_email

TRIMMED = " \t\r\n\v\f\u00a0\u200b\u2060\u3000\ufeff"  # what copying and pasting leaves around a value
EMAIL_LOCAL_MAX_OCTETS = 64  # RFC 5321 §4.5.3.1.1
EMAIL_MAX_OCTETS = 254  # RFC 5321 §4.5.3.1.3: a path is 256 with its angle brackets
USERNAME_MIN, USERNAME_MAX = 3, 64  # shorter is noise in a dump, longer is a token
HIDDEN = "•••"  # a bullet never occurs in a canonical identifier, so a mask can't be one

# Parts of regular expressions that mean the same in `re` and in Polars (Rust); ASCII, lower case.
# The local part is RFC 5321's Dot-string, a domain two LDH labels or more, the last one starting with a
# letter.
LOCAL_ASCII = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
DOMAIN_ASCII = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"  # 63: RFC 1035 §2.3.4
_LOCAL = re.compile(LOCAL_ASCII)
_DOMAIN = re.compile(DOMAIN_ASCII)
_PHONE = re.compile(r"\+?[\d\t ().\-/\u00a0\u2010-\u2015]{4,32}")
_SAFE_CHARACTER = frozenset(("L", "M", "N", "P", "S"))  # Unicode general categories; no space, control, private


class IdentifierKind(StrEnum):
    """What sort of identifier. A new kind is one member here and one entry in `KINDS`."""

    EMAIL = "email"
    PHONE = "phone"
    USERNAME = "username"
    DOMAIN = "domain"


@dataclass(frozen=True, kw_only=True)
class KindSpec:
    """How one kind is normalised and shown. `normalise` takes the raw text and the ISO 3166 phone region."""

    normalise: Callable[[str, str], str | None]
    mask: Callable[[str], str]
    example: str


def normalise(kind: IdentifierKind, raw: str, *, phone_region: str = "US") -> str | None:
    """The canonical form, or None when `raw` is no such identifier. Idempotent; never raises.

    `phone_region` counts only for phone numbers written without a country.

    >>> normalise(IdentifierKind.EMAIL, " John.Doe+shop@BÜCHER.example ")
    'john.doe+shop@xn--bcher-kva.example'
    >>> normalise(IdentifierKind.PHONE, "(202) 555-0143")
    '+12025550143'
    >>> normalise(IdentifierKind.USERNAME, "@John_Doe")
    'john_doe'
    >>> normalise(IdentifierKind.EMAIL, '"john doe"@example.com') is None
    True
    """
    return KINDS[kind].normalise(raw, phone_region)


def mask(kind: IdentifierKind, canonical: str) -> str:
    """The identifier as it may be shown: first character and domain, or last four digits.

    >>> mask(IdentifierKind.EMAIL, "john@example.com"), mask(IdentifierKind.PHONE, "+12025550143")
    ('j•••@example.com', '+1 ••• ••• 0143')
    """
    return KINDS[kind].mask(canonical)


def _settled(text: str, step: Callable[[str], str]) -> str | None:
    """`step` repeated until nothing changes, so that the result is a fixed point; None if it never
    settles."""
    for _ in range(4):
        after = unicodedata.normalize("NFC", step(text))
        if after == text:
            return text
        text = after
    return None


def _email(raw: str, _region: str) -> str | None:
    """Dot-string local part, lower-cased; domain as lower-case A-label.

    Lower-casing rather than case folding is what RFC 8265 §3.3 asks of user names: folding would make one of
    'straße@' and 'strasse@', two mailboxes. Strictly the local part is case-sensitive (RFC 5321 §2.4),
    but HIBP ignores case, and so must we to agree with it. Nothing after '+' and no dot is dropped:
    that is one provider's habit, and would find people in breaches they are not in.
    """
    local, at, domain = unicodedata.normalize("NFC", raw.strip(TRIMMED)).partition("@")
    if not at or not local or "@" in domain or domain.endswith("."):
        return None
    host = _domain(domain, "")
    folded = _settled(local, str.lower)
    if host is None or folded is None or not _is_local_part(folded):
        return None
    address = f"{folded}@{host}"
    return address if len(address.encode()) <= EMAIL_MAX_OCTETS else None


def _is_local_part(local: str) -> bool:
    if len(local.encode("utf-8", "replace")) > EMAIL_LOCAL_MAX_OCTETS:
        return False
    if local.isascii():
        return _LOCAL.fullmatch(local) is not None
    if "•" in local or not _is_safe(local):
        return False
    try:  # RFC 6531 with the library's care about invisible and unassigned characters
        found = validate_email(f"{local}@example.com", check_deliverability=False)
    except EmailNotValidError:
        return False
    return found.local_part == local


def _domain(raw: str, _region: str) -> str | None:
    """Lower-case A-label by UTS 46 without transitional mapping ('faß.de' stays its own domain)."""
    name = raw.strip(TRIMMED)
    name = name[:-1] if name.endswith(".") else name
    if not name or len(name) > EMAIL_MAX_OCTETS:
        return None
    try:
        ascii_name = name.lower() if name.isascii() else idna.encode(name, uts46=True, std3_rules=True).decode()
        if "xn--" in ascii_name:
            idna.decode(ascii_name, strict=True)
    except (idna.IDNAError, UnicodeError):
        return None
    return ascii_name if len(ascii_name) <= 253 and _DOMAIN.fullmatch(ascii_name) else None


def _phone(raw: str, region: str) -> str | None:
    """E.164 by Google's libphonenumber. Letters and extensions are no part of a number.

    *Possible* (right length for its country), not *valid* (in an allotted block): allotments change with each
    release of the metadata, and a number that was accepted once must be found again by the next release.
    A number that lacks its area code is not possible.
    """
    text = raw.strip(TRIMMED)
    if not _PHONE.fullmatch(text):
        return None
    for _ in range(3):  # a national prefix typed behind the country code goes in the first round
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            return None
        if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
            return None
        canonical = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if canonical == text:
            return canonical if len(canonical) <= 16 else None  # '+' and 15 digits: ITU-T E.164
        text = canonical
    return None


def _username(raw: str, _region: str) -> str | None:
    """Case-folded, without the '@' of a handle; at least one letter or digit, no space, no '@' within."""
    text = unicodedata.normalize("NFC", raw.strip(TRIMMED)).lstrip("@")
    folded = _settled(unicodedata.normalize("NFD", text), str.casefold)
    if folded is None or not USERNAME_MIN <= len(folded) <= USERNAME_MAX:
        return None
    if "@" in folded or "•" in folded or not _is_safe(folded):
        return None
    return folded if any(unicodedata.category(character)[0] in "LN" for character in folded) else None


def _is_safe(text: str) -> bool:
    return all(unicodedata.category(character)[0] in _SAFE_CHARACTER for character in text)


def _mask_email(canonical: str) -> str:
    local, _, domain = canonical.rpartition("@")
    return f"{local[:1] if len(local) > 1 else ''}{HIDDEN}@{domain}"


def _mask_phone(canonical: str) -> str:
    try:
        code = f"+{phonenumbers.parse(canonical, None).country_code}"
    except phonenumbers.NumberParseException:
        return HIDDEN
    national = canonical[len(code) :]
    shown = min(4, max(0, len(national) - 4))  # a short number keeps at least four digits to itself
    return f"{code} {HIDDEN} {HIDDEN} {national[len(national) - shown :]}".rstrip()


def _mask_word(canonical: str) -> str:
    return f"{canonical[:1]}{HIDDEN}"


def _mask_domain(canonical: str) -> str:
    name, _, top = canonical.rpartition(".")
    return f"{name[:1]}{HIDDEN}.{top}"


KINDS: Mapping[IdentifierKind, KindSpec] = MappingProxyType(
    {
        IdentifierKind.EMAIL: KindSpec(normalise=_email, mask=_mask_email, example="john.doe@example.com"),
        IdentifierKind.PHONE: KindSpec(normalise=_phone, mask=_mask_phone, example="+12025550143"),
        IdentifierKind.USERNAME: KindSpec(normalise=_username, mask=_mask_word, example="john_doe"),
        IdentifierKind.DOMAIN: KindSpec(normalise=_domain, mask=_mask_domain, example="example.com"),
    }
)
